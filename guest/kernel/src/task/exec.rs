//! Running a program (`execve(2)`).
//!
//! Up to the *point of no return* nothing of the old program is touched, and every error goes back to
//! it. After it the old program is gone, and what fails ends the process by SIGSEGV, as in Linux.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::elf::Elf;
pub use super::stack::Strings;
use super::stack::{self, Program};
use super::table::table;
use super::{Creds, current, exit, ptrace, signal};
use crate::arch::gdt::{USER_CS, USER_DS};
use crate::arch::{TrapFrame, percpu};
use crate::errno::{Errno, KResult};
use crate::fs::path::{self, AT_FDCWD};
use crate::fs::perm;
use crate::fs::{Dentry, Inode, Lookup, ReadBuf};
use crate::mm::AddressSpace;
use crate::mm::layout::USER_END;
use crate::sched;
use crate::task::rlimit::{INFINITY, Resource};

/// Bytes of a file that are looked at to find out what it is (`BINPRM_BUF_SIZE`).
const START: usize = 256;
/// Scripts that may be run by scripts.
const MAX_SCRIPTS: usize = 5;
/// RFLAGS of a new program: interrupts on, and bit 1.
const START_FLAGS: usize = 1 << 9 | 2;
/// Set-user-id bit of a file's permissions.
const S_ISUID: u32 = 0o4000;
/// Set-group-id bit.
const S_ISGID: u32 = 0o2000;
/// Execute bit of the group.
const S_IXGRP: u32 = 0o010;

/// Of `personality(2)`: layouts are not random.
const ADDR_NO_RANDOMIZE: u32 = 0x0040000;

/// What is to be run.
pub struct Request {
    /// The file.
    pub file: Arc<Dentry>,
    /// The name it was called by.
    pub name: Vec<u8>,
    /// Arguments.
    pub args: Strings,
    /// Environment.
    pub env: Strings,
}

/// Run another program in the running process. `frame` gets the registers that it starts with.
///
/// # Errors
/// ENOENT, EACCES, ENOEXEC, ENOMEM, E2BIG, ELOOP, EIO: the old program goes on, unless its end has
/// begun.
pub fn exec(frame: &mut TrapFrame, mut request: Request) -> KResult<()> {
    let mut start = [0; START];
    let mut scripts = 0;
    let elf = loop {
        let inode = request.file.expect_inode()?.clone();
        check_not_written(&inode)?;
        let len = read_start(&inode, &mut start)?;
        if !start[..len].starts_with(b"#!") {
            break Elf::parse(&inode, &start[..len])?;
        }
        scripts += 1;
        if scripts > MAX_SCRIPTS {
            return Err(Errno::ELOOP);
        }
        interpret(&mut request, &start[..len])?;
    };
    let creds = new_creds(&request.file)?;
    let readable = perm::check(&request.file.expect_inode()?.metadata(), perm::READ).is_ok();
    let persona = current().process.personality.load(Ordering::Relaxed);
    let randomise = persona & ADDR_NO_RANDOMIZE == 0;
    let space = AddressSpace::new(randomise)?;
    set_limits(&space);
    let interpreter = match &elf.interpreter {
        None => None,
        Some(name) => Some(parse_interpreter(name)?),
    };
    let loaded = elf.load(&space, space.program_base())?;
    // The interpreter goes where mappings go, far from the program and its heap.
    let interpreter = match interpreter {
        None => None,
        Some(elf) => Some(elf.load(&space, space.program_base() / 3 * 4)?),
    };
    let mut name = request.name.clone();
    name.push(0);
    let program = Program {
        loaded: &loaded,
        interpreter_base: interpreter.as_ref().map_or(0, |i| i.bias),
        name: &name,
        creds: &creds,
        args: &request.args,
        env: &request.env,
        executable: elf.executable_stack,
    };
    stack::map(&space, &program)?;
    let gap = if randomise {
        AddressSpace::random_brk_gap()
    } else {
        0
    };
    space.set_brk_start(loaded.end.saturating_add(gap));
    let entry = interpreter.as_ref().map_or(loaded.entry, |i| i.entry);
    if entry >= USER_END {
        return Err(Errno::ENOEXEC);
    }

    let old_tid = current().tid();
    end_other_threads()?;
    // The point of no return.
    let me = current();
    let process = &*me.process;
    become_program(&space);
    let filled = loaded
        .clear_tails()
        .and_then(|()| interpreter.as_ref().map_or(Ok(()), |i| i.clear_tails()))
        .and_then(|()| stack::build(&space, &program));
    let image = match filled {
        Ok(image) => image,
        Err(errno) => {
            // Ends before it comes back to ring 3.
            exit::begin_group_exit(signal::SIGSEGV);
            return Err(errno);
        }
    };
    *process.image.lock() = image;
    *process.creds.lock() = creds;
    let base = request.name.rsplit(|&b| b == b'/').next().unwrap_or(b"");
    me.set_comm(base);
    let old = process.exe.lock().replace(request.file.clone());
    drop(old);
    forget_old_program(readable);
    *frame = TrapFrame {
        orig_rax: frame.orig_rax,
        rip: entry,
        cs: USER_CS as usize,
        rflags: START_FLAGS,
        rsp: image.stack,
        ss: USER_DS as usize,
        ..TrapFrame::default()
    };
    percpu::set_work();
    if me.is_traced() {
        ptrace::executed(old_tid);
    }
    Ok(())
}

