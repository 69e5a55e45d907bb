//! Delivery through a guest's IDT.

use super::*;
use crate::emulate::mock::*;

const HANDLER: u64 = 0xffff_8000_0000_2000;

fn machine(vector: u8, kind: u8, dpl: u8, ist: u8) -> (VirtCpu, Mock) {
    let (mut cpu, mut mock) = Mock::machine(&[]);
    mock.set_gate(vector, HANDLER, kind, dpl, ist);
    cpu.rflags |= flag::IF | flag::TF | flag::ZF;
    (cpu, mock)
}

fn to_user(cpu: &mut VirtCpu) {
    cpu.cpl = 3;
    (cpu.selectors.cs, cpu.selectors.ss) = (0x23, 0x1b);
    cpu.gpr[reg::RSP] = 0x3458;
}

#[test]
fn exception_in_the_kernel_stays_on_its_stack() {
    let (mut cpu, mut mock) = machine(14, 0xe, 0, 0);
    cpu.gpr[reg::RSP] = STACK - 3;
    let fault = Exception::page_fault(0xdead_0000, 2);
    deliver(&mut cpu, &mut mock, Event::Exception(fault)).unwrap();
    let rsp = ((STACK - 3) & !15) - 48;
    assert_eq!((cpu.rip, cpu.gpr[reg::RSP], cpu.cpl), (HANDLER, rsp, 0));
    assert_eq!(cpu.cr2, 0xdead_0000);
    assert_eq!(cpu.rflags, flag::ZF | flag::ONE, "IF and TF are off");
    let words: Vec<u64> = (0..6).map(|i| mock.get_u64(rsp + 8 * i)).collect();
    let pushed = flag::IF | flag::TF | flag::ZF | flag::ONE | flag::RF;
    assert_eq!(words, [2, CODE, 0x08, pushed, STACK - 3, 0x10]);
}

#[test]
fn interrupt_of_a_program_switches_stacks() {
    let (mut cpu, mut mock) = machine(0x40, 0xe, 0, 0);
    to_user(&mut cpu);
    deliver(&mut cpu, &mut mock, Event::Interrupt(0x40)).unwrap();
    assert_eq!((cpu.cpl, cpu.gpr[reg::RSP]), (0, STACK0 - 40));
    assert_eq!((cpu.selectors.cs, cpu.selectors.ss), (0x08, 0));
    let words: Vec<u64> = (0..5).map(|i| mock.get_u64(STACK0 - 40 + 8 * i)).collect();
    assert_eq!(
        words,
        [
            CODE,
            0x23,
            flag::IF | flag::TF | flag::ZF | flag::ONE,
            0x3458,
            0x1b
        ]
    );
}

#[test]
fn ist_is_taken_at_any_level_and_trap_gates_keep_if() {
    let (mut cpu, mut mock) = machine(2, 0xf, 0, 1);
    deliver(&mut cpu, &mut mock, Event::Interrupt(2)).unwrap();
    assert_eq!(cpu.gpr[reg::RSP], STACK_IST - 40);
    assert_eq!(cpu.rflags & flag::IF, flag::IF);
}

#[test]
fn software_interrupts_need_the_gates_dpl() {
    let software = Event::Software {
        vector: 0x80,
        from: CODE - 2,
    };
    let (mut cpu, mut mock) = machine(0x80, 0xe, 3, 0);
    to_user(&mut cpu);
    deliver(&mut cpu, &mut mock, software).unwrap();
    assert_eq!((cpu.rip, mock.get_u64(cpu.gpr[reg::RSP])), (HANDLER, CODE));
    let (mut cpu, mut mock) = machine(0x80, 0xe, 0, 0);
    mock.set_gate(13, HANDLER + 1, 0xe, 0, 0);
    to_user(&mut cpu);
    deliver(&mut cpu, &mut mock, software).unwrap();
    assert_eq!(cpu.rip, HANDLER + 1);
    assert_eq!(mock.get_u64(cpu.gpr[reg::RSP]), 0x80 * 8 + 2, "IDT, no EXT");
    assert_eq!(
        mock.get_u64(cpu.gpr[reg::RSP] + 8),
        CODE - 2,
        "the fault is the instruction's"
    );
}

#[test]
fn missing_gate_is_a_fault_about_the_gate() {
    let (mut cpu, mut mock) = machine(13, 0xe, 0, 0);
    deliver(&mut cpu, &mut mock, Event::Interrupt(0x50)).unwrap();
    assert_eq!(mock.get_u64(cpu.gpr[reg::RSP]), 0x50 * 8 + 3, "IDT and EXT");
    let (mut cpu, mut mock) = machine(11, 0xe, 0, 0);
    mock.set_gate(0x50, HANDLER, 0xe, 0, 0);
    let at = IDT + 0x500;
    let gate = mock.get_u64(at);
    mock.put_u64(at, gate & !(1 << 47));
    deliver(&mut cpu, &mut mock, Event::Interrupt(0x50)).unwrap();
    assert_eq!(
        (cpu.rip, mock.get_u64(cpu.gpr[reg::RSP])),
        (HANDLER, 0x50 * 8 + 3)
    );
}

