//! Random system calls against the kernel: a short run of the guest's `grind`, which looks itself for
//! processes that do not die, pages and objects that are lost, files that stay open.

use std::time::Duration;

use gnomon_tests::gnomon::Gnomon;
use gnomon_tests::in_every_mode;
use gnomon_tests::mode::Mode;

/// Far more than the run takes.
const LONG: Duration = Duration::from_secs(240);

in_every_mode!(random_calls_find_nothing);

fn random_calls_find_nothing(mode: Mode) {
    let run = Gnomon::new(mode)
        .program(["grind", "--seconds", "10", "--seed", "1"])
        .timeout(LONG)
        .run();
    run.assert_status(0);
    let text = run.text();
    assert!(text.contains("; 0 findings"), "{text}{}", run.errors());
}
