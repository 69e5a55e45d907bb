//! Descriptor tables and segment registers.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::alu::{pop, push};
use super::flags::{check_code, check_stack, leave};
use super::operand::{address, get, load, set, set_register, store};
use super::{Base, DONE, NOT_MINE, Outcome, Platform, Stop, read_u64, require_kernel, write_u64};
use crate::cpu::{SystemSegment, TableRegister, VirtCpu, cr4};
use crate::deliver::descriptor::{Descriptor, selector_error};
use crate::deliver::{Exception, vector};
use crate::tables::entry::canonical;

fn require_umip(cpu: &VirtCpu) -> Result<(), Exception> {
    if cpu.cr4 & cr4::UMIP != 0 {
        require_kernel(cpu)
    } else {
        Ok(())
    }
}

fn load_table(
    cpu: &VirtCpu,
    platform: &mut impl Platform,
    i: &Instruction,
) -> Result<TableRegister, Stop> {
    require_kernel(cpu)?;
    let at = address(cpu, platform, i, 0)?;
    let limit = load(cpu, platform, at, 2)? as u16;
    let base = load(cpu, platform, at.wrapping_add(2), 8)?;
    if !canonical(base) {
        return Err(Exception::GP0.into());
    }
    Ok(TableRegister { base, limit })
}

fn store_table(
    cpu: &VirtCpu,
    platform: &mut impl Platform,
    i: &Instruction,
    table: TableRegister,
) -> Result<(), Stop> {
    require_umip(cpu)?;
    let at = address(cpu, platform, i, 0)?;
    super::check_canonical(at, 10)?;
    platform.probe_write(cpu, at, 10, cpu.is_user())?;
    store(cpu, platform, at, 2, u64::from(table.limit))?;
    store(cpu, platform, at.wrapping_add(2), 8, table.base)?;
    Ok(())
}

/// LLDT and LTR: `kinds` are the descriptor types that will do.
fn load_system(
    cpu: &mut VirtCpu,
    platform: &mut impl Platform,
    selector: u16,
    kind: u8,
) -> Result<SystemSegment, Stop> {
    let gp = Exception::with_error(vector::GP, selector_error(selector));
    if selector & 4 != 0 {
        return Err(gp.into());
    }
    let at = Descriptor::address(cpu, selector, 16, 0)?;
    let low = read_u64(cpu, platform, at, false)?;
    let high = read_u64(cpu, platform, at.wrapping_add(8), false)?;
    let d = Descriptor(low);
    if d.kind() != kind {
        return Err(gp.into());
    }
    if !d.present() {
        return Err(Exception::with_error(vector::NP, selector_error(selector)).into());
    }
    let base = d.base() | (high << 32);
    if !canonical(base) {
        return Err(gp.into());
    }
    if kind == 9 {
        // The TSS is busy now.
        write_u64(cpu, platform, at, low | 1 << 41, false)?;
    }
    Ok(SystemSegment {
        selector,
        base,
        limit: d.limit(),
    })
}

/// MOV or POP to a segment register.
fn load_segment(
    cpu: &mut VirtCpu,
    platform: &mut impl Platform,
    register: Register,
    selector: u16,
) -> Result<(), Stop> {
    let error = selector_error(selector);
    let rpl = (selector & 3) as u8;
    let mut base = 0;
    if selector & !3 == 0 {
        // A null stack segment is allowed in 64-bit kernels only.
        if register == Register::SS && (cpu.cpl == 3 || rpl != cpu.cpl) {
            return Err(Exception::GP0.into());
        }
    } else {
        let d = Descriptor::read(cpu, platform, selector, 0)?;
        let ok = if register == Register::SS {
            d.is_writable_data() && rpl == cpu.cpl && d.dpl() == cpu.cpl
        } else {
            d.is_readable() && (d.is_conforming() || (rpl <= d.dpl() && cpu.cpl <= d.dpl()))
        };
        if !ok {
            return Err(Exception::with_error(vector::GP, error).into());
        }
        if !d.present() {
            let v = if register == Register::SS {
                vector::SS
            } else {
                vector::NP
            };
            return Err(Exception::with_error(v, error).into());
        }
        base = d.base();
    }
    let s = &mut cpu.selectors;
    match register {
        Register::SS => {
            s.ss = selector;
            cpu.interrupt_shadow = true;
        }
        Register::DS => s.ds = selector,
        Register::ES => s.es = selector,
        Register::FS => {
            s.fs = selector;
            platform.set_base(Base::Fs, base);
        }
        Register::GS => {
            s.gs = selector;
            platform.set_base(Base::Gs, base);
        }
        _ => return Err(Exception::UD.into()),
    }
    Ok(())
}

fn selector_of(cpu: &VirtCpu, register: Register) -> Option<u16> {
    let s = &cpu.selectors;
    Some(match register {
        Register::CS => s.cs,
        Register::SS => s.ss,
        Register::DS => s.ds,
        Register::ES => s.es,
        Register::FS => s.fs,
        Register::GS => s.gs,
        _ => return None,
    })
}

