//! System calls without the C library in between.
//!
//! Its wrappers would write to thread-local storage that a random call may have taken away.

use std::arch::asm;

/// A system call; the kernel's result, an error as a negative number.
///
/// # Safety
/// Whatever the call does to this process must not break what the compiler relies on. The fuzzer
/// breaks that rule on purpose, in processes that may die of it.
#[inline(never)]
pub unsafe fn call(number: usize, arguments: [usize; 6]) -> isize {
    let result;
    // SAFETY: SYSCALL changes RAX, RCX and R11; the rest is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// A call through `int 0x80`, with the 32-bit numbers.
///
/// # Safety
/// As [`call`].
#[inline(never)]
pub unsafe fn call_int80(number: usize, arguments: [usize; 3]) -> isize {
    let result;
    // SAFETY: the kernel keeps all registers but RAX; RBX cannot be named, so it is exchanged.
    unsafe {
        asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) arguments[0] => _,
            inlateout("rax") number => result,
            in("rcx") arguments[1],
            in("rdx") arguments[2],
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    result
}

/// `clone` with a stack for the child, which calls `body(argument)` and never returns.
///
/// # Safety
/// `top` is one past a stack of the child's own, aligned to 16 bytes.
#[inline(never)]
pub unsafe fn clone(
    flags: usize,
    top: usize,
    words: [usize; 3],
    body: extern "C" fn(usize) -> !,
    argument: usize,
) -> isize {
    let result;
    let stack = top - 16;
    // SAFETY: the words lie on the child's stack, by the caller's promise; the child never comes
    // back out of this block.
    unsafe {
        (stack as *mut usize).write(argument);
        ((stack + 8) as *mut usize).write(body as usize);
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "pop rdi",
            "pop rax",
            "call rax",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone as usize => result,
            in("rdi") flags,
            in("rsi") stack,
            in("rdx") words[0],
            in("r10") words[1],
            in("r8") words[2],
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// `rt_sigreturn` with the frame at `at`.
///
/// # Safety
/// The process is to be spent: what goes on afterwards is what the frame says.
pub unsafe fn sigreturn(at: usize) -> ! {
    // SAFETY: nothing after this is relied on.
    unsafe {
        asm!(
            "mov rsp, {at}",
            "syscall",
            "ud2",
            at = in(reg) at,
            in("rax") libc::SYS_rt_sigreturn as usize,
            options(noreturn),
        );
    }
}

/// Ends the calling thread.
pub fn exit_thread(status: usize) -> ! {
    loop {
        // SAFETY: the thread is gone after it.
        unsafe { call(libc::SYS_exit as usize, [status, 0, 0, 0, 0, 0]) };
    }
}

/// Ends the process.
pub fn exit(status: usize) -> ! {
    loop {
        // SAFETY: the process is gone after it.
        unsafe { call(libc::SYS_exit_group as usize, [status, 0, 0, 0, 0, 0]) };
    }
}
