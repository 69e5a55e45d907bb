//! Near jumps, calls and returns, and conditions.

use iced_x86::{ConditionCode, Instruction, Mnemonic, OpKind};

use super::alu::{pop, push};
use super::operand::{get, size};
use super::{DONE, NOT_MINE, Outcome, Platform, Step};
use crate::cpu::{VirtCpu, flag, reg};
use crate::deliver::{Exception, vector};
use crate::tables::entry::canonical;

/// Whether the condition of a Jcc, SETcc or CMOVcc holds.
pub(super) fn condition(cpu: &VirtCpu, i: &Instruction) -> bool {
    let is = |bit| cpu.rflags & bit != 0;
    let less = is(flag::SF) != is(flag::OF);
    match i.condition_code() {
        ConditionCode::o => is(flag::OF),
        ConditionCode::no => !is(flag::OF),
        ConditionCode::b => is(flag::CF),
        ConditionCode::ae => !is(flag::CF),
        ConditionCode::e => is(flag::ZF),
        ConditionCode::ne => !is(flag::ZF),
        ConditionCode::be => is(flag::CF) || is(flag::ZF),
        ConditionCode::a => !is(flag::CF) && !is(flag::ZF),
        ConditionCode::s => is(flag::SF),
        ConditionCode::ns => !is(flag::SF),
        ConditionCode::p => is(flag::PF),
        ConditionCode::np => !is(flag::PF),
        ConditionCode::l => less,
        ConditionCode::ge => !less,
        ConditionCode::le => less || is(flag::ZF),
        ConditionCode::g => !less && !is(flag::ZF),
        ConditionCode::None => true,
    }
}

/// Whether this is a SETcc.
pub(super) fn is_setcc(i: &Instruction) -> bool {
    use Mnemonic as M;
    matches!(
        i.mnemonic(),
        M::Seta
            | M::Setae
            | M::Setb
            | M::Setbe
            | M::Sete
            | M::Setg
            | M::Setge
            | M::Setl
            | M::Setle
            | M::Setne
            | M::Setno
            | M::Setnp
            | M::Setns
            | M::Seto
            | M::Setp
            | M::Sets
    )
}

/// Whether this is a CMOVcc.
pub(super) fn is_cmov(i: &Instruction) -> bool {
    use Mnemonic as M;
    matches!(
        i.mnemonic(),
        M::Cmova
            | M::Cmovae
            | M::Cmovb
            | M::Cmovbe
            | M::Cmove
            | M::Cmovg
            | M::Cmovge
            | M::Cmovl
            | M::Cmovle
            | M::Cmovne
            | M::Cmovno
            | M::Cmovnp
            | M::Cmovns
            | M::Cmovo
            | M::Cmovp
            | M::Cmovs
    )
}

fn jump(cpu: &mut VirtCpu, target: u64) -> Result<(), Exception> {
    if !canonical(target) {
        return Err(Exception::GP0);
    }
    cpu.rip = target;
    Ok(())
}

pub(super) fn execute(cpu: &mut VirtCpu, platform: &mut impl Platform, i: &Instruction) -> Outcome {
    let code = i.code();
    let near = matches!(i.op_kind(0), OpKind::NearBranch64);
    match i.mnemonic() {
        Mnemonic::Int => return Ok(Some(Step::Software(i.immediate8()))),
        Mnemonic::Int3 => return Ok(Some(Step::Software(vector::BP))),
        Mnemonic::Ud2 => return Err(Exception::UD.into()),
        _ => {}
    }
    if code.is_jcc_short_or_near() && near {
        if condition(cpu, i) {
            jump(cpu, i.near_branch_target())?;
        }
        return DONE;
    }
    let target = |cpu: &mut VirtCpu, platform: &mut _| {
        if near {
            Ok(i.near_branch_target())
        } else {
            get(cpu, platform, i, 0)
        }
    };
    match i.mnemonic() {
        Mnemonic::Jmp if near || code.is_jmp_near_indirect() => {
            let to = target(cpu, platform)?;
            jump(cpu, to)?;
            DONE
        }
        Mnemonic::Call if near || (code.is_call_near_indirect() && size(i, 0)? == 8) => {
            let to = target(cpu, platform)?;
            if !canonical(to) {
                return Err(Exception::GP0.into());
            }
            push(cpu, platform, cpu.rip)?;
            cpu.rip = to;
            DONE
        }
        Mnemonic::Ret => {
            let to = pop(cpu, platform)?;
            jump(cpu, to)?;
            if i.op_count() == 1 {
                cpu.gpr[reg::RSP] = cpu.gpr[reg::RSP].wrapping_add(i.immediate(0));
            }
            DONE
        }
        _ => NOT_MINE,
    }
}
