//! Comparison of memory: `memcmp`, which slices of bytes are compared with. Rust's own goes byte by
//! byte; names are short, but there are many.

use core::arch::global_asm;

global_asm!(
    r#"
    .section .text
    // (rdi, rsi, rdx bytes) -> eax below, equal to or above 0
    .globl memcmp
    .globl bcmp
    .balign 16
    memcmp:
    bcmp:
        cmp rdx, 8
        jb 2f
    1:  mov rax, [rdi]
        mov rcx, [rsi]
        cmp rax, rcx
        jne 4f
        add rdi, 8
        add rsi, 8
        sub rdx, 8
        cmp rdx, 8
        jae 1b
    2:  test rdx, rdx
        je 5f
    3:  movzx eax, byte ptr [rdi]
        movzx ecx, byte ptr [rsi]
        sub eax, ecx
        jne 6f
        inc rdi
        inc rsi
        dec rdx
        jne 3b
    5:  xor eax, eax
    6:  ret
        // The first byte that differs decides: the lowest in memory, so the highest after a swap.
    4:  bswap rax
        bswap rcx
        cmp rax, rcx
        sbb eax, eax
        or eax, 1
        ret
    "#
);
