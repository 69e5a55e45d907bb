//! What a tracer asks of a thread (`ptrace(2)`).

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::state::{self, EVENT_STOP, Kind, Mode, OPTIONS, Stop};
use super::{attach, registers, stop};
use crate::arch::TrapFrame;
use crate::errno::{Errno, KResult};
use crate::mm::user::{self, read_user, write_user};
use crate::sched;
use crate::task::signal::{self, SIGKILL, SigInfo, UNBLOCKABLE};
use crate::task::{Task, current_process, find_task, thread};

const TRACEME: usize = 0;
const PEEKTEXT: usize = 1;
const PEEKDATA: usize = 2;
const PEEKUSER: usize = 3;
const POKETEXT: usize = 4;
const POKEDATA: usize = 5;
const POKEUSER: usize = 6;
const CONT: usize = 7;
const KILL: usize = 8;
const SINGLESTEP: usize = 9;
const GETREGS: usize = 12;
const SETREGS: usize = 13;
const GETFPREGS: usize = 14;
const SETFPREGS: usize = 15;
const ATTACH: usize = 16;
const DETACH: usize = 17;
const SYSCALL: usize = 24;
const SETOPTIONS: usize = 0x4200;
const GETEVENTMSG: usize = 0x4201;
const GETSIGINFO: usize = 0x4202;
const SETSIGINFO: usize = 0x4203;
const GETREGSET: usize = 0x4204;
const SETREGSET: usize = 0x4205;
const SEIZE: usize = 0x4206;
const INTERRUPT: usize = 0x4207;
const LISTEN: usize = 0x4208;
const GETSIGMASK: usize = 0x420a;
const SETSIGMASK: usize = 0x420b;
const GET_SYSCALL_INFO: usize = 0x420e;

const NT_PRSTATUS: usize = 1;
const NT_PRFPREG: usize = 2;
const NT_X86_XSTATE: usize = 0x202;

/// Bytes of `struct user`.
const USER_SIZE: usize = 912;
/// Offset of the debug registers in it.
const USER_DEBUG: usize = 848;
/// `AUDIT_ARCH_X86_64`
const AUDIT_ARCH: u32 = 0xc000_003e;

/// A request by the running process. `addr` and `data` are what the request makes of them.
///
/// # Errors
/// ESRCH: no such thread, not traced by this process, or not stopped. EPERM, EIO, EINVAL, EFAULT:
/// as ptrace(2) lists them.
pub fn request(request: usize, pid: usize, addr: usize, data: usize) -> KResult<usize> {
    let tid = pid as u32;
    match request {
        TRACEME => return attach::trace_me().map(|()| 0),
        ATTACH => return attach::attach(tid, false, 0).map(|()| 0),
        SEIZE if addr != 0 => return Err(Errno::EIO),
        SEIZE => return attach::attach(tid, true, data).map(|()| 0),
        _ => {}
    }
    let task = find_tracee(tid)?;
    match request {
        KILL => {
            // SIGKILL needs no room.
            let _ = signal::send_to_process(&task.process, SigInfo::kernel(SIGKILL));
            return Ok(0);
        }
        INTERRUPT => {
            if state::with(&task, |t| t.seized) != Some(true) {
                return Err(Errno::EIO);
            }
            interrupt(&task);
            return Ok(0);
        }
        _ => {}
    }
    let stop = stopped(&task)?;
    on_stopped(&task, stop, request, addr, data)
}

/// The thread `tid`, if the running process traces it.
fn find_tracee(tid: u32) -> KResult<Arc<Task>> {
    let task = find_task(tid).ok_or(Errno::ESRCH)?;
    let mine = state::tracer(&task).is_some_and(|t| core::ptr::eq(&*t, current_process()));
    if mine { Ok(task) } else { Err(Errno::ESRCH) }
}

/// The stop of a thread, once it is off its processor.
fn stopped(task: &Task) -> KResult<Stop> {
    let stop = state::with(task, |t| t.stop.filter(|stop| !stop.listening))
        .flatten()
        .ok_or(Errno::ESRCH)?;
    while task.on_cpu.load(Ordering::SeqCst) {
        sched::yield_now();
    }
    Ok(stop)
}

/// PTRACE_INTERRUPT: have the thread stop as soon as it can.
fn interrupt(task: &Task) {
    task.set_flags(thread::TRAP);
    let listening = state::with(task, |t| {
        let listening = t.stop.is_some_and(|stop| stop.listening);
        if listening {
            t.stop = None;
        }
        listening
    });
    if listening == Some(true) {
        sched::wake_traced(task);
    } else {
        sched::wake_interruptible(task, false);
        sched::wake_stopped(task);
    }
}