/// LAR, LSL, VERR, VERW: what the descriptor says, without exceptions about it.
fn inspect(cpu: &mut VirtCpu, platform: &mut impl Platform, i: &Instruction) -> Outcome {
    let last = i.op_count() - 1;
    let selector = get(cpu, platform, i, last)? as u16;
    let rpl = (selector & 3) as u8;
    let found = if selector & !3 == 0 {
        None
    } else {
        match Descriptor::read(cpu, platform, selector, 0) {
            Ok(d) => Some(d),
            Err(e) if e.vector == vector::PF => return Err(e.into()),
            Err(_) => None,
        }
    };
    let visible = |d: &Descriptor| d.is_conforming() || (cpu.cpl <= d.dpl() && rpl <= d.dpl());
    let segment = |d: &Descriptor| d.kind() & 0x10 != 0;
    let ok = found.filter(visible).filter(|d| match i.mnemonic() {
        Mnemonic::Lar => segment(d) || matches!(d.kind(), 2 | 9 | 11 | 12),
        Mnemonic::Lsl => segment(d) || matches!(d.kind(), 2 | 9 | 11),
        Mnemonic::Verr => segment(d) && d.is_readable(),
        _ => d.is_writable_data(),
    });
    let zf = crate::cpu::flag::ZF;
    let Some(d) = ok else {
        cpu.rflags &= !zf;
        return DONE;
    };
    cpu.rflags |= zf;
    match i.mnemonic() {
        Mnemonic::Lar => set_register(cpu, i.op0_register(), (d.0 >> 32) & 0x00ff_ff00)?,
        Mnemonic::Lsl => set_register(cpu, i.op0_register(), u64::from(d.limit()))?,
        _ => {}
    }
    DONE
}

pub(super) fn execute(cpu: &mut VirtCpu, platform: &mut impl Platform, i: &Instruction) -> Outcome {
    match i.mnemonic() {
        Mnemonic::Lgdt => cpu.gdtr = load_table(cpu, platform, i)?,
        Mnemonic::Lidt => cpu.idtr = load_table(cpu, platform, i)?,
        Mnemonic::Sgdt => store_table(cpu, platform, i, cpu.gdtr)?,
        Mnemonic::Sidt => store_table(cpu, platform, i, cpu.idtr)?,
        Mnemonic::Lldt => {
            require_kernel(cpu)?;
            let selector = get(cpu, platform, i, 0)? as u16;
            cpu.ldtr = if selector & !3 == 0 {
                SystemSegment {
                    selector,
                    ..SystemSegment::default()
                }
            } else {
                load_system(cpu, platform, selector, 2)?
            };
        }
        Mnemonic::Ltr => {
            require_kernel(cpu)?;
            let selector = get(cpu, platform, i, 0)? as u16;
            if selector & !3 == 0 {
                return Err(Exception::GP0.into());
            }
            cpu.tr = load_system(cpu, platform, selector, 9)?;
        }
        Mnemonic::Sldt | Mnemonic::Str => {
            require_umip(cpu)?;
            let s = if i.mnemonic() == Mnemonic::Str {
                cpu.tr
            } else {
                cpu.ldtr
            };
            set(cpu, platform, i, 0, u64::from(s.selector))?;
        }
        Mnemonic::Lar | Mnemonic::Lsl | Mnemonic::Verr | Mnemonic::Verw => {
            return inspect(cpu, platform, i);
        }
        Mnemonic::Mov
            if i.op_kind(0) == OpKind::Register && i.op0_register().is_segment_register() =>
        {
            let selector = get(cpu, platform, i, 1)? as u16;
            load_segment(cpu, platform, i.op0_register(), selector)?;
        }
        Mnemonic::Mov
            if i.op_kind(1) == OpKind::Register && i.op1_register().is_segment_register() =>
        {
            let selector = selector_of(cpu, i.op1_register()).ok_or(Exception::UD)?;
            if i.op_kind(0) == OpKind::Memory {
                let at = address(cpu, platform, i, 0)?;
                store(cpu, platform, at, 2, u64::from(selector))?;
            } else {
                set_register(cpu, i.op0_register(), u64::from(selector))?;
            }
        }
        Mnemonic::Push if i.op0_register().is_segment_register() => {
            let selector = selector_of(cpu, i.op0_register()).ok_or(Exception::UD)?;
            push(cpu, platform, u64::from(selector))?;
        }
        Mnemonic::Pop if i.op0_register().is_segment_register() => {
            let selector = pop(cpu, platform)? as u16;
            load_segment(cpu, platform, i.op0_register(), selector)?;
        }
        Mnemonic::Retf => return far_return(cpu, platform, i),
        _ => return NOT_MINE,
    }
    DONE
}

/// RETFQ (SDM volume 2, RET; 64-bit mode).
fn far_return(cpu: &mut VirtCpu, platform: &mut impl Platform, i: &Instruction) -> Outcome {
    if i.code() != Code::Retfq {
        return Err(Stop::Unknown("this kind of far return"));
    }
    let rip = pop(cpu, platform)?;
    let cs = pop(cpu, platform)? as u16;
    let rpl = check_code(cpu, platform, cs)?;
    let mut stack = None;
    if rpl > cpu.cpl {
        let rsp = pop(cpu, platform)?;
        let ss = pop(cpu, platform)? as u16;
        check_stack(cpu, platform, ss, rpl)?;
        stack = Some((rsp, ss));
    }
    if !canonical(rip) {
        return Err(Exception::GP0.into());
    }
    let ss = stack.map_or(cpu.selectors.ss, |(_, ss)| ss);
    leave(cpu, platform, cs, ss, rpl);
    if let Some((rsp, _)) = stack {
        cpu.gpr[crate::cpu::reg::RSP] = rsp;
    }
    cpu.rip = rip;
    DONE
}
