//! What surrounds the virtual processor: memory through the guest's tables, devices, the virtual
//! APIC, and what only the true processor can do, put off until the way back.

use std::collections::HashMap;
use std::sync::Arc;

use gnomon_shadow::apic::{Apic, MSR_TSC_DEADLINE, Now};
use gnomon_shadow::cpu::{VirtCpu, cr0, cr4};
use gnomon_shadow::deliver::Exception;
use gnomon_shadow::emulate::{Base, Platform};
use gnomon_shadow::patch::Patches;
use gnomon_shadow::tables::walk::{Access, Kind};
use gnomon_shadow::tables::{Outcome, ShadowTables};
use kvm_bindings::{CpuId, Msrs, kvm_debugregs, kvm_msr_entry, kvm_xcrs};
use kvm_ioctls::VcpuFd;

use super::interrupt::Inbox;
use super::monitor::{SLOT, Tables};
use super::ram::Ram;
use super::resume::Operation;
use crate::clock::now_ns;
use crate::vcpu::exit::{Exit, Peripherals, Step, Stop, dispatch};

/// Model-specific registers that are constant.
mod constant {
    pub const MICROCODE: u32 = 0x8b;
    pub const MTRR_CAP: u32 = 0xfe;
    pub const MISC_ENABLE: u32 = 0x1a0;
    pub const MTRR_DEFAULT: u32 = 0x2ff;
    /// Fast strings.
    pub const MISC_ENABLE_VALUE: u64 = 1;
    /// Enabled, write-back.
    pub const MTRR_DEFAULT_VALUE: u64 = 1 << 11 | 6;
}

const FS_BASE: u32 = 0xc000_0100;
const GS_BASE: u32 = 0xc000_0101;
const KERNEL_GS_BASE: u32 = 0xc000_0102;
const TSC: u32 = 0x10;
const TSC_AUX: u32 = 0xc000_0103;
const APIC_BASE: u32 = 0x1b;

/// CR0 bits that the true processor has whatever the guest says: PE, ET, NE, WP, PG.
const CR0_FIXED: u64 = cr0::PE | cr0::ET | cr0::NE | cr0::WP | cr0::PG;
/// CR0 bits that it takes from the guest.
const CR0_GUEST: u64 = cr0::MP | cr0::EM | cr0::TS | cr0::AM;
/// CR4 bits that it takes from the guest.
const CR4_GUEST: u64 =
    cr4::TSD | cr4::DE | cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::FSGSBASE | cr4::OSXSAVE;

/// Everything but the virtual processor itself.
pub struct World {
    /// The guest's RAM.
    pub ram: Ram,
    /// The shadow page tables.
    pub tables: ShadowTables<Tables>,
    /// The virtual APIC.
    pub apic: Apic,
    /// Interrupts on their way to it.
    pub inbox: Arc<Inbox>,
    /// What the true processor has to do before the guest goes on.
    pub operations: Vec<Operation>,
    /// Instructions of the kernel that have been replaced.
    pub patches: Patches,
    /// Pages on which a replaced instruction ends, and those on which it begins.
    pub tails: HashMap<u64, u64>,
    /// A device has ended the run.
    pub stop: Option<Stop>,
    /// The guest's CPUID.
    pub cpuid: CpuId,
    /// True CR0 and CR4.
    pub true_cr: (u64, u64),
}

impl World {
    /// True CR0 and CR4 for a guest with these.
    pub fn true_registers(cpu: &VirtCpu) -> (u64, u64) {
        let umip = cpu.cr4_offered & cr4::UMIP;
        (
            CR0_FIXED | cpu.cr0 & CR0_GUEST,
            cr4::PAE | umip | cpu.cr4 & CR4_GUEST,
        )
    }

    /// A page fault of the guest.
    pub fn fault(&mut self, va: u64, access: Access) -> Outcome {
        self.tables.fault(&self.ram, va, access)
    }

    fn now(&self, tsc: u64) -> Now {
        Now { ns: now_ns(), tsc }
    }
}

/// The world, the true processor and the devices, for as long as one exit is dealt with.
pub struct Outside<'a> {
    /// The world.
    pub world: &'a mut World,
    /// KVM's file of the processor.
    pub vcpu: &'a VcpuFd,
    /// The devices.
    pub peripherals: &'a Peripherals,
}

