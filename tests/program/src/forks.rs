//! Processes that fork: one with many pages, and one in a loop.

use std::io::{Read, Write, pipe};
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
/// 32 MiB.
const PAGES: usize = 8192;
/// Pages that are written after each fork: one in so many.
const STEP: usize = 64;
/// The shortest time between two ticks.
const SHORTEST: Duration = Duration::from_micros(300);

/// Fork a process that runs `body` and ends with its status; its number.
fn fork(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: this program has one thread, so that the child may do what it likes.
    match unsafe { libc::fork() } {
        0 => std::process::exit(body()),
        child => {
            assert!(child > 0, "{}", std::io::Error::last_os_error());
            child
        }
    }
}

/// Wait for a child; its status.
fn wait(child: i32) -> i32 {
    let mut status = 0;
    // SAFETY: fills an integer.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    status
}

fn all(memory: &[u8], value: u8) -> bool {
    memory
        .iter()
        .step_by(STEP * PAGE)
        .all(|&byte| byte == value)
}

/// Keep the timer busy: every 300 µs, or, where sleeping itself takes long, so that others have half of
/// the time.
fn tick() -> ! {
    let mut time = SHORTEST;
    loop {
        let began = Instant::now();
        std::thread::sleep(time);
        time = SHORTEST.max(began.elapsed().saturating_sub(time));
    }
}

/// Fork six times with many pages while another process keeps the timer busy: what is written after a
/// fork is not for the child's eyes. Marking so many pages read-only takes a monitor of page tables
/// several rounds, between which the timer comes.
pub fn large() {
    let ticking = fork(|| tick());
    // SAFETY: sends a signal to a child of ours that has not been waited for.
    let tell_ticking = |signal| assert_eq!(unsafe { libc::kill(ticking, signal) }, 0);
    for _ in 0..6 {
        // The faults of so many new pages are not what this is about.
        tell_ticking(libc::SIGSTOP);
        let mut memory = vec![1_u8; PAGES * PAGE];
        tell_ticking(libc::SIGCONT);
        let (mut written, mut tell) = pipe().expect("a pipe");
        let child = fork(|| {
            written.read_exact(&mut [0]).expect("the parent tells");
            i32::from(!all(&memory, 1))
        });
        memory
            .iter_mut()
            .step_by(STEP * PAGE)
            .for_each(|byte| *byte = 2);
        tell.write_all(&[0]).expect("the child listens");
        assert_eq!(wait(child), 0, "the child has seen what was written later");
        assert!(all(&memory, 2), "what was written is not there");
    }
    tell_ticking(libc::SIGKILL);
    wait(ticking);
}

std::arch::global_asm!(
    ".global bare_call",
    "bare_call:",
    "mov rax, rdi",
    "mov rdi, rsi",
    "syscall",
    "ret",
);

unsafe extern "C" {
    /// A system call that writes no memory of the program's; it clobbers what a C function may.
    fn bare_call(number: libc::c_long, argument: libc::c_long) -> libc::c_long;
}

/// Fork three hundred processes, one after the other, in a loop that does nothing else: each only reads its
/// stack, and meets what the one before has met, at the same place.
pub fn many() {
    for _ in 0..300 {
        // SAFETY: has no argument; the child calls the system alone, without changing memory.
        let child = unsafe { bare_call(libc::SYS_fork, 0) };
        if child == 0 {
            // SAFETY: these change nothing, and the second does not return.
            unsafe {
                bare_call(libc::SYS_getpid, 0);
                bare_call(libc::SYS_exit_group, 0);
            }
        }
        assert_eq!(wait(child as i32), 0);
    }
}
