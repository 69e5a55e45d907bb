//! Exceptions and interrupts through the guest's IDT in 64-bit mode, as the processor does it
//! (SDM volume 3, sections 6.8 to 6.15): gate checks, stack switch by TSS or IST, the frame, error
//! codes, double and triple faults.
//!
//! ```text
//!  new RSP ─►  error code (some exceptions)     stack aligned down to 16 bytes first
//!              RIP
//!              CS       the *virtual* selectors: CPL 0 for the kernel, 3 for programs
//!              RFLAGS
//!              RSP
//!              SS
//! ```

pub mod descriptor;
#[cfg(test)]
mod tests;

use crate::cpu::{VirtCpu, flag, reg};
use crate::emulate::{Platform, read_u64, write_u64};
use crate::tables::entry::canonical;
use descriptor::{Descriptor, selector_error};

/// Exception vectors.
pub mod vector {
    #![allow(missing_docs)]
    pub const DE: u8 = 0;
    pub const DB: u8 = 1;
    pub const NMI: u8 = 2;
    pub const BP: u8 = 3;
    pub const OF: u8 = 4;
    pub const UD: u8 = 6;
    pub const NM: u8 = 7;
    pub const DF: u8 = 8;
    pub const TS: u8 = 10;
    pub const NP: u8 = 11;
    pub const SS: u8 = 12;
    pub const GP: u8 = 13;
    pub const PF: u8 = 14;
    pub const AC: u8 = 17;
}

/// Whether the processor pushes an error code for this exception.
pub const fn has_error_code(vector: u8) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30)
}

/// An exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Vector, 0 to 31.
    pub vector: u8,
    /// Error code, for the vectors that have one.
    pub error: u32,
    /// New CR2, for page faults.
    pub address: u64,
}

impl Exception {
    /// An exception without error code.
    pub const fn plain(vector: u8) -> Self {
        Exception {
            vector,
            error: 0,
            address: 0,
        }
    }

    /// An exception with an error code.
    pub const fn with_error(vector: u8, error: u32) -> Self {
        Exception {
            vector,
            error,
            address: 0,
        }
    }

    /// `#GP(0)`.
    pub const GP0: Exception = Exception::with_error(vector::GP, 0);
    /// `#UD`.
    pub const UD: Exception = Exception::plain(vector::UD);

    /// A page fault at `address`.
    pub const fn page_fault(address: u64, error: u32) -> Self {
        Exception {
            vector: vector::PF,
            error,
            address,
        }
    }
}

/// What is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An exception that the processor found; RIP is already what has to be pushed.
    Exception(Exception),
    /// An interrupt from outside.
    Interrupt(u8),
    /// `int n`, `int3`, `into`: the gate's DPL counts. RIP is behind it.
    Software {
        /// The vector.
        vector: u8,
        /// Where the instruction is: what faults that its delivery raises are about.
        from: u64,
    },
}

impl Event {
    fn vector(&self) -> u8 {
        match *self {
            Event::Exception(e) => e.vector,
            Event::Interrupt(vector) | Event::Software { vector, .. } => vector,
        }
    }
}

/// The processor has shut down: an exception while a double fault was being delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("triple fault: vector {first} at {rip:#x} could not be delivered (IDT at {idt:#x})")]
pub struct TripleFault {
    /// The vector that started it.
    pub first: u8,
    /// Where.
    pub rip: u64,
    /// The guest's IDT.
    pub idt: u64,
}

/// Contributory exceptions and page faults make double faults (SDM volume 3, table 6-5).
fn doubles(first: &Event, second: u8) -> bool {
    let contributory = |v| matches!(v, 0 | 10..=13);
    let Event::Exception(first) = first else {
        return false;
    };
    match first.vector {
        vector::PF => contributory(second) || second == vector::PF,
        v if contributory(v) => contributory(second),
        _ => false,
    }
}

/// Delivers `event`: the virtual processor is then at its handler.
///
/// # Errors
/// [`TripleFault`].
pub fn deliver(
    cpu: &mut VirtCpu,
    platform: &mut impl Platform,
    event: Event,
) -> Result<(), TripleFault> {
    let triple = TripleFault {
        first: event.vector(),
        rip: cpu.rip,
        idt: cpu.idtr.base,
    };
    let mut event = event;
    // Each round either delivers or goes on with what went wrong: an exception of a benign kind
    // leads to another at most twice before the chain is contributory.
    for _ in 0..4 {
        if let Event::Exception(e) = event
            && e.vector == vector::PF
        {
            cpu.cr2 = e.address;
        }
        match attempt(cpu, platform, event) {
            Ok(()) => return Ok(()),
            Err(next) if let Event::Software { from, .. } = event => {
                cpu.rip = from;
                event = Event::Exception(next);
            }
            Err(_) if matches!(event, Event::Exception(e) if e.vector == vector::DF) => {
                return Err(triple);
            }
            Err(next) if doubles(&event, next.vector) => {
                if next.vector == vector::PF {
                    cpu.cr2 = next.address;
                }
                event = Event::Exception(Exception::with_error(vector::DF, 0));
            }
            Err(next) => event = Event::Exception(next),
        }
    }
    Err(triple)
}

