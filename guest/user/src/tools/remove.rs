//! `rm [-dfirRv] FILE…`.

use std::fs;
use std::io;

use super::names;
use crate::cli::{self, Options};
use crate::sys;

/// `rm`.
pub fn rm(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "dfirRv") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let force = options.last_of(b"fi") == Some(b'f');
    let recursive = options.has(b'r') || options.has(b'R');
    if options.operands.is_empty() && !force {
        cli::warn(format_args!("a file is missing"));
        return 1;
    }
    let mut status = 0;
    for file in &options.operands {
        let name = names::last_component(file);
        if name == b"." || name == b".." || name == b"/" {
            cli::warn(format_args!("{}: refused", cli::show(file)));
            status = 1;
            continue;
        }
        match fs::symlink_metadata(cli::path(file)) {
            Err(error) if force && error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                cli::warn_error(file, &error);
                status = 1;
                continue;
            }
            Ok(metadata) if metadata.is_dir() && !recursive && !options.has(b'd') => {
                cli::warn(format_args!("{}: is a directory (use -r)", cli::show(file)));
                status = 1;
                continue;
            }
            Ok(_) => {}
        }
        let asked = options.last_of(b"fi") == Some(b'i');
        if asked && !ask(&format!("remove '{}'? ", cli::show(file))) {
            continue;
        }
        status |= match recursive {
            true => tree(file, options.has(b'v')),
            false => one(file, options.has(b'v')),
        };
    }
    status
}

/// Asks a question on stderr; whether the answer starts with `y`.
pub fn ask(question: &str) -> bool {
    let _ = sys::write_all(2, question.as_bytes());
    let mut answer = Vec::new();
    let mut byte = [0];
    // Byte by byte, so that the rest of the input is left for whoever reads next.
    while let Ok(1) = sys::read(0, &mut byte) {
        if byte[0] == b'\n' {
            break;
        }
        answer.push(byte[0]);
    }
    matches!(answer.first(), Some(b'y' | b'Y'))
}

/// Removes a file, or a directory with all that is in it; says what fails, and what is done if
/// `verbose`.
pub fn tree(file: &[u8], verbose: bool) -> i32 {
    let mut status = 0;
    let directory = fs::symlink_metadata(cli::path(file)).is_ok_and(|m| m.is_dir());
    if directory {
        match names::entries(file) {
            Ok(names) => {
                for name in names {
                    status |= tree(&names::join(file, &name), verbose);
                }
            }
            Err(error) => {
                cli::warn_error(file, &error);
                status = 1;
            }
        }
    }
    if status == 0 {
        one(file, verbose)
    } else {
        status
    }
}

/// Removes a file, or a directory that is empty.
fn one(file: &[u8], verbose: bool) -> i32 {
    let path = cli::path(file);
    let result = fs::symlink_metadata(path).and_then(|metadata| match metadata.is_dir() {
        true => fs::remove_dir(path).map(|()| "removed directory"),
        false => fs::remove_file(path).map(|()| "removed"),
    });
    match result {
        Ok(done) if verbose => cli::tell(format_args!("{done} '{}'", cli::show(file))),
        Ok(_) => 0,
        Err(error) => {
            cli::warn_error(file, &error);
            1
        }
    }
}
