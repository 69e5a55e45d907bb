//! Traps of the deprivileged guest: what each vector means, and what is done about it.

use gnomon_shadow::cpu::{VirtCpu, flag, reg};
use gnomon_shadow::deliver::{Event, Exception, deliver, has_error_code, vector};
use gnomon_shadow::emulate::{self, Platform, Step, enter_syscall, execute, fetch, traps_in_ring3};
use gnomon_shadow::patch::{BEYOND, is_sensitive};
use gnomon_shadow::tables::Outcome;
use gnomon_shadow::tables::entry::PAGE;
use gnomon_shadow::tables::walk::{Access, Kind, walk};
use iced_x86::{Instruction, Mnemonic, Register};

use super::Counters;
use super::ahead::{Ahead, is_plain};
use super::monitor::GATE_VA;
use super::world::Outside;
use crate::vcpu::exit::Stop;

/// Hidden faults at one place with nothing else between, after which something is wrong.
const STUCK: u32 = 256;

/// The breakpoints' enable bits in DR7.
const BREAKPOINTS: u64 = 0xff;

/// Flags that the true RFLAGS cannot hold for the guest.
const VIRTUAL: u64 = flag::IF | flag::IOPL;
/// Flags that the true RFLAGS must not have while the guest's kernel runs, because ring 3 obeys
/// them and ring 0 does not.
const USER_ONLY: u64 = flag::AC | flag::NT;

/// A page fault that the guest has seen.
struct LastFault {
    va: u64,
    access: Access,
    /// Where.
    rip: u64,
}

/// The virtual processor's state between traps.
pub struct Guest {
    /// What the guest knows of.
    pub cpu: VirtCpu,
    /// After HLT.
    pub halted: bool,
    /// Where the handler of an interrupt will return to (RIP and RSP), until it has.
    serving: Option<(u64, u64)>,
    /// The last page fault that the guest has seen.
    last_fault: Option<LastFault>,
    /// How far going on past a trap pays.
    ahead: Ahead,
    /// The last hidden fault (RIP and address), and how often it has come again without progress.
    repeated: ((u64, u64), u32),
    /// What has been counted.
    pub counters: Counters,
}

impl Guest {
    /// A guest at the start. `reach`: how many instructions carried out here are worth a trap.
    pub fn new(cpu: VirtCpu, reach: u8) -> Self {
        Self {
            cpu,
            halted: false,
            serving: None,
            last_fault: None,
            ahead: Ahead::new(reach),
            repeated: ((0, 0), 0),
            counters: Counters::default(),
        }
    }

    /// Delivers an interrupt.
    ///
    /// # Errors
    /// A triple fault.
    pub fn interrupt(&mut self, out: &mut Outside<'_>, vector: u8) -> Result<(), Stop> {
        self.halted = false;
        self.counters.interrupts += 1;
        self.serving = Some((self.cpu.rip, self.cpu.gpr[reg::RSP]));
        self.deliver(out, Event::Interrupt(vector))?;
        self.run_ahead(out)
    }

    /// The page fault, and its access, that the guest is about to return from: to a program, or to the
    /// very instruction of its kernel.
    pub fn resolved_fault(&mut self) -> Option<(u64, Access)> {
        let returns = |fault: &mut LastFault| self.cpu.is_user() || self.cpu.rip == fault.rip;
        let fault = self.last_fault.take_if(returns)?;
        Some((fault.va, fault.access))
    }

    /// Counts a trap; `kick`: by which gnomon has interrupted ring 3.
    pub fn count_trap(&mut self, kick: bool) {
        self.counters.traps += 1;
        if self.cpu.is_user() {
            // The handler has ended, if only in another process.
            self.serving = None;
        }
        if kick || self.serving.is_some() {
            self.counters.interrupt_traps += 1;
        }
    }

