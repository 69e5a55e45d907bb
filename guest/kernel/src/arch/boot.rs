//! From the loader's entry to Rust in the high half.
//!
//! ```text
//! PVH loader: 32-bit, no paging ── pvh_start ── 1 GiB identity map, long mode ──┐
//! gnomon: 64-bit, identity map ─────────────────────────────────────────────────┴─ _start64
//! _start64: build the kernel's tables, load CR3, jump to the link address, call start_kernel
//! ```
//!
//! Tables built here: the image with 4 KiB pages, each part with its own rights; the direct map
//! with its lowest level left empty (filled by page faults, `mm::direct`); one table for device
//! memory and the system-call gate. The loader's identity map stays until `start_kernel` drops it.
//!
//! The physical load address is found at run time (any 2 MiB boundary works); the virtual one is
//! the link address, so no relocation is needed.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use gnomon_abi::symbols::IMAGE_BASE;

use super::{apic, boot_info, cpu, fpu, gdt, idt, percpu, syscall_entry, tsc};
use crate::mm::{self, layout};

/// The boot stack's size; it becomes the idle task's.
const STACK_SIZE: usize = 32 * 1024;

// Bits of a table's entry: present, writable, user, accessed, dirty, global, no-execute.
const P: u64 = 1;
const W: u64 = 2;
const U: u64 = 4;
const A: u64 = 0x20;
const D: u64 = 0x40;
const G: u64 = 0x100;
const NX_HIGH: u64 = 1 << 31;

// PVH's entry. AT&T syntax, because it can subtract symbols: no absolute address is used.
global_asm!(
    r#"
    // ---- PVH: 32 bits, paging off, ebx = hvm_start_info ----
    .section .text.entry, "ax"
    .code32
    .globl pvh_start
    pvh_start:
        cld
        // Where are we? A call needs a stack: the first word of hvm_start_info, put back at once.
        movl (%ebx), %edx
        leal 4(%ebx), %esp
        call pvh_here
    pvh_here:
        popl %ebp
        movl %edx, (%ebx)
        leal boot_stack_top - pvh_here(%ebp), %esp
        leal boot_pml4 - pvh_here(%ebp), %edi
        // Two of the kernel's own tables serve for the identity map; _start64 moves on to others.
        leal boot_pdpt_kernel - pvh_here(%ebp), %eax
        leal boot_pd_kernel - pvh_here(%ebp), %ecx
        leal 3(%eax), %edx
        movl %edx, (%edi)
        leal 3(%ecx), %edx
        movl %edx, (%eax)
        movl $0x83, %eax
        xorl %edx, %edx
    2:  movl %eax, (%ecx, %edx, 8)
        addl $0x200000, %eax
        incl %edx
        cmpl $512, %edx
        jb 2b
        movl %cr4, %eax
        orl $0x20, %eax                         // PAE
        movl %eax, %cr4
        movl %edi, %cr3
        movl $0xc0000080, %ecx
        rdmsr
        orl $0x900, %eax                        // LME, NXE
        wrmsr
        movl %cr0, %eax
        orl $0x80010001, %eax                   // PG, WP, PE
        movl %eax, %cr0
        leal boot_gdt_pointer - pvh_here(%ebp), %eax
        leal boot_gdt - pvh_here(%ebp), %ecx
        movl %ecx, 2(%eax)
        lgdt (%eax)
        leal pvh_long - pvh_here(%ebp), %eax
        pushl $0x10
        pushl %eax
        lretl
    .code64
    "#,
    options(att_syntax)
);

