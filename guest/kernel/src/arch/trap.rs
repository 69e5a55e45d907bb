//! Traps: system calls, exceptions and interrupts, as the assembly hands them over.

use gnomon_abi::boot::INT_N_IS_UD;
use gnomon_abi::ports::FatalReason;

use super::{apic, backtrace, boot_info, cpu, idt, irq, this_cpu};
use crate::mm::{self, Access, Fault};
use crate::time::account::Running;
use crate::{power, syscall, task, time};

/// The registers of a program (or of the kernel) at a trap. The order is that of Linux's
/// `struct pt_regs`; for a program it lies at the top of the task's kernel stack.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct TrapFrame {
    /// Callee-saved registers first.
    pub r15: usize,
    /// R14.
    pub r14: usize,
    /// R13.
    pub r13: usize,
    /// R12.
    pub r12: usize,
    /// RBP.
    pub rbp: usize,
    /// RBX.
    pub rbx: usize,
    /// R11; flags at a system call.
    pub r11: usize,
    /// R10; the fourth argument.
    pub r10: usize,
    /// R9; the sixth argument.
    pub r9: usize,
    /// R8; the fifth argument.
    pub r8: usize,
    /// RAX; the result of a system call.
    pub rax: usize,
    /// RCX; return address at a system call.
    pub rcx: usize,
    /// RDX; the third argument.
    pub rdx: usize,
    /// RSI; the second argument.
    pub rsi: usize,
    /// RDI; the first argument.
    pub rdi: usize,
    /// The number of the system call, or the exception's error code (0 if it has none).
    pub orig_rax: usize,
    /// RIP.
    pub rip: usize,
    /// CS.
    pub cs: usize,
    /// RFLAGS.
    pub rflags: usize,
    /// RSP.
    pub rsp: usize,
    /// SS.
    pub ss: usize,
}

const _: () = {
    assert!(size_of::<TrapFrame>() == 168);
    assert!(core::mem::offset_of!(TrapFrame, rbx) == 40);
    assert!(core::mem::offset_of!(TrapFrame, rdi) == 112);
    assert!(core::mem::offset_of!(TrapFrame, rip) == 128);
};

/// An exception that a program raised and that the kernel did not resolve.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// Vector: 0 divide error, 1 debug, 3 breakpoint, 6 invalid opcode, 13 general protection,
    /// 14 page fault …
    pub vector: u8,
    /// The processor's error code.
    pub error: u64,
    /// Page faults: the address; others: RIP.
    pub addr: usize,
    /// Page faults: why it could not be resolved.
    pub fault: Option<Fault>,
}

const DEBUG: usize = 1;
const INVALID_OPCODE: usize = 6;
const GENERAL_PROTECTION: usize = 13;
const PAGE_FAULT: usize = 14;
/// First byte of `int n`.
const INT_N: u8 = 0xcd;
/// First vector that is not an exception.
const FIRST_INTERRUPT: usize = 32;

/// A system call, from any of its entries.
pub(super) extern "C" fn syscall(frame: &mut TrapFrame) {
    syscall::dispatch(frame);
}

/// A trap from ring 3.
pub(super) extern "C" fn user_trap(frame: &mut TrapFrame, vector: usize) {
    if vector == PAGE_FAULT {
        let address = cpu::read_cr2();
        let Err(fault) = user_page_fault(address, frame.orig_rax) else {
            frame.orig_rax = usize::MAX;
            this_cpu().fault_mark.set(mark(frame));
            return;
        };
        exception(frame, PAGE_FAULT, address, Some(fault));
    } else if vector >= FIRST_INTERRUPT {
        if vector == usize::from(idt::SYSCALL_INT) {
            syscall::dispatch_int80(frame);
        } else {
            frame.orig_rax = usize::MAX;
            interrupt(vector as u8, whose_time(frame));
        }
    } else {
        if vector == INVALID_OPCODE && boot_info::has_quirk(INT_N_IS_UD) && int_n(frame) {
            return;
        }
        exception(frame, vector, frame.rip, None);
    }
}

