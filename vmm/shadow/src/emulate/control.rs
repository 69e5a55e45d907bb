//! Control and debug registers, and what goes with them.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::operand::{address, get, get_register, load, set, set_register};
use super::{DONE, NOT_MINE, Outcome, Platform, Stop, require_kernel};
use crate::cpu::{VirtCpu, cr0, cr4, reg};
use crate::deliver::Exception;
use crate::tables::entry::canonical;

fn write_cr(
    cpu: &mut VirtCpu,
    platform: &mut impl Platform,
    cr: Register,
    value: u64,
) -> Result<(), Stop> {
    match cr {
        Register::CR0 => {
            if value >> 32 != 0 {
                return Err(Exception::GP0.into());
            }
            let value = (value & cr0::ALL) | cr0::ET;
            // Paging cannot be turned off in 64-bit mode.
            let invalid = value & cr0::PG == 0
                || value & cr0::PE == 0
                || (value & cr0::NW != 0 && value & cr0::CD == 0);
            if invalid {
                return Err(Exception::GP0.into());
            }
            if cpu.cr0 != value {
                cpu.cr0 = value;
                platform.mode_changed(cpu);
            }
        }
        Register::CR2 => cpu.cr2 = value,
        Register::CR3 => {
            if value >> cpu.physical_bits != 0 {
                return Err(Exception::GP0.into());
            }
            cpu.cr3 = value;
            platform.cr3_loaded(cpu);
        }
        Register::CR4 => {
            if value & !cpu.cr4_offered != 0 || value & cr4::PAE == 0 {
                return Err(Exception::GP0.into());
            }
            let changed = cpu.cr4 ^ value;
            cpu.cr4 = value;
            if changed != 0 {
                platform.mode_changed(cpu);
            }
            // Changing these forgets all translations, global ones too.
            if changed & (cr4::PGE | cr4::SMEP) != 0 {
                platform.cr3_loaded(cpu);
            }
        }
        Register::CR8 => {
            if value > 15 {
                return Err(Exception::GP0.into());
            }
            platform.set_cr8(value);
        }
        _ => return Err(Exception::UD.into()),
    }
    Ok(())
}

fn read_cr(cpu: &VirtCpu, platform: &mut impl Platform, cr: Register) -> Result<u64, Stop> {
    Ok(match cr {
        Register::CR0 => cpu.cr0,
        Register::CR2 => cpu.cr2,
        Register::CR3 => cpu.cr3,
        Register::CR4 => cpu.cr4,
        Register::CR8 => platform.cr8(),
        _ => return Err(Exception::UD.into()),
    })
}

/// DR4 and DR5 are DR6 and DR7, unless CR4.DE says they are nothing.
fn debug_register(cpu: &VirtCpu, r: Register) -> Result<usize, Stop> {
    match r.number() {
        n @ (4 | 5) if cpu.cr4 & cr4::DE == 0 => Ok(n + 2),
        n @ (0..=3 | 6 | 7) => Ok(n),
        _ => Err(Exception::UD.into()),
    }
}

fn move_special(cpu: &mut VirtCpu, platform: &mut impl Platform, i: &Instruction) -> Outcome {
    let (to, from) = (i.op0_register(), i.op1_register());
    if i.op_kind(0) != OpKind::Register || i.op_kind(1) != OpKind::Register {
        return NOT_MINE;
    }
    if to.is_cr() {
        require_kernel(cpu)?;
        let value = get_register(cpu, from).ok_or(Stop::Unknown("its operand"))?;
        write_cr(cpu, platform, to, value)?;
    } else if from.is_cr() {
        require_kernel(cpu)?;
        let value = read_cr(cpu, platform, from)?;
        set_register(cpu, to, value)?;
    } else if to.is_dr() {
        require_kernel(cpu)?;
        let n = debug_register(cpu, to)?;
        let value = get_register(cpu, from).ok_or(Stop::Unknown("its operand"))?;
        if n >= 6 && value >> 32 != 0 {
            return Err(Exception::GP0.into());
        }
        cpu.dr[n] = match n {
            6 => (value & 0xe00f) | 0xffff_0ff0,
            7 => (value & 0xffff_2bff) | 0x400,
            _ => value,
        };
        platform.debug_changed(cpu);
    } else if from.is_dr() {
        require_kernel(cpu)?;
        let value = cpu.dr[debug_register(cpu, from)?];
        set_register(cpu, to, value)?;
    } else {
        return NOT_MINE;
    }
    DONE
}

pub(super) fn execute(cpu: &mut VirtCpu, platform: &mut impl Platform, i: &Instruction) -> Outcome {
    match i.mnemonic() {
        Mnemonic::Mov => return move_special(cpu, platform, i),
        Mnemonic::Clts => {
            require_kernel(cpu)?;
            write_cr(cpu, platform, Register::CR0, cpu.cr0 & !cr0::TS)?;
        }
        Mnemonic::Lmsw => {
            require_kernel(cpu)?;
            // PE can be set, not cleared.
            let value = get(cpu, platform, i, 0)? & 0xf;
            let kept = cpu.cr0 & !(cr0::MP | cr0::EM | cr0::TS);
            write_cr(cpu, platform, Register::CR0, kept | value)?;
        }
        Mnemonic::Smsw => {
            if cpu.cr4 & cr4::UMIP != 0 {
                require_kernel(cpu)?;
            }
            let memory = i.op_kind(0) == OpKind::Memory;
            let value = if memory { cpu.cr0 & 0xffff } else { cpu.cr0 };
            set(cpu, platform, i, 0, value)?;
        }
        Mnemonic::Invlpg => {
            require_kernel(cpu)?;
            let va = address(cpu, platform, i, 0)?;
            if canonical(va) {
                platform.invlpg(va);
            }
        }
        Mnemonic::Invpcid => {
            require_kernel(cpu)?;
            let at = address(cpu, platform, i, 1)?;
            let kind = get(cpu, platform, i, 0)?;
            let pcid = load(cpu, platform, at, 8)?;
            let va = load(cpu, platform, at.wrapping_add(8), 8)?;
            // Without CR4.PCIDE the only PCID is 0.
            if kind > 3
                || pcid >> 12 != 0
                || (kind < 2 && pcid != 0)
                || (kind == 0 && !canonical(va))
            {
                return Err(Exception::GP0.into());
            }
            if kind == 0 {
                platform.invlpg(va);
            } else {
                platform.cr3_loaded(cpu);
            }
        }
        Mnemonic::Wbinvd | Mnemonic::Invd | Mnemonic::Wbnoinvd => require_kernel(cpu)?,
        Mnemonic::Xsetbv => {
            if cpu.cr4 & cr4::OSXSAVE == 0 {
                return Err(Exception::UD.into());
            }
            require_kernel(cpu)?;
            let value = cpu.gpr[reg::RDX] << 32 | (cpu.gpr[reg::RAX] & 0xffff_ffff);
            if cpu.gpr[reg::RCX] as u32 != 0 || value & 1 == 0 || !platform.set_xcr0(value) {
                return Err(Exception::GP0.into());
            }
            cpu.xcr0 = value;
        }
        Mnemonic::Xgetbv => {
            if cpu.cr4 & cr4::OSXSAVE == 0 {
                return Err(Exception::UD.into());
            }
            if cpu.gpr[reg::RCX] as u32 != 0 {
                return Err(Exception::GP0.into());
            }
            cpu.gpr[reg::RAX] = cpu.xcr0 & 0xffff_ffff;
            cpu.gpr[reg::RDX] = cpu.xcr0 >> 32;
        }
        _ => return NOT_MINE,
    }
    DONE
}
