//! Ordinary integer instructions: moves, arithmetic, bit tests, exchanges, the stack.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::operand::{
    get, get_for_update, get_register, set, set_register, sign_extend, size, truncate,
};
use super::{DONE, NOT_MINE, Outcome, Platform, Stop, branch, operand, read_u64, write_u64};
use crate::cpu::{VirtCpu, flag, reg};
use crate::deliver::{Exception, vector};

fn sign(value: u64, size: usize) -> bool {
    value >> (8 * size - 1) & 1 != 0
}

fn set_flags(cpu: &mut VirtCpu, mask: u64, bits: u64) {
    cpu.rflags = (cpu.rflags & !mask) | (bits & mask);
}

/// Sign, zero and parity of a result.
fn result_flags(result: u64, size: usize) -> u64 {
    let mut bits = 0;
    if result == 0 {
        bits |= flag::ZF;
    }
    if sign(result, size) {
        bits |= flag::SF;
    }
    if (result as u8).count_ones().is_multiple_of(2) {
        bits |= flag::PF;
    }
    bits
}

/// `a + b + carry`; sets all status flags.
fn add(cpu: &mut VirtCpu, a: u64, b: u64, carry: u64, size: usize) -> u64 {
    let (a, b) = (truncate(a, size), truncate(b, size));
    let wide = u128::from(a) + u128::from(b) + u128::from(carry);
    let result = truncate(wide as u64, size);
    let mut bits = result_flags(result, size);
    if wide >> (8 * size) != 0 {
        bits |= flag::CF;
    }
    if (a ^ b ^ result) & 0x10 != 0 {
        bits |= flag::AF;
    }
    if sign((a ^ result) & (b ^ result), size) {
        bits |= flag::OF;
    }
    set_flags(cpu, flag::STATUS, bits);
    result
}

/// `a - b - borrow`; sets all status flags.
pub(super) fn sub(cpu: &mut VirtCpu, a: u64, b: u64, borrow: u64, size: usize) -> u64 {
    let (a, b) = (truncate(a, size), truncate(b, size));
    let result = truncate(a.wrapping_sub(b).wrapping_sub(borrow), size);
    let mut bits = result_flags(result, size);
    if u128::from(a) < u128::from(b) + u128::from(borrow) {
        bits |= flag::CF;
    }
    if (a ^ b ^ result) & 0x10 != 0 {
        bits |= flag::AF;
    }
    if sign((a ^ b) & (a ^ result), size) {
        bits |= flag::OF;
    }
    set_flags(cpu, flag::STATUS, bits);
    result
}

fn logic(cpu: &mut VirtCpu, result: u64, size: usize) -> u64 {
    let result = truncate(result, size);
    set_flags(cpu, flag::STATUS, result_flags(result, size));
    result
}

/// Pushes a quadword.
pub(super) fn push(
    cpu: &mut VirtCpu,
    platform: &mut impl Platform,
    value: u64,
) -> Result<(), Exception> {
    let rsp = cpu.gpr[reg::RSP].wrapping_sub(8);
    write_u64(cpu, platform, rsp, value, cpu.is_user()).map_err(stack_fault)?;
    cpu.gpr[reg::RSP] = rsp;
    Ok(())
}

/// Pops a quadword.
pub(super) fn pop(cpu: &mut VirtCpu, platform: &mut impl Platform) -> Result<u64, Exception> {
    let rsp = cpu.gpr[reg::RSP];
    let value = read_u64(cpu, platform, rsp, cpu.is_user()).map_err(stack_fault)?;
    cpu.gpr[reg::RSP] = rsp.wrapping_add(8);
    Ok(value)
}

fn stack_fault(e: Exception) -> Exception {
    if e == Exception::GP0 {
        Exception::with_error(vector::SS, 0)
    } else {
        e
    }
}

