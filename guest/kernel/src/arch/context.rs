//! The context switch between two kernel stacks.

use core::arch::naked_asm;

/// A task that is not running: its kernel stack pointer, with the callee-saved registers on it.
#[derive(Debug)]
#[repr(C)]
pub struct Context {
    rsp: usize,
}

impl Context {
    /// Room for the context of a task that runs already (the first switch away from it fills it).
    pub const fn empty() -> Context {
        Context { rsp: 0 }
    }

    /// The frame pointer that [`switch`] has saved.
    ///
    /// # Safety
    /// The context was saved by [`switch`] or made for a new task, and its stack exists.
    pub unsafe fn frame_pointer(&self) -> usize {
        /// Below it lie R15, R14, R13, R12 and RBX.
        const RBP: usize = 5 * 8;
        // SAFETY: by the caller's promise.
        unsafe { *((self.rsp + RBP) as *const usize) }
    }

    /// A context that will start in `entry(arg)` on the stack below `stack_top`.
    ///
    /// # Safety
    /// The stack is mapped, unused, 16-byte aligned at its top and at least a page deep.
    pub unsafe fn for_new_task(
        stack_top: usize,
        entry: extern "C" fn(usize) -> !,
        arg: usize,
    ) -> Context {
        // r15 r14 r13 r12 rbx rbp, return address, as `switch` pops them; one word of padding so
        // that the trampoline runs with an aligned stack.
        let words = [
            0,
            0,
            0,
            arg,
            entry as usize,
            0,
            start as *const () as usize,
            0,
        ];
        let rsp = stack_top - size_of_val(&words);
        // SAFETY: by the caller's promise.
        unsafe { core::ptr::write(rsp as *mut [usize; 8], words) };
        Context { rsp }
    }
}

/// First code of a new task: `rbx(r12)`.
#[unsafe(naked)]
unsafe extern "C" fn start() {
    naked_asm!(
        "sub rsp, 8",
        "and rsp, -16",
        "mov rdi, r12",
        "call rbx",
        "ud2"
    );
}

/// Saves the running context in `prev` and continues `next`; returns when somebody switches back.
///
/// # Safety
/// `next` was made by [`Context::for_new_task`] or saved by this function and has not run since;
/// its stack is mapped in the current address space. Both pointers are valid.
#[unsafe(naked)]
pub unsafe extern "C" fn switch(prev: *mut Context, next: *const Context) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, [rsi]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    );
}
