//! What is wrong in a command line or a file is said in one line, with status 125.

use std::os::unix::process::ExitStatusExt;

use crate::common::{Scratch, elf, gnomon, kernel, wait};

/// `cli; hlt`.
const HALT: &[u8] = &[0xfa, 0xf4];

fn complaint(args: &[&str]) -> String {
    gnomon(args, b"").one_line().to_owned()
}

#[test]
fn no_memory() {
    let kernel = kernel("no-memory", HALT);
    assert_eq!(
        complaint(&["run", "--kernel", kernel.path(), "--mem", "0"]),
        "gnomon: --mem 0: a guest needs at least 4 MiB"
    );
}

#[test]
fn more_memory_than_the_host_has() {
    let kernel = kernel("much-memory", HALT);
    let line = complaint(&["run", "--kernel", kernel.path(), "--mem", "99999999"]);
    assert!(
        line.starts_with("gnomon: --mem 99999999: this host has "),
        "{line}"
    );
}

#[test]
fn memory_beyond_64_bits() {
    let line = complaint(&["run", "--mem", "18446744073709551615"]);
    assert!(
        line.starts_with("gnomon: --mem 18446744073709551615"),
        "{line}"
    );
}

#[test]
fn memory_that_is_no_number() {
    for text in ["lots", "128M", "", "-1", "1.5", "99999999999999999999"] {
        let line = complaint(&["run", "--mem", text]);
        let named = line.contains(&format!("'{text}'")) && line.contains("--mem");
        assert!(named && line.contains("MiB"), "{line}");
    }
}

#[test]
fn no_processor() {
    assert!(complaint(&["run", "--cpus", "0"]).starts_with("gnomon: --cpus 0:"));
}

#[test]
fn thousand_processors() {
    assert!(complaint(&["run", "--cpus", "1000"]).starts_with("gnomon: --cpus 1000:"));
}

#[test]
fn negative_number_of_processors() {
    let line = complaint(&["run", "--cpus", "-1"]);
    assert!(line.contains("'-1'") && line.contains("--cpus"), "{line}");
}

/// What is written to a full disk is lost, and that is said.
#[test]
fn full_standard_output() {
    for args in [&["doctor"][..], &["--help"], &["compare", "--list"]] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_gnomon"))
            .args(args)
            .stdout(full)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{args:?}: {said}");
        assert!(said.starts_with("gnomon: standard output: "), "{said}");
    }
}

/// A FIFO that nobody reads is waited for, and a signal ends the wait.
#[test]
fn fifo_that_nobody_reads_can_be_interrupted() {
    let kernel = kernel("fifo", HALT);
    let fifo = Scratch::new("console-fifo", b"");
    std::fs::remove_file(fifo.path()).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(fifo.path())
        .status();
    assert!(made.unwrap().success());
    let mut gnomon = std::process::Command::new(env!("CARGO_BIN_EXE_gnomon"))
        .args(["run", "--kernel", kernel.path(), "--console", fifo.path()])
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(gnomon.try_wait().unwrap().is_none(), "it does not wait");
    // SAFETY: a plain system call on a child that has not been waited for.
    unsafe { libc::kill(gnomon.id() as i32, libc::SIGTERM) };
    let status = wait(&mut gnomon, std::time::Duration::from_secs(10));
    assert_eq!(status.signal(), Some(libc::SIGTERM));
}

#[test]
fn unknown_mode() {
    let line = complaint(&["run", "--mmu", "magic"]);
    assert!(
        line.contains("'magic'") && line.contains("nested"),
        "{line}"
    );
}

#[test]
fn unknown_option() {
    let line = complaint(&["run", "--fast"]);
    assert!(line.contains("'--fast'"), "{line}");
}

#[test]
fn missing_kernel() {
    let line = complaint(&["run", "--kernel", "/nonexistent/kernel"]);
    assert!(
        line.starts_with("gnomon: --kernel /nonexistent/kernel: "),
        "{line}"
    );
}

#[test]
fn directory_as_kernel() {
    let line = complaint(&["run", "--kernel", "/"]);
    assert!(line.starts_with("gnomon: --kernel /: "), "{line}");
}

/// A device has no end, and would fill the host's memory.
#[test]
fn device_as_kernel() {
    let line = complaint(&["run", "--kernel", "/dev/zero"]);
    assert!(
        line.starts_with("gnomon: --kernel /dev/zero: ") && line.contains("regular file"),
        "{line}"
    );
}

#[test]
fn text_as_kernel() {
    let text = Scratch::new("text", b"#!/bin/sh\n");
    let line = complaint(&["run", "--kernel", text.path()]);
    assert!(line.ends_with("is not usable: it is no ELF file"), "{line}");
}

#[test]
fn empty_kernel() {
    let empty = Scratch::new("empty", b"");
    let line = complaint(&["run", "--kernel", empty.path()]);
    assert!(line.ends_with("it is no ELF file"), "{line}");
}

#[test]
fn truncated_kernel() {
    let whole = elf(&[0x90; 100], 100);
    let half = Scratch::new("half", &whole[..whole.len() - 50]);
    let line = complaint(&["run", "--kernel", half.path()]);
    assert!(line.ends_with("the file is truncated"), "{line}");
}

#[test]
fn kernel_larger_than_memory() {
    let large = Scratch::new("large", &elf(HALT, 512 << 20));
    let line = complaint(&["run", "--kernel", large.path()]);
    assert!(
        line.contains("does not fit") && line.contains("--mem"),
        "{line}"
    );
}

#[test]
fn missing_disk() {
    let kernel = kernel("missing-disk", HALT);
    let line = complaint(&[
        "run",
        "--kernel",
        kernel.path(),
        "--disk",
        "/nonexistent/disk",
    ]);
    assert!(line.contains("/nonexistent/disk"), "{line}");
}

#[test]
fn missing_root() {
    let kernel = kernel("missing-root", HALT);
    let line = complaint(&[
        "run",
        "--kernel",
        kernel.path(),
        "--root",
        "/nonexistent/root",
    ]);
    assert!(line.contains("/nonexistent/root"), "{line}");
}

#[test]
fn disk_that_ends_within_a_sector() {
    let kernel = kernel("short-disk", HALT);
    let disk = Scratch::new("short-disk.img", &[0; 1000]);
    let line = complaint(&["run", "--kernel", kernel.path(), "--disk", disk.path()]);
    assert!(line.contains(disk.path()), "{line}");
}

#[test]
fn same_disk_twice() {
    let kernel = kernel("twice", HALT);
    let disk = Scratch::new("twice.img", &[0; 4096]);
    let line = complaint(&[
        "run",
        "--kernel",
        kernel.path(),
        "--disk",
        disk.path(),
        "--disk",
        disk.path(),
    ]);
    assert!(line.contains(disk.path()), "{line}");
}

#[test]
fn more_disks_than_interrupts() {
    let kernel = kernel("many", HALT);
    let disk = Scratch::new("many.img", &[0; 4096]);
    let option = format!("{},ro", disk.path());
    let mut args = vec!["run", "--kernel", kernel.path()];
    for _ in 0..20 {
        args.extend(["--disk", &option]);
    }
    let line = complaint(&args);
    assert!(
        line.starts_with("gnomon: 20 disks and consoles are too many"),
        "{line}"
    );
}

#[test]
fn endless_command_line() {
    let kernel = kernel("endless", HALT);
    let text = "x".repeat(70_000);
    let line = complaint(&["run", "--kernel", kernel.path(), "--cmdline", &text]);
    assert!(line.contains("the kernel's command line"), "{line}");
}
