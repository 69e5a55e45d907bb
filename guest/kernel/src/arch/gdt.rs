//! Segments and the task-state segment (SDM vol. 3, 3.4 and 8.7).
//!
//! Selectors are Linux's, because programs see them in signal frames:
//!
//! | selector | what |
//! |---|---|
//! | 0x10, 0x18 | kernel code, kernel data |
//! | 0x23 | 32-bit user code (for SYSRET's arithmetic; present, never used by us) |
//! | 0x2b, 0x33 | user data, user code |
//! | 0x40 | TSS |

use core::arch::asm;

use super::percpu::PerCpu;

/// Kernel code selector.
pub const KERNEL_CS: u16 = 0x10;
/// Kernel data selector.
pub const KERNEL_DS: u16 = 0x18;
/// User data selector, RPL 3.
pub const USER_DS: u16 = 0x2b;
/// User code selector, RPL 3.
pub const USER_CS: u16 = 0x33;
/// TSS selector.
const TSS_SELECTOR: u16 = 0x40;
/// IA32_STAR: SYSCALL loads CS 0x10, SS 0x18; SYSRET CS 0x33, SS 0x2b.
pub(super) const STAR: u64 = 0x23 << 48 | (KERNEL_CS as u64) << 32;

/// IST slot of double faults.
pub(super) const IST_DOUBLE_FAULT: u8 = 1;
/// IST slot of NMI and machine checks.
pub(super) const IST_NMI: u8 = 2;

/// The global descriptor table of one processor.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Gdt([u64; 10]);

impl Gdt {
    /// The table without its TSS.
    pub const fn new() -> Gdt {
        Gdt([
            0,
            0,
            0x00af_9b00_0000_ffff, // kernel code, 64-bit
            0x00cf_9300_0000_ffff, // kernel data
            0x00cf_fb00_0000_ffff, // user code, 32-bit
            0x00cf_f300_0000_ffff, // user data
            0x00af_fb00_0000_ffff, // user code, 64-bit
            0,
            0, // TSS, two slots
            0,
        ])
    }
}

/// The 64-bit task-state segment.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
pub(super) struct Tss {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    iomap_base: u16,
}

const _: () = assert!(size_of::<Tss>() == 104);

impl Tss {
    /// No stacks yet, no I/O permission map.
    pub const fn new() -> Tss {
        Tss {
            reserved0: 0,
            rsp: [0; 3],
            reserved1: 0,
            ist: [0; 7],
            reserved2: 0,
            reserved3: 0,
            iomap_base: 104,
        }
    }

    /// Stack for traps from ring 3.
    pub fn set_rsp0(&mut self, top: usize) {
        self.rsp[0] = top as u64;
    }
}

/// A stack for traps that may hit with the current one unusable.
#[repr(C, align(16))]
struct IstStack(core::cell::UnsafeCell<[u8; 4096]>);

// SAFETY: the processor alone writes to it, when it takes the trap.
unsafe impl Sync for IstStack {}

static DOUBLE_FAULT_STACK: IstStack = IstStack(core::cell::UnsafeCell::new([0; 4096]));
static NMI_STACK: IstStack = IstStack(core::cell::UnsafeCell::new([0; 4096]));

/// Loads the processor's GDT, segments and TSS.
pub(super) fn init(cpu: &'static PerCpu) {
    // SAFETY: this processor's own tables, before anything else uses them.
    unsafe {
        let tss = &mut *cpu.tss.as_ptr();
        let top = |stack: &IstStack| stack.0.get() as u64 + 4096;
        tss.ist[usize::from(IST_DOUBLE_FAULT) - 1] = top(&DOUBLE_FAULT_STACK);
        tss.ist[usize::from(IST_NMI) - 1] = top(&NMI_STACK);
        let base = core::ptr::from_mut(tss) as u64;
        let gdt = &mut *cpu.gdt.as_ptr();
        gdt.0[8] = 103 | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
        gdt.0[9] = base >> 32;
        let pointer = TablePointer {
            limit: size_of::<Gdt>() as u16 - 1,
            base: gdt.0.as_ptr() as u64,
        };
        asm!(
            "lgdt [{pointer}]",
            // CS by IRETQ: far jumps are off limits.
            "mov {tmp}, rsp",
            "push {ds}",
            "push {tmp}",
            "push 2",
            "push {cs}",
            "lea {tmp}, [rip + 2f]",
            "push {tmp}",
            "iretq",
            "2:",
            "mov ds, {ds:e}",
            "mov es, {ds:e}",
            "mov fs, {zero:e}",
            "ltr {tss:x}",
            pointer = in(reg) &raw const pointer,
            tmp = out(reg) _,
            ds = in(reg) u64::from(KERNEL_DS),
            cs = in(reg) u64::from(KERNEL_CS),
            zero = in(reg) 0u64,
            tss = in(reg) TSS_SELECTOR,
        );
    }
}

/// Operand of LGDT and LIDT.
#[repr(C, packed(2))]
pub(super) struct TablePointer {
    /// Size in bytes, less one.
    pub limit: u16,
    /// Linear address.
    pub base: u64,
}
