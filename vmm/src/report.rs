//! The report on a guest that has died: cause, place, registers, the kernel's last words.

use std::fmt::Write;

use gnomon_abi::ports::FatalReason;
use gnomon_devices::GuestMemory;
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter};
use kvm_bindings::{kvm_regs, kvm_sregs};
use object::{Object, ObjectSymbol, SymbolKind};

use crate::vcpu::exit::{SUBERROR_EMULATION, Stop};
use crate::walk;

/// Longest x86 instruction, in bytes.
const MAX_INSTRUCTION: usize = 15;

/// KVM_INTERNAL_ERROR_DELIVERY_EV.
const SUBERROR_DELIVERY: u32 = 3;

/// What a report is made of.
pub struct Death<'a> {
    /// Why the processor has stopped.
    pub stop: &'a Stop,
    /// Its registers, if they can be had.
    pub registers: Option<(kvm_regs, kvm_sregs)>,
    /// The guest's memory.
    pub memory: &'a GuestMemory,
    /// The kernel's ELF image, for symbols.
    pub kernel: &'a [u8],
    /// The kernel's last log lines.
    pub log: Vec<String>,
}

/// The whole report; lines end with a line feed.
pub fn report(death: &Death<'_>) -> String {
    let mut text = format!("gnomon: {}\n", cause(death.stop));
    if let Some((regs, sregs)) = &death.registers {
        let place = symbol(death.kernel, regs.rip).unwrap_or_else(|| "no symbol".into());
        let _ = writeln!(text, "  at rip {:#018x}  {place}", regs.rip);
        let bytes = walk::read_virtual(death.memory, sregs, regs.rip, MAX_INSTRUCTION);
        if let Some(line) = disassemble(&bytes, regs.rip, sregs.cs.l != 0) {
            let _ = writeln!(text, "  instruction  {line}");
        }
        write_registers(&mut text, regs, sregs);
    }
    if !death.log.is_empty() {
        text += "  the kernel's last messages:\n";
        for line in &death.log {
            let _ = writeln!(text, "  | {line}");
        }
    }
    text
}

/// The cause, in words.
fn cause(stop: &Stop) -> String {
    match stop {
        Stop::Status(status) => format!("the guest ended with status {status}"),
        Stop::DebugExit(value) => format!("the guest wrote {value:#x} to the debug exit port"),
        Stop::Asked => "the guest was stopped".into(),
        Stop::Fatal(reason) => match *reason {
            r if r == FatalReason::Panic as u32 => "the guest kernel panicked".into(),
            r if r == FatalReason::Exception as u32 => {
                "the guest kernel died of a processor exception".into()
            }
            r if r == FatalReason::NoRoot as u32 => {
                "the guest kernel has no root file system that it can mount".into()
            }
            r if r == FatalReason::NoInit as u32 => {
                "the guest kernel found no init program that it can run".into()
            }
            other => format!("the guest kernel gave up for reason {other}"),
        },
        Stop::TripleFault => {
            "the guest died of a triple fault: it could not handle an exception".into()
        }
        Stop::Dead => "the guest hangs: its processor is halted with interrupts off".into(),
        Stop::InternalError { suberror, data } => match *suberror {
            SUBERROR_EMULATION => format!(
                "KVM cannot emulate an instruction of the guest{}",
                emulation_bytes(data)
            ),
            SUBERROR_DELIVERY => format!("KVM cannot deliver an event to the guest {data:x?}"),
            other => format!("KVM gave up with internal error {other} {data:x?}"),
        },
        Stop::FailEntry(reason) => {
            format!("the processor refuses the guest's state (hardware reason {reason:#x})")
        }
        Stop::UnknownExit(reason) => {
            format!("KVM returned for reason {reason}, which gnomon does not know")
        }
        Stop::RunFailed(errno) => format!(
            "KVM_RUN failed: {}",
            std::io::Error::from_raw_os_error(*errno)
        ),
        Stop::Mode(reason) => reason.clone(),
    }
}

/// The instruction bytes that KVM adds to an emulation failure (KVM API, "KVM_EXIT_INTERNAL_ERROR"):
/// flags in the first word (bit 0: bytes are given), then their number and 15 bytes.
fn emulation_bytes(data: &[u64]) -> String {
    let bytes: Vec<u8> = data.iter().flat_map(|word| word.to_le_bytes()).collect();
    match (data.first(), bytes.get(8)) {
        (Some(flags), Some(&len)) if flags & 1 != 0 => {
            let len = usize::from(len).min(MAX_INSTRUCTION);
            let given = bytes.get(9..9 + len).unwrap_or_default();
            format!(": bytes {}", hex(given))
        }
        _ => String::new(),
    }
}

/// `bytes` in hexadecimal, with spaces.
fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}

