//! Finding out by experiment: tiny guests of a few bytes of machine code.
//!
//! Each runs in a virtual machine of its own with 64 KiB of memory, in ring 0 or ring 3, until it
//! writes to [`DONE`], takes an exception, or something else happens.
//!
//! ```text
//!  0x1000 PML4   0x2000 PDPT   0x3000 PD: the first 2 MiB one to one, for both rings
//!  0x4000 GDT, TSS   0x5000 IDT   0x6000 exception handlers   0x7000 data
//!  0x8000 code   0xa000 stack of ring 0   0xc000 stack of ring 3   0xd000 LSTAR: hlt
//! ```
//!
//! The handler of vector n is `mov al, n; out FAULT, al; hlt`: the experiment ends there, and the
//! frame that the processor pushed lies on the stack.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gnomon_devices::GuestMemory;
use kvm_bindings::{Msrs, kvm_debugregs, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::cpuid::guest_cpuid;
use super::{Host, HostError};
use crate::boot::kernel::Entry;
use crate::mmu::nested::Nested;
use crate::vcpu::exit::Exit;
use crate::vcpu::kick::Control;
use crate::vm::Vm;

const MEMORY: usize = 64 << 10;
const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const PD: u64 = 0x3000;
const GDT: u64 = 0x4000;
const TSS: u64 = 0x4100;
const IDT: u64 = 0x5000;
const HANDLERS: u64 = 0x6000;
/// Where an experiment may keep results.
pub const DATA: u64 = 0x7000;
const CODE: u64 = 0x8000;
const STACK0: u64 = 0xa000;
const STACK3: u64 = 0xc000;
/// Where `syscall` leads: a `hlt` that ring 3 may execute.
pub const GATE: u64 = 0xd000;

/// The port that ends an experiment: `out 0x97, al` is `e6 97`.
pub const DONE: u8 = 0x97;
const FAULT: u8 = 0x99;

const CODE0: u16 = 0x08;
const DATA0: u16 = 0x10;
const DATA3: u16 = 0x1b;
const CODE3: u16 = 0x23;
const TSS_SELECTOR: u16 = 0x28;

/// Vectors with a handler.
const VECTORS: u64 = 33;
/// Bytes of a handler.
const HANDLER: u64 = 8;
/// Vectors that push an error code (SDM volume 3, 6.15).
const WITH_ERROR: u64 = 1 << 8 | 0x1f << 10 | 1 << 17 | 1 << 21;

const MSR_STAR: u32 = 0xc000_0081;
const MSR_LSTAR: u32 = 0xc000_0082;
const MSR_FMASK: u32 = 0xc000_0084;

/// An experiment that has not ended by now hangs.
const TIMEOUT: Duration = Duration::from_millis(200);

/// The ring in which an experiment runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// The kernel's.
    Zero,
    /// The programs'.
    Three,
}

/// How an experiment has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At its end; RAX and the first words at [`DATA`].
    Done {
        /// RAX.
        rax: u64,
        /// The data page's first words.
        data: [u64; 2],
    },
    /// With an exception.
    Fault {
        /// Its vector.
        vector: u8,
        /// Where, relative to the experiment's first byte.
        offset: i64,
        /// In which ring it arrived from.
        ring: u8,
    },
    /// KVM could not emulate an instruction.
    CannotEmulate,
    /// Triple fault.
    Shutdown,
    /// It did not end.
    Hang,
    /// Something else: KVM's exit reason or error.
    Other(String),
}

impl Outcome {
    /// It has reached its end.
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done { .. })
    }

    /// A few words for the user.
    pub fn describe(&self) -> String {
        match self {
            Self::Done { .. } => "works".into(),
            Self::Fault { vector, .. } => match vector {
                6 => "#UD".into(),
                13 => "#GP".into(),
                14 => "#PF".into(),
                other => format!("exception {other}"),
            },
            Self::CannotEmulate => "KVM cannot emulate it".into(),
            Self::Shutdown => "triple fault".into(),
            Self::Hang => "hangs".into(),
            Self::Other(what) => what.clone(),
        }
    }
}

/// Run `code` in `ring`, with `cr4` added to CR4, in a virtual machine of its own.
///
/// # Errors
/// There is no virtual machine to be had.
pub fn experiment(host: &Host, ring: Ring, cr4: u64, code: &[u8]) -> Result<Outcome, HostError> {
    run(host, ring, cr4, code, None)
}

