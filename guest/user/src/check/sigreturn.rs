//! What a handler may do to the frame that it returns through, and what the kernel makes of it.

use crate::frame::child::{Exit, fork, in_child};
use crate::frame::mapping::poke;
use crate::frame::report::exit;
use crate::frame::signals::{Handler, handle, mask, raise, set};
use libc::*;

tests!(
    handler_can_change_where_it_returns_to,
    handler_can_change_a_register,
    handler_can_change_the_mask,
    noncanonical_return_address_kills,
    kernel_return_address_kills,
    reserved_control_bits_are_not_believed,
    kernel_code_selector_is_not_believed,
    privileged_flags_are_not_believed,
    flags_of_arithmetic_are_restored,
    frame_that_is_not_there_kills,
    return_without_a_frame_kills,
    unwritable_stack_kills,
);

/// The saved registers.
fn registers<'a>(context: *mut c_void) -> &'a mut [i64; 23] {
    // SAFETY: the kernel gives a handler a valid ucontext, which nobody else touches.
    unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs }
}

/// How a child ends in which `handler` has returned; with status 0 if all is well.
fn after(handler: Handler) -> Exit {
    in_child(|| {
        handle(SIGUSR1, 0, handler);
        raise(SIGUSR1);
    })
}

fn handler_can_change_where_it_returns_to() {
    extern "C" fn elsewhere() -> ! {
        exit(7)
    }
    extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
        let registers = registers(context);
        registers[REG_RIP as usize] = elsewhere as *const () as i64;
        registers[REG_RSP as usize] = registers[REG_RSP as usize] & !15 | 8;
    }
    assert_eq!(after(handler), Exit::Code(7));
}

fn handler_can_change_a_register() {
    extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
        registers(context)[REG_RAX as usize] = 4711;
    }
    let end = in_child(|| {
        handle(SIGUSR1, 0, handler);
        assert_eq!(call!(SYS_kill, std::process::id(), SIGUSR1), Ok(4711));
    });
    assert_eq!(end, Exit::Code(0));
}

fn handler_can_change_the_mask() {
    extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: as above; the kernel's part of the set is its first word.
        unsafe { *(&raw mut (*context.cast::<ucontext_t>()).uc_sigmask).cast::<u64>() = u64::MAX };
    }
    handle(SIGUSR1, 0, handler);
    raise(SIGUSR1);
    assert_eq!(mask(), !set(&[SIGKILL, SIGSTOP]));
}

fn noncanonical_return_address_kills() {
    extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
        registers(context)[REG_RIP as usize] = 0x1234_5678_9abc_def0;
    }
    assert_eq!(after(handler).signal(), Some(SIGSEGV));
}

fn kernel_return_address_kills() {
    extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
        registers(context)[REG_RIP as usize] = 0xffff_ffff_8020_0000_u64 as i64;
    }
    assert_eq!(after(handler).signal(), Some(SIGSEGV));
}

fn reserved_control_bits_are_not_believed() {
    extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the pointer to the floating-point state, an FXSAVE image, follows the registers.
        let state = unsafe { registers(context).as_ptr().add(23).read() } as usize;
        // MXCSR, whose upper half is reserved.
        (24..28).for_each(|i| poke(state + i, 0xff));
    }
    // Killed, or with the bits taken out: not a fault of the kernel's.
    let end = after(handler);
    assert!(
        end == Exit::Code(0) || end.signal() == Some(SIGSEGV),
        "{end:?}"
    );
}

fn kernel_code_selector_is_not_believed() {
    extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
        // CS, GS, FS, SS: CS alone decides.
        let word = &mut registers(context)[REG_CSGSFS as usize];
        *word = *word & !0xffff | 0x10;
    }
    let end = after(handler);
    assert!(
        end == Exit::Code(0) || end.signal() == Some(SIGSEGV),
        "{end:?}"
    );
}

fn privileged_flags_are_not_believed() {
    const IOPL: i64 = 3 << 12;
    const NT: i64 = 1 << 14;
    const VM: i64 = 1 << 17;
    extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
        let flags = &mut registers(context)[REG_EFL as usize];
        *flags = (*flags | IOPL | NT | VM) & !0x200;
    }
    let end = in_child(|| {
        handle(SIGUSR1, 0, handler);
        raise(SIGUSR1);
        let flags: i64;
        // SAFETY: reads the flags.
        unsafe { std::arch::asm!("pushfq", "pop {}", out(reg) flags) };
        assert_eq!(flags & (IOPL | VM), 0);
        assert_ne!(flags & 0x200, 0, "interrupts are off");
    });
    assert_eq!(end, Exit::Code(0));
}

fn flags_of_arithmetic_are_restored() {
    extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
        // The direction flag: a program's own business.
        registers(context)[REG_EFL as usize] |= 0x400;
    }
    let end = in_child(|| {
        handle(SIGUSR1, 0, handler);
        let (pid, flags): (u64, u64) = (std::process::id().into(), 0);
        let mut flags = flags;
        // SAFETY: kill(getpid(), SIGUSR1), then the flags, then the direction as Rust wants it.
        unsafe {
            std::arch::asm!(
                "syscall", "pushfq", "pop {flags}", "cld",
                flags = inout(reg) flags,
                inout("rax") SYS_kill => _, in("rdi") pid, in("rsi") u64::from(SIGUSR1 as u32),
                out("rcx") _, out("r11") _,
            );
        }
        assert_ne!(flags & 0x400, 0);
    });
    assert_eq!(end, Exit::Code(0));
}

fn frame_that_is_not_there_kills() {
    let child = fork(|| {
        // SAFETY: never comes back: the stack pointer leads nowhere.
        unsafe {
            std::arch::asm!(
                "mov rsp, 0x1000",
                "mov eax, 15",
                "syscall",
                "ud2",
                options(noreturn)
            )
        }
    });
    assert_eq!(child.wait().signal(), Some(SIGSEGV));
}

fn return_without_a_frame_kills() {
    let child = fork(|| {
        let zeroes = [0u64; 256];
        // SAFETY: never comes back: address 0 is where it returns to.
        unsafe {
            std::arch::asm!("mov rsp, {}", "mov eax, 15", "syscall", "ud2",
                in(reg) (&raw const zeroes).addr() + 1024, options(noreturn))
        }
    });
    assert_eq!(child.wait().signal(), Some(SIGSEGV));
}

fn unwritable_stack_kills() {
    extern "C" fn handler(_: i32, _: *mut siginfo_t, _: *mut c_void) {
        exit(1)
    }
    let child = fork(|| {
        handle(SIGUSR1, 0, handler);
        // SAFETY: kill(getpid(), SIGUSR1) with a stack pointer that leads nowhere.
        unsafe {
            std::arch::asm!("mov rsp, 0x1000", "mov eax, 62", "syscall", "ud2",
                in("rdi") u64::from(std::process::id()), in("rsi") u64::from(SIGUSR1 as u32),
                options(noreturn))
        }
    });
    assert_eq!(child.wait().signal(), Some(SIGSEGV));
}
