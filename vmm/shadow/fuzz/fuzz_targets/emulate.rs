#![no_main]
//! Any bytes as code in any state: no panic, and what is refused leaves the processor as it was.

use gnomon_shadow::emulate::{Step, step};
use gnomon_shadow_fuzz::{Input, Machine};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (mut cpu, mut machine) = Machine::new(&mut Input(data));
    for _ in 0..8 {
        let before = cpu.clone();
        match step(&mut cpu, &mut machine) {
            Ok(Step::Done | Step::Halt | Step::Software(_)) => {
                assert!(cpu.cpl == 0 || cpu.cpl == 3);
                assert!(before.cpl == 0 || cpu.cpl == 3 || cpu.rip == cpu.lstar);
                assert_eq!(cpu.rflags & 2, 2);
            }
            Ok(Step::Exception(_)) | Err(_) => {
                assert_eq!(
                    (cpu.rip, cpu.gpr, cpu.rflags, cpu.cpl, cpu.selectors),
                    (before.rip, before.gpr, before.rflags, before.cpl, before.selectors)
                );
                return;
            }
        }
    }
});
