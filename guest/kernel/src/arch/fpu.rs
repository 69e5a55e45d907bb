//! The program's floating-point and vector registers.
//!
//! The kernel uses none of them. A switch between tasks saves with XSAVE where CPUID offers it,
//! else with FXSAVE (SDM vol. 1, chapter 13 and 10.5).

use alloc::alloc::{alloc_zeroed, dealloc, handle_alloc_error};
use alloc::vec::Vec;
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

/// Linux's `FP_XSTATE_MAGIC1` and `2`, and where the first one's structure lies.
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
const SOFTWARE: usize = 464;

static SIZE: AtomicUsize = AtomicUsize::new(LEGACY);
static COMPONENTS: AtomicU32 = AtomicU32::new(0);

/// Chooses what is saved. Called once, after `cpu::init`.
pub(super) fn init() {
    if !cpu::has(cpu::XSAVE) {
        return;
    }
    let components = cpu::cpuid(0xd, 0).eax & WANTED;
    // SAFETY: CR4.OSXSAVE is on and the bits are offered by CPUID; AVX-512's come together.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") components, in("edx") 0, options(nomem, nostack, preserves_flags))
    };
    // EBX: size for what XCR0 enables now.
    let size = cpu::cpuid(0xd, 0).ebx as usize;
    // CPUID has left the virtual machine. Nested virtualization may lose XCR0 on the way
    // (docs/hosts.md): XSAVE would then skip registers in silence.
    let (kept, _high): (u32, u32);
    // SAFETY: CR4.OSXSAVE is on.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") kept, out("edx") _high, options(nomem, nostack, preserves_flags))
    };
    if kept & components != components {
        cpu::forgo_xsave();
        return;
    }
    COMPONENTS.store(components, Ordering::Relaxed);
    let size = size.clamp(LEGACY + 64, FpuState::MAX_SIGNAL_IMAGE - 4);
    SIZE.store(size, Ordering::Relaxed);
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
    match Layout::from_size_align(SIZE.load(Ordering::Relaxed) + 4, 64) {
        Ok(layout) => layout,
        Err(_) => Layout::new::<[u8; LEGACY]>(),
    }
}

impl FpuState {
    /// No [`FpuState::signal_image_size`] is larger: AVX-512's registers end at 2688.
    pub const MAX_SIGNAL_IMAGE: usize = 2688 + 4;