/// ETXTBSY: somebody has the file open for writing.
fn check_not_written(inode: &Arc<dyn Inode>) -> KResult<()> {
    let writers = inode.writers().map_or(0, |n| n.load(Ordering::Relaxed));
    if writers > 0 {
        return Err(Errno::ETXTBSY);
    }
    Ok(())
}

fn read_start(inode: &Arc<dyn Inode>, start: &mut [u8; START]) -> KResult<usize> {
    let mut len = 0;
    while len < START {
        let n = inode.read_at(len as u64, &mut ReadBuf::kernel(&mut start[len..]))?;
        if n == 0 {
            break;
        }
        len += n;
    }
    Ok(len)
}

/// `#! interpreter [argument]`: the interpreter is run instead, with the argument and the script's
/// name before the arguments.
fn interpret(request: &mut Request, start: &[u8]) -> KResult<()> {
    let line = &start[2..];
    let line = match line.iter().position(|&b| b == b'\n') {
        Some(end) => &line[..end],
        // A line that does not end within what was read must at least name its interpreter whole.
        None if start.len() < START
            || line
                .trim_ascii_start()
                .iter()
                .any(|&b| b == b' ' || b == b'\t') =>
        {
            line
        }
        None => return Err(Errno::ENOEXEC),
    };
    let line = line.split(|&b| b == 0).next().unwrap_or(b"");
    let line = line.trim_ascii();
    let end = line
        .iter()
        .position(|&b| b == b' ' || b == b'\t')
        .unwrap_or(line.len());
    let (interpreter, argument) = line.split_at(end);
    let argument = argument.trim_ascii();
    if interpreter.is_empty() {
        return Err(Errno::ENOEXEC);
    }
    let script = core::mem::take(&mut request.name);
    if argument.is_empty() {
        request.args.replace_first(&[interpreter, &script])?;
    } else {
        request
            .args
            .replace_first(&[interpreter, argument, &script])?;
    }
    request.file = path::lookup_exec(AT_FDCWD, interpreter, Lookup::Follow)?;
    request.name = script;
    Ok(())
}

fn parse_interpreter(name: &[u8]) -> KResult<Elf> {
    let file = path::lookup_exec(AT_FDCWD, name, Lookup::Follow)?;
    let inode = file.expect_inode()?.clone();
    check_not_written(&inode)?;
    let mut start = [0; START];
    let len = read_start(&inode, &mut start)?;
    Elf::parse(&inode, &start[..len])
}

/// Credentials of the new program: set-user-id and set-group-id files change them.
fn new_creds(file: &Arc<Dentry>) -> KResult<Creds> {
    let meta = file.expect_inode()?.metadata();
    let me = current();
    let mut creds = me.process.creds.lock().clone();
    // A traced program gets no privileges that its tracer does not have.
    if !me.process.no_new_privs() && !ptrace::denies_privileges(me) {
        if meta.perm & S_ISUID != 0 {
            creds.euid = meta.uid;
        }
        if meta.perm & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP {
            creds.egid = meta.gid;
        }
    }
    creds.suid = creds.euid;
    creds.fsuid = creds.euid;
    creds.sgid = creds.egid;
    creds.fsgid = creds.egid;
    Ok(creds)
}