fn attempt(cpu: &mut VirtCpu, platform: &mut impl Platform, event: Event) -> Result<(), Exception> {
    let vector = event.vector();
    let external = u32::from(!matches!(event, Event::Software { .. }));
    let idt_error = u32::from(vector) * 8 + 2 + external;
    let at = u64::from(vector) * 16;
    if at + 15 > u64::from(cpu.idtr.limit) {
        return Err(Exception::with_error(vector::GP, idt_error));
    }
    let low = read_u64(cpu, platform, cpu.idtr.base.wrapping_add(at), false)?;
    let high = read_u64(cpu, platform, cpu.idtr.base.wrapping_add(at + 8), false)?;
    let kind = (low >> 40) & 0x1f;
    let dpl = ((low >> 45) & 3) as u8;
    if kind != 0xe && kind != 0xf {
        return Err(Exception::with_error(vector::GP, idt_error));
    }
    if matches!(event, Event::Software { .. }) && dpl < cpu.cpl {
        return Err(Exception::with_error(vector::GP, idt_error));
    }
    if low & (1 << 47) == 0 {
        return Err(Exception::with_error(vector::NP, idt_error));
    }
    let selector = (low >> 16) as u16;
    let target = (low & 0xffff) | ((low >> 32) & 0xffff_0000) | (high << 32);
    let ist = ((low >> 32) & 7) as u8;
    if selector & !3 == 0 {
        return Err(Exception::with_error(vector::GP, external));
    }
    let code = Descriptor::read(cpu, platform, selector, external)?;
    if !code.is_code() || code.dpl() > cpu.cpl || !code.is_long() {
        return Err(Exception::with_error(
            vector::GP,
            selector_error(selector) | external,
        ));
    }
    if !code.present() {
        return Err(Exception::with_error(
            vector::NP,
            selector_error(selector) | external,
        ));
    }
    let new_cpl = if code.is_conforming() {
        cpu.cpl
    } else {
        code.dpl()
    };
    let mut rsp = if ist != 0 {
        tss_stack(cpu, platform, 0x24 + 8 * (u64::from(ist) - 1), external)?
    } else if new_cpl < cpu.cpl {
        tss_stack(cpu, platform, 4 + 8 * u64::from(new_cpl), external)?
    } else {
        cpu.gpr[reg::RSP]
    };
    if !canonical(rsp) {
        return Err(Exception::with_error(vector::SS, external));
    }
    if !canonical(target) {
        return Err(Exception::with_error(vector::GP, external));
    }
    rsp &= !15;
    let error = match event {
        Event::Exception(e) if has_error_code(e.vector) => Some(u64::from(e.error)),
        _ => None,
    };
    let rf = match event {
        // Faults are pushed with RF set; traps, aborts and interrupts as it was.
        Event::Exception(e) if !matches!(e.vector, vector::DB | vector::BP | vector::OF) => {
            flag::RF
        }
        _ => 0,
    };
    let pushes = [
        Some(u64::from(cpu.selectors.ss)),
        Some(cpu.gpr[reg::RSP]),
        Some(cpu.rflags | rf),
        Some(u64::from(cpu.selectors.cs)),
        Some(cpu.rip),
        error,
    ];
    let user = new_cpl == 3;
    for value in pushes.into_iter().flatten() {
        rsp = rsp.wrapping_sub(8);
        write_u64(cpu, platform, rsp, value, user)?;
    }
    if new_cpl != cpu.cpl {
        cpu.selectors.ss = u16::from(new_cpl);
    }
    cpu.selectors.cs = (selector & !3) | u16::from(new_cpl);
    cpu.cpl = new_cpl;
    cpu.gpr[reg::RSP] = rsp;
    cpu.rip = target;
    cpu.rflags &= !(flag::TF | flag::NT | flag::RF | flag::VM);
    if kind == 0xe {
        cpu.rflags &= !flag::IF;
    }
    cpu.interrupt_shadow = false;
    Ok(())
}

fn tss_stack(
    cpu: &mut VirtCpu,
    platform: &mut impl Platform,
    offset: u64,
    external: u32,
) -> Result<u64, Exception> {
    if offset + 7 > u64::from(cpu.tr.limit) || cpu.tr.selector & !3 == 0 {
        let error = selector_error(cpu.tr.selector) | external;
        return Err(Exception::with_error(vector::TS, error));
    }
    read_u64(cpu, platform, cpu.tr.base.wrapping_add(offset), false)
}
