//! A platform for tests: memory without translation, ports and registers that remember.

use super::{Base, Platform};
use crate::cpu::{SystemSegment, VirtCpu};
use crate::deliver::Exception;
use crate::tables::walk::{Access, Kind};

/// Bytes of memory, from linear address 0.
pub const MEMORY: usize = 0x2_0000;
/// Where tests put code.
pub const CODE: u64 = 0x1000;
/// Where tests put data.
pub const DATA: u64 = 0x3000;
/// The GDT: null, kernel code (0x08), kernel data (0x10), user data (0x18), user code (0x20),
/// TSS (0x28).
pub const GDT: u64 = 0x5000;
/// The IDT.
pub const IDT: u64 = 0x6000;
/// The TSS.
pub const TSS: u64 = 0x7000;
/// Top of the stack in use.
pub const STACK: u64 = 0x9000;
/// RSP0 in the TSS.
pub const STACK0: u64 = 0xa000;
/// IST1 in the TSS.
pub const STACK_IST: u64 = 0xb000;
/// Pages from here on are supervisor pages.
pub const SUPERVISOR: u64 = 0x4000;
/// This page may be read only.
pub const READ_ONLY: u64 = 0xc000;
/// This one does not exist.
pub const MISSING: u64 = 0xd000;

/// Everything around the processor.
pub struct Mock {
    /// Memory.
    pub memory: Vec<u8>,
    /// What was written to ports: port, size, value.
    pub out: Vec<(u16, usize, u32)>,
    /// What a port gives.
    pub input: u32,
    /// FS, GS, KERNEL_GS.
    pub bases: [u64; 3],
    /// CR8.
    pub cr8: u64,
    /// INVLPGs and CR3 loads (`u64::MAX` and the value).
    pub flushes: Vec<u64>,
    /// What MSR 0x800 holds; no other exists.
    pub msr: u64,
    /// Number of mode changes.
    pub modes: u32,
}

impl Mock {
    /// A machine with flat segments, a TSS and an empty IDT, and a processor at [`CODE`].
    pub fn machine(code: &[u8]) -> (VirtCpu, Mock) {
        let mut mock = Mock {
            memory: vec![0; MEMORY],
            out: Vec::new(),
            input: 0,
            bases: [0; 3],
            cr8: 0,
            flushes: Vec::new(),
            msr: 0,
            modes: 0,
        };
        mock.put(CODE, code);
        let gdt = [
            0,
            0x00af_9b00_0000_ffff,
            0x00cf_9300_0000_ffff,
            0x00cf_f300_0000_ffff,
            0x00af_fb00_0000_ffff,
            0x0000_8900_0000_0067 | TSS << 16,
            0,
        ];
        for (i, d) in gdt.into_iter().enumerate() {
            mock.put_u64(GDT + 8 * i as u64, d);
        }
        mock.put_u64(TSS + 4, STACK0);
        mock.put_u64(TSS + 0x24, STACK_IST);
        // No bitmap of port permissions.
        mock.put(TSS + 0x66, &0x68_u16.to_le_bytes());
        let mut cpu = VirtCpu::long_mode(CODE, 0);
        cpu.gpr[4] = STACK;
        (cpu.gdtr.base, cpu.gdtr.limit) = (GDT, 0x37);
        (cpu.idtr.base, cpu.idtr.limit) = (IDT, 0xfff);
        cpu.tr = SystemSegment {
            selector: 0x28,
            base: TSS,
            limit: 0x67,
        };
        cpu.star = 0x08 << 32 | 0x10 << 48;
        (cpu, mock)
    }

    /// Stores bytes.
    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        self.memory[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    /// Stores a quadword.
    pub fn put_u64(&mut self, at: u64, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    /// Loads a quadword.
    pub fn get_u64(&self, at: u64) -> u64 {
        let bytes = &self.memory[at as usize..at as usize + 8];
        u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
    }

    /// Writes a gate into the IDT.
    pub fn set_gate(&mut self, vector: u8, target: u64, kind: u8, dpl: u8, ist: u8) {
        let low = (target & 0xffff)
            | 0x08 << 16
            | u64::from(ist) << 32
            | u64::from(0x80 | dpl << 5 | kind) << 40
            | (target >> 16 & 0xffff) << 48;
        self.put_u64(IDT + 16 * u64::from(vector), low);
        self.put_u64(IDT + 16 * u64::from(vector) + 8, target >> 32);
    }

    fn check(&self, va: u64, len: usize, kind: Kind, user: bool) -> Result<(), Exception> {
        for byte in [va, va.wrapping_add(len as u64 - 1)] {
            let page = byte & !0xfff;
            let mut error = u32::from(user) * 4 + u32::from(kind == Kind::Write) * 2;
            if page == MISSING || byte >= MEMORY as u64 {
                return Err(Exception::page_fault(byte.max(va), error));
            }
            error |= 1;
            let denied = (user && page >= SUPERVISOR) || (kind == Kind::Write && page == READ_ONLY);
            if denied {
                return Err(Exception::page_fault(byte, error));
            }
        }
        Ok(())
    }
}

impl Platform for Mock {
    fn read(
        &mut self,
        _: &VirtCpu,
        va: u64,
        bytes: &mut [u8],
        access: Access,
    ) -> Result<(), Exception> {
        self.check(va, bytes.len(), access.kind, access.user)?;
        bytes.copy_from_slice(&self.memory[va as usize..va as usize + bytes.len()]);
        Ok(())
    }
    fn write(&mut self, _: &VirtCpu, va: u64, bytes: &[u8], user: bool) -> Result<(), Exception> {
        self.check(va, bytes.len(), Kind::Write, user)?;
        self.put(va, bytes);
        Ok(())
    }
    fn probe_write(
        &mut self,
        _: &VirtCpu,
        va: u64,
        len: usize,
        user: bool,
    ) -> Result<(), Exception> {
        self.check(va, len, Kind::Write, user)
    }
    fn port_in(&mut self, _: u16, size: usize) -> u32 {
        self.input & (u64::MAX >> (64 - 8 * size)) as u32
    }
    fn port_out(&mut self, port: u16, size: usize, value: u32) {
        self.out.push((port, size, value));
    }
    fn read_msr(&mut self, msr: u32) -> Option<u64> {
        (msr == 0x800).then_some(self.msr)
    }
    fn write_msr(&mut self, msr: u32, value: u64) -> Option<()> {
        if msr == 0x800 {
            self.msr = value;
        }
        matches!(msr, 0x800 | 0x1b | 0xc000_0103).then_some(())
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
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> [u32; 4] {
        [leaf, subleaf, 3, 4]
    }
    fn tsc(&mut self) -> u64 {
        0x1_0000_0002
    }
    fn invlpg(&mut self, va: u64) {
        self.flushes.push(va);
    }
    fn cr3_loaded(&mut self, cpu: &VirtCpu) {
        self.flushes.extend([u64::MAX, cpu.cr3]);
    }
    fn mode_changed(&mut self, _: &VirtCpu) {
        self.modes += 1;
    }
    fn cr8(&mut self) -> u64 {
        self.cr8
    }
    fn set_cr8(&mut self, value: u64) {
        self.cr8 = value;
    }
    fn set_xcr0(&mut self, value: u64) -> bool {
        value & !7 == 0
    }
}
