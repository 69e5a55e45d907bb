//! The guest under QEMU's microvm: the same kernel image and root that gnomon has built in, booted
//! by PVH, on another virtual machine with other devices behind the same drivers.

use std::path::PathBuf;
use std::time::Duration;

use gnomon_tests::image::Image;
use gnomon_tests::qemu::{Finished, Qemu};
use gnomon_tests::scratch::Scratch;
use gnomon_tests::terminal::Terminal;

/// Far more than anything here takes, on a busy machine too.
const LONG: Duration = Duration::from_secs(120);

/// The shell's prompt on a line with nothing else: a control sequence follows.
const PROMPT: &str = "# \x1b[";

/// The built-in kernel and a copy of the built-in root, for one test.
struct Guest {
    _files: Scratch,
    kernel: PathBuf,
    root: Image,
}

impl Guest {
    fn new() -> Self {
        assert!(
            Qemu::is_installed(),
            "qemu-system-x86_64 is missing: install Debian's package qemu-system-x86"
        );
        let files = Scratch::new().unwrap();
        let kernel = files.file("kernel", gnomon_images::KERNEL).unwrap();
        let root = Image::builtin(&files.path("root")).unwrap();
        Self {
            _files: files,
            kernel,
            root,
        }
    }

    fn qemu(&self) -> Qemu {
        Qemu::new(&self.kernel, self.root.path()).unwrap()
    }

    /// Run `script` in the guest's shell.
    fn run(&self, script: &str) -> Finished {
        self.qemu().run(script.as_bytes(), LONG).unwrap()
    }

    /// A shell in a terminal that has shown its first prompt.
    fn shell(&self) -> (Qemu, Terminal) {
        let qemu = self.qemu();
        let mut terminal = qemu.terminal().unwrap();
        terminal
            .expect(PROMPT, LONG)
            .unwrap_or_else(|error| panic!("{error}; the kernel logged:\n{}", qemu.log()));
        (qemu, terminal)
    }
}

fn assert_ended(finished: &Finished, status: i32, stdout: &str) {
    let shown = String::from_utf8_lossy(&finished.stdout);
    assert!(
        finished.status == Some(status) && shown == stdout,
        "status {:?}, output {shown:?}, errors {:?}, the kernel logged:\n{}",
        finished.status,
        String::from_utf8_lossy(&finished.stderr),
        finished.log,
    );
}

#[test]
fn shell_runs_a_script_and_its_status_is_the_machines() {
    let finished = Guest::new().run("echo hello; echo world | tr a-z A-Z; exit 7\n");
    assert_ended(&finished, 7, "hello\nWORLD\n");
}

#[test]
fn errors_come_through_the_second_console() {
    let finished = Guest::new().run("echo out; echo err >&2; exit 0\n");
    assert_ended(&finished, 0, "out\n");
    assert_eq!(String::from_utf8_lossy(&finished.stderr), "err\n");
}

#[test]
fn fork_pipes_and_files_work() {
    let script = "seq 1000 > /tmp/n; grep 7 /tmp/n | wc -l; (exit 3); echo $?; exit 0\n";
    assert_ended(&Guest::new().run(script), 0, "271\n3\n");
}

#[test]
fn large_output_arrives_byte_for_byte() {
    let finished = Guest::new().run("seq 100000; exit 0\n");
    let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(finished.status, Some(0));
    assert!(finished.stdout == expected.as_bytes());
}

#[test]
fn written_file_is_on_the_disk_and_the_file_system_clean() {
    let guest = Guest::new();
    let finished =
        guest.run("mkdir /d; seq 50000 > /d/file; ln /d/file /d/link; rm /d/file; exit 0\n");
    assert_ended(&finished, 0, "");
    let expected: String = (1..=50_000).map(|n| format!("{n}\n")).collect();
    assert!(guest.root.file("/d/link").unwrap() == expected.as_bytes());
    guest.root.assert_clean();
}

#[test]
fn little_and_much_memory_boot() {
    let guest = Guest::new();
    for mebibytes in [32, 4096] {
        let qemu = guest.qemu().memory(mebibytes);
        let finished = qemu.run(b"echo up; exit 0\n", LONG).unwrap();
        assert_ended(&finished, 0, "up\n");
    }
}

#[test]
fn typed_command_is_run() {
    let guest = Guest::new();
    let (_qemu, mut terminal) = guest.shell();
    terminal.send("echo $((6 * 7))\r").unwrap();
    terminal.expect("42\r", LONG).unwrap();
}

#[test]
fn end_of_file_key_ends_the_machine() {
    let guest = Guest::new();
    let (qemu, mut terminal) = guest.shell();
    terminal.send("(exit 5)\r").unwrap();
    terminal.expect(PROMPT, LONG).unwrap();
    terminal.send("\x04").unwrap();
    let status = terminal.wait(LONG).unwrap();
    assert_eq!(
        gnomon_tests::qemu::guest_status(status.into()),
        Some(5),
        "the kernel logged:\n{}",
        qemu.log()
    );
}

#[test]
fn interrupt_key_ends_the_foreground_program_alone() {
    let guest = Guest::new();
    let (_qemu, mut terminal) = guest.shell();
    // A program of its own says when it is in the foreground.
    let command = "sh -c \"echo begin''ning; exec sleep 1000\"\r";
    terminal.send(command).unwrap();
    terminal.expect("beginning\r", LONG).unwrap();
    terminal.send("\x03").unwrap();
    terminal.expect(PROMPT, LONG).unwrap();
    terminal.send("echo status $?\r").unwrap();
    terminal.expect("status 130\r", LONG).unwrap();
}

#[test]
fn suspended_program_is_a_job() {
    let guest = Guest::new();
    let (_qemu, mut terminal) = guest.shell();
    // A program of its own says when it is in the foreground.
    let command = "sh -c \"echo begin''ning; exec sleep 1000\"\r";
    terminal.send(command).unwrap();
    terminal.expect("beginning\r", LONG).unwrap();
    terminal.send("\x1a").unwrap();
    terminal.expect("Stopped", LONG).unwrap();
    terminal.expect(PROMPT, LONG).unwrap();
    terminal.send("kill -9 %1; wait; echo wa''ited\r").unwrap();
    terminal.expect("waited\r", LONG).unwrap();
}