/// `int n` that arrived as an invalid opcode: does what the processor would have done with it.
/// False: it was another instruction.
#[cold]
fn int_n(frame: &mut TrapFrame) -> bool {
    let mut bytes = [0; 2];
    if mm::copy_from_user(&mut bytes, frame.rip).is_err() || bytes[0] != INT_N {
        return false;
    }
    match bytes[1] {
        idt::SYSCALL_INT => {
            frame.rip += 2;
            syscall::dispatch_int80(frame);
        }
        // Gates that ring 3 may use: the exception comes after the instruction.
        n @ (3 | 4) => {
            frame.rip += 2;
            frame.orig_rax = 0;
            exception(frame, usize::from(n), frame.rip, None);
        }
        // Any other gate is the kernel's: a general protection fault that names it.
        n => {
            frame.orig_rax = usize::from(n) * 8 + 2;
            exception(frame, GENERAL_PROTECTION, frame.rip, None);
        }
    }
    true
}

fn exception(frame: &mut TrapFrame, vector: usize, addr: usize, fault: Option<Fault>) {
    let error = if vector == DEBUG {
        0
    } else {
        frame.orig_rax as u64
    };
    // No system call to restart: the signal code looks at this.
    frame.orig_rax = usize::MAX;
    task::user_exception(
        frame,
        Exception {
            vector: vector as u8,
            error,
            addr,
            fault,
        },
    );
}

/// Resolves a page fault of the running program.
fn user_page_fault(address: usize, error: usize) -> Result<(), Fault> {
    let access = Access {
        write: error & 2 != 0,
        exec: error & 16 != 0,
    };
    task::count_fault();
    match task::current_space() {
        Some(space) => space.fault(address, access),
        None => Err(Fault::Segv {
            code: mm::SEGV_MAPERR,
        }),
    }
}

/// A place in the program, and how far a repeated instruction there has come.
#[inline]
fn mark(frame: &TrapFrame) -> usize {
    frame.rip.wrapping_add(frame.rcx)
}

/// Whose time an interrupt of ring 3 has come in. Interrupts are off in the kernel: one that came
/// due there is taken right after the return, before the program's next instruction. After a system
/// call RCX still holds that instruction's address; after a page fault the program has not moved.
fn whose_time(frame: &TrapFrame) -> Running {
    if frame.rip == frame.rcx || this_cpu().fault_mark.get() == mark(frame) {
        Running::Kernel
    } else {
        Running::Program
    }
}

fn interrupt(vector: u8, running: Running) {
    match vector {
        idt::TIMER => {
            time::tick(running);
            // Last, near the return: one trap for both in shadow mode.
            apic::eoi();
        }
        idt::SPURIOUS => {}
        _ => irq::handle(vector),
    }
}

/// A trap in the kernel: interrupts of the idle loop, faults on user memory and on parts of the
/// direct map that are not filled in yet. Anything else is the kernel's end.
pub(super) extern "C" fn kernel_trap(frame: &mut TrapFrame, vector: usize) {
    if vector == PAGE_FAULT {
        let address = cpu::read_cr2();
        if mm::direct::fault(address, frame.orig_rax) {
            return;
        }
        if address < mm::layout::USER_END {
            if let Some(fixup) = mm::user_copy::fixup(frame.rip) {
                match user_page_fault(address, frame.orig_rax) {
                    Ok(()) => {}
                    // A program would wait here, too, until somebody else has been killed.
                    Err(Fault::Oom) if task::oom::out_of_memory() => {}
                    Err(_) => frame.rip = fixup,
                }
                return;
            }
        } else if let Some(fixup) = mm::user_copy::fixup(frame.rip) {
            frame.rip = fixup;
            return;
        }
        klog!(
            "kernel: page fault at {address:#x}, error {:#x}",
            frame.orig_rax
        );
    } else if vector >= FIRST_INTERRUPT {
        interrupt(vector as u8, Running::Nobody);
        return;
    } else if let Some(fixup) = mm::user_copy::fixup(frame.rip) {
        // #GP of a non-canonical address.
        frame.rip = fixup;
        return;
    } else {
        klog!("kernel: exception {vector}, error {:#x}", frame.orig_rax);
    }
    die(frame);
}

/// Reports an exception in the kernel and ends the machine.
fn die(frame: &TrapFrame) -> ! {
    backtrace::of_trap(frame);
    power::fatal(FatalReason::Exception)
}

/// NMI, double fault or machine check.
pub(super) extern "C" fn fatal_trap(frame: &TrapFrame, vector: usize) -> ! {
    klog!(
        "kernel: exception {vector} ({})",
        match vector {
            2 => "NMI",
            8 => "double fault: kernel stack overflow?",
            _ => "machine check",
        }
    );
    die(frame)
}

/// The work flag was set: signals, rescheduling.
pub(super) extern "C" fn user_return(frame: &mut TrapFrame) {
    task::on_user_return(frame);
}
