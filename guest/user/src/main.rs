//! Gnomon's own userland: one static program that is `init`, the shell and the usual tools.
//!
//! Which of them it is it learns from the last component of `argv[0]`; called by its own name, it
//! takes the applet as its first argument (`gnomon-user ls -l`). `applets.txt` lists the names
//! that the image builder links it under; [`applets`] holds the same list with what to run.
//!
//! Everything here is an ordinary Linux program and runs on the host unmodified: that is how most
//! of it is tested. The C `main` is used rather than Rust's, for two reasons. Rust's start-up
//! makes half a dozen system calls that each cost tens of microseconds on hosts without nested
//! paging; and it sets SIGPIPE to ignored, which a shell and its tools must not.
#![cfg_attr(not(test), no_main)]

mod applets;
#[cfg(not(test))]
mod arena;
mod cli;
mod grind;
mod init;
mod program;
mod runner;
mod sh;
mod sys;
mod tools;

/// Entry from the C start-up code.
///
/// # Safety
/// `argv` holds `argc` pointers to strings ended by NUL, as the C library guarantees.
#[cfg(not(test))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(argc: libc::c_int, argv: *const *const libc::c_char) -> libc::c_int {
    let args: Vec<Vec<u8>> = (0..argc as usize)
        .map(|i| {
            // SAFETY: the caller's promise about argc and argv.
            unsafe { std::ffi::CStr::from_ptr(*argv.add(i)) }
                .to_bytes()
                .to_vec()
        })
        .collect();
    applets::dispatch(&args)
}
