//! Programs of others, unmodified: a Rust std program on musl, and busybox put in by `--file`. What
//! they print on the host's Linux they must print in the guest.

use std::process::Command;

use gnomon_tests::gnomon::{End, Gnomon, finish, patience};
use gnomon_tests::mode::Mode;
use gnomon_tests::program::{self, IN_GUEST};
use gnomon_tests::{busybox, in_every_mode};

in_every_mode!(
    threads,
    channels,
    files,
    files_in_memory,
    children,
    panic_has_its_status,
    abort_has_its_status,
    busybox_is_put_in,
    program_with_shared_libraries,
    arguments_arrive_unchanged,
    program_is_found_by_its_path,
    missing_program,
    program_that_cannot_be_executed,
);

/// Run the test program on `words` on the host and in the guest; both must do the same.
#[track_caller]
fn assert_same_as_on_host(mode: Mode, words: &[&str]) {
    let mut command = Command::new(program::path());
    command.args(words).env("RUST_BACKTRACE", "0");
    let host = finish(command, b"", patience(std::time::Duration::from_secs(60))).unwrap();
    let End::Status(status) = host.end else {
        panic!("on the host: {:?}, {}", host.end, host.errors());
    };
    let all = [&[IN_GUEST], words].concat();
    Gnomon::new(mode)
        .file(program::path(), IN_GUEST)
        .program(all)
        .run()
        .assert_status(status)
        .assert_output(&host.text());
}

/// A program of the host's that its dynamic linker loads, with that and its libraries put in.
fn program_with_shared_libraries(mode: Mode) {
    const PROGRAM: &str = "/usr/bin/printf";
    let list = Command::new("ldd").arg(PROGRAM).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let files = list.split_whitespace().filter(|word| word.starts_with('/'));
    let mut gnomon = Gnomon::new(mode).file(PROGRAM.as_ref(), PROGRAM);
    for file in files {
        gnomon = gnomon.file(file.as_ref(), file);
    }
    gnomon
        .program([PROGRAM, "%s-%05d\\n", "dynamic", "42"])
        .run()
        .assert_status(0)
        .assert_output("dynamic-00042\n");
}

fn threads(mode: Mode) {
    assert_same_as_on_host(mode, &["threads"]);
}

fn channels(mode: Mode) {
    assert_same_as_on_host(mode, &["channels"]);
}

fn files(mode: Mode) {
    // /var/tmp is on the root disk.
    assert_same_as_on_host(mode, &["files", "/var/tmp"]);
}

fn files_in_memory(mode: Mode) {
    assert_same_as_on_host(mode, &["files", "/tmp"]);
}

fn children(mode: Mode) {
    assert_same_as_on_host(mode, &["children"]);
}

/// What a program that panics prints is Rust's, and its status 101.
fn panic_has_its_status(mode: Mode) {
    let finished = Gnomon::new(mode)
        .file(program::path(), IN_GUEST)
        .program([IN_GUEST, "panic"])
        .run();
    assert_eq!(finished.end, End::Status(101));
    assert!(
        finished.errors().contains("as asked"),
        "{}",
        finished.errors()
    );
}

fn abort_has_its_status(mode: Mode) {
    let finished = Gnomon::new(mode)
        .file(program::path(), IN_GUEST)
        .program([IN_GUEST, "abort"])
        .run();
    finished.assert_status(128 + 6);
}

fn busybox_is_put_in(mode: Mode) {
    let script = "busybox seq 1 100 | busybox sort -r | busybox head -n 2; exit 4";
    Gnomon::new(mode)
        .file(&busybox::path(), "/bin/busybox")
        .program(["busybox", "ash", "-c", script])
        .run()
        .assert_status(4)
        .assert_output("99\n98\n");
}

fn arguments_arrive_unchanged(mode: Mode) {
    let words = [
        "",
        "two words",
        "\"'\\$`",
        "ünïcode",
        "*",
        "-x",
        "--",
        "a\nb",
    ];
    let all = [&[IN_GUEST, "child", "echo"], &words[..]].concat();
    Gnomon::new(mode)
        .file(program::path(), IN_GUEST)
        .program(all)
        .run()
        .assert_status(0)
        .assert_output(&format!("{words:?}\n"));
}

fn program_is_found_by_its_path(mode: Mode) {
    Gnomon::new(mode)
        .file(program::path(), "/a/new/place/it")
        .program(["/a/new/place/it", "child", "status", "9"])
        .run()
        .assert_status(9);
}

fn missing_program(mode: Mode) {
    for name in ["no-such-program", "/no/such/program"] {
        let finished = Gnomon::new(mode).program([name]).run();
        finished.assert_status(127).assert_output("");
        let errors = finished.errors();
        assert!(
            errors.contains(name) && errors.lines().count() == 1,
            "{errors}"
        );
    }
}

fn program_that_cannot_be_executed(mode: Mode) {
    for name in ["/etc", "/not-executable"] {
        let finished = Gnomon::new(mode)
            .file(
                &std::path::absolute("Cargo.toml").unwrap(),
                "/not-executable",
            )
            .program([name])
            .run();
        finished.assert_status(126).assert_output("");
        let errors = finished.errors();
        assert!(
            errors.contains(name) && errors.lines().count() == 1,
            "{errors}"
        );
    }
}