global_asm!(
    r#"
    .section .bss.boot, "aw", @nobits
    .balign 4096
    boot_pml4: .skip 4096
    boot_pdpt_kernel: .skip 4096
    boot_pdpt_direct: .skip 4096
    boot_pd_kernel: .skip 4096
    boot_pd_device: .skip 4096
    boot_pt_device: .skip 4096
    boot_pt_kernel: .skip 4096 * 3
    boot_stack: .skip {stack}
    boot_stack_top:

    .section .text.entry, "ax"
    .code64
    pvh_long:
        mov eax, 0x18
        mov ds, eax
        mov es, eax
        mov ss, eax
        mov edi, ebx
        xor esi, esi

    // ---- 64 bits, one-to-one map: rdi = hvm_start_info, rsi = BootFacts or 0 ----
    .globl _start64
    _start64:
        cld
        mov r12, rdi
        mov r13, rsi
        lea rbx, [rip + image_start]            // physical base of the image
        lea rbp, [rip + boot_pml4]

        // Root: the kernel's two slots, and the loader's lowest for the moment. After a PVH entry
        // CR3 is the root itself, and its identity map lies in tables that are needed now.
        mov rax, cr3
        and rax, -4096
        cmp rax, rbp
        je 4f
        mov rax, [rax]
        mov [rbp], rax
        jmp 5f
    4:  // PVH: identity-map the image alone, in the device window's tables; start_kernel clears
        // them.
        mov rax, rbx
        shr rax, 21
        mov ecx, eax
        shl rax, 21
        or rax, 0x83
        lea rdx, [rip + boot_pt_device]
        mov [rdx + rcx * 8], rax
        add rax, 0x200000
        mov [rdx + rcx * 8 + 8], rax
        add rax, 0x200000
        mov [rdx + rcx * 8 + 16], rax
        lea rax, [rip + boot_pd_device]
        or rdx, 3
        mov [rax], rdx
        or rax, 3
        mov [rbp], rax
        mov cr3, rbp
        xor eax, eax
        lea rdi, [rip + boot_pdpt_kernel]
        mov [rdi], rax
        lea rdi, [rip + boot_pd_kernel]
        mov ecx, 512
        rep stosq
    5:
        lea rax, [rip + boot_pdpt_kernel + {pwu}]
        mov [rbp + 511 * 8], rax
        lea rax, [rip + boot_pdpt_direct + {pw}]
        bts rax, 63
        mov [rbp + {direct_slot} * 8], rax
        lea rdi, [rip + boot_pdpt_kernel]
        lea rax, [rip + boot_pd_kernel + {pw}]
        mov [rdi + 510 * 8], rax
        lea rdi, [rip + boot_pd_kernel]
        lea rax, [rip + boot_pt_kernel + {pw}]
        mov [rdi + 8], rax
        add rax, 4096
        mov [rdi + 16], rax
        add rax, 4096
        mov [rdi + 24], rax

        // The image, page by page: text, read-only data, data.
        lea rdi, [rip + boot_pt_kernel]
        lea rax, [rbx + {text}]
        lea rcx, [rip + text_end]
    6:  mov [rdi], rax
        add rdi, 8
        add rax, 4096
        cmp rax, rcx
        jb 6b
        mov rdx, {nx}
        lea rax, [rcx + {rodata}]
        or rax, rdx
        lea rcx, [rip + rodata_end]
        or rcx, rdx
    7:  mov [rdi], rax
        add rdi, 8
        add rax, 4096
        cmp rax, rcx
        jb 7b
        lea rax, [rcx + {data}]
        lea rcx, [rip + image_end]
        or rcx, rdx
    8:  mov [rdi], rax
        add rdi, 8
        add rax, 4096
        cmp rax, rcx
        jb 8b

        mov rax, cr4
        or eax, 0x80                            // PGE
        mov cr4, rax
        mov cr3, rbp
        mov rax, {link}
        sub rax, rbx                            // from physical to virtual
        lea rcx, [rip + 9f]
        add rcx, rax
        jmp rcx
    9:  lea rsp, [rip + boot_stack_top]
        mov rdi, r12
        mov rsi, r13
        mov rdx, rbx
        xor ebp, ebp
        call {start_kernel}
        ud2

    .section .data.boot, "aw"
    .balign 8
    boot_gdt:
        .quad 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff
    boot_gdt_pointer:
        .word 31
        .long 0
    "#,
    stack = const STACK_SIZE,
    pw = const P | W | A,
    pwu = const P | W | U | A,
    text = const P | A | G,
    rodata = const P | A | G,
    data = const P | W | A | D | G,
    nx = const NX_HIGH << 32,
    direct_slot = const layout::DIRECT_MAP >> 39 & 511,
    link = const IMAGE_BASE,
    start_kernel = sym start_kernel,
);

