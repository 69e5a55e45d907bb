//! `gnomon test --kernel`: what a kernel of the user's own reports, and how.

use crate::common::{Ended, Scratch, gnomon, kernel, pvh_elf};

/// `mov al, value; out 0xf4, al`: the debug exit port.
const fn report(value: u8) -> [u8; 4] {
    [0xb0, value, 0xe6, 0xf4]
}

/// `jmp` to itself.
const HANG: [u8; 2] = [0xeb, 0xfe];

/// Run a kernel in both modes, one after the other.
fn run(name: &str, code: &[u8], options: &[&str]) -> Ended {
    let kernel = kernel(name, code);
    let mut args = vec!["test", "--mmu", "nested,shadow", "--kernel", kernel.path()];
    args.extend(options);
    gnomon(&args, b"")
}

#[test]
fn value_of_success_is_status_zero() {
    let ended = run("own-success", &report(0x10), &[]);
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
}

#[test]
fn other_value_is_qemus_status() {
    assert_eq!(run("own-failure", &report(0x11), &[]).status, 35);
}

#[test]
fn status_of_success_can_be_chosen() {
    let ended = run("own-chosen", &report(0), &["--success", "1"]);
    assert_eq!(ended.status, 0);
    let ended = run("own-other", &report(0x10), &["--success", "1"]);
    assert_eq!(ended.status, 33);
}

#[test]
fn serial_port_goes_to_standard_output() {
    // mov dx, 0x3f8; mov al, '!'; out dx, al
    let mut code = vec![0x66, 0xba, 0xf8, 0x03, 0xb0, b'!', 0xee];
    code.extend(report(0x10));
    let kernel = Scratch::new("own-serial", &pvh_elf(&code));
    let ended = gnomon(&["test", "--kernel", kernel.path()], b"");
    assert_eq!((ended.status, ended.stdout.as_slice()), (0, &b"!"[..]));
}

#[test]
fn triple_fault_is_reported_with_its_place() {
    let ended = run("own-triple", &[0x0f, 0x0b], &[]);
    assert_eq!(ended.status, 125);
    for part in ["triple fault", "at rip 0x0000000000200000", "ud2"] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

#[test]
fn instruction_that_shadow_mode_does_not_know_is_shown_as_it_was() {
    // iretd, which the mode replaces.
    let kernel = kernel("own-unknown", &[0xcf]);
    let ended = gnomon(&["test", "--mmu", "shadow", "--kernel", kernel.path()], b"");
    assert_eq!(ended.status, 125);
    for part in ["\"iretd\" (cf) at 0x200000", "  instruction  cf  iretd"] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

#[test]
fn kernel_past_its_time_is_stopped_with_its_place() {
    let ended = run("own-hang", &HANG, &["--timeout", "1"]);
    assert_eq!(ended.status, 124);
    assert!(
        ended.stderr.contains("at rip 0x0000000000200000"),
        "{}",
        ended.stderr
    );
}

#[test]
fn options_of_the_guests_tests_are_refused() {
    let kernel = kernel("own-list", &report(0x10));
    let ended = gnomon(&["test", "--list", "--kernel", kernel.path()], b"");
    assert!(ended.one_line().contains("--kernel"));
}