    /// Takes over the true flags.
    pub fn take_flags(&mut self, rflags: u64) {
        let mut kept = VIRTUAL;
        if self.cpu.cpl == 0 {
            kept |= USER_ONLY;
        }
        self.cpu.rflags = (rflags & flag::ALL & !(kept | flag::VM)) | self.cpu.rflags & kept;
        // At least one instruction has been carried out since.
        self.cpu.interrupt_shadow = false;
    }

    /// The flags for ring 3.
    pub fn true_flags(&self) -> u64 {
        let mut hidden = VIRTUAL | flag::VM | flag::VIF | flag::VIP;
        if self.cpu.cpl == 0 {
            hidden |= USER_ONLY;
        }
        (self.cpu.rflags & !hidden) | flag::IF | flag::ONE
    }

    /// Deals with a trap; the registers have been taken over. `error` and `cr2` as far as the
    /// vector has them.
    ///
    /// # Errors
    /// Why the run ends.
    pub fn trap(
        &mut self,
        out: &mut Outside<'_>,
        vector: u8,
        error: u32,
        cr2: u64,
    ) -> Result<(), Stop> {
        let serving = self.serving.is_some();
        match vector {
            vector::PF => {
                let hidden = self.counters.hidden;
                self.page_fault(out, cr2, error)?;
                if self.counters.hidden != hidden {
                    // The instruction itself comes next, and the processor may carry it out now.
                    return Ok(());
                }
            }
            vector::GP | vector::NP | vector::SS | vector::TS => {
                self.protection_fault(out, vector, error)?;
            }
            vector::UD => self.invalid_opcode(out)?,
            // One byte each; ring 3 has raised it itself.
            vector::BP | vector::OF => {
                let from = self.cpu.rip.wrapping_sub(1);
                self.deliver(out, Event::Software { vector, from })?;
            }
            vector::DB => {
                self.counters.exceptions += 1;
                self.cpu.dr[6] |= out.debug_status();
                if self.cpu.rflags & flag::TF != 0 {
                    self.cpu.dr[6] |= 1 << 14;
                }
                self.deliver(out, Event::Exception(Exception::plain(vector)))?;
            }
            _ => {
                self.counters.exceptions += 1;
                let error = if has_error_code(vector) { error } else { 0 };
                let e = Exception::with_error(vector, error);
                self.deliver(out, Event::Exception(e))?;
            }
        }
        // A handler comes to its end even where the instruction that it has interrupted never does.
        if !serving {
            self.repeated.1 = 0;
        }
        self.run_ahead(out)
    }

    /// SYSCALL has been executed: RIP, as RCX has it, is behind it, the flags as R11 has them.
    ///
    /// # Errors
    /// Why the run ends.
    pub fn syscall(&mut self, out: &mut Outside<'_>) -> Result<(), Stop> {
        self.counters.syscalls += 1;
        self.repeated.1 = 0;
        let before = self.cpu.rip.wrapping_sub(2);
        if let Err(e) = enter_syscall(&mut self.cpu) {
            self.cpu.rip = before;
            self.deliver(out, Event::Exception(e))?;
        }
        self.run_ahead(out)
    }