/// `op0 = op0 ∘ op1`.
fn update(
    cpu: &mut VirtCpu,
    platform: &mut impl Platform,
    i: &Instruction,
    f: impl FnOnce(&mut VirtCpu, u64, u64, usize) -> u64,
) -> Outcome {
    let len = size(i, 0)?;
    let a = get_for_update(cpu, platform, i, 0)?;
    let b = if i.op_count() > 1 {
        get(cpu, platform, i, 1)?
    } else {
        1
    };
    let result = f(cpu, a, truncate(b, len), len);
    set(cpu, platform, i, 0, result)?;
    DONE
}

fn shift(
    cpu: &mut VirtCpu,
    platform: &mut impl Platform,
    i: &Instruction,
    f: impl FnOnce(u64, u32, usize) -> (u64, bool),
) -> Outcome {
    let len = size(i, 0)?;
    let count = get(cpu, platform, i, 1)? as u32 & if len == 8 { 63 } else { 31 };
    let a = get_for_update(cpu, platform, i, 0)?;
    let mut result = a;
    if count != 0 {
        let carry;
        (result, carry) = f(a, count, len);
        let mut bits = result_flags(result, len);
        if carry {
            bits |= flag::CF;
        }
        // OF is defined for shifts by one only; what processors leave for others is this as well.
        let top = match i.mnemonic() {
            Mnemonic::Shl => sign(result, len) != carry,
            Mnemonic::Shr => sign(a, len) && count == 1,
            _ => false,
        };
        if top {
            bits |= flag::OF;
        }
        set_flags(cpu, flag::STATUS & !flag::AF, bits);
    }
    set(cpu, platform, i, 0, result)?;
    DONE
}

/// BT and its kin: the bit string in memory may reach beyond the operand.
fn bit_test(cpu: &mut VirtCpu, platform: &mut impl Platform, i: &Instruction) -> Outcome {
    let len = size(i, 0)?;
    let width = 8 * len as u64;
    let index = get(cpu, platform, i, 1)?;
    let writes = i.mnemonic() != Mnemonic::Bt;
    let apply = |old: u64, bit: u64| match i.mnemonic() {
        Mnemonic::Bts => old | bit,
        Mnemonic::Btr => old & !bit,
        Mnemonic::Btc => old ^ bit,
        _ => old,
    };
    let (old, bit);
    if i.op_kind(0) == OpKind::Memory && i.op_kind(1) == OpKind::Register {
        let offset = sign_extend(index, len) as i64;
        let step = offset.div_euclid(width as i64) * len as i64;
        let va = operand::address(cpu, platform, i, 0)?.wrapping_add(step as u64);
        bit = 1 << offset.rem_euclid(width as i64);
        if writes {
            super::check_canonical(va, len)?;
            platform.probe_write(cpu, va, len, cpu.is_user())?;
        }
        old = operand::load(cpu, platform, va, len)?;
        if writes {
            operand::store(cpu, platform, va, len, apply(old, bit))?;
        }
    } else {
        bit = 1 << (index % width);
        if writes {
            old = get_for_update(cpu, platform, i, 0)?;
            set(cpu, platform, i, 0, apply(old, bit))?;
        } else {
            old = get(cpu, platform, i, 0)?;
        }
    }
    set_flags(cpu, flag::CF, if old & bit != 0 { flag::CF } else { 0 });
    DONE
}

