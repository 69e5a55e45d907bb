//! The shell on a terminal: editing, job control, ^C, ^Z, ^D.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long an expected text may take to appear.
const PATIENCE: Duration = Duration::from_secs(20);

/// A shell on a terminal of its own.
struct Session {
    shell: Child,
    terminal: File,
    output: Receiver<Vec<u8>>,
    /// What has been shown and not been expected yet.
    seen: Vec<u8>,
}

impl Session {
    fn start() -> Self {
        // SAFETY: the calls take and give descriptors, and a name that is copied at once.
        let (terminal, name) = unsafe {
            let fd = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
            assert!(fd >= 0 && libc::grantpt(fd) == 0 && libc::unlockpt(fd) == 0);
            let name = CString::from(std::ffi::CStr::from_ptr(libc::ptsname(fd)));
            (File::from(OwnedFd::from_raw_fd(fd)), name)
        };
        let path = name.to_str().unwrap();
        let open = || File::options().read(true).write(true).open(path).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gnomon-user"));
        command
            .arg("sh")
            .env("PS1", "ready> ")
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", "xterm")
            .stdin(open())
            .stdout(open())
            .stderr(open());
        // SAFETY: both calls are safe to make between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY as _, 0);
                Ok(())
            });
        }
        let shell = command.spawn().unwrap();
        let mut reader = terminal.try_clone().unwrap();
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut session = Session {
            shell,
            terminal,
            output,
            seen: Vec::new(),
        };
        session.expect("ready> ");
        session
    }

    fn send(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the terminal shows `text`; forgets what it has shown up to its end.
    fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let at = self
                .seen
                .windows(text.len())
                .position(|w| w == text.as_bytes());
            if let Some(at) = at {
                self.seen.drain(..at + text.len());
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no {text:?} in {:?}", String::from_utf8_lossy(&self.seen));
                }
            }
        }
    }

    /// Enters a line and waits for what it shows and the prompt that follows.
    fn enter(&mut self, line: &str, expected: &str) {
        self.send(&format!("{line}\r"));
        self.expect(expected);
        self.expect("ready> ");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[test]
fn lines_are_edited_and_remembered() {
    let mut session = Session::start();
    session.enter("echo a$((1+1))b", "a2b\r\n");
    session.enter("eco x\x1b[D\x1b[D\x1b[Dh\x05$((5+4))", "x9\r\n");
    session.enter("\x1b[A\x1b[A$((3*3))", "a2b9\r\n");
    session.enter("echo junk\x15echo k$((2+2))", "k4\r\n");
}

#[test]
fn unfinished_commands_are_continued() {
    let mut session = Session::start();
    session.send("for i in 1 2\r");
    session.expect("> ");
    session.enter("do echo n$((i+6)); done", "n7\r\nn8\r\n");
}

#[test]
fn control_c_ends_a_program_and_a_loop_and_a_line() {
    let mut session = Session::start();
    session.send("echo s$((0+1)); sleep 60\r");
    session.expect("s1\r\n");
    session.send("\x03");
    session.expect("ready> ");
    session.enter("echo $?", "130\r\n");
    session.send("echo l$((0+1)); while :; do :; done\r");
    session.expect("l1\r\n");
    session.send("\x03");
    session.expect("ready> ");
    session.send("echo not entered\x03");
    session.expect("ready> ");
    session.enter("echo e$?", "e130\r\n");
}

#[test]
fn jobs_are_stopped_and_continued() {
    let mut session = Session::start();
    session.send("sh -c 'echo s$((0+1)); exec sleep 60'\r");
    session.expect("s1\r\n");
    session.send("\x1a");
    session.expect("Stopped");
    session.expect("ready> ");
    session.enter("bg", "sleep 60'\r\n");
    session.enter("jobs", "Running");
    session.send("fg\r");
    session.expect("sleep 60'\r\n");
    session.send("\x03");
    session.expect("ready> ");
    session.enter("jobs; echo none$?", "none0\r\n");
}

#[test]
fn job_is_killed_by_its_number() {
    let mut session = Session::start();
    session.enter("sleep 60 &", "[1] ");
    session.enter("kill %1; wait %1; echo st$?", "st143\r\n");
    session.send("sh -c 'echo s$((0+1)); exec sleep 60'\r");
    session.expect("s1\r\n");
    session.send("\x1a");
    session.expect("Stopped");
    session.expect("ready> ");
    session.enter("kill %1; wait %1; echo st$?", "st143\r\n");
}

#[test]
fn terminal_is_mended_after_a_program_that_dies() {
    let mut session = Session::start();
    session.enter("sh -c 'stty raw -echo; kill -9 $$'", "Killed");
    session.enter("stty -a", " icanon");
}

#[test]
fn control_d_ends_the_shell() {
    let mut session = Session::start();
    session.enter("(exit 6)", "\r\n");
    session.send("\x04");
    assert_eq!(session.shell.wait().unwrap().code(), Some(6));
}
