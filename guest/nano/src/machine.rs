//! The processor as the benchmarks need it: page tables that ring 3 may use, descriptor tables,
//! handlers that skip the instruction that faulted, a way into ring 3 and back.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

unsafe extern "C" {
    /// Top of the stack that the benchmarks run on.
    #[link_name = "nano_stack_top"]
    pub static STACK_TOP: u8;
    static nano_gdt: [u8; 0];
    static nano_tss: [u8; 0];
    static nano_on_divide: [u8; 0];
    static nano_on_page_fault: [u8; 0];
    static nano_on_protection: [u8; 0];
    static nano_on_other: [u8; 0];
    static nano_gate: [u8; 0];
    static nano_syscall: [u8; 0];
    fn nano_user_syscalls(iterations: u64);
}

// Selectors in the order that SYSCALL and SYSRET want (Intel SDM volume 3, 5.8.8).
const KERNEL_CODE: u64 = 0x08;
const USER_BASE: u64 = 0x18;
const TSS: u16 = 0x30;

global_asm!(
    ".pushsection .bss",
    ".balign 16",
    ".skip 8192",
    ".global nano_stack_top",
    "nano_stack_top:",
    ".skip 4096",
    "nano_trap_top:",
    ".skip 4096",
    "nano_user_top:",
    "nano_saved: .skip 8",
    ".popsection",
    ".pushsection .data",
    ".balign 16",
    ".global nano_gdt",
    "nano_gdt:",
    ".quad 0",
    ".quad 0x00af9b000000ffff", // 08 kernel code
    ".quad 0x00cf93000000ffff", // 10 kernel data
    ".quad 0x00cffb000000ffff", // 18 user code, 32-bit: unused, SYSRET counts from here
    ".quad 0x00cff3000000ffff", // 20 user data
    ".quad 0x00affb000000ffff", // 28 user code
    ".quad 0, 0",               // 30 TSS
    "nano_gdt_end:",
    ".global nano_tss",
    "nano_tss:",
    ".long 0",
    ".quad nano_trap_top", // RSP0
    ".skip 88",
    ".word 0, 104",
    ".popsection",
    // Division error: skip `div ecx`, two bytes.
    ".global nano_on_divide",
    "nano_on_divide:",
    "add qword ptr [rsp], 2",
    "iretq",
    // Page fault: skip `mov al, [rdi]`, two bytes, and drop the error code.
    ".global nano_on_page_fault",
    "nano_on_page_fault:",
    "add rsp, 8",
    "add qword ptr [rsp], 2",
    "iretq",
    // A system call on hosts where SYSCALL stays in ring 3 arrives as #GP at the gate.
    ".global nano_on_protection",
    "nano_on_protection:",
    "lea rdx, [rip + nano_gate]",
    "cmp [rsp + 8], rdx",
    "jne nano_on_other",
    "mov rsp, [rsp + 32]",
    ".global nano_syscall",
    "nano_syscall:",
    "test eax, eax",
    "jnz 2f",
    "sysretq",
    "2:",
    "mov rsp, [rip + nano_saved]",
    "pop rbx",
    "ret",
    ".global nano_gate",
    "nano_gate:",
    "hlt",
    ".global nano_on_other",
    "nano_on_other:",
    "mov edx, {fatal}",
    "mov eax, {exception}",
    "out dx, eax",
    "3:",
    "hlt",
    "jmp 3b",
    // rdi system calls from ring 3; one with rax = 1 ends it.
    ".global nano_user_syscalls",
    "nano_user_syscalls:",
    "push rbx",
    "mov [rip + nano_saved], rsp",
    "mov rbx, rdi",
    "push {user_data}",
    "lea rax, [rip + nano_user_top]",
    "push rax",
    "push 2",
    "push {user_code}",
    "lea rax, [rip + 4f]",
    "push rax",
    "iretq",
    "4:",
    "xor eax, eax",
    "syscall",
    "dec rbx",
    "jnz 4b",
    "mov eax, 1",
    "syscall",
    fatal = const gnomon_abi::ports::FATAL,
    exception = const gnomon_abi::ports::FatalReason::Exception as u32,
    user_data = const USER_BASE + 8 + 3,
    user_code = const USER_BASE + 16 + 3,
);

/// A page of table entries.
#[repr(C, align(4096))]
pub struct Page(UnsafeCell<[u64; 512]>);

// SAFETY: one processor, no interrupts: nothing runs beside what uses a page.
unsafe impl Sync for Page {}

impl Page {
    /// All entries 0.
    pub const fn zeroed() -> Self {
        Page(UnsafeCell::new([0; 512]))
    }
    fn entry(&self, index: usize) -> *mut u64 {
        self.0.get().cast::<u64>().wrapping_add(index)
    }
    /// Write entry `index`, below 512.
    pub fn set(&self, index: usize, value: u64) {
        // SAFETY: `index` is below 512 in all calls, and Sync's reason.
        unsafe { self.entry(index).write_volatile(value) }
    }
    /// Where it lies.
    pub fn gpa(&self) -> u64 {
        self.0.get() as u64
    }
}

static PML4: Page = Page::zeroed();
static PDPT: Page = Page::zeroed();
static LOW: Page = Page::zeroed();
static HIGH: Page = Page::zeroed();
static LEAF: Page = Page::zeroed();
static IDT: Page = Page::zeroed();