pub(super) fn execute(cpu: &mut VirtCpu, platform: &mut impl Platform, i: &Instruction) -> Outcome {
    let carry = cpu.rflags & flag::CF;
    match i.mnemonic() {
        Mnemonic::Mov | Mnemonic::Movnti => {
            // Moves to and from control, debug and segment registers are other families'.
            let value = truncate(get(cpu, platform, i, 1)?, size(i, 0)?);
            set(cpu, platform, i, 0, value)?;
            DONE
        }
        Mnemonic::Movzx => {
            let value = get(cpu, platform, i, 1)?;
            set(cpu, platform, i, 0, value)?;
            DONE
        }
        Mnemonic::Movsx | Mnemonic::Movsxd => {
            let value = sign_extend(get(cpu, platform, i, 1)?, size(i, 1)?);
            set(cpu, platform, i, 0, truncate(value, size(i, 0)?))?;
            DONE
        }
        Mnemonic::Lea => {
            // Without the segment's base: LEA gives the effective address.
            let va = i
                .virtual_address(1, 0, |r, _, _| {
                    if r.is_segment_register() {
                        Some(0)
                    } else {
                        get_register(cpu, r)
                    }
                })
                .ok_or(Stop::Unknown("its address"))?;
            set_register(cpu, i.op0_register(), va)?;
            DONE
        }
        Mnemonic::Push if i.op_kind(0) == OpKind::Register && !i.op0_register().is_gpr64() => {
            NOT_MINE
        }
        Mnemonic::Push => {
            let value = get(cpu, platform, i, 0)?;
            if i.op_kind(0) == OpKind::Memory && size(i, 0)? != 8 {
                return NOT_MINE;
            }
            push(cpu, platform, value)?;
            DONE
        }
        Mnemonic::Pop if i.op_kind(0) == OpKind::Register && !i.op0_register().is_gpr64() => {
            NOT_MINE
        }
        Mnemonic::Pop => {
            if i.op_kind(0) == OpKind::Memory && size(i, 0)? != 8 {
                return NOT_MINE;
            }
            let value = pop(cpu, platform)?;
            set(cpu, platform, i, 0, value)?;
            DONE
        }
        Mnemonic::Add => update(cpu, platform, i, |c, a, b, n| add(c, a, b, 0, n)),
        Mnemonic::Adc => update(cpu, platform, i, |c, a, b, n| add(c, a, b, carry, n)),
        Mnemonic::Sub => update(cpu, platform, i, |c, a, b, n| sub(c, a, b, 0, n)),
        Mnemonic::Sbb => update(cpu, platform, i, |c, a, b, n| sub(c, a, b, carry, n)),
        Mnemonic::And => update(cpu, platform, i, |c, a, b, n| logic(c, a & b, n)),
        Mnemonic::Or => update(cpu, platform, i, |c, a, b, n| logic(c, a | b, n)),
        Mnemonic::Xor => update(cpu, platform, i, |c, a, b, n| logic(c, a ^ b, n)),
        Mnemonic::Not => update(cpu, platform, i, |_, a, _, n| truncate(!a, n)),
        Mnemonic::Neg => update(cpu, platform, i, |c, a, _, n| sub(c, 0, a, 0, n)),
        Mnemonic::Inc | Mnemonic::Dec => update(cpu, platform, i, |c, a, _, n| {
            let result = if i.mnemonic() == Mnemonic::Inc {
                add(c, a, 1, 0, n)
            } else {
                sub(c, a, 1, 0, n)
            };
            set_flags(c, flag::CF, carry);
            result
        }),
        Mnemonic::Cmp => {
            let len = size(i, 0)?;
            let (a, b) = (get(cpu, platform, i, 0)?, get(cpu, platform, i, 1)?);
            sub(cpu, a, b, 0, len);
            DONE
        }
        Mnemonic::Test => {
            let len = size(i, 0)?;
            let result = get(cpu, platform, i, 0)? & get(cpu, platform, i, 1)?;
            logic(cpu, result, len);
            DONE
        }
        Mnemonic::Shl => shift(cpu, platform, i, |a, n, len| {
            let wide = u128::from(a) << n;
            (truncate(wide as u64, len), wide >> (8 * len) & 1 != 0)
        }),
        Mnemonic::Shr => shift(cpu, platform, i, |a, n, _| (a >> n, a >> (n - 1) & 1 != 0)),
        Mnemonic::Sar => shift(cpu, platform, i, |a, n, len| {
            let a = sign_extend(a, len) as i64;
            (
                truncate((a >> n.min(63)) as u64, len),
                a >> (n - 1).min(63) & 1 != 0,
            )
        }),
        Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc => bit_test(cpu, platform, i),
        Mnemonic::Xchg => {
            let a = get_for_update(cpu, platform, i, 0)?;
            let b = get_for_update(cpu, platform, i, 1)?;
            set(cpu, platform, i, 0, b)?;
            set(cpu, platform, i, 1, a)?;
            DONE
        }
        Mnemonic::Xadd => {
            let len = size(i, 0)?;
            let a = get_for_update(cpu, platform, i, 0)?;
            let b = get(cpu, platform, i, 1)?;
            let sum = add(cpu, a, b, 0, len);
            set(cpu, platform, i, 1, a)?;
            set(cpu, platform, i, 0, sum)?;
            DONE
        }
        Mnemonic::Cmpxchg => {
            let len = size(i, 0)?;
            let accumulator = [Register::AL, Register::AX, Register::EAX, Register::RAX]
                [len.trailing_zeros() as usize];
            let old = get_for_update(cpu, platform, i, 0)?;
            let expected = truncate(cpu.gpr[reg::RAX], len);
            sub(cpu, expected, old, 0, len);
            if expected == old {
                let new = get(cpu, platform, i, 1)?;
                set(cpu, platform, i, 0, new)?;
            } else {
                // Memory is written back; a register keeps even its upper half.
                if i.op_kind(0) == OpKind::Memory {
                    set(cpu, platform, i, 0, old)?;
                }
                set_register(cpu, accumulator, old)?;
            }
            DONE
        }
        Mnemonic::Cmpxchg8b => {
            let va = operand::address(cpu, platform, i, 0)?;
            super::check_canonical(va, 8)?;
            platform.probe_write(cpu, va, 8, cpu.is_user())?;
            let old = operand::load(cpu, platform, va, 8)?;
            let low = |n: usize| cpu.gpr[n] & 0xffff_ffff;
            let expected = low(reg::RDX) << 32 | low(reg::RAX);
            let new = if old == expected {
                low(reg::RCX) << 32 | low(reg::RBX)
            } else {
                old
            };
            operand::store(cpu, platform, va, 8, new)?;
            set_flags(cpu, flag::ZF, if old == expected { flag::ZF } else { 0 });
            if old != expected {
                cpu.gpr[reg::RAX] = old & 0xffff_ffff;
                cpu.gpr[reg::RDX] = old >> 32;
            }
            DONE
        }
        Mnemonic::Cdqe => {
            cpu.gpr[reg::RAX] = sign_extend(cpu.gpr[reg::RAX], 4);
            DONE
        }
        Mnemonic::Cqo => {
            cpu.gpr[reg::RDX] = sign_extend(cpu.gpr[reg::RAX] >> 63 & 1, 8).wrapping_neg();
            DONE
        }
        Mnemonic::Leave => {
            let rbp = read_u64(cpu, platform, cpu.gpr[reg::RBP], cpu.is_user())?;
            cpu.gpr[reg::RSP] = cpu.gpr[reg::RBP].wrapping_add(8);
            cpu.gpr[reg::RBP] = rbp;
            DONE
        }
        Mnemonic::Nop
        | Mnemonic::Endbr64
        | Mnemonic::Pause
        | Mnemonic::Lfence
        | Mnemonic::Mfence
        | Mnemonic::Sfence => DONE,
        _ if branch::is_setcc(i) => {
            let value = u64::from(branch::condition(cpu, i));
            set(cpu, platform, i, 0, value)?;
            DONE
        }
        _ if branch::is_cmov(i) => {
            // The source is read, and may fault, whatever the condition says.
            let source = get(cpu, platform, i, 1)?;
            let old = get(cpu, platform, i, 0)?;
            let value = if branch::condition(cpu, i) {
                source
            } else {
                old
            };
            set(cpu, platform, i, 0, value)?;
            DONE
        }
        _ => NOT_MINE,
    }
}
