//! `gnomon doctor`: what this host's KVM can do, found out by trying.

use std::fmt::Write;

use gnomon_abi::boot;
use kvm_ioctls::Cap;

use crate::boot::kernel::Entry;
use crate::host::probe::{DATA, Outcome, Ring, breakpoints, experiment};
use crate::host::{Host, HostError};
use crate::mmu::{self, Choice, shadow};
use crate::tell;

/// Arguments of `gnomon doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// An instruction of ring 0 that a kernel may want, with its machine code.
struct Instruction {
    name: &'static str,
    /// Bits of CR4 that it needs.
    cr4: u64,
    code: &'static [u8],
}

const fn instruction(name: &'static str, code: &'static [u8]) -> Instruction {
    Instruction { name, cr4: 0, code }
}

/// CR4.OSXSAVE.
const OSXSAVE: u64 = 1 << 18;

/// Instructions that some host's emulator lacks. DATA is 0x7000.
const RING0: [Instruction; 16] = [
    instruction("fxsave", &[0x0f, 0xae, 0x04, 0x25, 0x00, 0x70, 0x00, 0x00]),
    Instruction {
        name: "xsave",
        cr4: OSXSAVE,
        code: &[0x0f, 0xae, 0x24, 0x25, 0x00, 0x70, 0x00, 0x00],
    },
    Instruction {
        name: "xgetbv",
        cr4: OSXSAVE,
        code: &[0x31, 0xc9, 0x0f, 0x01, 0xd0],
    },
    instruction("wrfsbase", &[0xf3, 0x48, 0x0f, 0xae, 0xd0]),
    instruction("rdtscp", &[0x0f, 0x01, 0xf9]),
    instruction("rdrand", &[0x48, 0x0f, 0xc7, 0xf0]),
    // rsi = DATA: cmpxchg16b [rsi]
    instruction(
        "cmpxchg16b",
        &[0xbe, 0x00, 0x70, 0x00, 0x00, 0x48, 0x0f, 0xc7, 0x0e],
    ),
    instruction("popcnt", &[0xf3, 0x48, 0x0f, 0xb8, 0xc0]),
    instruction("crc32", &[0xf2, 0x48, 0x0f, 0x38, 0xf1, 0xc0]),
    instruction("shlx", &[0xc4, 0xe2, 0xf9, 0xf7, 0xc0]),
    instruction("pxor xmm", &[0x66, 0x0f, 0xef, 0xc0]),
    instruction(
        "movdqu xmm",
        &[0xf3, 0x0f, 0x6f, 0x04, 0x25, 0x00, 0x70, 0x00, 0x00],
    ),
    instruction(
        "clflushopt",
        &[0x66, 0x0f, 0xae, 0x3c, 0x25, 0x00, 0x70, 0x00, 0x00],
    ),
    // rcx = 2, rsi = DATA: invpcid rcx, [rsi]
    instruction(
        "invpcid",
        &[
            0xb9, 0x02, 0x00, 0x00, 0x00, 0xbe, 0x00, 0x70, 0x00, 0x00, 0x66, 0x0f, 0x38, 0x82,
            0x0e,
        ],
    ),
    Instruction {
        name: "stac",
        cr4: 1 << 21,
        code: &[0x0f, 0x01, 0xcb],
    },
    instruction("wbinvd", &[0x0f, 0x09]),
];

const _: () = assert!(DATA == 0x7000);

/// `out 0x97, al`: the end of an experiment.
const END: [u8; 2] = [0xe6, 0x97];

/// What has been found out.
struct Findings {
    syscall: Outcome,
    int_n: Outcome,
    int3: Outcome,
    breakpoints: [bool; 2],
    ring3_avx: Outcome,
    lacking: Vec<String>,
    works: Vec<&'static str>,
    shadow: Result<(), String>,
}

/// Look, try, and tell.
pub fn run(_args: &Args) -> Result<u8, String> {
    let host = match Host::open() {
        Ok(host) => host,
        Err(error) => {
            tell::out(format_args!("KVM: not usable\n"));
            return Err(error.to_string());
        }
    };
    let text = describe(&host).map_err(|error| error.to_string())?;
    tell::out(format_args!("{text}"));
    Ok(0)
}

fn try_code(host: &Host, ring: Ring, cr4: u64, code: &[u8]) -> Result<Outcome, HostError> {
    let outcome = experiment(host, ring, cr4, &[code, &END].concat())?;
    Ok(match outcome {
        // Ring 3 has no right to the port: it is at the end all the same.
        Outcome::Fault {
            vector: 13,
            offset,
            ring: 3,
        } if offset == code.len() as i64 => Outcome::Done {
            rax: 0,
            data: [0; 2],
        },
        other => other,
    })
}