    fn page_fault(&mut self, out: &mut Outside<'_>, va: u64, error: u32) -> Result<(), Stop> {
        let access = Access::from_error(error, self.cpu.is_user());
        let mut outcome = out.world.fault(va, access);
        if let Outcome::Scan(gpa) = outcome {
            self.counters.code_scans += 1;
            out.world.scan(va, gpa);
            outcome = out.world.fault(va, access);
        }
        if let Outcome::Code(gpa) = outcome {
            self.counters.code_writes += 1;
            // It would be made executable for the instruction and writable for its write in turn.
            if !self.cpu.is_user() && self.executes_from(out, gpa) {
                return self.emulate(out);
            }
            out.world.unscan(gpa);
            outcome = out.world.fault(va, access);
        }
        match outcome {
            // Just dealt with.
            Outcome::Scan(_) | Outcome::Code(_) => Ok(()),
            Outcome::Filled => {
                self.counters.hidden += 1;
                let place = (self.cpu.rip, va);
                if self.repeated.0 == place {
                    self.repeated.1 += 1;
                    if self.repeated.1 > STUCK {
                        return Err(Stop::Mode(format!(
                            "the shadow mode makes no progress at {va:#x} (error code {error:#x}): \
                             this host cannot map that address"
                        )));
                    }
                } else {
                    self.repeated = (place, 0);
                }
                Ok(())
            }
            Outcome::Fault(fault) => {
                self.counters.page_faults += 1;
                self.last_fault = Some(LastFault {
                    va,
                    access,
                    rip: self.cpu.rip,
                });
                let e = Exception::page_fault(va, fault.error);
                self.deliver(out, Event::Exception(e))
            }
            Outcome::Mmio(_) => {
                self.counters.mmio += 1;
                self.emulate(out)
            }
            Outcome::Emulate(gpa) => {
                self.counters.traced += 1;
                match fetch(&self.cpu, out) {
                    // Vector instructions write data, not tables.
                    Ok(i) if !emulate::is_integer(&i) && out.world.tables.give_up(gpa) => Ok(()),
                    Ok(i) => self.carry_out(out, &i),
                    Err(e) => self.deliver(out, Event::Exception(e)),
                }
            }
        }
    }

    /// Whether the kernel's instruction at RIP lies, in whole or in part, on the page at `gpa`.
    fn executes_from(&self, out: &Outside<'_>, gpa: u64) -> bool {
        let access = Access {
            kind: Kind::Fetch,
            user: false,
        };
        let world = &*out.world;
        [self.cpu.rip, self.cpu.rip.wrapping_add(BEYOND as u64)]
            .into_iter()
            .filter_map(|va| walk(&world.ram, world.tables.paging(), va, access).ok())
            .any(|t| (t.gpa ^ gpa) < PAGE)
    }

    fn protection_fault(
        &mut self,
        out: &mut Outside<'_>,
        vector: u8,
        error: u32,
    ) -> Result<(), Stop> {
        let instruction = match fetch(&self.cpu, out) {
            Ok(instruction) => instruction,
            // Another processor, or a device, has changed it meanwhile: try again.
            Err(_) => return Ok(()),
        };
        // A replaced instruction is sensitive, or lies around one.
        let privileged = traps_in_ring3(&instruction) || is_sensitive(&instruction);
        if privileged || out.world.is_replaced(self.cpu.rip) {
            self.counters.privileged += 1;
            return self.carry_out(out, &instruction);
        }
        self.counters.exceptions += 1;
        let e = Exception::with_error(vector, error);
        self.deliver(out, Event::Exception(e))
    }

    fn invalid_opcode(&mut self, out: &mut Outside<'_>) -> Result<(), Stop> {
        if let Ok(instruction) = fetch(&self.cpu, out) {
            let software = matches!(instruction.mnemonic(), Mnemonic::Int | Mnemonic::Int3);
            let kernel = self.cpu.cpl == 0 && traps_in_ring3(&instruction);
            if software || kernel {
                self.counters.privileged += 1;
                return self.carry_out(out, &instruction);
            }
        }
        self.counters.exceptions += 1;
        self.deliver(out, Event::Exception(Exception::UD))
    }

    /// Carries out the instruction at RIP.
    fn emulate(&mut self, out: &mut Outside<'_>) -> Result<(), Stop> {
        match fetch(&self.cpu, out) {
            Ok(instruction) => self.carry_out(out, &instruction),
            Err(e) => self.deliver(out, Event::Exception(e)),
        }
    }

