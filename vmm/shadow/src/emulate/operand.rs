//! Operands: registers of every width, memory, immediates.

use iced_x86::{Instruction, OpKind, Register};

use super::{Base, Platform, Stop, check_canonical, read};
use crate::cpu::VirtCpu;
use crate::deliver::{Exception, vector};
use crate::tables::walk::{Access, Kind};

/// Keeps the low `size` bytes.
pub(super) fn truncate(value: u64, size: usize) -> u64 {
    if size >= 8 {
        value
    } else {
        value & ((1 << (8 * size)) - 1)
    }
}

/// Extends the low `size` bytes with their sign.
pub(super) fn sign_extend(value: u64, size: usize) -> u64 {
    let shift = 64 - 8 * size as u32;
    ((value << shift) as i64 >> shift) as u64
}

/// The high byte of one of the first four registers: AH, CH, DH, BH.
fn high_byte(r: Register) -> Option<usize> {
    match r {
        Register::AH => Some(0),
        Register::CH => Some(1),
        Register::DH => Some(2),
        Register::BH => Some(3),
        _ => None,
    }
}

/// The value of a general register; `None` if it is another kind of register.
pub(super) fn get_register(cpu: &VirtCpu, r: Register) -> Option<u64> {
    if let Some(n) = high_byte(r) {
        return Some((cpu.gpr[n] >> 8) & 0xff);
    }
    if !r.is_gpr() {
        return None;
    }
    Some(truncate(cpu.gpr[r.full_register().number()], r.size()))
}

/// Writes a general register: 32-bit writes clear the upper half, shorter ones keep the rest.
pub(super) fn set_register(cpu: &mut VirtCpu, r: Register, value: u64) -> Result<(), Stop> {
    if let Some(n) = high_byte(r) {
        cpu.gpr[n] = (cpu.gpr[n] & !0xff00) | ((value & 0xff) << 8);
        return Ok(());
    }
    if !r.is_gpr() {
        return Err(Stop::Unknown("its register operand"));
    }
    let full = &mut cpu.gpr[r.full_register().number()];
    *full = match r.size() {
        8 => value,
        4 => value & 0xffff_ffff,
        size => (*full & !truncate(u64::MAX, size)) | truncate(value, size),
    };
    Ok(())
}

/// The linear address of memory operand `n`.
pub(super) fn address(
    cpu: &VirtCpu,
    platform: &mut impl Platform,
    i: &Instruction,
    n: u32,
) -> Result<u64, Stop> {
    i.virtual_address(n, 0, |r, _, _| match r {
        Register::FS => Some(platform.base(Base::Fs)),
        Register::GS => Some(platform.base(Base::Gs)),
        Register::CS | Register::DS | Register::ES | Register::SS => Some(0),
        r => get_register(cpu, r),
    })
    .ok_or(Stop::Unknown("its address"))
}

/// `#SS(0)` instead of `#GP(0)` for an address that is not canonical and goes by the stack segment.
fn segment_fault(i: &Instruction, e: Exception) -> Exception {
    if e == Exception::GP0 && i.memory_segment() == Register::SS {
        Exception::with_error(vector::SS, 0)
    } else {
        e
    }
}

/// Size of operand `n` in bytes, at most 8.
pub(super) fn size(i: &Instruction, n: u32) -> Result<usize, Stop> {
    let size = match i.op_kind(n) {
        OpKind::Register => i.op_register(n).size(),
        OpKind::Immediate8 => 1,
        OpKind::Memory
        | OpKind::MemorySegSI
        | OpKind::MemorySegESI
        | OpKind::MemorySegRSI
        | OpKind::MemorySegDI
        | OpKind::MemorySegEDI
        | OpKind::MemorySegRDI
        | OpKind::MemoryESDI
        | OpKind::MemoryESEDI
        | OpKind::MemoryESRDI => i.memory_size().size(),
        _ => 8,
    };
    if (1..=8).contains(&size) {
        Ok(size)
    } else {
        Err(Stop::Unknown("the size of its operand"))
    }
}

/// Loads `len` bytes (at most 8) from memory.
pub(super) fn load(
    cpu: &VirtCpu,
    platform: &mut impl Platform,
    va: u64,
    len: usize,
) -> Result<u64, Exception> {
    let mut bytes = [0; 8];
    let access = Access {
        kind: Kind::Read,
        user: cpu.is_user(),
    };
    read(cpu, platform, va, &mut bytes[..len], access)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Stores the low `len` bytes of `value`.
pub(super) fn store(
    cpu: &VirtCpu,
    platform: &mut impl Platform,
    va: u64,
    len: usize,
    value: u64,
) -> Result<(), Exception> {
    check_canonical(va, len)?;
    platform.write(cpu, va, &value.to_le_bytes()[..len], cpu.is_user())
}

/// Reads operand `n`, zero-extended (immediates sign-extended).
pub(super) fn get(
    cpu: &VirtCpu,
    platform: &mut impl Platform,
    i: &Instruction,
    n: u32,
) -> Result<u64, Stop> {
    match i.op_kind(n) {
        OpKind::Register => {
            get_register(cpu, i.op_register(n)).ok_or(Stop::Unknown("its register operand"))
        }
        OpKind::Memory => {
            let va = address(cpu, platform, i, n)?;
            let len = size(i, n)?;
            Ok(load(cpu, platform, va, len).map_err(|e| segment_fault(i, e))?)
        }
        _ => i.try_immediate(n).map_err(|_| Stop::Unknown("its operand")),
    }
}

/// Reads operand `n`, which will be written: memory must allow that already.
pub(super) fn get_for_update(
    cpu: &VirtCpu,
    platform: &mut impl Platform,
    i: &Instruction,
    n: u32,
) -> Result<u64, Stop> {
    if i.op_kind(n) == OpKind::Memory {
        let va = address(cpu, platform, i, n)?;
        let len = size(i, n)?;
        check_canonical(va, len).map_err(|e| segment_fault(i, e))?;
        platform.probe_write(cpu, va, len, cpu.is_user())?;
    }
    get(cpu, platform, i, n)
}

/// Writes operand `n`.
pub(super) fn set(
    cpu: &mut VirtCpu,
    platform: &mut impl Platform,
    i: &Instruction,
    n: u32,
    value: u64,
) -> Result<(), Stop> {
    match i.op_kind(n) {
        OpKind::Register => set_register(cpu, i.op_register(n), value),
        OpKind::Memory => {
            let va = address(cpu, platform, i, n)?;
            let len = size(i, n)?;
            Ok(store(cpu, platform, va, len, value).map_err(|e| segment_fault(i, e))?)
        }
        _ => Err(Stop::Unknown("its operand")),
    }
}
