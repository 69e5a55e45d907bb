//! The instructions, and what they work on.

use crate::{CODE, DATA, MISSING, READ_ONLY, STACK, STUBS, TABLES, USER_STACK};

/// Addresses: good ones, and all kinds of bad ones.
pub const ADDRESSES: [u64; 12] = [
    DATA,
    DATA,
    DATA + 0x10,
    DATA + 5,
    USER_STACK,
    STACK,
    READ_ONLY + 8,
    MISSING + 8,
    MISSING - 4,
    0xffff_8000_0000_0000,
    1 << 47,
    0x4000,
];
/// Selectors: null, code, data, user's, TSS, odd ones.
pub const SELECTORS: [u64; 13] = [
    0, 3, 0x08, 0x0b, 0x10, 0x13, 0x1b, 0x18, 0x23, 0x28, 0x38, 0x63, 0x0c,
];
/// Targets of jumps: all of them hold `hlt`.
pub const TARGETS: [u64; 3] = [CODE + 0x100, CODE + 0x801, STUBS + 0x800];

/// How the registers are chosen for an instruction.
#[derive(Clone, Copy, PartialEq)]
pub enum Use {
    /// RAX, RSI, RDI: addresses; RCX small; RDX a port.
    Memory,
    /// RAX: a selector.
    Selector,
    /// RAX: any of these.
    Value(&'static [u64]),
    /// The stack holds an IRET frame.
    Frame,
    /// RCX, RAX and the stack: a target.
    Target,
    /// RCX: one of these MSRs, RDX:RAX one of those.
    Msr(&'static [u32], &'static [u64]),
}

pub const CR0: &[u64] = &[
    0x8001_0033,
    0x8001_003b,
    0x8000_0031,
    0x31,
    0x8000_0000,
    0xa001_0033,
];
pub const CR3: &[u64] = &[TABLES, TABLES | 0x18];
pub const CR4: &[u64] = &[0x20, 0xa0, 0x620, 0];
pub const CR8: &[u64] = &[0, 7, 15, 16, u64::MAX];
pub const DR: &[u64] = &[0, 0x400, 0xffff, 0xffff_ffff, 1 << 32];
pub const CANONICAL: &[u64] = &[0, 0x1234_5678_9abc, 0xffff_8000_0000_0000];
pub const MSRS: &[u32] = &[0xc000_0081, 0xc000_0082, 0xc000_0084, 0xc000_0102, 0x277];
pub const MSR_VALUES: &[u64] = &[0, 0x1234_5678, 0x0000_7fff_ffff_0000, 0x1_0000];
/// Where LGDT and LIDT find a base that is canonical, or a fault.
pub const TABLE_AT: &[u64] = &[DATA, READ_ONLY, STACK, MISSING + 8, MISSING - 4, 1 << 47];
pub const TASKS: &[u64] = &[0x28, 0x38, 0x08, 0x48, 0x60, 0x3c];
pub const STACKS: &[u64] = &[0, 0x08, 0x10, 0x13, 0x18, 0x1b, 0x23, 0x63];
/// One page at a time: which of two faults comes first is the processor's choice.
pub const UPDATED: &[u64] = &[
    DATA,
    DATA + 5,
    USER_STACK,
    READ_ONLY + 8,
    MISSING + 8,
    1 << 47,
    0x4000,
];

/// The instructions and what they work on.
pub fn instructions() -> Vec<(&'static str, &'static [u8], Use)> {
    use Use::*;
    vec![
        ("cli", &[0xfa], Memory),
        ("sti", &[0xfb], Memory),
        ("pushfq", &[0x9c], Memory),
        ("popfq", &[0x9d], Memory),
        ("iretq", &[0x48, 0xcf], Frame),
        ("retfq", &[0x48, 0xcb], Frame),
        ("swapgs", &[0x0f, 0x01, 0xf8], Memory),
        ("mov rbx, cr0", &[0x0f, 0x20, 0xc3], Memory),
        ("mov rbx, cr2", &[0x0f, 0x20, 0xd3], Memory),
        ("mov rbx, cr3", &[0x0f, 0x20, 0xdb], Memory),
        ("mov rbx, cr4", &[0x0f, 0x20, 0xe3], Memory),
        ("mov cr0, rax", &[0x0f, 0x22, 0xc0], Value(CR0)),
        ("mov cr2, rax", &[0x0f, 0x22, 0xd0], Value(CANONICAL)),
        ("mov cr3, rax", &[0x0f, 0x22, 0xd8], Value(CR3)),
        ("mov cr4, rax", &[0x0f, 0x22, 0xe0], Value(CR4)),
        ("mov cr8, rax", &[0x44, 0x0f, 0x22, 0xc0], Value(CR8)),
        ("mov dr0, rax", &[0x0f, 0x23, 0xc0], Value(CANONICAL)),
        ("mov dr6, rax", &[0x0f, 0x23, 0xf0], Value(DR)),
        ("mov rbx, dr7", &[0x0f, 0x21, 0xfb], Memory),
        ("clts", &[0x0f, 0x06], Memory),
        ("lmsw ax", &[0x0f, 0x01, 0xf0], Value(CR0)),
        ("smsw rax", &[0x48, 0x0f, 0x01, 0xe0], Memory),
        ("smsw [rax]", &[0x0f, 0x01, 0x20], Memory),
        ("invlpg [rax]", &[0x0f, 0x01, 0x38], Memory),
        ("wbinvd", &[0x0f, 0x09], Memory),
        ("rdmsr", &[0x0f, 0x32], Msr(MSRS, MSR_VALUES)),
        ("wrmsr", &[0x0f, 0x30], Msr(MSRS, MSR_VALUES)),
        ("lgdt [rax]", &[0x0f, 0x01, 0x10], Value(TABLE_AT)),
        ("lidt [rax]", &[0x0f, 0x01, 0x18], Value(TABLE_AT)),
        ("sgdt [rax]", &[0x0f, 0x01, 0x00], Memory),
        ("sidt [rax]", &[0x0f, 0x01, 0x08], Memory),
        ("sldt eax", &[0x0f, 0x00, 0xc0], Memory),
        ("str eax", &[0x0f, 0x00, 0xc8], Memory),
        ("lldt ax", &[0x0f, 0x00, 0xd0], Selector),
        ("ltr ax", &[0x0f, 0x00, 0xd8], Value(TASKS)),
        ("lar ebx, eax", &[0x0f, 0x02, 0xd8], Selector),
        ("lsl ebx, eax", &[0x0f, 0x03, 0xd8], Selector),
        ("verr ax", &[0x0f, 0x00, 0xe0], Selector),
        ("verw ax", &[0x0f, 0x00, 0xe8], Selector),
        ("mov ds, ax", &[0x8e, 0xd8], Selector),
        ("mov es, ax", &[0x8e, 0xc0], Selector),
        ("mov ss, ax", &[0x8e, 0xd0], Value(STACKS)),
        ("mov fs, ax", &[0x8e, 0xe0], Selector),
        ("mov gs, ax", &[0x8e, 0xe8], Selector),
        ("mov ebx, cs", &[0x8c, 0xcb], Memory),
        ("mov [rax], ss", &[0x8c, 0x10], Memory),
        ("push fs", &[0x0f, 0xa0], Memory),
        ("pop gs", &[0x0f, 0xa9], Frame),
        ("syscall", &[0x0f, 0x05], Memory),
        ("sysretq", &[0x48, 0x0f, 0x07], Target),
        ("rdfsbase rbx", &[0xf3, 0x48, 0x0f, 0xae, 0xc3], Memory),
        (
            "wrgsbase rax",
            &[0xf3, 0x48, 0x0f, 0xae, 0xd8],
            Value(CANONICAL),
        ),
        ("in al, dx", &[0xec], Memory),
        ("in eax, dx", &[0xed], Memory),
        ("out dx, ax", &[0x66, 0xef], Memory),
        ("rep insb", &[0xf3, 0x6c], Memory),
        ("rep outsb", &[0xf3, 0x6e], Memory),
        ("hlt", &[0xf4], Memory),
        ("int 0x80", &[0xcd, 0x80], Memory),
        ("int3", &[0xcc], Memory),
        ("ud2", &[0x0f, 0x0b], Memory),
        ("add [rax], rcx", &[0x48, 0x01, 0x08], Value(UPDATED)),
        (
            "lock xadd [rax], ecx",
            &[0xf0, 0x0f, 0xc1, 0x08],
            Value(UPDATED),
        ),
        ("xchg [rax], cx", &[0x66, 0x87, 0x08], Value(UPDATED)),
        (
            "cmpxchg [rax], rcx",
            &[0x48, 0x0f, 0xb1, 0x08],
            Value(UPDATED),
        ),
        ("bts [rax], rcx", &[0x48, 0x0f, 0xab, 0x08], Value(UPDATED)),
        (
            "mov rbx, gs:[8]",
            &[0x65, 0x48, 0x8b, 0x1c, 0x25, 8, 0, 0, 0],
            Memory,
        ),
        ("push [rax]", &[0xff, 0x30], Memory),
        ("pop [rax]", &[0x8f, 0x00], Memory),
        ("call rax", &[0xff, 0xd0], Target),
        ("jmp rax", &[0xff, 0xe0], Target),
        ("ret", &[0xc3], Target),
        ("rep movsq", &[0xf3, 0x48, 0xa5], Memory),
        ("rep stosb", &[0xf3, 0xaa], Memory),
        ("lodsd", &[0xad], Memory),
    ]
}