impl Outside<'_> {
    fn read_true_msr(&self, index: u32) -> u64 {
        let entry = kvm_msr_entry {
            index,
            ..Default::default()
        };
        let Ok(mut msrs) = Msrs::from_entries(&[entry]) else {
            return 0;
        };
        match self.vcpu.get_msrs(&mut msrs) {
            Ok(1) => msrs.as_slice()[0].data,
            _ => {
                log::warn!("KVM does not tell model-specific register {index:#x}");
                0
            }
        }
    }

    /// What the true DR6 says of the breakpoints (Intel SDM volume 3, 17.2.3): B0 to B3.
    pub fn debug_status(&self) -> u64 {
        const BREAKPOINTS: u64 = 15;
        match self.vcpu.get_debug_regs() {
            Ok(registers) => registers.dr6 & BREAKPOINTS,
            Err(error) => {
                log::warn!("KVM does not tell the debug registers: {error}");
                0
            }
        }
    }

    /// Calls `f` with each piece of `va..va + len` that lies in one page: gpa, offset, length.
    fn pieces(
        &mut self,
        va: u64,
        len: usize,
        access: Access,
        mut f: impl FnMut(&mut Self, u64, usize, usize),
    ) -> Result<(), Exception> {
        let first = ((4096 - va % 4096) as usize).min(len);
        let mut gpas = [(0, 0, 0); 2];
        let mut n = 0;
        for (offset, size) in [(0, first), (first, len - first)] {
            if size == 0 {
                continue;
            }
            let at = va.wrapping_add(offset as u64);
            let world = &mut *self.world;
            let t = world
                .tables
                .translate(&world.ram, at, access)
                .map_err(|fault| Exception::page_fault(at, fault.error))?;
            gpas[n] = (t.gpa, offset, size);
            n += 1;
        }
        for &(gpa, offset, size) in &gpas[..n] {
            f(self, gpa, offset, size);
        }
        Ok(())
    }

    fn take(&mut self, step: Step) {
        if let Step::Stop(stop) = step {
            self.world.stop.get_or_insert(stop);
        }
    }

    /// The bases of FS, GS and KERNEL_GS as they will be.
    fn bases(&self) -> [u64; 3] {
        let mut bases = [
            self.read_true_msr(FS_BASE),
            self.read_true_msr(GS_BASE),
            self.read_true_msr(KERNEL_GS_BASE),
        ];
        for operation in &self.world.operations {
            match *operation {
                Operation::SwapGs => bases.swap(1, 2),
                Operation::Msr(FS_BASE, value) => bases[0] = value,
                Operation::Msr(GS_BASE, value) => bases[1] = value,
                Operation::Msr(KERNEL_GS_BASE, value) => bases[2] = value,
                _ => {}
            }
        }
        bases
    }
}

