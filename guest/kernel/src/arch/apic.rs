//! The local APIC: end of interrupt and the one-shot timer (SDM vol. 3, chapter 12).

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::idt::{SPURIOUS, TIMER};
use super::{boot_info, cpu};
use crate::mm::mmio;

/// Register numbers: offset in the xAPIC page / 16 = offset from MSR 0x800.
const ID: u32 = 0x02;
const EOI: u32 = 0x0b;
const SPURIOUS_VECTOR: u32 = 0x0f;
const LVT_TIMER: u32 = 0x32;
const LVT_LINT0: u32 = 0x35;
const LVT_LINT1: u32 = 0x36;
const INITIAL_COUNT: u32 = 0x38;
const CURRENT_COUNT: u32 = 0x39;
const DIVIDE: u32 = 0x3e;

/// "Do not count down slower": divide by 1.
const DIVIDE_BY_1: u32 = 0b1011;
const MASKED: u32 = 1 << 16;
/// APIC_BASE: global enable, x2APIC enable.
const BASE_ENABLE: u64 = 1 << 11;
const BASE_X2APIC: u64 = 1 << 10;

/// Virtual address of the xAPIC page; 0: x2APIC.
static PAGE: AtomicUsize = AtomicUsize::new(0);
/// Timer ticks per nanosecond, times 2^32.
static SCALE: AtomicU64 = AtomicU64::new(0);

fn write(register: u32, value: u32) {
    match PAGE.load(Ordering::Relaxed) {
        // SAFETY: x2APIC is on; the register is one of those above.
        0 => unsafe { cpu::wrmsr(0x800 + register, u64::from(value)) },
        // SAFETY: the xAPIC page is mapped, uncached, 4 KiB.
        page => unsafe { ((page + register as usize * 16) as *mut u32).write_volatile(value) },
    }
}

fn read(register: u32) -> u32 {
    match PAGE.load(Ordering::Relaxed) {
        // SAFETY: as in `write`.
        0 => unsafe { cpu::rdmsr(0x800 + register) as u32 },
        // SAFETY: as in `write`.
        page => unsafe { ((page + register as usize * 16) as *const u32).read_volatile() },
    }
}

/// Enables the local APIC; its timer is off.
pub(super) fn init() {
    // SAFETY: the register exists wherever there is a local APIC; enabling changes no memory.
    unsafe {
        let base = cpu::rdmsr(cpu::MSR_APIC_BASE);
        if cpu::has(cpu::X2APIC) {
            cpu::wrmsr(cpu::MSR_APIC_BASE, base | BASE_ENABLE | BASE_X2APIC);
        } else {
            if base & BASE_ENABLE == 0 {
                cpu::wrmsr(cpu::MSR_APIC_BASE, base | BASE_ENABLE);
            }
            PAGE.store(
                mmio::map(base & 0xf_ffff_f000, 4096) as usize,
                Ordering::Relaxed,
            );
        }
    }
    write(SPURIOUS_VECTOR, 0x100 | u32::from(SPURIOUS));
    write(LVT_LINT0, MASKED);
    write(LVT_LINT1, MASKED);
    write(DIVIDE, DIVIDE_BY_1);
    write(LVT_TIMER, u32::from(TIMER));
    SCALE.store(
        ((u128::from(timer_khz()) << 32) / 1_000_000) as u64,
        Ordering::Relaxed,
    );
}

/// The timer's frequency in kHz: gnomon's boot facts, else 1 GHz, as in QEMU and KVM.
pub fn timer_khz() -> u64 {
    match boot_info::facts() {
        Some(facts) if facts.apic_timer_khz != 0 => facts.apic_timer_khz,
        _ => 1_000_000,
    }
}

/// Starts the timer with a raw count; 0 stops it.
pub(super) fn start_count(count: u32) {
    write(INITIAL_COUNT, count);
}

/// What is left of the count.
pub(super) fn current_count() -> u32 {
    read(CURRENT_COUNT)
}

/// One timer interrupt (vector [`TIMER`]) in `ns` nanoseconds; later settings replace earlier
/// ones. Longer than the counter reaches: fires early, and the clock code sets it again.
pub fn set_timer(ns: u64) {
    let count = ((u128::from(ns) * u128::from(SCALE.load(Ordering::Relaxed))) >> 32)
        .clamp(1, u128::from(u32::MAX));
    write(INITIAL_COUNT, count as u32);
}

/// The interrupt being handled is done.
pub fn eoi() {
    write(EOI, 0);
}

/// This processor's APIC id.
pub fn id() -> u32 {
    if PAGE.load(Ordering::Relaxed) == 0 {
        read(ID)
    } else {
        read(ID) >> 24
    }
}
