//! What is wrong in a command line or a file is said in one line, with status 125.

use crate::common::{Scratch, elf, gnomon, kernel};

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
    let line = complaint(&["run", "--mem", "lots"]);
    assert!(line.contains("'lots'") && line.contains("--mem"), "{line}");
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