    fn carry_out(&mut self, out: &mut Outside<'_>, i: &Instruction) -> Result<(), Stop> {
        // The step of a load of SS comes after the next instruction (SDM volume 3, 6.8.3).
        let stepping = self.cpu.rflags & flag::TF != 0 && i.op0_register() != Register::SS;
        match execute(&mut self.cpu, out, i) {
            Ok(Step::Done) if stepping => {
                self.cpu.dr[6] |= 1 << 14;
                self.deliver(out, Event::Exception(Exception::plain(vector::DB)))?;
            }
            Ok(Step::Done) => self.done(i),
            Ok(Step::Halt) => self.halted = true,
            Ok(Step::Exception(e)) => {
                self.counters.exceptions += 1;
                self.deliver(out, Event::Exception(e))?;
            }
            Ok(Step::Software(vector)) => {
                self.deliver(
                    out,
                    Event::Software {
                        vector,
                        from: i.ip(),
                    },
                )?;
            }
            Err(unknown) => return Err(Stop::Mode(format!("the shadow mode meets an {unknown}"))),
        }
        match out.world.stop.take() {
            Some(stop) => Err(stop),
            None => Ok(()),
        }
    }

    /// An instruction has been carried out.
    fn done(&mut self, i: &Instruction) {
        let here = (self.cpu.rip, self.cpu.gpr[reg::RSP]);
        if i.mnemonic() == Mnemonic::Iretq && self.serving == Some(here) {
            self.serving = None;
        }
    }

    /// Delivers an event to the guest.
    ///
    /// # Errors
    /// A triple fault.
    pub fn deliver(&mut self, out: &mut Outside<'_>, event: Event) -> Result<(), Stop> {
        deliver(&mut self.cpu, out, event).map_err(|triple| {
            log::error!("{triple}");
            Stop::TripleFault
        })
    }

    /// Goes on with what comes next as long as another instruction that traps is near: each trap
    /// saved is worth hundreds of instructions carried out here. What is worth it is learned.
    fn run_ahead(&mut self, out: &mut Outside<'_>) -> Result<(), Stop> {
        if self.cpu.is_user() {
            return Ok(());
        }
        let start = self.cpu.rip;
        let reach = self.ahead.reach(start);
        let mut useful = 0;
        for n in 1..=reach {
            // Only the processor itself meets breakpoints.
            let watched = self.cpu.rflags & flag::TF != 0 || self.cpu.dr[7] & BREAKPOINTS != 0;
            if self.cpu.cpl != 0 || self.halted || watched {
                break;
            }
            let Ok(i) = fetch(&self.cpu, out) else { break };
            // The processor reads its clock itself.
            let clock = matches!(i.mnemonic(), Mnemonic::Rdtsc | Mnemonic::Rdtscp);
            let traps = (traps_in_ring3(&i) || is_sensitive(&i)) && !clock;
            if !traps && !is_plain(&i) {
                break;
            }
            match execute(&mut self.cpu, out, &i) {
                Ok(Step::Done) => self.done(&i),
                Ok(Step::Halt) => self.halted = true,
                // It comes again, from the processor itself.
                Ok(_) | Err(_) => break,
            }
            self.counters.ahead += 1;
            if traps {
                useful = n;
                self.counters.merged += 1;
            }
            if let Some(stop) = out.world.stop.take() {
                return Err(stop);
            }
        }
        self.ahead.tell(start, reach, useful);
        Ok(())
    }

    /// Whether a `#GP` at the gate is a SYSCALL that stayed in ring 3: the two bytes before the
    /// return address tell.
    pub fn is_gated_syscall(&self, out: &mut Outside<'_>) -> bool {
        let mut bytes = [0; 2];
        let at = self.cpu.gpr[reg::RCX].wrapping_sub(2);
        let access = Access {
            kind: Kind::Fetch,
            user: self.cpu.is_user(),
        };
        gnomon_shadow::tables::entry::canonical(at)
            && out.read(&self.cpu, at, &mut bytes, access).is_ok()
            && bytes == [0x0f, 0x05]
    }

    /// A program has jumped to the gate: there is nothing that it may execute.
    ///
    /// # Errors
    /// A triple fault.
    pub fn refuse_gate(&mut self, out: &mut Outside<'_>) -> Result<(), Stop> {
        let mut error = if self.cpu.is_user() { 4 } else { 0 };
        if self.cpu.paging().mode.nxe || self.cpu.paging().mode.smep {
            error |= 0x10;
        }
        self.deliver(out, Event::Exception(Exception::page_fault(GATE_VA, error)))
    }
}