fn set_limits(space: &AddressSpace) {
    let limits = *current().process.rlimits.lock();
    let bytes = |resource| match limits.soft(resource) {
        INFINITY => usize::MAX,
        limit => limit as usize,
    };
    space.set_limits(
        bytes(Resource::AddressSpace),
        bytes(Resource::Stack),
        bytes(Resource::Data),
    );
}

/// All other threads end; the running one becomes the leader.
///
/// # Errors
/// EAGAIN: another thread is doing the same, or the process is being killed.
fn end_other_threads() -> KResult<()> {
    let me = current();
    let process = &*me.process;
    {
        let mut signals = process.signals.lock();
        if signals.exiting.is_some() || signals.exec_by.is_some() {
            return Err(Errno::EAGAIN);
        }
        if process.thread_count() == 1 && me.is_leader() {
            return Ok(());
        }
        signals.exec_by = Some(me.tid());
        for thread in process.threads.lock().iter() {
            if !core::ptr::eq(&**thread, me) {
                thread.set_flags(super::thread::SIGNAL);
                sched::wake_interruptible(thread, true);
            }
        }
    }
    process
        .thread_exit
        .wait_uninterruptible(|| (process.thread_count() == 1).then_some(()));
    let takes_over = !me.is_leader();
    if takes_over {
        ptrace::forget_leader(process);
    }
    {
        let mut table = table();
        if let Some(task) = table.tasks.remove(&me.tid()) {
            me.set_tid(process.pid());
            table.tasks.insert(process.pid(), task);
        }
    }
    if takes_over && me.is_traced() {
        ptrace::became_leader(me);
    }
    process.signals.lock().exec_by = None;
    Ok(())
}

/// Exchange the address space, and let a `vfork` parent have the old one back.
fn become_program(space: &Arc<AddressSpace>) {
    let process = &*current().process;
    // The old program's locks and its join word live in the old memory.
    exit::release_user_state(current());
    // SAFETY: the only thread left; the processor leaves the old tables before they are dropped.
    let old = unsafe { process.replace_space(Some(space.clone())) };
    space.activate();
    drop(old);
    let vfork = process.vfork.lock().take();
    if let Some(vfork) = vfork {
        vfork.complete();
    }
}

/// What a new program does not inherit; `readable`: its user may read its file.
fn forget_old_program(readable: bool) {
    let me = current();
    let process = &*me.process;
    // A program that cannot have its own descriptors goes on with the shared ones.
    // SAFETY: exec has ended all other threads, and this one holds no lock.
    let _ = unsafe { process.part_files() };
    let closed = process.files.lock().close_on_exec();
    drop(closed);
    {
        let mut signals = process.signals.lock();
        signals.actions.reset_handlers();
    }
    me.signals.lock().alt = signal::AltStack::NONE;
    me.clear_child_tid.store(0, Ordering::Relaxed);
    me.robust_list.store(0, Ordering::Relaxed);
    crate::time::posix::delete_all(process);
    process
        .exit_signal
        .store(signal::SIGCHLD, Ordering::Relaxed);
    process.has_execed.store(true, Ordering::Relaxed);
    process.parent_death_signal().store(0, Ordering::Relaxed);
    let same = {
        let creds = process.creds.lock();
        creds.uid == creds.euid && creds.gid == creds.egid
    };
    // What its user may not read must not leak through a core image or a debugger.
    let dumpable = same && readable;
    process
        .dumpable()
        .store(u32::from(dumpable), Ordering::Relaxed);
    sched::reset_fpu(me);
    sched::set_fs_base(me, 0);
    if sched::user_gs_base(me) != 0 {
        sched::set_gs_base(me, 0);
    }
}

/// Bytes that arguments and environment of a new program may have.
pub fn string_limit() -> usize {
    stack::max_strings(current().process.rlimit(Resource::Stack))
}

/// Run the first program from the kernel itself.
///
/// # Errors
/// As [`exec`].
pub fn exec_from_kernel<'a>(
    frame: &mut TrapFrame,
    name: &[u8],
    args: impl Iterator<Item = &'a [u8]>,
    env: impl Iterator<Item = &'a [u8]>,
) -> KResult<()> {
    let mut request = Request {
        file: path::lookup_exec(AT_FDCWD, name, Lookup::Follow)?,
        name: name.to_vec(),
        args: Strings::new(),
        env: Strings::new(),
    };
    for arg in args {
        request.args.push(arg)?;
    }
    for variable in env {
        request.env.push(variable)?;
    }
    exec(frame, request)
}