/// Bytes and text of the instruction at the start of `bytes`.
fn disassemble(bytes: &[u8], rip: u64, long: bool) -> Option<String> {
    if bytes.is_empty() {
        return None;
    }
    let bitness = if long { 64 } else { 32 };
    let mut decoder = Decoder::with_ip(bitness, bytes, rip, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    decoder.decode_out(&mut instruction);
    let len = instruction.len().min(bytes.len());
    let mut text = String::new();
    IntelFormatter::new().format(&instruction, &mut text);
    Some(format!("{}  {text}", hex(&bytes[..len])))
}

/// The symbol of `kernel` (an ELF image) that covers `rip`, with the offset in it.
pub fn symbol(kernel: &[u8], rip: u64) -> Option<String> {
    let file = object::File::parse(kernel).ok()?;
    let best = file
        .symbols()
        .filter(|symbol| {
            symbol.kind() == SymbolKind::Text
                && symbol.address() <= rip
                && (symbol.size() == 0 || rip < symbol.address() + symbol.size())
        })
        .max_by_key(ObjectSymbol::address)?;
    let name = best.name().ok()?;
    Some(format!("{}+{:#x}", demangle(name), rip - best.address()))
}

/// Rust's names without their hash, so that they can be read; others as they are.
///
/// Only the legacy mangling (`_ZN` length name …) is undone.
fn demangle(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("_ZN") else {
        return name.to_owned();
    };
    let mut parts = Vec::new();
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let Ok(len) = rest[..digits].parse::<usize>() else {
            break;
        };
        let Some(part) = rest.get(digits..digits + len) else {
            return name.to_owned();
        };
        parts.push(part);
        rest = &rest[digits + len..];
    }
    if let [.., last] = parts[..]
        && last.len() == 17
        && last.starts_with('h')
    {
        parts.pop();
    }
    let path = parts.join("::");
    [
        ("$LT$", "<"),
        ("$GT$", ">"),
        ("$u20$", " "),
        ("$RF$", "&"),
        ("$C$", ","),
        ("$u7b$", "{"),
        ("$u7d$", "}"),
        ("..", "::"),
    ]
    .iter()
    .fold(path, |text, (from, to)| text.replace(from, to))
}

fn write_registers(text: &mut String, regs: &kvm_regs, sregs: &kvm_sregs) {
    let general = [
        ("rax", regs.rax),
        ("rbx", regs.rbx),
        ("rcx", regs.rcx),
        ("rdx", regs.rdx),
        ("rsi", regs.rsi),
        ("rdi", regs.rdi),
        ("rbp", regs.rbp),
        ("rsp", regs.rsp),
        ("r8", regs.r8),
        ("r9", regs.r9),
        ("r10", regs.r10),
        ("r11", regs.r11),
        ("r12", regs.r12),
        ("r13", regs.r13),
        ("r14", regs.r14),
        ("r15", regs.r15),
    ];
    for row in general.chunks(4) {
        let cells: Vec<_> = row
            .iter()
            .map(|(name, value)| format!("{name:>3} {value:016x}"))
            .collect();
        let _ = writeln!(text, "  {}", cells.join("  "));
    }
    let _ = writeln!(
        text,
        "  rflags {:x}  cs {:x} ss {:x}  cr0 {:x} cr2 {:x} cr3 {:x} cr4 {:x} efer {:x}",
        regs.rflags,
        sregs.cs.selector,
        sregs.ss.selector,
        sregs.cr0,
        sregs.cr2,
        sregs.cr3,
        sregs.cr4,
        sregs.efer
    );
    let _ = writeln!(
        text,
        "  fs {:x} gs {:x}  gdt {:x}/{:x} idt {:x}/{:x} tr {:x}",
        sregs.fs.base,
        sregs.gs.base,
        sregs.gdt.base,
        sregs.gdt.limit,
        sregs.idt.base,
        sregs.idt.limit,
        sregs.tr.base
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulation_failure_shows_its_bytes() {
        // As seen on a host without nested paging: `xsave` in ring 0.
        let stop = Stop::InternalError {
            suberror: SUBERROR_EMULATION,
            data: vec![1, 0x5400_2524_ae0f_030f, 0],
        };
        assert_eq!(
            cause(&stop),
            "KVM cannot emulate an instruction of the guest: bytes 03 0f ae 24 25 00 54 00 00 00 00 00 00 00 00"
        );
    }

    #[test]
    fn instruction_is_disassembled() {
        assert_eq!(
            disassemble(&[0x0f, 0x0b, 0x90], 0x1000, true).unwrap(),
            "0f 0b  ud2"
        );
    }

    #[test]
    fn rust_name_is_made_readable() {
        assert_eq!(
            demangle("_ZN6kernel2mm5fault17h0123456789abcdefE"),
            "kernel::mm::fault"
        );
    }

    #[test]
    fn broken_name_stays() {
        assert_eq!(demangle("_ZN99x"), "_ZN99x");
    }

    #[test]
    fn no_elf_has_no_symbol() {
        assert_eq!(symbol(b"nothing", 0), None);
    }
}