    /// The state in which programs start.
    pub fn new() -> FpuState {
        let layout = layout();
        // SAFETY: the size is not zero.
        let Some(area) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            handle_alloc_error(layout)
        };
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
            self.area
                .as_ptr()
                .add(24)
                .cast::<u32>()
                .write(INITIAL_MXCSR);
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
        unsafe {
            copy.area
                .copy_from_nonoverlapping(self.area, layout().size())
        };
        copy
    }

    /// Bytes of [`FpuState::signal_image`].
    pub fn signal_image_size() -> usize {
        match COMPONENTS.load(Ordering::Relaxed) {
            0 => LEGACY,
            _ => SIZE.load(Ordering::Relaxed) + MAGIC2.to_le_bytes().len(),
        }
    }

    /// The saved registers as Linux puts them into a signal frame: the FXSAVE image, or the XSAVE
    /// area with `struct _fpx_sw_bytes` in its reserved part and a second magic number behind it.
    pub fn signal_image(&mut self) -> &[u8] {
        let len = FpuState::signal_image_size();
        // SAFETY: the area is that large (`layout`), and nobody else refers to it.
        let image = unsafe { core::slice::from_raw_parts_mut(self.area.as_ptr(), len) };
        let components = COMPONENTS.load(Ordering::Relaxed);
        if components != 0 {
            let size = (len - 4) as u32;
            image[SOFTWARE..SOFTWARE + 4].copy_from_slice(&MAGIC1.to_le_bytes());
            image[SOFTWARE + 4..SOFTWARE + 8].copy_from_slice(&(len as u32).to_le_bytes());
            image[SOFTWARE + 8..SOFTWARE + 16]
                .copy_from_slice(&u64::from(components).to_le_bytes());
            image[SOFTWARE + 16..SOFTWARE + 20].copy_from_slice(&size.to_le_bytes());
            image[len - 4..].copy_from_slice(&MAGIC2.to_le_bytes());
        }
        image
    }

    /// Which components of the area count; the others are as after reset.
    fn present(&self) -> u64 {
        if COMPONENTS.load(Ordering::Relaxed) == 0 {
            return 3;
        }
        // SAFETY: with components the area has the XSAVE header.
        unsafe { self.area.as_ptr().add(LEGACY).cast::<u64>().read() }
    }

    /// The FXSAVE image of the saved registers.
    pub fn legacy(&self) -> [u8; LEGACY] {
        const X87: core::ops::Range<usize> = 32..160;
        const XMM: core::ops::Range<usize> = 160..416;
        let mut image = [0; LEGACY];
        // SAFETY: the area is that large.
        unsafe { core::ptr::copy_nonoverlapping(self.area.as_ptr(), image.as_mut_ptr(), LEGACY) };
        let present = self.present();
        if present & 1 == 0 {
            image[..24].fill(0);
            image[..2].copy_from_slice(&INITIAL_FCW.to_le_bytes());
            image[X87].fill(0);
        }
        if present & 2 == 0 {
            image[XMM].fill(0);
        }
        image[SOFTWARE..].fill(0);
        image
    }

    /// Takes an FXSAVE image that a tracer has made.
    ///
    /// # Errors
    /// EINVAL: reserved bits of MXCSR.
    pub fn set_legacy(&mut self, image: &[u8; LEGACY]) -> KResult<()> {
        let mxcsr = u32::from_le_bytes([image[24], image[25], image[26], image[27]]);
        if mxcsr & !MXCSR_MASK != 0 {
            return Err(Errno::EINVAL);
        }
        let present = self.present() | 3;
        // SAFETY: the area is that large, and with components has the XSAVE header.
        unsafe {
            let area = self.area.as_ptr();
            core::ptr::copy_nonoverlapping(image.as_ptr(), area, LEGACY);
            if COMPONENTS.load(Ordering::Relaxed) != 0 {
                area.add(LEGACY).cast::<u64>().write(present);
            }
        }
        Ok(())
    }

    /// The XSAVE image as a tracer and a core image show it, with XCR0 at offset 464; None: this
    /// processor has none.
    ///
    /// # Errors
    /// ENOMEM: memory is short.
    pub fn xstate(&self) -> KResult<Option<Vec<u8>>> {
        let components = COMPONENTS.load(Ordering::Relaxed);
        if components == 0 {
            return Ok(None);
        }
        let size = SIZE.load(Ordering::Relaxed);
        let mut image = Vec::new();
        image.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
        image.resize(size, 0);
        // SAFETY: the area is that large.
        unsafe { core::ptr::copy_nonoverlapping(self.area.as_ptr(), image.as_mut_ptr(), size) };
        image[..LEGACY].copy_from_slice(&self.legacy());
        image[SOFTWARE..SOFTWARE + 8].copy_from_slice(&u64::from(components).to_le_bytes());
        Ok(Some(image))
    }

    /// Takes an image that a program hands back (sigreturn); `image` is
    /// [`FpuState::signal_image_size`] bytes long. `EINVAL` if its MXCSR has reserved bits, with
    /// which the processor would fault. Without the magic numbers the FXSAVE part alone counts.
    pub fn set_signal_image(&mut self, image: &[u8]) -> KResult<()> {
        let len = FpuState::signal_image_size();
        let word = |at: usize| {
            u32::from_le_bytes([image[at], image[at + 1], image[at + 2], image[at + 3]])
        };
        if image.len() != len || word(24) & !MXCSR_MASK != 0 {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the area is that large (`layout`), and nobody else refers to it.
        let area = unsafe { core::slice::from_raw_parts_mut(self.area.as_ptr(), len) };
        let components = COMPONENTS.load(Ordering::Relaxed);
        if components == 0 {
            area.copy_from_slice(image);
            return Ok(());
        }
        let present = if word(SOFTWARE) == MAGIC1 && word(len - 4) == MAGIC2 {
            area.copy_from_slice(image);
            u64::from(word(LEGACY) & components)
        } else {
            area[..LEGACY].copy_from_slice(&image[..LEGACY]);
            3
        };
        // XRSTOR faults on anything else in the header.
        area[LEGACY..LEGACY + 8].copy_from_slice(&present.to_le_bytes());
        area[LEGACY + 8..LEGACY + 64].fill(0);
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
