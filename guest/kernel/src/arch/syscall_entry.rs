//! SYSCALL, and the ways back to ring 3.
//!
//! On hosts where SYSCALL stays in ring 3 (`SYSCALL_STAYS_IN_RING3`), LSTAR points at the *gate*:
//! one `hlt` on a page that ring 3 may execute. Its `#GP` comes with the registers as SYSCALL left
//! them, and `gp_entry` builds the frame that SYSCALL's own entry would have built. A program that
//! jumps to the gate by itself makes a system call, no more: RCX and R11 are checked.
//!
//! The way back reloads only what Rust code may have changed: the callee-saved registers still hold
//! the program's values, unless the frame was edited. Whoever edits a frame sets the work flag
//! (`percpu::set_work`), and then everything is reloaded and IRETQ checks it.

use core::arch::global_asm;

use gnomon_abi::boot::SYSCALL_STAYS_IN_RING3;

use super::gdt::{STAR, USER_CS, USER_DS};
use super::trap::{self, TrapFrame};
use super::{boot_info, cpu, percpu};
use crate::mm::{layout, mmio};

/// The gate's address: second-last page of the device window.
pub const GATE: usize = layout::DEVICE_WINDOW + 510 * 4096;

/// Flags cleared by SYSCALL: TF, IF, DF, IOPL, NT, RF, AC.
const FMASK: u64 = 1 << 8 | 1 << 9 | 1 << 10 | 3 << 12 | 1 << 14 | 1 << 16 | 1 << 18;

/// Flags that are a program's own: CF PF AF ZF SF TF DF OF RF AC ID.
const USER_FLAGS: u32 = 0x25_0dd5;
/// Flags that are always set in ring 3: IF, and the reserved one.
const FIXED_FLAGS: u32 = 0x202;

