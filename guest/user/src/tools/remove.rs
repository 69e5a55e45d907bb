//! `rm [-firR] FILE…`.

use std::fs;
use std::io;

use super::names;
use crate::cli::{self, Options};
use crate::sys;

/// `rm`.
pub fn rm(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "firRv") {
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
            Ok(metadata) if metadata.is_dir() && !recursive => {
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
        status |= tree(file);
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

/// Removes a file, or a directory with all that is in it; says what fails.
pub fn tree(file: &[u8]) -> i32 {
    let path = cli::path(file);
    let mut status = 0;
    let result = fs::symlink_metadata(path).and_then(|metadata| {
        if !metadata.is_dir() {
            return fs::remove_file(path);
        }
        for name in names::entries(file)? {
            status |= tree(&names::join(file, &name));
        }
        if status == 0 {
            return fs::remove_dir(path);
        }
        Ok(())
    });
    if let Err(error) = result {
        cli::warn_error(file, &error);
        return 1;
    }
    status
}
