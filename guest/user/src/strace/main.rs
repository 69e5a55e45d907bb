//! `strace`: shows the system calls and signals of a program, with decoded arguments.
//!
//! ```text
//! strace [-cfqtT] [-e trace=LIST] [-o FILE] [-s BYTES] [-p PID]... [PROGRAM ARGS...]
//! ```
//!
//! | file | what |
//! |---|---|
//! | `options` | the command line; which calls are shown |
//! | `tracer` | starts, attaches and follows; one step a stop |
//! | `tracee` | ptrace requests, the memory of the traced program |
//! | `table`, `other` | every system call: name and kinds of arguments |
//! | `kind` | the kinds |
//! | `argument` | a kind and a value become text |
//! | `flags`, `errno`, `signal`, `structs`, `socket`, `text` | what values and structures look like |
//! | `output`, `summary` | lines; the table of `-c` |
//!
//! An ordinary static Linux program: it runs on the host as well, where the host's own strace is
//! its oracle.

mod argument;
mod errno;
mod flags;
mod kind;
mod options;
mod other;
mod output;
mod signal;
mod socket;
mod structs;
mod summary;
mod table;
mod text;
mod tracee;
mod tracer;

use options::Options;
use tracer::{End, Tracer};

fn main() {
    let arguments = std::env::args_os().skip(1).collect();
    let outcome = Options::parse(arguments).and_then(|options| Tracer::new(options)?.run());
    match outcome {
        Ok(End::Exit(status)) => std::process::exit(status),
        Ok(End::Signal(signo)) => tracer::die_of(signo),
        Err(message) => {
            eprintln!("strace: {message}");
            std::process::exit(1);
        }
    }
}
