//! The emulator: instructions that the guest's kernel may carry out and ring 3 may not, and
//! ordinary ones whose operand lies where the true tables give no access.
//!
//! iced-x86 decodes. One file a family. [`step`] carries out one instruction on the virtual
//! processor, or says which exception it raises; an instruction that nothing here knows is an
//! error with its bytes and text, never skipped.

mod alu;
mod branch;
mod control;
mod descriptor;
mod flags;
#[cfg(test)]
pub(crate) mod mock;
mod msr;
mod operand;
mod ports;
mod processor;
mod string;
mod syscall;
#[cfg(test)]
mod tests;

pub use syscall::enter as enter_syscall;

use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, Mnemonic};

use crate::cpu::VirtCpu;
use crate::deliver::Exception;
use crate::tables::walk::{Access, Kind};

/// A segment whose base counts in 64-bit mode, or the one that SWAPGS exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// FS.
    Fs,
    /// GS.
    Gs,
    /// IA32_KERNEL_GS_BASE.
    KernelGs,
}

/// What lies around the virtual processor.
pub trait Platform {
    /// Reads guest memory at linear address `va` as the access says (which is a read or a fetch);
    /// `cpu` gives the translation. Device registers may answer.
    ///
    /// # Errors
    /// The page fault; nothing has then been read from a device.
    fn read(
        &mut self,
        cpu: &VirtCpu,
        va: u64,
        bytes: &mut [u8],
        access: Access,
    ) -> Result<(), Exception>;

    /// Writes guest memory.
    ///
    /// # Errors
    /// The page fault; nothing has then been written.
    fn write(&mut self, cpu: &VirtCpu, va: u64, bytes: &[u8], user: bool) -> Result<(), Exception>;

    /// Checks that `len` bytes at `va` may be written, as a read that will be followed by a write
    /// does it first.
    ///
    /// # Errors
    /// The page fault.
    fn probe_write(
        &mut self,
        cpu: &VirtCpu,
        va: u64,
        len: usize,
        user: bool,
    ) -> Result<(), Exception>;

    /// Reads `size` (1, 2 or 4) bytes from an I/O port.
    fn port_in(&mut self, port: u16, size: usize) -> u32;

    /// Writes an I/O port.
    fn port_out(&mut self, port: u16, size: usize, value: u32);

    /// An MSR that is not part of [`VirtCpu`]; `None`: there is none such (`#GP`).
    fn read_msr(&mut self, msr: u32) -> Option<u64>;

    /// Writes an MSR that is not part of [`VirtCpu`]; `None`: there is none such, or not with this
    /// value.
    fn write_msr(&mut self, msr: u32, value: u64) -> Option<()>;

    /// The base of a segment.
    fn base(&mut self, which: Base) -> u64;

    /// Sets the base of a segment; `base` is canonical.
    fn set_base(&mut self, which: Base, base: u64);

    /// Exchanges the bases of GS and KERNEL_GS.
    fn swap_gs(&mut self);

    /// CPUID.
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> [u32; 4];

    /// The time-stamp counter.
    fn tsc(&mut self) -> u64;

    /// INVLPG.
    fn invlpg(&mut self, va: u64);

    /// CR3 has been loaded; `cpu.cr3` is new.
    fn cr3_loaded(&mut self, cpu: &VirtCpu);

    /// CR0, CR4 or EFER have changed.
    fn mode_changed(&mut self, cpu: &VirtCpu);

    /// The task priority, 0 to 15.
    fn cr8(&mut self) -> u64;

    /// Sets the task priority, 0 to 15.
    fn set_cr8(&mut self, value: u64);

    /// Sets XCR0; whether the processor accepts the value.
    fn set_xcr0(&mut self, value: u64) -> bool;

    /// A debug register has been written.
    fn debug_changed(&mut self, cpu: &VirtCpu) {
        let _ = cpu;
    }
}

/// What became of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Carried out; RIP is at the next one (or at this one again, in the middle of a REP).
    Done,
    /// HLT: wait for an interrupt. RIP is behind it.
    Halt,
    /// It raises this exception; the processor's state is as before.
    Exception(Exception),
    /// `int n` and its like: deliver through the IDT. RIP is behind it.
    Software(u8),
}

/// An instruction that the emulator does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instruction {text:?} ({bytes}) at {rip:#x} (CPL {cpl}): {why}")]
pub struct Unknown {
    /// Disassembly.
    pub text: String,
    /// Its bytes in hexadecimal.
    pub bytes: String,
    /// Where it is.
    pub rip: u64,
    /// Privilege level it was met at.
    pub cpl: u8,
    /// What about it is not supported.
    pub why: &'static str,
}

