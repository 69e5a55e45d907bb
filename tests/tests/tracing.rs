//! `strace`: in the guest, and on the host beside the host's own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use gnomon_tests::busybox;
use gnomon_tests::gnomon::Gnomon;
use gnomon_tests::image::Image;
use gnomon_tests::in_every_mode;
use gnomon_tests::mode::Mode;
use gnomon_tests::scratch::Scratch;

in_every_mode!(
    calls_are_shown_with_their_arguments,
    children_and_signals_are_followed,
    running_process_is_attached_to,
    calls_are_chosen_and_counted,
    program_makes_the_same_calls_as_on_the_host,
);

/// The guest's strace, for the host.
fn strace(scratch: &Scratch) -> PathBuf {
    let image = Image::builtin(&scratch.path("root.img")).unwrap();
    let bytes = image.file("/bin/strace").unwrap();
    let path = scratch.file("strace", &bytes).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// The names of calls in a trace, in their order.
fn names(trace: &str) -> Vec<&str> {
    trace
        .lines()
        .filter_map(|line| line.split_once('('))
        .map(|(name, _)| name)
        .filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        .collect()
}

/// Assert that two traces have the same calls; shows where they part.
#[track_caller]
fn assert_same_names(one: &str, other: &str) {
    let (one_names, other_names) = (names(one), names(other));
    let parting = one_names
        .iter()
        .zip(&other_names)
        .position(|(one, other)| one != other)
        .unwrap_or(one_names.len().min(other_names.len()));
    let around = |trace: &str| {
        let lines: Vec<_> = trace
            .lines()
            .skip(parting.saturating_sub(3))
            .take(7)
            .collect();
        lines.join("\n")
    };
    assert!(
        one_names == other_names,
        "the traces part after {parting} calls:\n{}\n---\n{}",
        around(one),
        around(other)
    );
}

/// The trace that `tracer` makes of a program on the host.
fn trace(tracer: &Path, scratch: &Scratch, program: &[&str]) -> String {
    let output = scratch.path("trace");
    let status = Command::new(tracer)
        .arg("-o")
        .arg(&output)
        .args(program)
        // As in the guest: what programs do depends on it.
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", tracer.display()));
    assert!(status.status.code().is_some(), "{status:?}");
    std::fs::read_to_string(output).unwrap()
}

/// The host's strace and the guest's see the same calls.
#[test]
fn names_are_those_of_the_hosts_strace() {
    let scratch = Scratch::new().unwrap();
    let ours = strace(&scratch);
    for words in [
        &["/bin/echo", "hello"][..],
        &["/bin/ls", "-l", "/etc/passwd"],
        &[
            "/bin/sh",
            "-c",
            "kill -0 $$; read x </etc/passwd; cd /; exit 0",
        ],
        &["/bin/cat", "/etc/passwd", "/none"],
    ] {
        let real = trace(Path::new("strace"), &scratch, words);
        let own = trace(&ours, &scratch, words);
        assert_same_names(&own, &real);
    }
}

fn shell(mode: Mode, script: &str) -> String {
    let finished = Gnomon::new(mode).shell(script).run();
    finished.assert_status(0).text()
}

#[track_caller]
fn assert_lines(text: &str, wanted: &[&str]) {
    for line in wanted {
        assert!(
            text.lines().any(|l| l.contains(line)),
            "no {line:?} in:\n{text}"
        );
    }
}

fn calls_are_shown_with_their_arguments(mode: Mode) {
    let text = shell(
        mode,
        "strace -o /tmp/trace cat /etc/hostname /none; cat /tmp/trace",
    );
    assert_lines(
        &text,
        &[
            "execve(\"/bin/cat\", [\"cat\", \"/etc/hostname\", \"/none\"], 0x",
            "\"/etc/hostname\", O_RDONLY",
            "read(3, \"gnomon\\n\", ",
            "write(1, \"gnomon\\n\", 7)                 = 7",
            "= -1 ENOENT (No such file or directory)",
            "exit_group(1)                           = ?",
            "+++ exited with 1 +++",
        ],
    );
}

fn children_and_signals_are_followed(mode: Mode) {
    let script = "strace -f -o /tmp/trace sh -c 'trap \"echo got it\" USR1
        (exit 3); kill -USR1 $$; kill -TERM $$'; echo $?; cat /tmp/trace";
    let text = shell(mode, script);
    assert_lines(
        &text,
        &[
            "143",
            "got it",
            "+++ exited with 3 +++",
            "[{WIFEXITED(s) && WEXITSTATUS(s) == 3}]",
            "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=",
            "--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=",
            "rt_sigreturn(",
            "+++ killed by SIGTERM +++",
        ],
    );
}

fn running_process_is_attached_to(mode: Mode) {
    let script = "sleep 100 & strace -p $! 2>/tmp/trace & sleep 0.5
        kill -STOP %1; sleep 0.2; kill -CONT %1; sleep 0.2; kill %1; wait; cat /tmp/trace";
    let text = shell(mode, script);
    assert_lines(
        &text,
        &[
            "attached",
            "--- SIGSTOP {si_signo=SIGSTOP",
            "--- stopped by SIGSTOP ---",
            "--- SIGCONT {si_signo=SIGCONT",
            "+++ killed by SIGTERM +++",
        ],
    );
}

fn calls_are_chosen_and_counted(mode: Mode) {
    let script = "strace -e trace=write,%process -o /tmp/trace echo hello; cat /tmp/trace
        strace -c -o /tmp/counts echo hello; cat /tmp/counts";
    let text = shell(mode, script);
    assert!(!text.contains("set_tid_address("), "{text}");
    assert_lines(
        &text,
        &[
            "execve(",
            "write(1, \"hello\\n\", 6)",
            "usecs/call     calls    errors syscall",
            " write",
            " total",
        ],
    );
}

/// The same static program makes the same calls in the guest and on the host.
fn program_makes_the_same_calls_as_on_the_host(mode: Mode) {
    let scratch = Scratch::new().unwrap();
    let words = [
        "sh",
        "-c",
        "x=hello; cd /; read y </dev/null; echo $x; test -d /etc && pwd",
    ];
    let busybox = busybox::path();
    let host = trace(
        &strace(&scratch),
        &scratch,
        &[&[busybox.to_str().unwrap()], &words[..]].concat(),
    );
    let guest = Gnomon::new(mode)
        .file(&busybox, "/busybox")
        .shell(&format!(
            "strace -o /tmp/trace /busybox {} -c '{}' >/tmp/out; cat /tmp/trace",
            words[0], words[2]
        ))
        .run();
    guest.assert_status(0);
    assert_same_names(&guest.text(), &host);
}
