//! SYSCALL, SYSRET, SWAPGS (SDM volume 3, section 5.8.8).

use iced_x86::{Code, Instruction, Mnemonic};

use super::{DONE, NOT_MINE, Outcome, Platform, Stop, require_kernel};
use crate::cpu::{VirtCpu, efer, flag, reg};
use crate::deliver::Exception;
use crate::tables::entry::canonical;

/// SYSCALL: `cpu.rip` is already behind it.
///
/// # Errors
/// `#UD` if EFER.SCE is clear.
pub fn enter(cpu: &mut VirtCpu) -> Result<(), Exception> {
    if cpu.efer & efer::SCE == 0 {
        return Err(Exception::UD);
    }
    cpu.gpr[reg::RCX] = cpu.rip;
    cpu.gpr[reg::R11] = cpu.rflags & !flag::RF;
    cpu.rip = cpu.lstar;
    cpu.rflags = (cpu.rflags & !cpu.fmask & !flag::RF) | flag::ONE;
    let cs = (cpu.star >> 32) as u16 & 0xfffc;
    cpu.selectors.cs = cs;
    cpu.selectors.ss = cs.wrapping_add(8);
    cpu.cpl = 0;
    Ok(())
}

pub(super) fn execute(cpu: &mut VirtCpu, platform: &mut impl Platform, i: &Instruction) -> Outcome {
    match i.mnemonic() {
        Mnemonic::Syscall => enter(cpu)?,
        Mnemonic::Sysret | Mnemonic::Sysretq => {
            if cpu.efer & efer::SCE == 0 {
                return Err(Exception::UD.into());
            }
            require_kernel(cpu)?;
            if i.code() != Code::Sysretq {
                return Err(Stop::Unknown("it returns to 32-bit code"));
            }
            let rip = cpu.gpr[reg::RCX];
            if !canonical(rip) {
                return Err(Exception::GP0.into());
            }
            let mask = flag::ALL & !(flag::RF | flag::VM);
            cpu.rflags = (cpu.gpr[reg::R11] & mask) | flag::ONE;
            cpu.rip = rip;
            let base = (cpu.star >> 48) as u16;
            cpu.selectors.cs = base.wrapping_add(16) | 3;
            cpu.selectors.ss = base.wrapping_add(8) | 3;
            cpu.cpl = 3;
        }
        Mnemonic::Swapgs => {
            require_kernel(cpu)?;
            platform.swap_gs();
        }
        Mnemonic::Sysenter | Mnemonic::Sysexit => {
            // IA32_SYSENTER_CS is never set by a 64-bit kernel; with 0 there, this is what happens.
            if cpu.sysenter[0] & 0xfffc == 0 {
                return Err(Exception::GP0.into());
            }
            return Err(Stop::Unknown("SYSENTER is not supported"));
        }
        _ => return NOT_MINE,
    }
    DONE
}
