//! The emulator's side: memory and what surrounds the virtual processor.

use gnomon_shadow::cpu::VirtCpu;
use gnomon_shadow::deliver::Exception;
use gnomon_shadow::emulate::{Base, Platform};
use gnomon_shadow::tables::memory::GuestRam;
use gnomon_shadow::tables::walk::{Access, Kind, walk_and_mark};

use crate::{INPUT, MEMORY};

/// The emulator's memory.
pub struct Image(pub std::cell::RefCell<Vec<u8>>);

impl GuestRam for Image {
    fn read(&self, gpa: u64) -> Option<u64> {
        let image = self.0.borrow();
        let bytes = image.get(gpa as usize..gpa as usize + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().unwrap()))
    }
    fn compare_exchange(&self, gpa: u64, old: u64, new: u64) -> Option<bool> {
        let same = self.read(gpa)? == old;
        if same {
            self.0.borrow_mut()[gpa as usize..gpa as usize + 8].copy_from_slice(&new.to_le_bytes());
        }
        Some(same)
    }
    fn is_ram(&self, gpa: u64, len: u64) -> bool {
        gpa + len <= MEMORY as u64
    }
}

/// The emulator's machine.
pub struct Model {
    pub ram: Image,
    pub bases: [u64; 3],
    pub cr8: u64,
    pub out: Vec<(u16, usize, u32)>,
}

impl Model {
    fn translate(&self, cpu: &VirtCpu, va: u64, access: Access) -> Result<usize, Exception> {
        walk_and_mark(&self.ram, &cpu.paging(), va, access, |_, _| {})
            .map(|t| t.gpa as usize)
            .map_err(|f| Exception::page_fault(va, f.error))
    }

    fn each(
        &self,
        cpu: &VirtCpu,
        va: u64,
        len: usize,
        access: Access,
    ) -> Result<Vec<usize>, Exception> {
        (0..len as u64)
            .map(|i| self.translate(cpu, va.wrapping_add(i), access))
            .collect()
    }
}

impl Platform for Model {
    fn read(
        &mut self,
        cpu: &VirtCpu,
        va: u64,
        bytes: &mut [u8],
        access: Access,
    ) -> Result<(), Exception> {
        let places = self.each(cpu, va, bytes.len(), access)?;
        let image = self.ram.0.borrow();
        for (byte, at) in bytes.iter_mut().zip(places) {
            *byte = image.get(at).copied().unwrap_or(0xff);
        }
        Ok(())
    }
    fn write(&mut self, cpu: &VirtCpu, va: u64, bytes: &[u8], user: bool) -> Result<(), Exception> {
        let places = self.each(
            cpu,
            va,
            bytes.len(),
            Access {
                kind: Kind::Write,
                user,
            },
        )?;
        let mut image = self.ram.0.borrow_mut();
        for (byte, at) in bytes.iter().zip(places) {
            image[at] = *byte;
        }
        Ok(())
    }
    fn probe_write(
        &mut self,
        cpu: &VirtCpu,
        va: u64,
        len: usize,
        user: bool,
    ) -> Result<(), Exception> {
        self.each(
            cpu,
            va,
            len,
            Access {
                kind: Kind::Write,
                user,
            },
        )
        .map(drop)
    }
    fn port_in(&mut self, _: u16, size: usize) -> u32 {
        INPUT & (u64::MAX >> (64 - 8 * size)) as u32
    }
    fn port_out(&mut self, port: u16, size: usize, value: u32) {
        self.out.push((port, size, value));
    }
    fn read_msr(&mut self, _: u32) -> Option<u64> {
        None
    }
    fn write_msr(&mut self, msr: u32, _: u64) -> Option<()> {
        (msr == 0xc000_0103).then_some(())
    }
    fn base(&mut self, which: Base) -> u64 {
        self.bases[which as usize]
    }
    fn set_base(&mut self, which: Base, base: u64) {
        self.bases[which as usize] = base;
    }
    fn swap_gs(&mut self) {
        self.bases.swap(1, 2);
    }
    fn cpuid(&mut self, _: u32, _: u32) -> [u32; 4] {
        [0; 4]
    }
    fn tsc(&mut self) -> u64 {
        0
    }
    fn invlpg(&mut self, _: u64) {}
    fn cr3_loaded(&mut self, _: &VirtCpu) {}
    fn mode_changed(&mut self, _: &VirtCpu) {}
    fn cr8(&mut self) -> u64 {
        self.cr8
    }
    fn set_cr8(&mut self, value: u64) {
        self.cr8 = value;
    }
    fn set_xcr0(&mut self, _: u64) -> bool {
        true
    }
}
