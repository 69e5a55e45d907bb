//! The guest's tests: one program, one test a run.
//!
//! ```text
//! guest-tests --list     the names, one a line; a tab and `guest` follow where Linux has no such thing
//! guest-tests NAME       run that test: 0 passed, 77 skipped, anything else failed (why is on stderr)
//! ```
//!
//! A test asserts what Linux documents, and passes on Linux too: the host is its oracle. It makes
//! its system calls with [`call!`](frame::call), so that the C library's opinions stay out.
#![no_main]
// `|| drop(ok!(…))` is a closure that gives nothing.
#![allow(dropping_copy_types)]
// The types of constants and fields are musl's; other C libraries have others.
#![cfg_attr(not(target_env = "musl"), allow(clippy::unnecessary_cast))]

#[macro_use]
mod frame;
mod registry;
mod role;

mod bad_pointer;
mod core_dump;
mod directory;
mod elf;
mod exec;
mod extended_attribute;
mod fault;
mod file;
mod file_descriptor;
mod file_mapping;
mod futex;
mod futex_pi;
mod identity;
mod int80;
mod lock;
mod memory;
mod message_queue;
mod passing;
mod pidfd;
mod pipe;
mod poll;
mod prctl;
mod proc;
mod proc_mem;
mod proc_pid;
mod process;
mod pseudo_terminal;
mod ptrace;
mod ptrace_attach;
mod ptrace_memory;
mod remap;
mod rename;
mod resource_limit;
mod seal;
mod session;
mod signal;
mod signal_queue;
mod sigreturn;
mod socket;
mod socket_option;
mod splice;
mod swap;
mod synchronisation;
mod synchronisation_problem;
mod sysv_memory;
mod sysv_message;
mod sysv_semaphore;
mod thread;
mod timer;
mod tmpfs;
mod wait;

use frame::report;

/// Entry from the C start-up code: Rust's own would install handlers for SIGSEGV and ignore
/// SIGPIPE, both of which are under test.
///
/// # Safety
/// `argv` holds `argc` pointers to strings ended by NUL, as the C library guarantees.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(argc: libc::c_int, argv: *const *const libc::c_char) -> libc::c_int {
    let arguments: Vec<&str> = (1..argc as usize)
        .filter_map(|i| {
            // SAFETY: the caller's promise about argc and argv.
            unsafe { std::ffi::CStr::from_ptr(*argv.add(i)) }
                .to_str()
                .ok()
        })
        .collect();
    match arguments[..] {
        ["--list"] => registry::list(),
        ["--as", role, ref rest @ ..] => role::play(role, rest),
        [name] => match registry::find(name) {
            Some(test) => {
                obey_interrupts();
                report::run(test)
            }
            None => usage(&format!("there is no test {name}: --list names them")),
        },
        _ => usage("guest-tests --list | guest-tests NAME"),
    }
}

/// Somebody who started this in the background may have had these ignored, for all of its children.
fn obey_interrupts() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: sets a default action.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

fn usage(message: &str) -> libc::c_int {
    eprintln!("{message}");
    2
}
