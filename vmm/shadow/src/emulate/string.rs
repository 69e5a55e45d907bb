//! MOVS, STOS, LODS with REP, for device registers and traced tables.

use iced_x86::{Instruction, Mnemonic, Register};

use super::operand::{address, load, set_register, store};
use super::{DONE, NOT_MINE, Outcome, Platform};
use crate::cpu::{VirtCpu, flag, reg};

/// Elements done before interrupts get their turn again.
const BATCH: u64 = 1024;

/// Moves an index register by `step`, or back if DF is set.
pub(super) fn advance(cpu: &mut VirtCpu, register: usize, step: usize) {
    let step = step as u64;
    let r = &mut cpu.gpr[register];
    *r = if cpu.rflags & flag::DF == 0 {
        r.wrapping_add(step)
    } else {
        r.wrapping_sub(step)
    };
}

/// Runs `once` as often as the REP prefix says, or once. RIP stays at the instruction while there
/// is more to do; a fault in the middle leaves what is done done.
pub(super) fn repeat<P: Platform>(
    cpu: &mut VirtCpu,
    platform: &mut P,
    i: &Instruction,
    mut once: impl FnMut(&mut VirtCpu, &mut P) -> Result<(), super::Stop>,
) -> Outcome {
    if !i.has_rep_prefix() && !i.has_repne_prefix() {
        once(cpu, platform)?;
        return DONE;
    }
    let mut done = 0;
    while cpu.gpr[reg::RCX] != 0 {
        if done == BATCH {
            cpu.rip = i.ip();
            return DONE;
        }
        match once(cpu, platform) {
            Ok(()) => {}
            // What has been done shows in the registers: the fault comes at the next try.
            Err(_) if done != 0 => {
                cpu.rip = i.ip();
                return DONE;
            }
            Err(stop) => return Err(stop),
        }
        cpu.gpr[reg::RCX] -= 1;
        done += 1;
    }
    DONE
}

pub(super) fn execute(cpu: &mut VirtCpu, platform: &mut impl Platform, i: &Instruction) -> Outcome {
    use Mnemonic as M;
    let len = match i.mnemonic() {
        M::Movsb | M::Stosb | M::Lodsb => 1,
        M::Movsw | M::Stosw | M::Lodsw => 2,
        M::Movsd | M::Stosd | M::Lodsd => 4,
        M::Movsq | M::Stosq | M::Lodsq => 8,
        _ => return NOT_MINE,
    };
    if i.op0_register().is_xmm() || i.op1_register().is_xmm() {
        return NOT_MINE;
    }
    match i.mnemonic() {
        M::Movsb | M::Movsw | M::Movsd | M::Movsq => repeat(cpu, platform, i, |cpu, platform| {
            let from = address(cpu, platform, i, 1)?;
            let to = address(cpu, platform, i, 0)?;
            let value = load(cpu, platform, from, len)?;
            store(cpu, platform, to, len, value)?;
            advance(cpu, reg::RSI, len);
            advance(cpu, reg::RDI, len);
            Ok(())
        }),
        M::Stosb | M::Stosw | M::Stosd | M::Stosq => repeat(cpu, platform, i, |cpu, platform| {
            let to = address(cpu, platform, i, 0)?;
            store(cpu, platform, to, len, cpu.gpr[reg::RAX])?;
            advance(cpu, reg::RDI, len);
            Ok(())
        }),
        _ => repeat(cpu, platform, i, |cpu, platform| {
            let from = address(cpu, platform, i, 1)?;
            let value = load(cpu, platform, from, len)?;
            let to = [Register::AL, Register::AX, Register::EAX, Register::RAX]
                [len.trailing_zeros() as usize];
            set_register(cpu, to, value)?;
            advance(cpu, reg::RSI, len);
            Ok(())
        }),
    }
}