fn on_stopped(
    task: &Arc<Task>,
    stop: Stop,
    request: usize,
    addr: usize,
    data: usize,
) -> KResult<usize> {
    let frame = stop.frame;
    match request {
        PEEKTEXT | PEEKDATA => {
            let mut word = [0; 8];
            access(task, addr, &mut word, false)?;
            user::copy_to_user(data, &word)?;
        }
        POKETEXT | POKEDATA => access(task, addr, &mut data.to_le_bytes(), true)?,
        PEEKUSER => write_user(data, &peek_user(task, frame, addr)?)?,
        POKEUSER => poke_user(task, frame, addr, data as u64)?,
        CONT => resume(task, Mode::Run, data)?,
        SYSCALL => resume(task, Mode::Calls, data)?,
        SINGLESTEP => resume(task, Mode::Step, data)?,
        DETACH => attach::detach(task, check_signal(data)?),
        GETREGS => {
            // SAFETY: the thread is in a stop.
            let words = unsafe { registers::read(task, frame) };
            write_user(data, &words)?;
        }
        SETREGS => set_registers(task, frame, data, registers::SIZE)?,
        GETFPREGS => {
            // SAFETY: the thread is in a stop.
            let image = unsafe { registers::read_fp(task) };
            user::copy_to_user(data, &image)?;
        }
        SETFPREGS => set_fp(task, data)?,
        GETREGSET | SETREGSET => regset(task, frame, request == SETREGSET, addr, data)?,
        SETOPTIONS => {
            let options = u32::try_from(data)
                .ok()
                .filter(|options| options & !OPTIONS == 0)
                .ok_or(Errno::EINVAL)?;
            state::with(task, |t| t.options = options);
        }
        GETEVENTMSG => write_user(data, &state::with(task, |t| t.message).unwrap_or(0))?,
        GETSIGINFO => {
            let info = stop.info.ok_or(Errno::EINVAL)?;
            user::copy_to_user(data, &info.to_bytes())?;
        }
        SETSIGINFO => {
            let info: SigInfo = read_user(data)?;
            if stop.info.is_none() || !signal::is_valid(info.signo) {
                return Err(Errno::EINVAL);
            }
            state::with(task, |t| {
                if let Some(stop) = &mut t.stop {
                    stop.info = Some(info);
                }
            });
        }
        LISTEN => listen(task, stop)?,
        GETSIGMASK | SETSIGMASK if addr != 8 => return Err(Errno::EINVAL),
        GETSIGMASK => write_user(data, &task.blocked())?,
        SETSIGMASK => {
            let mask: u64 = read_user(data)?;
            let signals = task.process.signals.lock();
            task.blocked.store(mask & !UNBLOCKABLE, Ordering::Relaxed);
            signal::recalculate(task, &signals);
        }
        GET_SYSCALL_INFO => return syscall_info(task, stop, addr, data),
        _ => return Err(Errno::EIO),
    }
    Ok(0)
}

/// Read or write the memory of a traced thread.
fn access(task: &Task, addr: usize, bytes: &mut [u8], write: bool) -> KResult<()> {
    let space = task.process.space().ok_or(Errno::EIO)?;
    let done = if write {
        space.write_remote(addr, bytes, true)
    } else {
        space.read_remote(addr, bytes, true)
    };
    if done == bytes.len() {
        Ok(())
    } else {
        Err(Errno::EIO)
    }
}

fn check_signal(data: usize) -> KResult<u32> {
    let signo = data as u32;
    if data <= signal::COUNT as usize {
        Ok(signo)
    } else {
        Err(Errno::EIO)
    }
}

fn resume(task: &Task, mode: Mode, data: usize) -> KResult<()> {
    let signo = check_signal(data)?;
    stop::resume(task, mode, signo);
    Ok(())
}

/// PTRACE_LISTEN: a group stop of a seized thread goes on until something happens.
fn listen(task: &Task, stop: Stop) -> KResult<()> {
    let is_stop = stop.code >> 8 == EVENT_STOP && matches!(stop.kind, Kind::Group | Kind::Trap);
    if !is_stop {
        return Err(Errno::EIO);
    }
    let due = stop::trap_due(task);
    state::with(task, |t| {
        if due {
            t.stop = None;
        } else if let Some(stop) = &mut t.stop {
            stop.listening = true;
        }
    });
    if due {
        sched::wake_traced(task);
    }
    Ok(())
}

/// A word of `struct user`: registers, and nothing but zeros behind them.
fn peek_user(task: &Task, frame: *mut TrapFrame, offset: usize) -> KResult<u64> {
    if !offset.is_multiple_of(8) || offset >= USER_SIZE {
        return Err(Errno::EIO);
    }
    // SAFETY: the thread is in a stop.
    let words = unsafe { registers::read(task, frame) };
    Ok(words.get(offset / 8).copied().unwrap_or(0))
}