global_asm!(
    r#"
    .section .text.entry, "ax"

    // Saves all registers but rdi on top of {{orig_rax, rip, cs, rflags, rsp, ss}}.
    .macro PUSH_REST
        push rsi
        push rdx
        push rcx
        push rax
        push r8
        push r9
        push r10
        push r11
        push rbx
        push rbp
        push r12
        push r13
        push r14
        push r15
    .endm

    .macro POP_ALL
        pop r15
        pop r14
        pop r13
        pop r12
        pop rbp
        pop rbx
        pop r11
        pop r10
        pop r9
        pop r8
        pop rax
        pop rcx
        pop rdx
        pop rsi
        pop rdi
    .endm

    // What C code may have changed, from the frame at rsp + 8.
    .macro LOAD_VOLATILE
        mov r10, [rsp + 8 + 56]
        mov r9, [rsp + 8 + 64]
        mov r8, [rsp + 8 + 72]
        mov rax, [rsp + 8 + 80]
        mov rdx, [rsp + 8 + 96]
        mov rsi, [rsp + 8 + 104]
        mov rdi, [rsp + 8 + 112]
    .endm

    .globl syscall_entry
    .balign 16
    syscall_entry:
        swapgs
        mov gs:[{user_rsp}], rsp
        mov rsp, gs:[{kernel_stack}]
        push {user_ds}
        push qword ptr gs:[{user_rsp}]
        push r11
        push {user_cs}
        push rcx
        push rax
        push rdi
        PUSH_REST
    syscall_common:
        mov rdi, rsp
        sub rsp, 8
        call {dispatch}
        cmp dword ptr gs:[{work}], 0
        jne return_work
        LOAD_VOLATILE
        mov rcx, [rsp + 8 + 128]
        mov r11, [rsp + 8 + 144]
        mov rsp, [rsp + 8 + 152]
        swapgs
        sysretq

    // #GP: from the gate it is a system call.
    .globl gp_entry
    .balign 16
    gp_entry:
        cmp qword ptr [rsp + 8], {gate}
        jne 1f
        // A program may have jumped here by itself: what SYSCALL would never leave in RCX and R11
        // must not reach SYSRET.
        swapgs
        cld
        and r11, {user_flags}
        or r11, {fixed_flags}
        mov [rsp], rax
        mov [rsp + 8], rcx
        mov qword ptr [rsp + 16], {user_cs}
        mov [rsp + 24], r11
        mov qword ptr [rsp + 40], {user_ds}
        push rdi
        PUSH_REST
        shr rcx, 47
        jz syscall_common
        mov esi, 13
        jmp user_trap_entered
    1:  push rdi
        mov edi, 13
        jmp trap_common

    // Every other trap: {{error}} and rdi are on the stack, the vector is in edi.
    .globl trap_common
    .balign 16
    trap_common:
        PUSH_REST
        cld
        mov esi, edi
        test byte ptr [rsp + 136], 3
        jz 2f
        swapgs
    user_trap_entered:
        mov rdi, rsp
        sub rsp, 8
        call {user_trap}
    return_to_user_checked:
        cmp dword ptr gs:[{work}], 0
        jne return_work
        LOAD_VOLATILE
        mov rcx, [rsp + 8 + 88]
        mov r11, [rsp + 8 + 48]
        swapgs
        add rsp, 8 + 128
        iretq
    2:  mov rdi, rsp
        sub rsp, 8
        call {kernel_trap}
        add rsp, 8
        POP_ALL
        add rsp, 8
        iretq

    // Work before the return; then everything from the frame.
    return_work:
        lea rdi, [rsp + 8]
        call {user_return}
    return_full:
        add rsp, 8
        POP_ALL
        swapgs
        add rsp, 8
        iretq

    .globl return_to_user
    return_to_user:
        lea rsp, [rdi - 8]
        cmp dword ptr gs:[{work}], 0
        jne return_work
        jmp return_full

    // NMI, double fault, machine check: on their own stacks, GS unknown, no way back.
    .globl fatal_entry
    fatal_entry:
        PUSH_REST
        cld
        mov ebx, edi
        mov rbp, rsp
        lea rax, [rip + {boot_cpu}]
        mov rdx, rax
        shr rdx, 32
        mov ecx, 0xc0000101
        wrmsr
        mov esi, ebx
        mov rdi, rbp
        and rsp, -16
        call {fatal_trap}
        ud2

    // One stub a vector, 16 bytes each; the IDT's constants count on it.
    .section .text.vectors, "ax"
    .balign 4096
    .globl trap_vectors
    trap_vectors:
    .set vector, 0
    .rept 256
    .balign 16
    .if vector == 13
        jmp gp_entry
    .else
    .if vector == 8 || vector == 10 || vector == 11 || vector == 12 || vector == 14 || vector == 17 || vector == 21 || vector == 29 || vector == 30
    .else
        push 0
    .endif
        push rdi
        .byte 0xbf                              // mov edi, vector
        .long vector
    .if vector == 2 || vector == 8 || vector == 18
        jmp fatal_entry
    .else
        jmp trap_common
    .endif
    .endif
    .set vector, vector + 1
    .endr
    "#,
    user_rsp = const percpu::USER_RSP,
    kernel_stack = const percpu::KERNEL_STACK,
    work = const percpu::WORK,
    user_ds = const USER_DS,
    user_cs = const USER_CS,
    gate = const GATE as isize,
    user_flags = const USER_FLAGS,
    fixed_flags = const FIXED_FLAGS,
    dispatch = sym trap::syscall,
    user_trap = sym trap::user_trap,
    kernel_trap = sym trap::kernel_trap,
    user_return = sym trap::user_return,
    fatal_trap = sym trap::fatal_trap,
    boot_cpu = sym percpu::BOOT_CPU,
);

unsafe extern "C" {
    fn syscall_entry();
    /// Enters ring 3 with the frame's registers; the frame lies at the top of the current task's
    /// kernel stack. Runs pending work first.
    #[link_name = "return_to_user"]
    fn return_to_user_asm(frame: *mut TrapFrame) -> !;
}

/// Enters ring 3 with the registers in `frame`, after pending work: how a new task starts.
///
/// # Safety
/// The frame lies on the current task's kernel stack, above everything that is still needed, and
/// describes user code (selectors, canonical RIP); the task's address space is active.
pub unsafe fn return_to_user(frame: *mut TrapFrame) -> ! {
    // SAFETY: by the caller's promise.
    unsafe { return_to_user_asm(frame) }
}

/// Points SYSCALL at the kernel.
pub(super) fn init() {
    let entry = if boot_info::has_quirk(SYSCALL_STAYS_IN_RING3) {
        mmio::map_gate(GATE);
        GATE as u64
    } else {
        syscall_entry as *const () as u64
    };
    // SAFETY: the entry keeps to SYSCALL's protocol.
    unsafe {
        cpu::wrmsr(cpu::MSR_STAR, STAR);
        cpu::wrmsr(cpu::MSR_LSTAR, entry);
        cpu::wrmsr(cpu::MSR_FMASK, FMASK);
        cpu::wrmsr(cpu::MSR_EFER, cpu::rdmsr(cpu::MSR_EFER) | cpu::EFER_SCE);
    }
}
