//! The program's floating-point and vector registers.
//!
//! The kernel uses none of them. A switch between tasks saves with XSAVE where CPUID offers it,
//! else with FXSAVE (SDM vol. 1, chapter 13 and 10.5).

use alloc::alloc::{alloc_zeroed, dealloc, handle_alloc_error};
use core::alloc::Layout;
use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::cpu;
use crate::errno::{Errno, KResult};

/// State components the kernel keeps for programs: x87, SSE, AVX, AVX-512.
const WANTED: u32 = 0b1110_0111;
/// Bytes of the FXSAVE image; MXCSR is at 24, XSTATE_BV follows it.
const LEGACY: usize = 512;
/// MXCSR and the x87 control word after reset, as Linux starts programs.
const INITIAL_MXCSR: u32 = 0x1f80;
const INITIAL_FCW: u16 = 0x37f;
/// MXCSR's defined bits: others make FXRSTOR fault.
const MXCSR_MASK: u32 = 0xffff;

static SIZE: AtomicUsize = AtomicUsize::new(LEGACY);
static COMPONENTS: AtomicU32 = AtomicU32::new(0);

/// Chooses what is saved. Called once, after `cpu::init`.
pub(super) fn init() {
    if !cpu::has(cpu::XSAVE) {
        return;
    }
    let components = cpu::cpuid(0xd, 0).eax & WANTED;
    // SAFETY: CR4.OSXSAVE is on and the bits are offered by CPUID; AVX-512's come together.
    unsafe { asm!("xsetbv", in("ecx") 0, in("eax") components, in("edx") 0, options(nomem, nostack, preserves_flags)) };
    COMPONENTS.store(components, Ordering::Relaxed);
    // EBX: size for what XCR0 enables now.
    SIZE.store((cpu::cpuid(0xd, 0).ebx as usize).max(LEGACY + 64), Ordering::Relaxed);
}

/// Saved registers of one task.
pub struct FpuState {
    area: NonNull<u8>,
}

// SAFETY: owned memory without ties to a processor.
unsafe impl Send for FpuState {}
// SAFETY: as above; changes need `&mut` or happen on the owning task's processor.
unsafe impl Sync for FpuState {}

fn layout() -> Layout {
    // The size comes from CPUID and is a few KiB at most.
    match Layout::from_size_align(SIZE.load(Ordering::Relaxed), 64) {
        Ok(layout) => layout,
        Err(_) => Layout::new::<[u8; LEGACY]>(),
    }
}

impl FpuState {
    /// The state in which programs start.
    pub fn new() -> FpuState {
        let layout = layout();
        // SAFETY: the size is not zero.
        let Some(area) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
        let mut state = FpuState { area };
        state.reset();
        state
    }

    /// Back to the state in which programs start.
    pub fn reset(&mut self) {
        let size = layout().size();
        // SAFETY: the area is that large; an all-zero XSTATE_BV means initial state.
        unsafe {
            self.area.as_ptr().write_bytes(0, size);
            self.area.as_ptr().cast::<u16>().write(INITIAL_FCW);
            self.area.as_ptr().add(24).cast::<u32>().write(INITIAL_MXCSR);
        }
    }

    /// Saves the processor's registers here.
    pub fn save(&mut self) {
        let area = self.area.as_ptr();
        let components = COMPONENTS.load(Ordering::Relaxed);
        // SAFETY: the area is large enough and 64-byte aligned; CPUID decided the instruction.
        unsafe {
            if components == 0 {
                asm!("fxsave64 [{}]", in(reg) area, options(nostack, preserves_flags));
            } else if cpu::has(cpu::XSAVEOPT) {
                asm!("xsaveopt64 [{}]", in(reg) area, in("eax") components, in("edx") 0, options(nostack, preserves_flags));
            } else {
                asm!("xsave64 [{}]", in(reg) area, in("eax") components, in("edx") 0, options(nostack, preserves_flags));
            }
        }
    }

    /// Loads the processor's registers from here.
    pub fn restore(&self) {
        let area = self.area.as_ptr();
        let components = COMPONENTS.load(Ordering::Relaxed);
        // SAFETY: as in `save`; `set_legacy` lets no illegal MXCSR in.
        unsafe {
            if components == 0 {
                asm!("fxrstor64 [{}]", in(reg) area, options(readonly, nostack, preserves_flags));
            } else {
                asm!("xrstor64 [{}]", in(reg) area, in("eax") components, in("edx") 0, options(readonly, nostack, preserves_flags));
            }
        }
    }

    /// A copy of the saved registers (a forked task's).
    pub fn duplicate(&self) -> FpuState {
        let copy = FpuState::new();
        // SAFETY: both areas have the same size.
        unsafe { copy.area.copy_from_nonoverlapping(self.area, layout().size()) };
        copy
    }

    /// The FXSAVE image, for signal frames (`uc_mcontext.fpregs`).
    pub fn legacy(&self) -> &[u8; LEGACY] {
        // SAFETY: the area is at least that large.
        unsafe { self.area.cast::<[u8; LEGACY]>().as_ref() }
    }

    /// Takes an FXSAVE image that a program hands back (sigreturn). `EINVAL` if its MXCSR has
    /// reserved bits, with which the processor would fault.
    pub fn set_legacy(&mut self, image: &[u8; LEGACY]) -> KResult<()> {
        let mxcsr = u32::from_le_bytes([image[24], image[25], image[26], image[27]]);
        if mxcsr & !MXCSR_MASK != 0 {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the area is at least that large; where XSAVE is used its header follows, in
        // which x87 and SSE are marked as present.
        unsafe {
            self.area.cast::<[u8; LEGACY]>().as_ptr().write(*image);
            if COMPONENTS.load(Ordering::Relaxed) != 0 {
                *self.area.as_ptr().add(LEGACY).cast::<u64>() |= 3;
            }
        }
        Ok(())
    }
}

impl Default for FpuState {
    fn default() -> Self {
        FpuState::new()
    }
}

impl Drop for FpuState {
    fn drop(&mut self) {
        // SAFETY: allocated with the same layout, which does not change after boot.
        unsafe { dealloc(self.area.as_ptr(), layout()) };
    }
}