fn poke_user(task: &Task, frame: *mut TrapFrame, offset: usize, value: u64) -> KResult<()> {
    if !offset.is_multiple_of(8) || offset >= USER_SIZE {
        return Err(Errno::EIO);
    }
    if offset < registers::SIZE {
        // SAFETY: the thread is in a stop.
        return unsafe { registers::write(task, frame, offset / 8, value) };
    }
    // There are no watchpoints: their registers can be cleared, no more.
    if offset >= USER_DEBUG && value == 0 {
        Ok(())
    } else {
        Err(Errno::EIO)
    }
}

/// Set the first `len` bytes of the registers from user memory.
fn set_registers(task: &Task, frame: *mut TrapFrame, from: usize, len: usize) -> KResult<()> {
    // SAFETY: the thread is in a stop.
    let old = unsafe { registers::read(task, frame) };
    let mut new = old;
    for (index, word) in new[..len / 8].iter_mut().enumerate() {
        *word = read_user(from.checked_add(index * 8).ok_or(Errno::EFAULT)?)?;
    }
    for (index, (&new, old)) in new.iter().zip(old).enumerate() {
        if new != old {
            // SAFETY: as above.
            unsafe { registers::write(task, frame, index, new)? };
        }
    }
    Ok(())
}

fn set_fp(task: &Task, from: usize) -> KResult<()> {
    let mut image = [0; registers::FP_SIZE];
    user::copy_from_user(&mut image, from)?;
    // SAFETY: the thread is in a stop.
    unsafe { registers::write_fp(task, &image) }
}

/// PTRACE_GETREGSET and PTRACE_SETREGSET: `addr` names the set, `data` is an iovec, whose length
/// becomes the number of bytes that were exchanged.
fn regset(task: &Task, frame: *mut TrapFrame, set: bool, addr: usize, data: usize) -> KResult<()> {
    let [base, len]: [usize; 2] = read_user(data)?;
    let size = match addr {
        NT_PRSTATUS => registers::SIZE,
        NT_PRFPREG => registers::FP_SIZE,
        NT_X86_XSTATE if !set => usize::MAX,
        _ => return Err(Errno::EINVAL),
    };
    if !len.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let len = len.min(size);
    let done = match (addr, set) {
        (NT_PRSTATUS, true) => {
            set_registers(task, frame, base, len)?;
            len
        }
        (NT_PRSTATUS, false) => {
            // SAFETY: the thread is in a stop.
            let words = unsafe { registers::read(task, frame) };
            let mut bytes = [0; registers::SIZE];
            for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
                chunk.copy_from_slice(&word.to_le_bytes());
            }
            user::copy_to_user(base, &bytes[..len])?;
            len
        }
        (NT_PRFPREG, true) if len == size => {
            set_fp(task, base)?;
            len
        }
        (NT_PRFPREG, true) => return Err(Errno::EINVAL),
        (NT_PRFPREG, false) => {
            // SAFETY: the thread is in a stop.
            let image = unsafe { registers::read_fp(task) };
            user::copy_to_user(base, &image[..len])?;
            len
        }
        _ => {
            // SAFETY: the thread is in a stop.
            let image = unsafe { registers::read_xstate(task)? }.ok_or(Errno::ENODEV)?;
            let len = len.min(image.len());
            user::copy_to_user(base, &image[..len])?;
            len
        }
    };
    write_user(data + 8, &done)
}

/// PTRACE_GET_SYSCALL_INFO: `struct ptrace_syscall_info`, of which `size` bytes are wanted. Gives
/// the bytes that there are.
fn syscall_info(task: &Task, stop: Stop, size: usize, to: usize) -> KResult<usize> {
    const OP_NONE: u8 = 0;
    const OP_ENTRY: u8 = 1;
    const OP_EXIT: u8 = 2;
    /// Largest errno that a result can stand for.
    const MAX_ERRNO: u64 = 4095;
    // SAFETY: the thread is in a stop; plain words.
    let (words, f) = unsafe { (registers::read(task, stop.frame), stop.frame.read()) };
    let mut bytes = [0; 80];
    bytes[4..8].copy_from_slice(&AUDIT_ARCH.to_le_bytes());
    let mut put = |at: usize, value: u64| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    put(8, f.rip as u64);
    put(16, f.rsp as u64);
    let (op, len) = match stop.kind {
        Kind::Entry => {
            let arguments = [f.orig_rax, f.rdi, f.rsi, f.rdx, f.r10, f.r8, f.r9];
            for (index, argument) in arguments.into_iter().enumerate() {
                put(24 + index * 8, argument as u64);
            }
            (OP_ENTRY, 80)
        }
        Kind::Exit => {
            put(24, f.rax as u64);
            bytes[32] = u8::from(words[RAX] >= MAX_ERRNO.wrapping_neg());
            (OP_EXIT, 33)
        }
        _ => (OP_NONE, 24),
    };
    bytes[0] = op;
    user::copy_to_user(to, &bytes[..len.min(size)])?;
    Ok(len)
}

/// Index of RAX in the registers.
const RAX: usize = 10;
