#![no_main]
//! Events through any IDT, GDT and TSS: no panic; afterwards the processor is at a handler.

use gnomon_shadow::deliver::{Event, Exception, deliver};
use gnomon_shadow::tables::entry::canonical;
use gnomon_shadow_fuzz::{Input, Machine};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (kind, vector, error) = (input.byte(), input.byte(), input.byte());
    let (mut cpu, mut machine) = Machine::new(&mut input);
    let before = cpu.clone();
    let event = match kind % 4 {
        0 => Event::Interrupt(vector),
        1 => Event::Software { vector, from: cpu.rip.wrapping_sub(2) },
        2 => Event::Exception(Exception::page_fault(cpu.gpr[0], error.into())),
        _ => Event::Exception(Exception::with_error(vector % 32, error.into())),
    };
    if deliver(&mut cpu, &mut machine, event).is_ok() {
        assert!(canonical(cpu.rip) && cpu.cpl <= before.cpl);
        assert_eq!(cpu.gpr[4] & 7, 0, "the frame is made of quadwords");
        assert_eq!(cpu.selectors.cs & 3, u16::from(cpu.cpl));
    }
});
