//! What the fuzz targets share: a machine of 64 KiB without translation, and bytes to take from.
//!
//! `cargo +nightly fuzz run TARGET --target x86_64-unknown-linux-gnu` in this folder's parent.

use gnomon_shadow::cpu::VirtCpu;
use gnomon_shadow::deliver::Exception;
use gnomon_shadow::emulate::{Base, Platform};
use gnomon_shadow::tables::walk::Access;

/// Bytes of memory; addresses wrap into it, but for one page that does not exist.
pub const MEMORY: usize = 0x1_0000;
const MISSING: u64 = 0xf000;

/// Takes values off the input's front; zeros when it is used up.
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    /// The next bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let n = N.min(self.0.len());
        out[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        out
    }
    /// The next quadword.
    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }
}

/// The machine.
pub struct Machine {
    /// Its memory.
    pub memory: Vec<u8>,
    bases: [u64; 3],
}

impl Machine {
    /// A machine whose memory repeats what is left of the input, and a processor in any state that
    /// can be.
    pub fn new(input: &mut Input<'_>) -> (VirtCpu, Machine) {
        let mut cpu = VirtCpu::long_mode(input.word() & 0xffff, 0);
        for r in &mut cpu.gpr {
            *r = match input.byte() {
                n if n < 200 => u64::from(n) << 8,
                _ => input.word(),
            };
        }
        let flags = input.byte();
        cpu.cpl = if flags & 1 == 0 { 0 } else { 3 };
        cpu.rflags = (input.word() & gnomon_shadow::cpu::flag::ALL) | 2;
        cpu.cr4 |= if flags & 2 == 0 { 0 } else { gnomon_shadow::cpu::cr4::OFFERED };
        cpu.efer |= u64::from(flags >> 2 & 1);
        (cpu.gdtr.base, cpu.gdtr.limit) = (0x2000, u16::from(input.byte()));
        (cpu.idtr.base, cpu.idtr.limit) = (0x3000, u16::from_le_bytes(input.bytes()));
        cpu.tr.selector = 0x28;
        (cpu.tr.base, cpu.tr.limit) = (0x4000, u32::from(input.byte()));
        (cpu.star, cpu.lstar, cpu.fmask) = (input.word(), input.word() & 0xffff, input.word());
        let bases = [input.word() & 0xffff, input.word() & 0xffff, input.word() & 0xffff];
        let rest = if input.0.is_empty() { &[0][..] } else { input.0 };
        let mut memory = vec![0; MEMORY];
        for piece in memory.chunks_mut(rest.len()) {
            piece.copy_from_slice(&rest[..piece.len()]);
        }
        (cpu, Machine { memory, bases })
    }

    fn check(va: u64, write: bool, user: bool) -> Result<(), Exception> {
        if va & 0xf000 == MISSING {
            let error = u32::from(write) * 2 + u32::from(user) * 4;
            return Err(Exception::page_fault(va, error));
        }
        Ok(())
    }
}

impl Platform for Machine {
    fn read(
        &mut self,
        _: &VirtCpu,
        va: u64,
        bytes: &mut [u8],
        access: Access,
    ) -> Result<(), Exception> {
        for (i, byte) in bytes.iter_mut().enumerate() {
            let va = va.wrapping_add(i as u64);
            Self::check(va, false, access.user)?;
            *byte = self.memory[va as usize % MEMORY];
        }
        Ok(())
    }
    fn write(&mut self, _: &VirtCpu, va: u64, bytes: &[u8], user: bool) -> Result<(), Exception> {
        for i in 0..bytes.len() as u64 {
            Self::check(va.wrapping_add(i), true, user)?;
        }
        for (i, byte) in bytes.iter().enumerate() {
            self.memory[va.wrapping_add(i as u64) as usize % MEMORY] = *byte;
        }
        Ok(())
    }
    fn probe_write(
        &mut self,
        _: &VirtCpu,
        va: u64,
        len: usize,
        user: bool,
    ) -> Result<(), Exception> {
        (0..len as u64).try_for_each(|i| Self::check(va.wrapping_add(i), true, user))
    }
    fn port_in(&mut self, port: u16, size: usize) -> u32 {
        assert!(matches!(size, 1 | 2 | 4));
        port.into()
    }
    fn port_out(&mut self, _: u16, size: usize, value: u32) {
        assert!(matches!(size, 1 | 2 | 4) && (size == 4 || value >> (8 * size) == 0));
    }
    fn read_msr(&mut self, msr: u32) -> Option<u64> {
        (msr & 1 == 0).then_some(msr.into())
    }
    fn write_msr(&mut self, msr: u32, _: u64) -> Option<()> {
        (msr & 1 == 0).then_some(())
    }
    fn base(&mut self, which: Base) -> u64 {
        self.bases[which as usize]
    }
    fn set_base(&mut self, which: Base, base: u64) {
        assert!(gnomon_shadow::tables::entry::canonical(base));
        self.bases[which as usize] = base;
    }
    fn swap_gs(&mut self) {
        self.bases.swap(1, 2);
    }
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> [u32; 4] {
        [leaf, subleaf, 0, 0]
    }
    fn tsc(&mut self) -> u64 {
        u64::MAX
    }
    fn invlpg(&mut self, _: u64) {}
    fn cr3_loaded(&mut self, _: &VirtCpu) {}
    fn mode_changed(&mut self, _: &VirtCpu) {}
    fn cr8(&mut self) -> u64 {
        15
    }
    fn set_cr8(&mut self, value: u64) {
        assert!(value < 16);
    }
    fn set_xcr0(&mut self, value: u64) -> bool {
        value & 1 != 0
    }
}
