//! How a guest ends, and what gnomon makes of it; with kernels of a few bytes.

use crate::common::{Ended, Scratch, gnomon, kernel, pvh_elf};

/// `mov eax, status; mov dx, 0x510; out dx, eax`: the exit port.
const fn exit(status: u8) -> [u8; 10] {
    [0xb8, status, 0, 0, 0, 0x66, 0xba, 0x10, 0x05, 0xef]
}

fn run(name: &str, code: &[u8]) -> Ended {
    let kernel = kernel(name, code);
    gnomon(&["run", "--kernel", kernel.path()], b"")
}

#[test]
fn exit_port_gives_the_status() {
    let ended = run("exit", &exit(7));
    assert_eq!((ended.status, ended.stderr.as_str()), (7, ""));
}

#[test]
fn debug_exit_gives_the_status_as_qemu_does() {
    // mov al, 0x10; out 0xf4, al
    let ended = run("debug-exit", &[0xb0, 0x10, 0xe6, 0xf4]);
    assert_eq!(ended.status, 0x21);
}

#[test]
fn log_port_goes_to_standard_error() {
    // mov dx, 0x502; mov eax, "hi!\n"; out dx, eax
    let mut code = vec![0x66, 0xba, 0x02, 0x05, 0xb8, b'h', b'i', b'!', b'\n', 0xef];
    code.extend(exit(0));
    let ended = run("log", &code);
    assert_eq!((ended.status, ended.stderr.as_str()), (0, "hi!\n"));
}

#[test]
fn unregistered_port_reads_all_ones() {
    // in al, 0x80; movzx eax, al; mov dx, 0x510; out dx, eax
    let ended = run(
        "port",
        &[0xe4, 0x80, 0x0f, 0xb6, 0xc0, 0x66, 0xba, 0x10, 0x05, 0xef],
    );
    assert_eq!(ended.status, 0xff);
}

#[test]
fn pvh_kernel_is_entered_in_32_bit_mode() {
    // mov dx, 0x3f8; mov al, 'A'; out dx, al; xor eax, eax; dec eax (in 64-bit mode a REX prefix);
    // neg eax; mov dx, 0x510; out dx, eax
    let code = [
        0x66, 0xba, 0xf8, 0x03, 0xb0, b'A', 0xee, 0x31, 0xc0, 0x48, 0xf7, 0xd8, 0x66, 0xba, 0x10,
        0x05, 0xef,
    ];
    let kernel = Scratch::new("pvh", &pvh_elf(&code));
    let ended = gnomon(&["run", "--kernel", kernel.path()], b"");
    assert_eq!((ended.status, ended.stdout.as_slice()), (1, &b"A"[..]));
}

#[test]
fn triple_fault_is_reported() {
    let ended = run("triple", &[0x0f, 0x0b]);
    assert_eq!(ended.status, 125);
    assert!(
        ended
            .stderr
            .starts_with("gnomon: the guest died of a triple fault")
    );
    assert!(ended.stderr.contains("at rip 0x0000000000200000"));
    assert!(ended.stderr.contains("0f 0b  ud2"));
}

#[test]
fn halt_for_ever_is_reported() {
    let ended = run("dead", &[0xfa, 0xf4]);
    assert_eq!(ended.status, 125);
    assert!(
        ended.stderr.starts_with("gnomon: the guest hangs"),
        "{}",
        ended.stderr
    );
}

#[test]
fn fatal_port_is_reported_with_the_last_messages() {
    // mov dx, 0x502; mov eax, "no!\n"; out dx, eax; mov eax, 1; mov dx, 0x514; out dx, eax
    let ended = run(
        "fatal",
        &[
            0x66, 0xba, 0x02, 0x05, 0xb8, b'n', b'o', b'!', b'\n', 0xef, 0xb8, 1, 0, 0, 0, 0x66,
            0xba, 0x14, 0x05, 0xef,
        ],
    );
    assert_eq!(ended.status, 125);
    assert!(ended.stderr.contains("gnomon: the guest kernel panicked"));
    assert!(ended.stderr.contains("  | no!"));
}

#[test]
fn statistics_are_written_as_json() {
    let kernel = kernel("json", &exit(0));
    let json = Scratch::new("stats.json", b"");
    let args = [
        "run",
        "--kernel",
        kernel.path(),
        "--stats-json",
        json.path(),
    ];
    assert_eq!(gnomon(&args, b"").status, 0);
    let text = std::fs::read_to_string(json.path()).unwrap();
    assert!(text.contains("\"pio_out\": 1") && text.contains("\"mode\": \"nested\""));
}

#[test]
fn help_is_no_mistake() {
    let ended = gnomon(&["run", "--help"], b"");
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    assert!(ended.stdout.starts_with(b"Boot the guest"));
}

#[test]
fn doctor_knows_the_nested_mode() {
    let ended = gnomon(&["doctor"], b"");
    let text = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status, 0);
    assert!(text.contains("nested  works here"), "{text}");
    assert!(!text.contains("warning"), "{text}");
}
