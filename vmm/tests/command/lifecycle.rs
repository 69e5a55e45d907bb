//! How a guest ends, and what gnomon makes of it; with kernels of a few bytes.

use crate::common::{Ended, Scratch, elf_with_symbol, gnomon, kernel, pvh_elf};

/// `mov eax, status; mov dx, 0x510; out dx, eax`: the exit port.
const fn exit(status: u8) -> [u8; 10] {
    [0xb8, status, 0, 0, 0, 0x66, 0xba, 0x10, 0x05, 0xef]
}

/// The paging modes: a guest ends in the same way in all of them.
const MODES: [&str; 2] = ["nested", "shadow"];

fn run(name: &str, code: &[u8], check: impl Fn(&Ended)) {
    let kernel = kernel(name, code);
    for mode in MODES {
        check(&gnomon(
            &["run", "--mmu", mode, "--kernel", kernel.path()],
            b"",
        ));
    }
}

#[test]
fn exit_port_gives_the_status() {
    run("exit", &exit(7), |ended| {
        assert_eq!((ended.status, ended.stderr.as_str()), (7, ""));
    });
}

#[test]
fn debug_exit_gives_the_status_as_qemu_does() {
    // mov al, 0x10; out 0xf4, al
    run("debug-exit", &[0xb0, 0x10, 0xe6, 0xf4], |ended| {
        assert_eq!(ended.status, 0x21);
    });
}

#[test]
fn log_port_goes_to_standard_error() {
    // mov dx, 0x502; mov eax, "hi!\n"; out dx, eax
    let mut code = vec![0x66, 0xba, 0x02, 0x05, 0xb8, b'h', b'i', b'!', b'\n', 0xef];
    code.extend(exit(0));
    run("log", &code, |ended| {
        assert_eq!((ended.status, ended.stderr.as_str()), (0, "hi!\n"));
    });
}

#[test]
fn unregistered_port_reads_all_ones() {
    // in al, 0x80; movzx eax, al; mov dx, 0x510; out dx, eax
    let code = [0xe4, 0x80, 0x0f, 0xb6, 0xc0, 0x66, 0xba, 0x10, 0x05, 0xef];
    run("port", &code, |ended| assert_eq!(ended.status, 0xff));
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
    run("triple", &[0x0f, 0x0b], |ended| {
        assert_eq!(ended.status, 125);
        for part in [
            "gnomon: the guest died of a triple fault",
            "at rip 0x0000000000200000",
            "0f 0b  ud2",
        ] {
            assert!(ended.stderr.contains(part), "{}", ended.stderr);
        }
    });
}

#[test]
fn halt_for_ever_is_reported() {
    run("dead", &[0xfa, 0xf4], |ended| {
        assert_eq!(ended.status, 125);
        assert!(
            ended.stderr.contains("gnomon: the guest hangs"),
            "{}",
            ended.stderr
        );
    });
}

#[test]
fn fatal_port_is_reported_with_the_last_messages() {
    // mov dx, 0x502; mov eax, "no!\n"; out dx, eax; mov eax, 1; mov dx, 0x514; out dx, eax
    let code = [
        0x66, 0xba, 0x02, 0x05, 0xb8, b'n', b'o', b'!', b'\n', 0xef, 0xb8, 1, 0, 0, 0, 0x66, 0xba,
        0x14, 0x05, 0xef,
    ];
    run("fatal", &code, |ended| {
        assert_eq!(ended.status, 125);
        for part in ["gnomon: the guest kernel panicked", "  | no!"] {
            assert!(ended.stderr.contains(part), "{}", ended.stderr);
        }
    });
}

#[test]
fn statistics_are_written_as_json() {
    let kernel = kernel("json", &exit(0));
    let json = Scratch::new("stats.json", b"");
    let args = [
        "run",
        "--mmu",
        "nested",
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

#[test]
fn nobody_who_reads_is_no_panic() {
    let kernel = kernel("unread", &[0x0f, 0x0b]);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_gnomon"))
        .args(["run", "--kernel", kernel.path()])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(125));
}

#[test]
fn shadow_mode_says_why_it_runs_no_kernel_with_a_32_bit_entry() {
    let kernel = Scratch::new("pvh-shadow", &pvh_elf(&[0xf4]));
    let ended = gnomon(&["run", "--mmu", "shadow", "--kernel", kernel.path()], b"");
    assert_eq!(ended.status, 125);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("32-bit"), "{}", ended.stderr);
}

#[test]
fn shadow_mode_names_an_instruction_that_it_does_not_know() {
    // mov eax, cr4; or eax, OSFXSR; mov cr4, eax; mov eax, 0x3f000000; movaps [rax], xmm0: a vector
    // store to where there is no memory.
    let code = [
        0x0f, 0x20, 0xe0, 0x0d, 0, 2, 0, 0, 0x0f, 0x22, 0xe0, 0xb8, 0, 0, 0, 0x3f, 0x0f, 0x29, 0,
    ];
    let kernel = Scratch::new(
        "unknown-instruction",
        &elf_with_symbol(&code, "vector_store"),
    );
    let ended = gnomon(
        &[
            "run",
            "--mmu",
            "shadow",
            "--mem",
            "64",
            "--kernel",
            kernel.path(),
        ],
        b"",
    );
    assert_eq!(ended.status, 125);
    for part in [
        "gnomon: the shadow mode meets an instruction",
        "0f 29 00",
        "movaps",
        "at rip 0x0000000000200010  vector_store+0x10",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}
