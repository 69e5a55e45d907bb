//! Control registers, MSRs, CPUID, and what this processor offers.

use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, CpuidResult};
use core::sync::atomic::{AtomicU32, Ordering};
use gnomon_abi::boot::NO_XSAVE_IN_RING0;

/// IA32_APIC_BASE.
pub const MSR_APIC_BASE: u32 = 0x1b;
/// IA32_EFER.
pub const MSR_EFER: u32 = 0xc000_0080;
/// IA32_STAR: selectors of SYSCALL and SYSRET.
pub const MSR_STAR: u32 = 0xc000_0081;
/// IA32_LSTAR: entry of SYSCALL.
pub const MSR_LSTAR: u32 = 0xc000_0082;
/// IA32_FMASK: flags that SYSCALL clears.
pub const MSR_FMASK: u32 = 0xc000_0084;
/// IA32_FS_BASE.
pub const MSR_FS_BASE: u32 = 0xc000_0100;
/// IA32_GS_BASE.
pub const MSR_GS_BASE: u32 = 0xc000_0101;
/// IA32_KERNEL_GS_BASE: what SWAPGS exchanges with.
pub const MSR_KERNEL_GS_BASE: u32 = 0xc000_0102;

/// EFER.SCE: SYSCALL enable.
pub const EFER_SCE: u64 = 1;

/// Reads a model-specific register.
///
/// # Safety
/// The register exists.
pub unsafe fn rdmsr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: by the caller's promise no #GP.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The register exists, the value is legal, and its effect keeps the kernel's memory valid.
pub unsafe fn wrmsr(msr: u32, value: u64) {
    // SAFETY: by the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32,
             options(nostack, preserves_flags));
    }
}

/// CPUID.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    __cpuid_count(leaf, subleaf)
}

/// The faulting address of the last page fault.
pub fn read_cr2() -> usize {
    let value: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Loads the page-table root; flushes all translations that are not global.
///
/// # Safety
/// The tables map the kernel as every root of ours does.
pub unsafe fn write_cr3(value: u64) {
    // SAFETY: by the caller's promise.
    unsafe { asm!("mov cr3, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Drops the translation of one page.
pub fn invlpg(address: usize) {
    // SAFETY: costs a table walk later, changes no meaning.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
}

/// Reads CR0.
pub fn read_cr0() -> u64 {
    let value: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr0", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes CR0.
///
/// # Safety
/// Paging and protection stay on.
pub unsafe fn write_cr0(value: u64) {
    // SAFETY: by the caller's promise.
    unsafe { asm!("mov cr0, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Reads CR4.
pub fn read_cr4() -> u64 {
    let value: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr4", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes CR4.
///
/// # Safety
/// The features are there, and the kernel is built for them.
pub unsafe fn write_cr4(value: u64) {
    // SAFETY: by the caller's promise.
    unsafe { asm!("mov cr4, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// What CPUID offers and the kernel uses, one bit each.
static FEATURES: AtomicU32 = AtomicU32::new(0);

/// XSAVE and its kin may be used.
pub const XSAVE: u32 = 1 << 0;
/// RDFSBASE, WRFSBASE may be used.
pub const FSGSBASE: u32 = 1 << 1;
/// The local APIC speaks x2APIC.
pub const X2APIC: u32 = 1 << 2;
/// RDRAND may be used.
pub const RDRAND: u32 = 1 << 3;
/// XSAVEOPT may be used.
pub const XSAVEOPT: u32 = 1 << 4;

/// Whether the processor offers a feature (one of the constants above).
pub fn has(feature: u32) -> bool {
    FEATURES.load(Ordering::Relaxed) & feature != 0
}

/// Does without XSAVE from now on. Programs see that too (OSXSAVE), and use no state that FXSAVE
/// would miss.
pub(super) fn forgo_xsave() {
    FEATURES.fetch_and(!(XSAVE | XSAVEOPT), Ordering::Relaxed);
    // SAFETY: nothing uses XSAVE any more.
    unsafe { write_cr4(read_cr4() & !CR4_OSXSAVE) };
}

const CR0_MP: u64 = 1 << 1;
const CR0_EM: u64 = 1 << 2;
const CR0_TS: u64 = 1 << 3;
const CR0_NE: u64 = 1 << 5;
const CR0_WP: u64 = 1 << 16;
const CR4_PGE: u64 = 1 << 7;
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXMMEXCPT: u64 = 1 << 10;
const CR4_UMIP: u64 = 1 << 11;
const CR4_FSGSBASE: u64 = 1 << 16;
const CR4_OSXSAVE: u64 = 1 << 18;
const CR4_SMEP: u64 = 1 << 20;

/// Finds the processor's features and turns on those the kernel uses.
pub fn init() {
    let leaf1 = cpuid(1, 0);
    let max = cpuid(0, 0).eax;
    let leaf7 = if max >= 7 {
        cpuid(7, 0)
    } else {
        CpuidResult {
            eax: 0,
            ebx: 0,
            ecx: 0,
            edx: 0,
        }
    };
    let mut features = 0;
    let mut cr4 = read_cr4() | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    if leaf1.ecx & 1 << 26 != 0 && !super::boot_info::has_quirk(NO_XSAVE_IN_RING0) {
        features |= XSAVE;
        cr4 |= CR4_OSXSAVE;
        if cpuid(0xd, 1).eax & 1 != 0 {
            features |= XSAVEOPT;
        }
    }
    if leaf1.ecx & 1 << 21 != 0 {
        features |= X2APIC;
    }
    if leaf1.ecx & 1 << 30 != 0 {
        features |= RDRAND;
    }
    if leaf7.ebx & 1 != 0 {
        features |= FSGSBASE;
        cr4 |= CR4_FSGSBASE;
    }
    if leaf7.ebx & 1 << 7 != 0 {
        cr4 |= CR4_SMEP;
    }
    if leaf7.ecx & 1 << 2 != 0 {
        cr4 |= CR4_UMIP;
    }
    FEATURES.store(features, Ordering::Relaxed);
    // SAFETY: only features that CPUID offers; the kernel executes no user pages and uses no FPU.
    unsafe {
        write_cr4(cr4);
        write_cr0((read_cr0() | CR0_MP | CR0_NE | CR0_WP) & !(CR0_EM | CR0_TS));
    }
}
