//! A program as anybody writes it in Rust: threads, channels, files, child processes. It knows
//! nothing of where it runs; the host's Linux and the guest must show the same.
//!
//! `program SUBJECT [ARG…]`: each subject is a module.

mod channels;
mod children;
mod crash;
mod durable;
mod exhaust;
mod files;
mod forks;
mod hostile;
mod swap;
mod threads;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["threads"] => threads::run(),
        ["channels"] => channels::run(),
        ["files", directory] => files::run(directory.as_ref()),
        ["children"] => children::run(),
        ["forks", "large"] => forks::large(),
        ["forks", "many"] => forks::many(),
        ["child", ref rest @ ..] => return children::child(rest),
        ["panic"] => panic!("as asked"),
        ["crash"] => crash::run(0x18),
        ["abort"] => std::process::abort(),
        ["durable", directory, first] => durable::run(directory.as_ref(), first),
        ["exhaust", what, ref rest @ ..] => return exhaust::run(what, rest),
        ["swap", what, mebibytes, ref rest @ ..] => return swap::run(what, mebibytes, rest),
        ["hostile", what, ref rest @ ..] => return hostile::run(what, rest),
        _ => {
            eprintln!("program: unknown subject {words:?}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
