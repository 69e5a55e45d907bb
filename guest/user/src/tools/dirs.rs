//! `mkdir`, `rmdir`, `mkfifo`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;

use super::{chmod, names};
use crate::cli::{self, Options};
use crate::sys;

/// `mkdir [-pv] [-m MODE] DIRECTORY…`.
pub fn mkdir(args: &[Vec<u8>]) -> i32 {
    each(args, "pm:v", |options, directory| {
        make(directory, options)?;
        apply_mode(options, directory, 0o777)
    })
}

/// Makes a directory; with `-p` those above it first, and those that are there are no fault.
fn make(directory: &[u8], options: &Options) -> io::Result<()> {
    let path = cli::path(directory);
    let parents = options.has(b'p');
    if parents && path.is_dir() {
        return Ok(());
    }
    let above = names::parent(directory);
    if parents && above != directory {
        make(above, options)?;
    }
    match fs::create_dir(path) {
        // Another has been faster.
        Err(error) if parents && error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        result => result?,
    }
    if options.has(b'v') {
        let name = cli::show(directory);
        cli::tell(format_args!("mkdir: created directory '{name}'"));
    }
    Ok(())
}

/// `rmdir [-p] DIRECTORY…`.
pub fn rmdir(args: &[Vec<u8>]) -> i32 {
    each(args, "p", |options, directory| {
        fs::remove_dir(cli::path(directory))?;
        let mut rest = names::parent(directory);
        while options.has(b'p') && rest != b"." && rest != b"/" {
            fs::remove_dir(cli::path(rest))?;
            rest = names::parent(rest);
        }
        Ok(())
    })
}

/// `mkfifo [-m MODE] FILE…`.
pub fn mkfifo(args: &[Vec<u8>]) -> i32 {
    each(args, "m:", |options, file| {
        sys::mkfifo(file, 0o666)?;
        apply_mode(options, file, 0o666)
    })
}

fn apply_mode(options: &Options, file: &[u8], from: u32) -> io::Result<()> {
    let Some(text) = options.value(b'm') else {
        return Ok(());
    };
    let mode = chmod::parse_mode(text, from, true).ok_or(io::Error::other("invalid mode"))?;
    fs::set_permissions(cli::path(file), fs::Permissions::from_mode(mode))
}

fn each(args: &[Vec<u8>], spec: &str, action: impl Fn(&Options, &[u8]) -> io::Result<()>) -> i32 {
    let options = match Options::parse(args, spec) {
        Ok(options) => options,
        Err(status) => return status,
    };
    if options.operands.is_empty() {
        cli::warn(format_args!("a name is missing"));
        return 1;
    }
    let mut status = 0;
    for operand in &options.operands {
        if let Err(error) = action(&options, operand) {
            cli::warn_error(operand, &error);
            status = 1;
        }
    }
    status
}
