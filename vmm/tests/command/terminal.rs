//! gnomon on a terminal: raw while the guest runs, as it was afterwards.

use std::fs::File;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Scratch, kernel, wait};

/// `jmp` to itself.
const LOOP: &[u8] = &[0xeb, 0xfe];
/// `ud2`: without an IDT a triple fault.
const DIE: &[u8] = &[0x0f, 0x0b];

const PATIENCE: Duration = Duration::from_secs(10);

/// gnomon on a pseudo-terminal.
struct Session {
    gnomon: Child,
    controller: File,
    terminal: OwnedFd,
    _kernel: Scratch,
}

fn settings(fd: &impl AsRawFd) -> libc::termios {
    let mut settings = MaybeUninit::uninit();
    // SAFETY: tcgetattr fills the structure if it succeeds.
    unsafe {
        assert_eq!(libc::tcgetattr(fd.as_raw_fd(), settings.as_mut_ptr()), 0);
        settings.assume_init()
    }
}

fn is_cooked(fd: &impl AsRawFd) -> bool {
    let wanted = libc::ICANON | libc::ECHO | libc::ISIG;
    settings(fd).c_lflag & wanted == wanted
}

impl Session {
    fn start(name: &str, code: &[u8]) -> Self {
        let (mut controller, mut terminal) = (0, 0);
        // SAFETY: both descriptors are written; no name, settings or size is asked for.
        let result = unsafe {
            libc::openpty(
                &mut controller,
                &mut terminal,
                std::ptr::null_mut(),
                std::ptr::null(),
                std::ptr::null(),
            )
        };
        assert_eq!(result, 0);
        // SAFETY: both descriptors are new and nobody else's.
        let (controller, terminal) = unsafe {
            (
                File::from_raw_fd(controller),
                OwnedFd::from_raw_fd(terminal),
            )
        };
        let kernel = kernel(name, code);
        let gnomon = Command::new(env!("CARGO_BIN_EXE_gnomon"))
            .args(["run", "--kernel", kernel.path()])
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal.try_clone().unwrap())
            .spawn()
            .unwrap();
        Self {
            gnomon,
            controller,
            terminal,
            _kernel: kernel,
        }
    }

    fn wait_until_raw(&self) {
        let deadline = Instant::now() + PATIENCE;
        while is_cooked(&self.terminal) {
            assert!(Instant::now() < deadline, "the terminal was never raw");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(&mut self) -> i32 {
        wait(&mut self.gnomon, PATIENCE).code().unwrap()
    }
}

#[test]
fn escape_x_quits_and_restores() {
    let mut session = Session::start("quit", LOOP);
    session.wait_until_raw();
    session.controller.write_all(b"\x01x").unwrap();
    assert_eq!(session.end(), 0);
    assert!(is_cooked(&session.terminal));
}

#[test]
fn signals_that_end_it_restore() {
    use libc::{SIGALRM, SIGHUP, SIGTERM, SIGUSR1, SIGUSR2};
    for signal in [SIGTERM, SIGHUP, SIGALRM, SIGUSR1, SIGUSR2] {
        let mut session = Session::start(&format!("signal-{signal}"), LOOP);
        session.wait_until_raw();
        // SAFETY: the process is our child and has not been waited for.
        unsafe { libc::kill(session.gnomon.id() as i32, signal) };
        assert_eq!(session.end(), 128 + signal);
        assert!(is_cooked(&session.terminal), "signal {signal}");
    }
}

#[test]
fn dead_guest_restores_and_is_reported() {
    let mut session = Session::start("die", DIE);
    assert_eq!(session.end(), 125);
    assert!(is_cooked(&session.terminal));
    let mut text = [0; 200];
    let len = session.controller.read(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text[..len]).into_owned();
    assert!(text.contains("triple fault"), "{text}");
}
