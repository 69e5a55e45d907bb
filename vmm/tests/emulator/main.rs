//! The emulator of the shadow mode against real execution: one instruction at a time, run in ring 0
//! and in ring 3 of a KVM guest and by the emulator, then registers, memory and faults compared.
//!
//! What QEMU's emulated AMD-V does otherwise than the manuals say is left out, and tested in the crate
//! alone: it takes addresses that are not canonical for GDTR, LSTAR and jumps, null selectors for TR,
//! reserved bits in CR0, CR3 and CR4; it sets no RF in the frames of faults, loses arithmetic flags in
//! SYSCALL, and reports reads in the error codes of instructions that read first and write then.
//!
//! Meant for hosts whose KVM runs ring 0 on a processor (or on QEMU's). Where KVM itself emulates
//! ring 0 (`kvm_pvm`), what that emulator lacks or does otherwise is no yardstick: skipped there.

mod cases;
mod machine;
mod model;
mod state;

use std::path::Path;

use gnomon::mmu::shadow::registers::set_general;
use gnomon_shadow::cpu::{VirtCpu, flag, reg};
use gnomon_shadow::deliver::{Event, deliver};
use gnomon_shadow::emulate::{Step, step};
use kvm_bindings::{Msrs, kvm_msr_entry};

use cases::instructions;
use machine::Machine;
use model::{Image, Model};
use state::{Rng, image, start};

const CODE: u64 = 0x1000;
const USER_STACK: u64 = 0x2800;
const DATA: u64 = 0x3800;
const GDT: u64 = 0x5000;
const IDT: u64 = 0x6000;
const TSS: u64 = 0x7000;
const STACK: u64 = 0x9800;
const STACK0: u64 = 0xb000;
const READ_ONLY: u64 = 0xc000;
const MISSING: u64 = 0xd000;
const STUBS: u64 = 0xe000;
const TABLES: u64 = 0x1_0000;
const MEMORY: usize = 0x2_0000;
const INPUT: u32 = 0x1234_5678;

/// How it ended: at a `hlt` in ring 0, or in a triple fault.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Halt,
    Shutdown,
    Other(String),
}

fn emulate(cpu: &mut VirtCpu, model: &mut Model) -> End {
    for _ in 0..16 {
        let event = match step(cpu, model).unwrap_or_else(|unknown| panic!("{unknown}")) {
            Step::Done => continue,
            Step::Halt => return End::Halt,
            Step::Exception(e) => Event::Exception(e),
            Step::Software(vector) => {
                let len = if vector == 3 { 1 } else { 2 };
                Event::Software {
                    vector,
                    from: cpu.rip - len,
                }
            }
        };
        if deliver(cpu, model, event).is_err() {
            return End::Shutdown;
        }
    }
    panic!("no end at {:#x}", cpu.rip);
}

/// Instructions that read first and write then.
const UPDATES: [&str; 5] = ["add [", "xadd", "xchg [", "cmpxchg", "bts"];