fn find_out(host: &Host) -> Result<Findings, HostError> {
    let (mut works, mut lacking) = (Vec::new(), Vec::new());
    for instruction in RING0 {
        match try_code(host, Ring::Zero, instruction.cr4, instruction.code) {
            Ok(outcome) if outcome.is_done() => works.push(instruction.name),
            Ok(Outcome::CannotEmulate) => lacking.push(instruction.name.to_owned()),
            Ok(outcome) => lacking.push(format!("{} ({})", instruction.name, outcome.describe())),
            // CR4 has a bit that this guest's CPUID does not offer.
            Err(HostError::Refused { .. }) if instruction.cr4 != 0 => {
                lacking.push(format!("{} (not offered)", instruction.name));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Findings {
        shadow: shadow::probe::try_out(host),
        syscall: try_code(host, Ring::Three, 0, &[0x0f, 0x05])?,
        int_n: try_code(host, Ring::Three, 0, &[0xcd, 0x80])?,
        int3: try_code(host, Ring::Three, 0, &[0xcc])?,
        breakpoints: breakpoints(host)?,
        // vpxor ymm0, ymm0, ymm0
        ring3_avx: try_code(host, Ring::Three, 0, &[0xc5, 0xfd, 0xef, 0xc0])?,
        lacking,
        works,
    })
}

/// The quirks that the experiments show.
fn quirks(findings: &Findings) -> u64 {
    let mut quirks = 0;
    // The gate's hlt faults in ring 3; in ring 0 it would have been executed.
    if matches!(
        findings.syscall,
        Outcome::Fault {
            vector: 13,
            ring: 3,
            ..
        }
    ) {
        quirks |= boot::SYSCALL_STAYS_IN_RING3;
    }
    if matches!(
        findings.int_n,
        Outcome::Fault {
            vector: 6,
            offset: 0,
            ..
        }
    ) {
        quirks |= boot::INT_N_IS_UD;
    }
    if findings.lacking.iter().any(|text| text == "xsave") {
        quirks |= boot::NO_XSAVE_IN_RING0;
    }
    quirks
}

fn describe(host: &Host) -> Result<String, HostError> {
    let mut text = String::new();
    let module = host.module();
    let hardware = module.hardware_paging();
    let capability = |cap| yes(host.kvm().check_extension(cap));
    let findings = find_out(host)?;
    let quirks = quirks(&findings);
    let paging = match hardware {
        Some(true) => "in hardware",
        Some(false) => "none: KVM shadows the guest's page tables",
        None => "unknown",
    };
    // Writing to a string does not fail.
    let _ = writeln!(text, "KVM");
    let _ = writeln!(text, "  module                    {}", module.name());
    let _ = writeln!(text, "  nested paging             {paging}");
    let _ = writeln!(
        text,
        "  split interrupt chip      {}",
        capability(Cap::SplitIrqchip)
    );
    let _ = writeln!(
        text,
        "  registers shared (sync)   {}",
        capability(Cap::SyncRegs)
    );
    let _ = writeln!(
        text,
        "  immediate exit            {}",
        capability(Cap::ImmediateExit)
    );
    let _ = writeln!(text, "  binary statistics         {}", yes(has_stats(host)));
    let _ = writeln!(
        text,
        "  TSC deadline timer        {}",
        capability(Cap::TscDeadlineTimer)
    );
    let _ = writeln!(text, "\nA guest's ring 3");
    let _ = writeln!(
        text,
        "  syscall                   {}",
        syscall(&findings.syscall)
    );
    let _ = writeln!(
        text,
        "  int 0x80                  {}",
        int_n(&findings.int_n)
    );
    let _ = writeln!(
        text,
        "  int3                      {}",
        expect(&findings.int3, 3)
    );
    let _ = writeln!(
        text,
        "  breakpoints (DR0 to DR3)  {}",
        match findings.breakpoints {
            [true, true] => "work",
            [true, false] => "work at instructions, not at data",
            [false, true] => "work at data, not at instructions",
            [false, false] => "do not stop it: a guest's own go by unseen in shadow mode",
        }
    );
    let _ = writeln!(
        text,
        "  AVX without CR4.OSXSAVE   {}",
        avx(&findings.ring3_avx)
    );
    let _ = writeln!(text, "\nA guest's ring 0");
    let _ = writeln!(
        text,
        "  works                     {}",
        findings.works.join(", ")
    );
    let lacking = if findings.lacking.is_empty() {
        "nothing of what was tried".into()
    } else {
        findings.lacking.join(", ")
    };
    let _ = writeln!(text, "  does not                  {lacking}");
    let _ = writeln!(text, "\nPaging modes");
    let _ = writeln!(text, "  nested  works here, {}", nested(hardware));
    for line in workarounds(quirks) {
        let _ = writeln!(text, "          worked around: {line}");
    }
    match &findings.shadow {
        Ok(()) => {
            let _ = writeln!(text, "  shadow  works here, on page tables of gnomon's own");
        }
        Err(reason) => {
            let _ = writeln!(text, "  shadow  does not work here: {reason}");
        }
    }
    let auto = match mmu::fastest(module, Entry::Long(0)) {
        Choice::Shadow => "shadow: KVM emulates a nested guest's ring 0, one instruction at a time",
        _ => "nested: the guest's kernel runs at the processor's speed",
    };
    let _ = writeln!(text, "  auto    {auto}");
    if quirks != module.quirks() {
        let _ = writeln!(
            text,
            "\nwarning: `gnomon run` believes the quirks {:#x} of {}, but the experiments show {quirks:#x}; please report this host",
            module.quirks(),
            module.name()
        );
    }
    Ok(text)
}

const fn nested(hardware: Option<bool>) -> &'static str {
    match hardware {
        Some(true) => "with hardware nested paging",
        Some(false) => "without hardware nested paging: page-table changes of the guest are slow",
        None => "with or without hardware nested paging: this host does not say",
    }
}

/// What gnomon and its kernel do about `quirks`.
fn workarounds(quirks: u64) -> Vec<&'static str> {
    [
        (
            boot::SYSCALL_STAYS_IN_RING3,
            "syscall stays in ring 3, so it leads to a hlt, whose #GP is the kernel's entry",
        ),
        (
            boot::INT_N_IS_UD,
            "int n is #UD, so the kernel looks at the instruction there",
        ),
        (
            boot::NO_XSAVE_IN_RING0,
            "ring 0 has no xsave, so the kernel uses fxsave and offers programs no AVX",
        ),
    ]
    .into_iter()
    .filter(|(quirk, _)| quirks & quirk != 0)
    .map(|(_, text)| text)
    .collect()
}