/// Whether a breakpoint that gnomon puts into the debug registers stops ring 3: one at an instruction,
/// one at data (Intel SDM volume 3, 18.2).
///
/// # Errors
/// There is no virtual machine to be had.
pub fn breakpoints(host: &Host) -> Result<[bool; 2], HostError> {
    // nop; nop and mov [DATA], eax; nop: the second instruction has not been carried out.
    let instruction: &[u8] = &[0x90, 0x90, 0xf4];
    let data: &[u8] = &[
        0x89,
        0x04,
        0x25,
        DATA as u8,
        (DATA >> 8) as u8,
        0,
        0,
        0x90,
        0xf4,
    ];
    const ENABLED: u64 = 0x402;
    const WRITES_OF_4_BYTES: u64 = 0xd << 16;
    let stops = |code: &[u8], address, dr7, next: i64| {
        let registers = kvm_debugregs {
            db: [address, 0, 0, 0],
            dr6: 0xffff_0ff0,
            dr7,
            ..Default::default()
        };
        let outcome = run(host, Ring::Three, 0, code, Some(&registers))?;
        Ok(matches!(outcome, Outcome::Fault { vector: 1, offset, .. } if offset == next))
    };
    Ok([
        stops(instruction, CODE + 1, ENABLED, 1)?,
        stops(data, DATA, ENABLED | WRITES_OF_4_BYTES, 7)?,
    ])
}

fn run(
    host: &Host,
    ring: Ring,
    cr4: u64,
    code: &[u8],
    debug: Option<&kvm_debugregs>,
) -> Result<Outcome, HostError> {
    let memory = GuestMemory::from_ranges(&[(GuestAddress(0), MEMORY)])
        .map_err(|_| HostError::Lacks("64 KiB of memory for an experiment"))?;
    prepare(&memory, code).map_err(|_| HostError::Lacks("room for an experiment"))?;
    let vm = Vm::new(host, &memory, Box::new(Nested))?;
    let (mut vcpu, _) = vm.create_vcpu(&guest_cpuid(host)?, Entry::Long(CODE))?;
    let mut sregs = vcpu
        .get_sregs()
        .map_err(HostError::refused("to read the system registers"))?;
    system_registers(&mut sregs, ring, cr4);
    vcpu.set_sregs(&sregs)
        .map_err(HostError::refused("the system registers of an experiment"))?;
    let msr = |index, data| kvm_msr_entry {
        index,
        data,
        ..Default::default()
    };
    let entries = [
        msr(MSR_STAR, u64::from(DATA0) << 48 | u64::from(CODE0) << 32),
        msr(MSR_LSTAR, GATE),
        msr(MSR_FMASK, 0x200),
    ];
    if let Ok(msrs) = Msrs::from_entries(&entries) {
        vcpu.set_msrs(&msrs)
            .map_err(HostError::refused("the registers of syscall"))?;
    }
    let regs = kvm_regs {
        rip: CODE,
        rsp: if ring == Ring::Zero { STACK0 } else { STACK3 },
        rflags: 2,
        ..Default::default()
    };
    vcpu.set_regs(&regs)
        .map_err(HostError::refused("the registers of an experiment"))?;

    if let Some(debug) = debug {
        vcpu.set_debug_regs(debug)
            .map_err(HostError::refused("the debug registers of an experiment"))?;
    }

    let control = Arc::new(Control::default());
    let ended = Arc::new(AtomicBool::new(false));
    let watchdog = {
        let (control, ended) = (Arc::clone(&control), Arc::clone(&ended));
        thread::spawn(move || {
            let deadline = Instant::now() + TIMEOUT;
            while !ended.load(Ordering::Acquire) {
                if let Some(left) = deadline.checked_duration_since(Instant::now()) {
                    thread::park_timeout(left);
                } else {
                    control.stop();
                    return;
                }
            }
        })
    };
    let shared = std::ptr::from_mut(vcpu.get_kvm_run());
    // SAFETY: the page is mapped as long as `vcpu` lives, which outlives the guard.
    let entered = unsafe { control.enter(shared) };
    let result = vcpu.run().map(drop);
    drop(entered);
    ended.store(true, Ordering::Release);
    watchdog.thread().unpark();
    let _ = watchdog.join();
    if let Err(error) = result {
        return Ok(if error.errno() == libc::EINTR {
            Outcome::Hang
        } else {
            Outcome::Other(error.to_string())
        });
    }
    let regs = vcpu
        .get_regs()
        .map_err(HostError::refused("to read the registers"))?;
    // SAFETY: the structure is KVM's shared page, and KVM_RUN has returned.
    let exit = unsafe { Exit::decode(vcpu.get_kvm_run()) };
    Ok(outcome(&exit, &regs, &memory))
}