fn differences(cpu: &VirtCpu, model: &Model, machine: &Machine, name: &str) -> Vec<String> {
    let mut all = Vec::new();
    let regs = machine.vcpu.get_regs().unwrap();
    let sregs = machine.vcpu.get_sregs().unwrap();
    let debug = machine.vcpu.get_debug_regs().unwrap();
    let mut real = cpu.clone();
    set_general(&mut real, &regs);
    let mut check = |what: &str, emulated: u64, real: u64| {
        if emulated != real {
            all.push(format!("{what}: emulated {emulated:#x}, real {real:#x}"));
        }
    };
    for (i, mut value) in real.gpr.into_iter().enumerate() {
        if name.starts_with("lar") && i == reg::RBX {
            // Undefined bits.
            value |= cpu.gpr[i] & 0x000f_0000;
        }
        check(&format!("register {i}"), cpu.gpr[i], value);
    }
    check("rip", cpu.rip, regs.rip);
    // What arithmetic leaves undefined, and RF, which the processor keeps for itself.
    let undefined = if name == "syscall" {
        flag::STATUS | flag::RF
    } else if name.starts_with("bts") {
        flag::STATUS & !flag::CF
    } else {
        flag::RF
    };
    check("rflags", cpu.rflags & !undefined, regs.rflags & !undefined);
    check("cs", cpu.selectors.cs.into(), sregs.cs.selector.into());
    check("ss", cpu.selectors.ss.into(), sregs.ss.selector.into());
    check("ds", cpu.selectors.ds.into(), sregs.ds.selector.into());
    check("es", cpu.selectors.es.into(), sregs.es.selector.into());
    check("fs", cpu.selectors.fs.into(), sregs.fs.selector.into());
    check("gs", cpu.selectors.gs.into(), sregs.gs.selector.into());
    check("cr0", cpu.cr0, sregs.cr0);
    check("cr2", cpu.cr2, sregs.cr2);
    check("cr3", cpu.cr3, sregs.cr3);
    check("cr4", cpu.cr4, sregs.cr4);
    check("efer", cpu.efer, sregs.efer);
    check("gdt base", cpu.gdtr.base, sregs.gdt.base);
    check("gdt limit", cpu.gdtr.limit.into(), sregs.gdt.limit.into());
    check("idt base", cpu.idtr.base, sregs.idt.base);
    check("idt limit", cpu.idtr.limit.into(), sregs.idt.limit.into());
    check("tr", cpu.tr.selector.into(), sregs.tr.selector.into());
    check("ldt", cpu.ldtr.selector.into(), sregs.ldt.selector.into());
    // Loading a null selector leaves the base on some processors and clears it on others.
    if !(name.starts_with("mov fs") || name.starts_with("mov gs") || name.starts_with("pop gs")) {
        check("fs base", model.bases[0], sregs.fs.base);
        check("gs base", model.bases[1], sregs.gs.base);
    }
    check("dr0", cpu.dr[0], debug.db[0]);
    check("dr6", cpu.dr[6] | 1 << 12, debug.dr6 | 1 << 12);
    check("dr7", cpu.dr[7], debug.dr7);
    let wanted = Machine::msrs(cpu, model.bases);
    let entries = wanted.map(|(index, _)| kvm_msr_entry {
        index,
        ..Default::default()
    });
    let mut msrs = Msrs::from_entries(&entries).unwrap();
    assert_eq!(machine.vcpu.get_msrs(&mut msrs).unwrap(), 7);
    for (entry, (index, value)) in msrs.as_slice().iter().zip(wanted) {
        check(&format!("msr {index:#x}"), value, entry.data);
    }
    let real = machine.memory.get();
    let image = model.ram.0.borrow();
    // The page tables' accessed bits: processors may set them ahead.
    for at in (0..TABLES as usize).step_by(8) {
        let word = |m: &[u8]| u64::from_le_bytes(m[at..at + 8].try_into().unwrap());
        let (emulated, real) = (word(&image), word(&real));
        let updates = UPDATES.iter().any(|update| name.contains(update));
        let known = emulated ^ real == flag::RF || (updates && emulated ^ real == 2);
        if !known {
            check(&format!("memory {at:#x}"), emulated, real);
        }
    }
    all
}

#[test]
fn instructions_do_what_the_processor_does() {
    if !Path::new("/dev/kvm").exists() {
        eprintln!("skipped: there is no /dev/kvm");
        return;
    }
    if Path::new("/sys/module/kvm_pvm").exists() {
        eprintln!("skipped: this KVM emulates ring 0 itself");
        return;
    }
    let rounds = std::env::var("GNOMON_EMULATOR_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok());
    let mut machine = Machine::new();
    let mut rng = Rng(0x1234_5678_9abc_def1);
    let mut failures = Vec::new();
    let mut runs = 0;
    for (name, code, how) in instructions() {
        for round in 0..rounds.unwrap_or(8) {
            let user = round % 2 == 1;
            let mut memory = image(code, &mut rng);
            let (mut cpu, bases) = start(&mut rng, how, user, &mut memory);
            let before = cpu.clone();
            machine.load(&cpu, bases, &memory);
            let (end, out) = machine.run(name.starts_with("rep ins"));
            let mut model = Model {
                ram: Image(memory.into()),
                bases,
                cr8: 0,
                out: Vec::new(),
            };
            let emulated = emulate(&mut cpu, &mut model);
            runs += 1;
            let mut wrong = Vec::new();
            if emulated != end {
                wrong.push(format!("emulated {emulated:?}, real {end:?}"));
            } else if end == End::Halt {
                wrong = differences(&cpu, &model, &machine, name);
                let sent = |list: &[(u16, usize, u32)]| {
                    list.iter()
                        .map(|o| o.2.to_le_bytes()[..o.1].to_vec())
                        .collect::<Vec<_>>()
                        .concat()
                };
                if sent(&model.out) != sent(&out) {
                    wrong.push(format!("ports: emulated {:x?}, real {out:x?}", model.out));
                }
            }
            if !wrong.is_empty() {
                failures.push(format!(
                    "{name} (ring {}), rax {:#x} rcx {:#x} rsp {:#x} rsi {:#x} rdi {:#x}: {}",
                    before.cpl,
                    before.gpr[reg::RAX],
                    before.gpr[reg::RCX],
                    before.gpr[reg::RSP],
                    before.gpr[reg::RSI],
                    before.gpr[reg::RDI],
                    wrong.join("; ")
                ));
            }
        }
    }
    eprintln!("{runs} instructions compared");
    assert!(
        failures.is_empty(),
        "{} of {runs} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