fn syscall(outcome: &Outcome) -> String {
    match outcome {
        // The gate's hlt in ring 0 waits for an interrupt that never comes.
        Outcome::Hang => "enters ring 0".into(),
        Outcome::Fault {
            vector: 13,
            ring: 3,
            ..
        } => "jumps, but stays in ring 3".into(),
        other => other.describe(),
    }
}

fn int_n(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Fault { vector: 32, .. } => "works".into(),
        Outcome::Fault { vector: 6, .. } => "#UD at the instruction".into(),
        other => other.describe(),
    }
}

fn expect(outcome: &Outcome, wanted: u8) -> String {
    match outcome {
        Outcome::Fault { vector, .. } if *vector == wanted => "works".into(),
        other => other.describe(),
    }
}

fn avx(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Fault { vector: 6, .. } => "#UD, as it should".into(),
        Outcome::Done { .. } => "runs although it should not".into(),
        other => other.describe(),
    }
}

const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn has_stats(host: &Host) -> bool {
    host.kvm()
        .create_vm()
        .is_ok_and(|vm| !crate::stats::kvm::read(&vm).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(syscall: Outcome, int_n: Outcome, lacking: &[&str]) -> Findings {
        Findings {
            shadow: Ok(()),
            syscall,
            int_n,
            int3: Outcome::Shutdown,
            breakpoints: [true; 2],
            ring3_avx: Outcome::Shutdown,
            lacking: lacking.iter().map(|&text| text.to_owned()).collect(),
            works: Vec::new(),
        }
    }

    #[test]
    fn processor_with_everything_has_no_quirks() {
        let int_n = Outcome::Fault {
            vector: 32,
            offset: 2,
            ring: 3,
        };
        assert_eq!(quirks(&findings(Outcome::Hang, int_n, &[])), 0);
    }

    #[test]
    fn emulated_ring0_has_all_quirks() {
        let syscall = Outcome::Fault {
            vector: 13,
            offset: 0,
            ring: 3,
        };
        let int_n = Outcome::Fault {
            vector: 6,
            offset: 0,
            ring: 3,
        };
        let found = quirks(&findings(syscall, int_n, &["xsave"]));
        assert_eq!(
            found,
            boot::SYSCALL_STAYS_IN_RING3 | boot::INT_N_IS_UD | boot::NO_XSAVE_IN_RING0
        );
    }
}