fn outcome(exit: &Exit<'_>, regs: &kvm_regs, memory: &GuestMemory) -> Outcome {
    let word = |gpa| memory.read_obj::<u64>(GuestAddress(gpa)).unwrap_or(0);
    match exit {
        Exit::PioOut { port, .. } if *port == u16::from(DONE) => Outcome::Done {
            rax: regs.rax,
            data: [word(DATA), word(DATA + 8)],
        },
        Exit::PioOut { port, .. } if *port == u16::from(FAULT) => {
            let vector = regs.rax as u8;
            let with_error = WITH_ERROR >> vector & 1;
            let frame = regs.rsp + 8 * with_error;
            Outcome::Fault {
                vector,
                offset: word(frame).wrapping_sub(CODE) as i64,
                ring: (word(frame + 8) & 3) as u8,
            }
        }
        Exit::Shutdown => Outcome::Shutdown,
        Exit::InternalError { .. } => Outcome::CannotEmulate,
        other => Outcome::Other(format!("{other:?}")),
    }
}

fn prepare(memory: &GuestMemory, code: &[u8]) -> Result<(), GuestMemoryError> {
    // Present, writable, for ring 3 too; the last a 2 MiB page.
    for (at, entry) in [(PML4, PDPT | 7), (PDPT, PD | 7), (PD, 0x87)] {
        memory.write_obj(entry, GuestAddress(at))?;
    }
    let descriptors: [u64; 7] = [
        0,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00cf_f300_0000_ffff,
        0x00af_fb00_0000_ffff,
        0x0000_8900_0000_0067 | TSS << 16,
        0,
    ];
    for (i, descriptor) in descriptors.iter().enumerate() {
        memory.write_obj(*descriptor, GuestAddress(GDT + 8 * i as u64))?;
    }
    memory.write_obj(STACK0, GuestAddress(TSS + 4))?;
    // No I/O permission bitmap: it would begin behind the segment's limit.
    memory.write_obj(0x68_u16, GuestAddress(TSS + 0x66))?;
    for vector in 0..VECTORS {
        let handler = HANDLERS + HANDLER * vector;
        // #BP may be raised by `int3` in ring 3.
        let kind: u64 = if vector == 3 { 0xee00 } else { 0x8e00 };
        let gate = handler | u64::from(CODE0) << 16 | kind << 32;
        memory.write_obj(gate, GuestAddress(IDT + 16 * vector))?;
        memory.write_slice(
            &[0xb0, vector as u8, 0xe6, FAULT, 0xf4],
            GuestAddress(handler),
        )?;
    }
    // int 0x80 leads to the handler of vector 32.
    let gate = (HANDLERS + HANDLER * 32) | u64::from(CODE0) << 16 | 0xee00 << 32;
    memory.write_obj(gate, GuestAddress(IDT + 16 * 0x80))?;
    memory.write_slice(&[0xf4], GuestAddress(GATE))?;
    memory.write_slice(code, GuestAddress(CODE))
}

fn system_registers(sregs: &mut kvm_sregs, ring: Ring, cr4: u64) {
    let segment = |selector: u16, kind, dpl, long: bool| kvm_segment {
        limit: u32::MAX,
        selector,
        type_: kind,
        present: 1,
        dpl,
        db: u8::from(!long),
        s: 1,
        l: u8::from(long),
        g: 1,
        ..Default::default()
    };
    let (code, data) = match ring {
        Ring::Zero => (segment(CODE0, 0xb, 0, true), segment(DATA0, 0x3, 0, false)),
        Ring::Three => (segment(CODE3, 0xb, 3, true), segment(DATA3, 0x3, 3, false)),
    };
    sregs.cs = code;
    sregs.ss = data;
    sregs.ds = data;
    sregs.es = data;
    sregs.fs = data;
    sregs.gs = data;
    sregs.tr = kvm_segment {
        base: TSS,
        limit: 0x67,
        selector: TSS_SELECTOR,
        type_: 0xb,
        present: 1,
        ..Default::default()
    };
    sregs.gdt.base = GDT;
    sregs.gdt.limit = 7 * 8 - 1;
    sregs.idt.base = IDT;
    sregs.idt.limit = 0xfff;
    sregs.cr3 = PML4;
    // OSFXSR, OSXMMEXCPT beside what long mode needs; EFER.SCE.
    sregs.cr4 |= 1 << 9 | 1 << 10 | cr4;
    sregs.efer |= 1;
}