#[test]
fn page_fault_while_a_page_fault_is_delivered_is_a_double_fault() {
    let (mut cpu, mut mock) = machine(8, 0xe, 0, 1);
    mock.set_gate(14, HANDLER, 0xe, 0, 0);
    cpu.gpr[reg::RSP] = MISSING + 0x100;
    let fault = Exception::page_fault(0x1234, 0);
    deliver(&mut cpu, &mut mock, Event::Exception(fault)).unwrap();
    assert_eq!((cpu.rip, cpu.gpr[reg::RSP]), (HANDLER, STACK_IST - 48));
    assert_eq!(mock.get_u64(STACK_IST - 48), 0, "its error code");
    assert_eq!(cpu.cr2, MISSING + 0xf8, "the second fault's address");
}

#[test]
fn benign_exceptions_do_not_double() {
    // #UD whose stack is missing: the page fault is delivered, on the IST of its gate.
    let (mut cpu, mut mock) = machine(14, 0xe, 0, 1);
    mock.set_gate(6, HANDLER + 8, 0xe, 0, 0);
    cpu.gpr[reg::RSP] = MISSING + 0x100;
    deliver(&mut cpu, &mut mock, Event::Exception(Exception::UD)).unwrap();
    assert_eq!((cpu.rip, mock.get_u64(cpu.gpr[reg::RSP])), (HANDLER, 2));
}

#[test]
fn fault_in_a_double_fault_is_a_triple_fault() {
    let (mut cpu, mut mock) = machine(6, 0xe, 0, 0);
    cpu.idtr.limit = 0;
    let triple = deliver(&mut cpu, &mut mock, Event::Exception(Exception::GP0)).unwrap_err();
    assert_eq!((triple.first, triple.rip), (13, CODE));
}

#[test]
fn bad_gates_and_stacks_are_refused() {
    let error_of = |change: &dyn Fn(&mut VirtCpu, &mut Mock)| {
        let (mut cpu, mut mock) = machine(0x40, 0xe, 0, 0);
        for v in 10..=13 {
            mock.set_gate(v, HANDLER + u64::from(v), 0xe, 0, 1);
        }
        change(&mut cpu, &mut mock);
        deliver(&mut cpu, &mut mock, Event::Interrupt(0x40)).unwrap();
        (cpu.rip - HANDLER, mock.get_u64(cpu.gpr[reg::RSP]))
    };
    // A gate to a data segment, to a null selector, to a 16-bit type.
    let selector = |s: u64| {
        move |_: &mut VirtCpu, m: &mut Mock| {
            let gate = m.get_u64(IDT + 0x400) & !0xffff_0000;
            m.put_u64(IDT + 0x400, gate | s << 16);
        }
    };
    assert_eq!(error_of(&selector(0x10)), (13, 0x11));
    assert_eq!(error_of(&selector(0)), (13, 1));
    assert_eq!(error_of(&selector(0x60)), (13, 0x61));
    assert_eq!(
        error_of(&|_, m| m.set_gate(0x40, HANDLER, 0x6, 0, 0)),
        (13, 0x40 * 8 + 3)
    );
    // A target or a stack that is not canonical, a TSS that is too short.
    assert_eq!(
        error_of(&|_, m| m.set_gate(0x40, 1 << 47, 0xe, 0, 0)),
        (13, 1)
    );
    let from_user = |c: &mut VirtCpu| to_user(c);
    assert_eq!(
        error_of(&|c, m| {
            from_user(c);
            m.put_u64(TSS + 4, 1 << 47);
        }),
        (12, 1)
    );
    let (mut cpu, mut mock) = machine(0x40, 0xe, 0, 0);
    mock.set_gate(10, HANDLER, 0xe, 0, 0);
    mock.set_gate(8, HANDLER, 0xe, 0, 0);
    to_user(&mut cpu);
    cpu.tr.limit = 8;
    assert!(
        deliver(&mut cpu, &mut mock, Event::Interrupt(0x40)).is_err(),
        "#TS, #DF, shutdown"
    );
}

#[test]
fn nothing_is_pushed_below_a_stack_that_ends() {
    let (mut cpu, mut mock) = machine(0x40, 0xe, 0, 0);
    mock.set_gate(14, HANDLER + 1, 0xe, 0, 1);
    cpu.gpr[reg::RSP] = MISSING + 0x1010;
    // Two words fit on the page above, the third does not.
    deliver(&mut cpu, &mut mock, Event::Interrupt(0x40)).unwrap();
    assert_eq!((cpu.rip, cpu.cr2), (HANDLER + 1, MISSING + 0xff8));
    assert_eq!(
        mock.get_u64(cpu.gpr[reg::RSP] + 32),
        MISSING + 0x1010,
        "RSP as it was"
    );
}
