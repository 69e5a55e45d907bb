//! Accesses to the running program's memory, in assembly, with an exception table.
//!
//! The processor checks them: a page fault on a program's address is resolved like the program's
//! own, and if it cannot be, `arch::trap` continues at the fix-up. The caller has checked that the
//! range lies in the program's half.

use core::arch::global_asm;

global_asm!(
    r#"
    .section .text
    // (rdi to, rsi from, rdx bytes) -> rax bytes not copied
    .globl user_copy_bytes
    .balign 16
    user_copy_bytes:
        mov rcx, rdx
        shr rcx, 3
    user_copy_1:
        rep movsq
        mov ecx, edx
        and ecx, 7
    user_copy_2:
        rep movsb
        xor eax, eax
        ret
    user_copy_fix_1:
        and edx, 7
        lea rax, [rdx + rcx * 8]
        ret
    user_copy_fix_2:
        mov rax, rcx
        ret

    // (rdi to, rsi bytes) -> rax bytes not filled
    .globl user_zero_bytes
    .balign 16
    user_zero_bytes:
        xor eax, eax
        mov rcx, rsi
        shr rcx, 3
    user_zero_1:
        rep stosq
        mov ecx, esi
        and ecx, 7
    user_zero_2:
        rep stosb
        ret
    user_zero_fix_1:
        and esi, 7
        lea rax, [rsi + rcx * 8]
        ret
    user_zero_fix_2:
        mov rax, rcx
        ret

    // (rdi from, rsi limit) -> rax bytes before the first NUL, or the limit; all ones: fault
    .globl user_scan_string
    .balign 16
    user_scan_string:
        mov rdx, rdi
        mov rcx, rsi
        xor eax, eax
        test rcx, rcx
        jz user_scan_limit
    user_scan_1:
        repne scasb
        jne user_scan_limit
        lea rax, [rdi - 1]
        sub rax, rdx
        ret
    user_scan_limit:
        mov rax, rsi
        ret
    user_scan_fix:
        mov rax, -1
        ret

    // (rdi address) -> rax value; all ones: fault
    .globl user_load_u32
    .balign 16
    user_load_u32:
    user_load_1:
        mov eax, [rdi]
        ret
    user_load_fix:
        mov rax, -1
        ret

    // (rdi address, esi expected, edx new) -> rax value found; all ones: fault
    .globl user_cmpxchg_u32
    .balign 16
    user_cmpxchg_u32:
        mov eax, esi
    user_cmpxchg_1:
        lock cmpxchg [rdi], edx
        mov eax, eax
        ret

    .section .rodata
    .globl user_fixups
    .globl user_fixups_end
    .balign 4
    user_fixups:
        .long user_copy_1 - user_fixups, user_copy_fix_1 - user_fixups
        .long user_copy_2 - user_fixups, user_copy_fix_2 - user_fixups
        .long user_zero_1 - user_fixups, user_zero_fix_1 - user_fixups
        .long user_zero_2 - user_fixups, user_zero_fix_2 - user_fixups
        .long user_scan_1 - user_fixups, user_scan_fix - user_fixups
        .long user_load_1 - user_fixups, user_load_fix - user_fixups
        .long user_cmpxchg_1 - user_fixups, user_load_fix - user_fixups
    user_fixups_end:
    .section .text
    "#
);

unsafe extern "C" {
    /// Copies bytes; the number that could not be copied.
    pub(super) fn user_copy_bytes(to: *mut u8, from: *const u8, bytes: usize) -> usize;
    /// Fills with zeros; the number of bytes that could not be filled.
    pub(super) fn user_zero_bytes(to: *mut u8, bytes: usize) -> usize;
    /// Bytes before the first NUL; the limit if there is none before it; all ones after a fault.
    pub(super) fn user_scan_string(from: *const u8, limit: usize) -> usize;
    /// Loads a word; all ones after a fault.
    pub(super) fn user_load_u32(from: *const u32) -> usize;
    /// Compares and exchanges; the value found, all ones after a fault.
    pub(super) fn user_cmpxchg_u32(at: *mut u32, expected: u32, new: u32) -> usize;
    static user_fixups: [i32; 14];
}

/// Where to go on when the instruction at `rip` has faulted for good.
pub fn fixup(rip: usize) -> Option<usize> {
    let table = &raw const user_fixups as usize;
    // SAFETY: the table above has that size.
    let entries = unsafe { &user_fixups };
    entries
        .as_chunks::<2>()
        .0
        .iter()
        .find(|entry| table.wrapping_add_signed(entry[0] as isize) == rip)
        .map(|entry| table.wrapping_add_signed(entry[1] as isize))
}
