//! RDMSR, WRMSR, and RDFSBASE and its kin.

use iced_x86::{Instruction, Mnemonic};

use super::operand::{get, set};
use super::{Base, DONE, NOT_MINE, Outcome, Platform, require_kernel};
use crate::cpu::{VirtCpu, cr0, cr4, efer, reg};
use crate::deliver::Exception;
use crate::tables::entry::canonical;

/// Numbers of model-specific registers.
pub mod number {
    #![allow(missing_docs)]
    pub const TSC: u32 = 0x10;
    pub const APIC_BASE: u32 = 0x1b;
    pub const SYSENTER_CS: u32 = 0x174;
    pub const SYSENTER_EIP: u32 = 0x176;
    pub const PAT: u32 = 0x277;
    pub const EFER: u32 = 0xc000_0080;
    pub const STAR: u32 = 0xc000_0081;
    pub const LSTAR: u32 = 0xc000_0082;
    pub const CSTAR: u32 = 0xc000_0083;
    pub const FMASK: u32 = 0xc000_0084;
    pub const FS_BASE: u32 = 0xc000_0100;
    pub const GS_BASE: u32 = 0xc000_0101;
    pub const KERNEL_GS_BASE: u32 = 0xc000_0102;
    pub const TSC_AUX: u32 = 0xc000_0103;
}

fn base_of(msr: u32) -> Option<Base> {
    match msr {
        number::FS_BASE => Some(Base::Fs),
        number::GS_BASE => Some(Base::Gs),
        number::KERNEL_GS_BASE => Some(Base::KernelGs),
        _ => None,
    }
}

fn read(cpu: &VirtCpu, platform: &mut impl Platform, msr: u32) -> Option<u64> {
    Some(match msr {
        number::APIC_BASE => cpu.apic_base,
        number::SYSENTER_CS..=number::SYSENTER_EIP => {
            cpu.sysenter[(msr - number::SYSENTER_CS) as usize]
        }
        number::PAT => cpu.pat,
        number::EFER => cpu.efer,
        number::STAR => cpu.star,
        number::LSTAR => cpu.lstar,
        number::CSTAR => cpu.cstar,
        number::FMASK => cpu.fmask,
        number::TSC_AUX => cpu.tsc_aux,
        number::TSC => platform.tsc(),
        _ => match base_of(msr) {
            Some(base) => platform.base(base),
            None => return platform.read_msr(msr),
        },
    })
}

fn write(cpu: &mut VirtCpu, platform: &mut impl Platform, msr: u32, value: u64) -> Option<()> {
    let require = |ok: bool| ok.then_some(());
    match msr {
        number::APIC_BASE => {
            // Bits 8 (BSP, read-only), 10 (x2APIC), 11 (enabled), and the address.
            require(value & !(0xf_ffff_ffff_f000 | 0xd00) == 0)?;
            // From x2APIC mode there is no way back but through off; x2APIC needs enabled.
            require(value & (3 << 10) != 1 << 10)?;
            require(!(cpu.apic_base & (3 << 10) == 3 << 10 && value & (3 << 10) == 1 << 11))?;
            platform.write_msr(msr, value)?;
            cpu.apic_base = (value & !(1 << 8)) | (cpu.apic_base & (1 << 8));
        }
        number::SYSENTER_CS..=number::SYSENTER_EIP => {
            require(msr == number::SYSENTER_CS || canonical(value))?;
            cpu.sysenter[(msr - number::SYSENTER_CS) as usize] = value;
        }
        number::PAT => {
            let ok = value
                .to_le_bytes()
                .iter()
                .all(|t| matches!(t, 0 | 1 | 4..=7));
            require(ok)?;
            cpu.pat = value;
        }
        number::EFER => {
            require(value & !efer::OFFERED == 0)?;
            // Long mode cannot be left while paging is on; LMA is read-only.
            require((value ^ cpu.efer) & efer::LME == 0 || cpu.cr0 & cr0::PG == 0)?;
            cpu.efer = (value & !efer::LMA) | (cpu.efer & efer::LMA);
            platform.mode_changed(cpu);
        }
        number::STAR => cpu.star = value,
        number::LSTAR | number::CSTAR => {
            require(canonical(value))?;
            *if msr == number::LSTAR {
                &mut cpu.lstar
            } else {
                &mut cpu.cstar
            } = value;
        }
        number::FMASK => {
            require(value >> 32 == 0)?;
            cpu.fmask = value;
        }
        number::TSC_AUX => {
            require(value >> 32 == 0)?;
            cpu.tsc_aux = value;
            platform.write_msr(msr, value)?;
        }
        _ => match base_of(msr) {
            Some(base) => {
                require(canonical(value))?;
                platform.set_base(base, value);
            }
            None => platform.write_msr(msr, value)?,
        },
    }
    Some(())
}

pub(super) fn execute(cpu: &mut VirtCpu, platform: &mut impl Platform, i: &Instruction) -> Outcome {
    let msr = cpu.gpr[reg::RCX] as u32;
    match i.mnemonic() {
        Mnemonic::Rdmsr => {
            require_kernel(cpu)?;
            let value = read(cpu, platform, msr).ok_or(Exception::GP0)?;
            cpu.gpr[reg::RAX] = value & 0xffff_ffff;
            cpu.gpr[reg::RDX] = value >> 32;
            DONE
        }
        Mnemonic::Wrmsr => {
            require_kernel(cpu)?;
            let value = cpu.gpr[reg::RDX] << 32 | (cpu.gpr[reg::RAX] & 0xffff_ffff);
            write(cpu, platform, msr, value).ok_or(Exception::GP0)?;
            DONE
        }
        m @ (Mnemonic::Rdfsbase | Mnemonic::Rdgsbase | Mnemonic::Wrfsbase | Mnemonic::Wrgsbase) => {
            if cpu.cr4 & cr4::FSGSBASE == 0 {
                return Err(Exception::UD.into());
            }
            let which = match m {
                Mnemonic::Rdfsbase | Mnemonic::Wrfsbase => Base::Fs,
                _ => Base::Gs,
            };
            if matches!(m, Mnemonic::Rdfsbase | Mnemonic::Rdgsbase) {
                let value = platform.base(which);
                set(cpu, platform, i, 0, value)?;
            } else {
                let value = get(cpu, platform, i, 0)?;
                if !canonical(value) {
                    return Err(Exception::GP0.into());
                }
                platform.set_base(which, value);
            }
            DONE
        }
        _ => NOT_MINE,
    }
}