unsafe extern "C" {
    static image_start: u8;
    static text_end: u8;
    static image_end: u8;
    static mut boot_pml4: [u64; 512];
    static mut boot_pdpt_direct: [u64; 512];
    static mut boot_pdpt_kernel: [u64; 512];
    static mut boot_pd_device: [u64; 512];
    static mut boot_pt_device: [u64; 512];
    static boot_stack_top: u8;
}

/// Physical address of the image.
static PHYSICAL_BASE: AtomicU64 = AtomicU64::new(0);

/// gpa of an address in the kernel's image.
pub fn image_to_phys(address: usize) -> u64 {
    address as u64 - IMAGE_BASE + PHYSICAL_BASE.load(Ordering::Relaxed)
}

/// First gpa after the image.
pub fn image_end_phys() -> u64 {
    image_to_phys(&raw const image_end as usize)
}

/// Whether an address is in the kernel's code.
pub fn is_kernel_text(address: u64) -> bool {
    (&raw const image_start as u64..&raw const text_end as u64).contains(&address)
}

/// gpa of the kernel's root table: a root without a program.
pub fn kernel_root() -> u64 {
    image_to_phys(&raw const boot_pml4 as usize)
}

/// The kernel's root table, whose slots all others share.
pub(crate) fn root_table() -> *mut u64 {
    (&raw mut boot_pml4).cast()
}

/// The direct map's table of 1 GiB slots.
pub(crate) fn direct_table() -> *mut u64 {
    (&raw mut boot_pdpt_direct).cast()
}

/// The last-level table of device memory.
pub(crate) fn device_table() -> *mut u64 {
    (&raw mut boot_pt_device).cast()
}

/// Top of the boot stack, which the idle task keeps.
fn boot_stack() -> usize {
    &raw const boot_stack_top as usize
}

/// First Rust code: on the boot stack, at the link address, interrupts off.
extern "C" fn start_kernel(start_info: u64, facts: u64, physical_base: u64) -> ! {
    PHYSICAL_BASE.store(physical_base, Ordering::Relaxed);
    let cpu = percpu::init_boot_cpu();
    gdt::init(cpu);
    idt::init();
    // SAFETY: nothing is reached through the loader's map from here on; the device tables may
    // hold leftovers of the PVH path, in their first entries.
    unsafe {
        core::ptr::write_volatile((&raw mut boot_pml4).cast::<u64>(), 0);
        let pd = (&raw mut boot_pd_device).cast::<u64>();
        if *pd != 0 {
            device_table().write_bytes(0, 512);
        }
        *pd = image_to_phys(&raw const boot_pt_device as usize) | P | W | U | A;
        *(&raw mut boot_pdpt_kernel).cast::<u64>().add(511) =
            image_to_phys(&raw const boot_pd_device as usize) | P | W | U | A;
        cpu::write_cr3(kernel_root());
    }
    cpu.cr3.set(kernel_root());
    percpu::set_kernel_stack(boot_stack());
    mm::direct::init_early();
    // SAFETY: the loader's registers, as `_start64` got them.
    unsafe { boot_info::init(start_info, facts) };
    cpu::init();
    fpu::init();
    mm::init(boot_info::memory_map());
    syscall_entry::init();
    apic::init();
    tsc::init();
    crate::init::run()
}