/// Entry bit: the translation exists.
pub const PRESENT: u64 = 1;
/// Entry bit: it may be written.
pub const WRITE: u64 = 2;
const USER: u64 = 4;
/// Entry bit: a page of 2 MiB.
pub const LARGE: u64 = 1 << 7;

/// An address that is never mapped.
pub const UNMAPPED: u64 = 0x4020_0000;

/// An entry of a table in use, for [`crate::bench`]'s stores to page tables: it maps 0x4000_0000.
pub fn leaf_entry() -> *mut u64 {
    LEAF.entry(0)
}

/// Let entry `index` of the top directory, 1 GiB of addresses, be `directory`.
pub fn set_directory(index: usize, directory: &Page) {
    PDPT.set(index, directory.gpa() | PRESENT | WRITE);
}

/// Read through [`leaf_entry`]: a table that translates nothing is not one that anybody traces.
pub fn use_leaf() {
    // SAFETY: `init` has mapped the page.
    unsafe { (0x4000_0000 as *const u64).read_volatile() };
}

/// Page tables, descriptor tables and the system call entry.
///
/// `gate`: SYSCALL stays in ring 3 on this host (gnomon_abi::boot).
pub fn init(gate: bool) {
    let table = PRESENT | WRITE | USER;
    PML4.set(0, PDPT.gpa() | table);
    PDPT.set(0, LOW.gpa() | table);
    PDPT.set(1, HIGH.gpa() | table);
    for megabytes in 0..16 {
        LOW.set(megabytes, (megabytes as u64) << 21 | table | LARGE);
    }
    HIGH.set(0, LEAF.gpa() | table);
    LEAF.set(0, 0x40_0000 | table);
    // SAFETY: the low 32 MiB, with all of this image, keep their addresses.
    unsafe { asm!("mov cr3, {}", in(reg) PML4.gpa(), options(nostack)) };

    for vector in 0..256 {
        set_gate(vector, &raw const nano_on_other as u64);
    }
    set_gate(0, &raw const nano_on_divide as u64);
    set_gate(13, &raw const nano_on_protection as u64);
    set_gate(14, &raw const nano_on_page_fault as u64);

    let tss = &raw const nano_tss as u64;
    let gdt = &raw const nano_gdt as u64;
    let descriptor = 103 | (tss & 0xff_ffff) << 16 | 0x89 << 40 | (tss >> 24 & 0xff) << 56;
    // SAFETY: the GDT lies in writable memory of this image and is long enough for the TSS's two
    // quads; the tables loaded are valid and stay.
    unsafe {
        (gdt as *mut u64)
            .add(usize::from(TSS) / 8)
            .write_volatile(descriptor);
        load_table::<true>(gdt, usize::from(TSS) + 16);
        load_table::<false>(IDT.gpa(), 4096);
        asm!("ltr {:x}", in(reg) TSS, options(nostack));
    }
    const EFER: u32 = 0xc000_0080;
    const STAR: u32 = 0xc000_0081;
    const LSTAR: u32 = 0xc000_0082;
    const FMASK: u32 = 0xc000_0084;
    let entry = if gate {
        &raw const nano_gate as u64
    } else {
        &raw const nano_syscall as u64
    };
    write_msr(STAR, KERNEL_CODE << 32 | (USER_BASE | 3) << 48);
    write_msr(LSTAR, entry);
    write_msr(FMASK, 0x200);
    write_msr(EFER, 0xd01); // SCE, LME, LMA, NXE
}

/// An interrupt gate of 64-bit mode (Intel SDM volume 3, figure 6-8), callable from ring 0 alone.
fn set_gate(vector: usize, handler: u64) {
    let low = handler & 0xffff | KERNEL_CODE << 16 | 0x8e << 40 | (handler >> 16 & 0xffff) << 48;
    IDT.set(vector * 2, low);
    IDT.set(vector * 2 + 1, handler >> 32);
}

/// LGDT or LIDT.
///
/// # Safety
/// The table is valid and stays.
unsafe fn load_table<const GDT: bool>(base: u64, bytes: usize) {
    let mut operand = [0u8; 10];
    operand[..2].copy_from_slice(&(bytes as u16 - 1).to_le_bytes());
    operand[2..].copy_from_slice(&base.to_le_bytes());
    // SAFETY: the caller's promise.
    unsafe {
        if GDT {
            asm!("lgdt [{}]", in(reg) &operand, options(nostack, readonly));
        } else {
            asm!("lidt [{}]", in(reg) &operand, options(nostack, readonly));
        }
    }
}

fn write_msr(msr: u32, value: u64) {
    // SAFETY: the four that `init` writes, with handlers that are in place.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack));
    }
}

/// Make `iterations` system calls from ring 3 that do nothing.
pub fn user_syscalls(iterations: u64) {
    // SAFETY: `init` has set up ring 3 and the entry; the stub keeps what the ABI wants kept.
    unsafe { nano_user_syscalls(iterations) };
}

/// The time-stamp counter.
pub fn tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nostack, nomem)) };
    u64::from(high) << 32 | u64::from(low)
}

/// `out dx, al`.
pub fn out8(port: u16, value: u8) {
    // SAFETY: the ports written are gnomon's, which touch no memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack)) };
}

/// `out dx, eax`.
pub fn out32(port: u16, value: u32) {
    // SAFETY: as for `out8`.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack)) };
}

/// Stop for good.
pub fn halt() -> ! {
    loop {
        // SAFETY: interrupts are off, so nothing follows.
        unsafe { asm!("hlt", options(nostack)) };
    }
}
