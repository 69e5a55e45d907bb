//! The shell and the tools on the host, case by case.
//!
//! A file of `cases/` holds cases one after the other: a line `=== STATUS`, the script, a line
//! `---`, and what the script writes to stdout, byte for byte. All expectations are what Debian's
//! `dash` and GNU's tools do. A case runs in a directory of its own that `setup.sh` has filled, with
//! nothing on `PATH` but the applets.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const PROGRAM: &str = env!("CARGO_BIN_EXE_gnomon-user");

/// A directory that is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gnomon-user-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The applets under their names.
fn applets() -> Scratch {
    let scratch = Scratch::new();
    for name in include_str!("../applets.txt").lines() {
        symlink(PROGRAM, scratch.0.join(name)).unwrap();
    }
    scratch
}

/// Interrupts reach the program even if whoever started this has them ignored, as `nohup` and a
/// shell's `&` do: a shell could not trap them then.
fn obey_interrupts(command: &mut Command) -> &mut Command {
    let obey = || {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
            // SAFETY: sets a default action.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: the closure makes only calls that may be made between fork and exec.
    unsafe { command.pre_exec(obey) }
}

fn run(applets: &Path, directory: &Path, script: &str) -> Output {
    obey_interrupts(&mut Command::new(applets.join("sh")))
        .args(["-c", script])
        .current_dir(directory)
        .env_clear()
        .env("PATH", applets)
        .env("HOME", "/root")
        .env("TZ", "UTC0")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// As a shell gives it: 128+n for signal n.
fn exit_status(status: ExitStatus) -> i32 {
    let signal = || status.signal().map(|signal| 128 + signal);
    status.code().or_else(signal).unwrap()
}

/// Runs all cases of a file and reports those that differ together.
fn check(cases: &str) {
    let applets = applets();
    let text = cases.strip_prefix("=== ").unwrap();
    let text = text.strip_suffix('\n').unwrap();
    let mut wrong = String::new();
    for case in text.split("\n=== ") {
        let (status, rest) = case.split_once('\n').unwrap();
        let (script, expected) = rest.split_once("\n---\n").unwrap();
        let directory = Scratch::new();
        let setup = run(&applets.0, &directory.0, include_str!("cases/setup.sh"));
        assert!(setup.status.success(), "{setup:?}");
        let output = run(&applets.0, &directory.0, script);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let code = exit_status(output.status);
        if stdout != expected || code.to_string() != status {
            let stderr = String::from_utf8_lossy(&output.stderr);
            wrong += &format!(
                "\n{script}\n-- expected, status {status}:\n{expected}\n\
                 -- got, status {code}:\n{stdout}\n-- stderr:\n{stderr}\n"
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn words_are_expanded() {
    check(include_str!("cases/words.txt"));
}

#[test]
fn arithmetic_is_that_of_c() {
    check(include_str!("cases/arithmetic.txt"));
}

#[test]
fn control_flow_follows_statuses() {
    check(include_str!("cases/control.txt"));
}

#[test]
fn redirections_and_here_documents_move_bytes() {
    check(include_str!("cases/redirection.txt"));
}

#[test]
fn set_e_and_set_u_end_scripts() {
    check(include_str!("cases/errexit.txt"));
}

#[test]
fn signals_traps_and_background_jobs_work_together() {
    check(include_str!("cases/signals.txt"));
}

#[test]
fn builtins_do_what_posix_says() {
    check(include_str!("cases/builtins.txt"));
}

#[test]
fn wrong_programs_are_refused() {
    check(include_str!("cases/errors.txt"));
}

#[test]
fn tools_do_what_debians_do() {
    check(include_str!("cases/tools.txt"));
}

#[test]
fn init_ends_with_the_programs_status() {
    let applets = applets();
    let status = |args: &[&str]| {
        let mut init = Command::new(applets.0.join("init"));
        let init = init.args(args).env("PATH", &applets.0).stdin(Stdio::null());
        init.output().unwrap().status.code()
    };
    assert_eq!(status(&["sh", "-c", "exit 7"]), Some(7));
    assert_eq!(status(&["sh", "-c", "kill -9 $$"]), Some(137));
    assert_eq!(status(&["sh", "-c", "sleep 2 & exit 3"]), Some(3));
    assert_eq!(status(&["no-such-program"]), Some(127));
    assert_eq!(status(&["/etc/passwd"]), Some(126));
}

#[test]
fn large_data_passes_through_pipelines_unchanged() {
    let applets = applets();
    let script = "yes 0123456789abcde | head -c 20000000 | tee copy | md5sum; \
                  cat copy | cat | cmp - copy && wc -c < copy";
    let directory = Scratch::new();
    let output = run(&applets.0, &directory.0, script);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.ends_with("  -\n20000000\n"), "{output:?}");
}
