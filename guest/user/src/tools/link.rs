//! `ln [-sfnTv] SOURCE… [TARGET]` and `readlink [-fn] PATH…`.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::names;
use crate::cli::{self, Options, Out};

/// `ln`.
pub fn ln(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "sfnTv") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let here = b".".to_vec();
    let (target, sources) = match &options.operands[..] {
        [] => {
            cli::warn(format_args!("usage: ln [-sf] SOURCE… [TARGET]"));
            return 1;
        }
        [source] => (&here, std::slice::from_ref(source)),
        [sources @ .., target] => (target, sources),
    };
    let path = cli::path(target);
    let replace_link = options.has(b'n') && path.is_symlink();
    let into = path.is_dir() && !options.has(b'T') && !replace_link;
    if sources.len() > 1 && !into {
        cli::warn(format_args!(
            "target {} is not a directory",
            cli::show(target)
        ));
        return 1;
    }
    let mut status = 0;
    for source in sources {
        let name = match into {
            true => names::join(target, names::last_component(source)),
            false => target.clone(),
        };
        let (from, to) = (cli::path(source), cli::path(&name));
        if options.has(b'f') && (options.has(b's') || from.exists()) {
            // Why it could not be removed, the next call says.
            let _ = fs::remove_file(to);
        }
        let result = match options.has(b's') {
            true => std::os::unix::fs::symlink(from, to),
            false => fs::hard_link(from, to),
        };
        let (name, source) = (cli::show(&name), cli::show(source));
        match result {
            Ok(()) if options.has(b'v') => {
                let arrow = if options.has(b's') { "->" } else { "=>" };
                status |= cli::tell(format_args!("'{name}' {arrow} '{source}'"));
            }
            Ok(()) => {}
            Err(error) => {
                let error = cli::error_text(&error);
                cli::warn(format_args!("{name} to {source}: {error}"));
                status = 1;
            }
        }
    }
    status
}

/// `readlink`.
pub fn readlink(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "fenm") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let mut out = Out::stdout();
    let mut status = 0;
    for operand in &options.operands {
        let path = cli::path(operand);
        let target = if options.has(b'f') {
            // The last component may be missing.
            fs::canonicalize(path).or_else(|error| {
                let parent = fs::canonicalize(cli::path(names::parent(operand)));
                let name = cli::path(names::last_component(operand));
                if path.is_symlink() {
                    Err(error)
                } else {
                    parent.map(|p| p.join(name))
                }
            })
        } else if options.has(b'e') {
            fs::canonicalize(path)
        } else {
            fs::read_link(path)
        };
        match target {
            Ok(target) => {
                out.put(target.as_os_str().as_bytes());
                if !options.has(b'n') {
                    out.put(b"\n");
                }
            }
            Err(_) => status = 1,
        }
    }
    status | out.finish()
}