impl Platform for Outside<'_> {
    fn read(
        &mut self,
        _cpu: &VirtCpu,
        va: u64,
        bytes: &mut [u8],
        access: Access,
    ) -> Result<(), Exception> {
        self.pieces(va, bytes.len(), access, |this, gpa, offset, size| {
            let piece = &mut bytes[offset..offset + size];
            if this.world.ram.load(gpa, piece) {
                if access.kind == Kind::Fetch {
                    this.world.patches.undo(gpa, piece);
                }
            } else {
                dispatch(
                    Exit::MmioRead {
                        addr: gpa,
                        data: piece,
                    },
                    this.peripherals,
                );
            }
        })
    }

    fn write(
        &mut self,
        _cpu: &VirtCpu,
        va: u64,
        bytes: &[u8],
        user: bool,
    ) -> Result<(), Exception> {
        let access = Access {
            kind: Kind::Write,
            user,
        };
        self.pieces(va, bytes.len(), access, |this, gpa, offset, size| {
            let piece = &bytes[offset..offset + size];
            if this.world.tables.is_code(gpa) {
                this.world.unscan(gpa);
            }
            if this.world.ram.store(gpa, piece) {
                this.world.tables.wrote(&this.world.ram, gpa, size as u64);
            } else {
                let step = dispatch(
                    Exit::MmioWrite {
                        addr: gpa,
                        data: piece,
                    },
                    this.peripherals,
                );
                this.take(step);
            }
        })
    }

    fn probe_write(
        &mut self,
        _cpu: &VirtCpu,
        va: u64,
        len: usize,
        user: bool,
    ) -> Result<(), Exception> {
        self.pieces(
            va,
            len,
            Access {
                kind: Kind::Write,
                user,
            },
            |_, _, _, _| {},
        )
    }

    fn port_in(&mut self, port: u16, size: usize) -> u32 {
        let mut data = [0; 4];
        let exit = Exit::PioIn {
            port,
            width: size,
            data: &mut data[..size],
        };
        dispatch(exit, self.peripherals);
        u32::from_le_bytes(data)
    }

    fn port_out(&mut self, port: u16, size: usize, value: u32) {
        let data = value.to_le_bytes();
        let exit = Exit::PioOut {
            port,
            width: size,
            data: &data[..size],
        };
        let step = dispatch(exit, self.peripherals);
        self.take(step);
    }

    fn read_msr(&mut self, msr: u32) -> Option<u64> {
        if Apic::has_msr(msr) {
            let now = self.world.now(0);
            return self.world.apic.read(msr, now);
        }
        match msr {
            constant::MICROCODE | constant::MTRR_CAP => Some(0),
            constant::MISC_ENABLE => Some(constant::MISC_ENABLE_VALUE),
            constant::MTRR_DEFAULT => Some(constant::MTRR_DEFAULT_VALUE),
            _ => None,
        }
    }

    fn write_msr(&mut self, msr: u32, value: u64) -> Option<()> {
        if Apic::has_msr(msr) {
            let tsc = if msr == MSR_TSC_DEADLINE {
                self.tsc()
            } else {
                0
            };
            let now = self.world.now(tsc);
            self.world.apic.write(msr, value, now)?;
            if let Some(vector) = self.world.apic.take_ended() {
                dispatch(Exit::IoapicEoi(vector), self.peripherals);
            }
            return Some(());
        }
        match msr {
            APIC_BASE => Some(()),
            TSC_AUX => {
                self.world.operations.push(Operation::Msr(msr, value));
                Some(())
            }
            constant::MICROCODE => (value == 0).then_some(()),
            constant::MISC_ENABLE => (value == constant::MISC_ENABLE_VALUE).then_some(()),
            constant::MTRR_DEFAULT => (value == constant::MTRR_DEFAULT_VALUE).then_some(()),
            _ => None,
        }
    }

    fn base(&mut self, which: Base) -> u64 {
        self.bases()[match which {
            Base::Fs => 0,
            Base::Gs => 1,
            Base::KernelGs => 2,
        }]
    }

    fn set_base(&mut self, which: Base, base: u64) {
        let msr = match which {
            Base::Fs => FS_BASE,
            Base::Gs => GS_BASE,
            Base::KernelGs => KERNEL_GS_BASE,
        };
        self.world.operations.push(Operation::Msr(msr, base));
    }

    fn swap_gs(&mut self) {
        let operations = &mut self.world.operations;
        // Twice is not at all.
        if operations.last() == Some(&Operation::SwapGs) {
            operations.pop();
        } else {
            operations.push(Operation::SwapGs);
        }
    }

    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let entries = self.world.cpuid.as_slice();
        let found = entries.iter().find(|e| {
            // Flag 1: the subleaf counts.
            e.function == leaf && (e.flags & 1 == 0 || e.index == subleaf)
        });
        found.map_or([0; 4], |e| [e.eax, e.ebx, e.ecx, e.edx])
    }

    fn tsc(&mut self) -> u64 {
        self.read_true_msr(TSC)
    }

    fn invlpg(&mut self, va: u64) {
        self.world.tables.invlpg(&self.world.ram, va);
    }

    fn cr3_loaded(&mut self, cpu: &VirtCpu) {
        self.world.tables.load_cr3(&self.world.ram, cpu.cr3);
    }

    fn mode_changed(&mut self, cpu: &VirtCpu) {
        self.world.tables.set_mode(cpu.paging().mode);
        let wanted = World::true_registers(cpu);
        let have = std::mem::replace(&mut self.world.true_cr, wanted);
        if wanted.0 != have.0 {
            self.world.operations.push(Operation::Cr0(wanted.0));
        }
        if wanted.1 != have.1 {
            self.world.operations.push(Operation::Cr4(wanted.1));
        }
    }

    fn cr8(&mut self) -> u64 {
        self.world.apic.cr8()
    }

    fn set_cr8(&mut self, value: u64) {
        self.world.apic.set_cr8(value);
    }

    fn set_xcr0(&mut self, value: u64) -> bool {
        let mut xcrs = kvm_xcrs {
            nr_xcrs: 1,
            ..Default::default()
        };
        xcrs.xcrs[0].value = value;
        self.vcpu.set_xcrs(&xcrs).is_ok()
    }

    fn debug_changed(&mut self, cpu: &VirtCpu) {
        // Breakpoints in the monitor's window are not the guest's business.
        let hidden = |va: u64| (va >> 39 & 511) as usize == SLOT;
        let mut dr7 = cpu.dr[7];
        for n in 0..4 {
            if hidden(cpu.dr[n]) {
                dr7 &= !(3 << (2 * n));
            }
        }
        let registers = kvm_debugregs {
            db: [cpu.dr[0], cpu.dr[1], cpu.dr[2], cpu.dr[3]],
            dr6: cpu.dr[6],
            dr7,
            ..Default::default()
        };
        if let Err(error) = self.vcpu.set_debug_regs(&registers) {
            log::warn!("KVM does not take the guest's debug registers: {error}");
        }
    }
}
