//! IN, OUT, INS, OUTS (SDM volume 1, chapter 19).

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::operand::{address, load, set_register, store};
use super::string::{advance, repeat};
use super::{DONE, NOT_MINE, Outcome, Platform};
use crate::cpu::{VirtCpu, flag, reg};
use crate::deliver::Exception;
use crate::tables::walk::Access;

/// `#GP(0)` unless IOPL or the TSS's permission bitmap allows the ports.
fn check(
    cpu: &VirtCpu,
    platform: &mut impl Platform,
    port: u16,
    len: usize,
) -> Result<(), Exception> {
    if u64::from(cpu.cpl) <= (cpu.rflags & flag::IOPL) >> 12 {
        return Ok(());
    }
    let limit = u64::from(cpu.tr.limit);
    if limit < 0x67 || cpu.tr.selector & !3 == 0 {
        return Err(Exception::GP0);
    }
    let mut word = [0; 2];
    platform.read(cpu, cpu.tr.base.wrapping_add(0x66), &mut word, Access::READ)?;
    let at = u64::from(u16::from_le_bytes(word)) + u64::from(port / 8);
    if at + 1 > limit {
        return Err(Exception::GP0);
    }
    platform.read(cpu, cpu.tr.base.wrapping_add(at), &mut word, Access::READ)?;
    let bits = u16::from_le_bytes(word) >> (port % 8);
    if bits & ((1 << len) - 1) != 0 {
        Err(Exception::GP0)
    } else {
        Ok(())
    }
}

pub(super) fn execute(cpu: &mut VirtCpu, platform: &mut impl Platform, i: &Instruction) -> Outcome {
    use Mnemonic as M;
    let port = |cpu: &VirtCpu, n: u32| match i.op_kind(n) {
        OpKind::Immediate8 => u16::from(i.immediate8()),
        _ => cpu.gpr[reg::RDX] as u16,
    };
    match i.mnemonic() {
        M::In => {
            let (port, len) = (port(cpu, 1), i.op0_register().size());
            check(cpu, platform, port, len)?;
            let value = platform.port_in(port, len);
            set_register(cpu, i.op0_register(), u64::from(value))?;
            DONE
        }
        M::Out => {
            let (port, len) = (port(cpu, 0), i.op1_register().size());
            check(cpu, platform, port, len)?;
            let value = super::operand::truncate(cpu.gpr[reg::RAX], len) as u32;
            platform.port_out(port, len, value);
            DONE
        }
        M::Insb | M::Insw | M::Insd => {
            let len = i.memory_size().size();
            let port = cpu.gpr[reg::RDX] as u16;
            check(cpu, platform, port, len)?;
            repeat(cpu, platform, i, |cpu, platform| {
                let to = address(cpu, platform, i, 0)?;
                super::check_canonical(to, len)?;
                platform.probe_write(cpu, to, len, cpu.is_user())?;
                let value = platform.port_in(port, len);
                store(cpu, platform, to, len, u64::from(value))?;
                advance(cpu, reg::RDI, len);
                Ok(())
            })
        }
        M::Outsb | M::Outsw | M::Outsd => {
            let len = i.memory_size().size();
            let port = cpu.gpr[reg::RDX] as u16;
            check(cpu, platform, port, len)?;
            repeat(cpu, platform, i, |cpu, platform| {
                let from = address(cpu, platform, i, 1)?;
                let value = load(cpu, platform, from, len)?;
                platform.port_out(port, len, value as u32);
                advance(cpu, reg::RSI, len);
                Ok(())
            })
        }
        _ => NOT_MINE,
    }
}
