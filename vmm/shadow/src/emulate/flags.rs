//! The flags register, and IRETQ.

use iced_x86::{Instruction, Mnemonic};

use super::alu::{pop, push};
use super::{DONE, NOT_MINE, Outcome, Platform, Stop, read_u64};
use crate::cpu::{VirtCpu, flag, reg};
use crate::deliver::descriptor::{Descriptor, selector_error};
use crate::deliver::{Exception, vector};
use crate::tables::entry::canonical;

/// Flags that CPL lets POPF and IRET change.
fn changeable(cpu: &VirtCpu) -> u64 {
    let mut mask = flag::STATUS | flag::TF | flag::DF | flag::NT | flag::AC | flag::ID;
    if cpu.cpl == 0 {
        mask |= flag::IOPL;
    }
    if u64::from(cpu.cpl) <= (cpu.rflags & flag::IOPL) >> 12 {
        mask |= flag::IF;
    }
    mask
}

/// `#GP(0)` unless IOPL allows the guest to change IF.
fn require_iopl(cpu: &VirtCpu) -> Result<(), Exception> {
    if u64::from(cpu.cpl) <= (cpu.rflags & flag::IOPL) >> 12 {
        Ok(())
    } else {
        Err(Exception::GP0)
    }
}

/// Checks the code segment that IRETQ or RETF returns to; the privilege level it gives.
pub(super) fn check_code(
    cpu: &mut VirtCpu,
    platform: &mut impl Platform,
    cs: u16,
) -> Result<u8, Stop> {
    let rpl = (cs & 3) as u8;
    if cs & !3 == 0 {
        return Err(Exception::GP0.into());
    }
    let code = Descriptor::read(cpu, platform, cs, 0)?;
    let level_ok = if code.is_conforming() {
        code.dpl() <= rpl
    } else {
        code.dpl() == rpl
    };
    if !code.is_code() || rpl < cpu.cpl || !level_ok {
        return Err(Exception::with_error(vector::GP, selector_error(cs)).into());
    }
    if !code.present() {
        return Err(Exception::with_error(vector::NP, selector_error(cs)).into());
    }
    if !code.is_long() {
        return Err(Stop::Unknown("it returns to 32-bit code"));
    }
    if rpl == 1 || rpl == 2 {
        return Err(Stop::Unknown("it returns to ring 1 or 2"));
    }
    Ok(rpl)
}

/// Checks the stack segment that goes with it.
pub(super) fn check_stack(
    cpu: &mut VirtCpu,
    platform: &mut impl Platform,
    ss: u16,
    rpl: u8,
) -> Result<(), Stop> {
    let error = selector_error(ss);
    if ss & !3 == 0 {
        if rpl == 3 || (ss & 3) as u8 != rpl {
            return Err(Exception::GP0.into());
        }
        return Ok(());
    }
    let stack = Descriptor::read(cpu, platform, ss, 0)?;
    if (ss & 3) as u8 != rpl || !stack.is_writable_data() || stack.dpl() != rpl {
        return Err(Exception::with_error(vector::GP, error).into());
    }
    if !stack.present() {
        return Err(Exception::with_error(vector::SS, error).into());
    }
    Ok(())
}

/// Takes the new segments and their level; data segments that an outer level may not use are
/// emptied.
pub(super) fn leave(cpu: &mut VirtCpu, platform: &mut impl Platform, cs: u16, ss: u16, rpl: u8) {
    if rpl > cpu.cpl {
        for n in 0..4 {
            let s = &cpu.selectors;
            let selector = [s.ds, s.es, s.fs, s.gs][n];
            let keep = selector & !3 == 0
                || Descriptor::read(cpu, platform, selector, 0)
                    .is_ok_and(|d| d.dpl() >= rpl || d.is_conforming());
            if !keep {
                let s = &mut cpu.selectors;
                *[&mut s.ds, &mut s.es, &mut s.fs, &mut s.gs][n] = 0;
            }
        }
    }
    cpu.cpl = rpl;
    cpu.selectors.cs = cs;
    cpu.selectors.ss = ss;
}

/// IRETQ (SDM volume 2, IRET; 64-bit mode).
fn iretq(cpu: &mut VirtCpu, platform: &mut impl Platform) -> Outcome {
    if cpu.rflags & flag::NT != 0 {
        return Err(Exception::GP0.into());
    }
    let rsp = cpu.gpr[reg::RSP];
    let mut frame = [0; 5];
    for (i, word) in frame.iter_mut().enumerate() {
        let va = rsp.wrapping_add(8 * i as u64);
        *word = read_u64(cpu, platform, va, cpu.is_user()).map_err(|e| {
            if e == Exception::GP0 {
                Exception::with_error(vector::SS, 0)
            } else {
                e
            }
        })?;
    }
    let [rip, cs, rflags, new_rsp, ss] = frame;
    let (cs, ss) = (cs as u16, ss as u16);
    let rpl = check_code(cpu, platform, cs)?;
    check_stack(cpu, platform, ss, rpl)?;
    if !canonical(rip) {
        return Err(Exception::GP0.into());
    }
    let mask = changeable(cpu) | flag::RF;
    cpu.rflags = (cpu.rflags & !mask) | (rflags & mask) | flag::ONE;
    leave(cpu, platform, cs, ss, rpl);
    cpu.gpr[reg::RSP] = new_rsp;
    cpu.rip = rip;
    DONE
}
pub(super) fn execute(cpu: &mut VirtCpu, platform: &mut impl Platform, i: &Instruction) -> Outcome {
    match i.mnemonic() {
        Mnemonic::Cli => {
            require_iopl(cpu)?;
            cpu.rflags &= !flag::IF;
        }
        Mnemonic::Sti => {
            require_iopl(cpu)?;
            cpu.interrupt_shadow = cpu.rflags & flag::IF == 0;
            cpu.rflags |= flag::IF;
        }
        Mnemonic::Pushfq => {
            let value = cpu.rflags & !(flag::VM | flag::RF);
            push(cpu, platform, value)?;
        }
        Mnemonic::Popfq => {
            let value = pop(cpu, platform)?;
            let mask = changeable(cpu);
            cpu.rflags = (cpu.rflags & !(mask | flag::RF)) | (value & mask) | flag::ONE;
        }
        Mnemonic::Iretq => return iretq(cpu, platform),
        Mnemonic::Cld => cpu.rflags &= !flag::DF,
        Mnemonic::Std => cpu.rflags |= flag::DF,
        Mnemonic::Clc => cpu.rflags &= !flag::CF,
        Mnemonic::Stc => cpu.rflags |= flag::CF,
        Mnemonic::Cmc => cpu.rflags ^= flag::CF,
        // SMAP is not offered.
        Mnemonic::Clac | Mnemonic::Stac => return Err(Exception::UD.into()),
        _ => return NOT_MINE,
    }
    DONE
}