/// Why an instruction was not carried out.
pub(crate) enum Stop {
    Exception(Exception),
    Unknown(&'static str),
}

impl From<Exception> for Stop {
    fn from(e: Exception) -> Self {
        Stop::Exception(e)
    }
}

/// The result of one family's function: `None` if the instruction is not of that family.
pub(crate) type Outcome = Result<Option<Step>, Stop>;

const DONE: Outcome = Ok(Some(Step::Done));
const NOT_MINE: Outcome = Ok(None);

/// Reads a quadword at `va`; `user`: with the rights of CPL 3.
///
/// # Errors
/// The page fault, or `#GP(0)` if the address is not canonical.
pub fn read_u64(
    cpu: &VirtCpu,
    platform: &mut impl Platform,
    va: u64,
    user: bool,
) -> Result<u64, Exception> {
    let mut bytes = [0; 8];
    read(
        cpu,
        platform,
        va,
        &mut bytes,
        Access {
            kind: Kind::Read,
            user,
        },
    )?;
    Ok(u64::from_le_bytes(bytes))
}

/// Writes a quadword.
///
/// # Errors
/// As [`read_u64`].
pub fn write_u64(
    cpu: &VirtCpu,
    platform: &mut impl Platform,
    va: u64,
    value: u64,
    user: bool,
) -> Result<(), Exception> {
    check_canonical(va, 8)?;
    platform.write(cpu, va, &value.to_le_bytes(), user)
}

fn check_canonical(va: u64, len: usize) -> Result<(), Exception> {
    let last = va.wrapping_add(len as u64 - 1);
    if crate::tables::entry::canonical(va) && crate::tables::entry::canonical(last) {
        Ok(())
    } else {
        Err(Exception::GP0)
    }
}

fn read(
    cpu: &VirtCpu,
    platform: &mut impl Platform,
    va: u64,
    bytes: &mut [u8],
    access: Access,
) -> Result<(), Exception> {
    check_canonical(va, bytes.len())?;
    platform.read(cpu, va, bytes, access)
}

/// Fetches and decodes the instruction at RIP.
///
/// # Errors
/// The exception of the fetch: a page fault, `#UD` for what is no instruction.
pub fn fetch(cpu: &VirtCpu, platform: &mut impl Platform) -> Result<Instruction, Exception> {
    let mut bytes = [0; 15];
    let access = Access {
        kind: Kind::Fetch,
        user: cpu.is_user(),
    };
    // What lies on the next page is fetched only if the instruction goes on there.
    let here = (4096 - (cpu.rip & 4095)).min(15) as usize;
    read(cpu, platform, cpu.rip, &mut bytes[..here], access)?;
    let mut instruction = decode(&bytes[..here], cpu.rip);
    if instruction.is_invalid() && here < 15 {
        let next = cpu.rip.wrapping_add(here as u64);
        read(cpu, platform, next, &mut bytes[here..], access)?;
        instruction = decode(&bytes, cpu.rip);
    }
    if instruction.is_invalid() {
        Err(Exception::UD)
    } else {
        Ok(instruction)
    }
}

/// Decodes the instruction in `bytes`, as it lies at `rip`; it may be invalid.
pub fn decode(bytes: &[u8], rip: u64) -> Instruction {
    Decoder::with_ip(64, bytes, rip, DecoderOptions::NONE).decode()
}

/// Carries out one instruction.
///
/// # Errors
/// [`Unknown`]; the processor's state is then as before.
pub fn step(cpu: &mut VirtCpu, platform: &mut impl Platform) -> Result<Step, Box<Unknown>> {
    match fetch(cpu, platform) {
        Ok(instruction) => execute(cpu, platform, &instruction),
        Err(e) => Ok(Step::Exception(e)),
    }
}

/// Carries out an instruction that has been fetched at RIP.
///
/// # Errors
/// As [`step`].
pub fn execute(
    cpu: &mut VirtCpu,
    platform: &mut impl Platform,
    instruction: &Instruction,
) -> Result<Step, Box<Unknown>> {
    let before = (cpu.rip, cpu.gpr, cpu.rflags);
    let shadow = std::mem::take(&mut cpu.interrupt_shadow);
    cpu.rip = instruction.next_ip();
    let why = match dispatch(cpu, platform, instruction) {
        Ok(Some(step)) => {
            // IRETQ is the one that may leave RF set, for the instruction it returns to.
            if step == Step::Done && instruction.mnemonic() != Mnemonic::Iretq {
                cpu.rflags &= !crate::cpu::flag::RF;
            }
            return Ok(step);
        }
        Ok(None) => "not known to the emulator",
        Err(Stop::Unknown(why)) => why,
        Err(Stop::Exception(e)) => {
            (cpu.rip, cpu.gpr, cpu.rflags) = before;
            cpu.interrupt_shadow = shadow;
            return Ok(Step::Exception(e));
        }
    };
    (cpu.rip, cpu.gpr, cpu.rflags) = before;
    cpu.interrupt_shadow = shadow;
    let mut raw = [0; 15];
    let raw = &mut raw[..instruction.len()];
    let access = Access {
        kind: Kind::Fetch,
        user: cpu.is_user(),
    };
    // It could be fetched a moment ago; if it cannot any more, zeros are shown.
    if platform.read(cpu, cpu.rip, raw, access).is_err() {
        raw.fill(0);
    }
    let mut text = String::new();
    IntelFormatter::new().format(instruction, &mut text);
    let bytes = raw
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect::<Vec<_>>()
        .join(" ");
    Err(Box::new(Unknown {
        text,
        bytes,
        rip: cpu.rip,
        cpl: cpu.cpl,
        why,
    }))
}

fn dispatch(cpu: &mut VirtCpu, platform: &mut impl Platform, i: &Instruction) -> Outcome {
    if i.has_lock_prefix() && i.mnemonic() == Mnemonic::Mov {
        // LOCK MOV CR0 is AMD's way to CR8, which is not offered.
        return Err(Exception::UD.into());
    }
    macro_rules! first_of {
        ($($family:path),* $(,)?) => {
            $( if let Some(step) = $family(cpu, platform, i)? { return Ok(Some(step)); } )*
        };
    }
    first_of!(
        control::execute,
        syscall::execute,
        flags::execute,
        msr::execute,
        ports::execute,
        descriptor::execute,
        processor::execute,
        alu::execute,
        branch::execute,
        string::execute,
    );
    NOT_MINE
}

/// Whether an instruction raises an exception in ring 3 for being what it is: one that a
/// deprivileged kernel means to be carried out.
pub fn traps_in_ring3(i: &Instruction) -> bool {
    use Mnemonic as M;
    let register = |n: u32| {
        if i.op_count() > n && i.op_kind(n) == iced_x86::OpKind::Register {
            i.op_register(n)
        } else {
            iced_x86::Register::None
        }
    };
    match i.mnemonic() {
        M::Mov => {
            let (to, from) = (register(0), register(1));
            to.is_cr() || to.is_dr() || from.is_cr() || from.is_dr() || to.is_segment_register()
        }
        M::Pop => register(0).is_segment_register(),
        M::Cli | M::Sti | M::Hlt | M::Clts | M::Lmsw | M::Invlpg | M::Invpcid => true,
        M::Wbinvd | M::Wbnoinvd | M::Invd | M::Rdmsr | M::Wrmsr | M::Swapgs => true,
        M::Sysret | M::Sysretq | M::Sysenter | M::Sysexit | M::Iret | M::Iretd | M::Iretq => true,
        M::In | M::Insb | M::Insw | M::Insd | M::Out | M::Outsb | M::Outsw | M::Outsd => true,
        M::Lgdt | M::Lidt | M::Lldt | M::Ltr | M::Xsetbv | M::Rdpmc | M::Retf => true,
        M::Sgdt | M::Sidt | M::Sldt | M::Str | M::Smsw | M::Rdtsc | M::Rdtscp => true,
        M::Int | M::Monitor | M::Mwait => true,
        _ => false,
    }
}

/// Whether all register operands are general registers: what the emulator knows are such.
pub fn is_integer(i: &Instruction) -> bool {
    (0..i.op_count())
        .all(|n| i.op_kind(n) != iced_x86::OpKind::Register || i.op_register(n).is_gpr())
}

/// Whether this is a conditional jump, move or set.
pub fn is_conditional(i: &Instruction) -> bool {
    i.code().is_jcc_short_or_near() || branch::is_setcc(i) || branch::is_cmov(i)
}

/// `#GP(0)` unless the guest's kernel runs.
fn require_kernel(cpu: &VirtCpu) -> Result<(), Exception> {
    if cpu.cpl == 0 {
        Ok(())
    } else {
        Err(Exception::GP0)
    }
}
