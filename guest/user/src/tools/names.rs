//! `basename`, `dirname`, `pwd`, `which`: names of files.

use std::os::unix::ffi::OsStrExt;

use crate::cli::{self, Options, Out};
use crate::sys;

/// `basename PATH [SUFFIX]`, `basename -a PATH…`, `-s SUFFIX`.
pub fn basename(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "+as:") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let Some(first) = options.operands.first() else {
        cli::warn(format_args!("a path is missing"));
        return 1;
    };
    let many = options.has(b'a') || options.has(b's');
    let suffix = match options.value(b's') {
        Some(suffix) => suffix,
        None if many => b"",
        None => options.operands.get(1).map_or(&b""[..], |s| s),
    };
    let paths = if many {
        &options.operands[..]
    } else {
        std::slice::from_ref(first)
    };
    let mut out = Out::stdout();
    for path in paths {
        let name = last_component(path);
        let stem = name.strip_suffix(suffix).filter(|s| !s.is_empty());
        out.line(stem.unwrap_or(name));
    }
    out.finish()
}

/// `dirname PATH…`.
pub fn dirname(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "+") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let mut out = Out::stdout();
    for path in &options.operands {
        out.line(parent(path));
    }
    out.finish()
}

/// `pwd`: the working directory without symbolic links.
pub fn pwd(_: &[Vec<u8>]) -> i32 {
    match std::env::current_dir() {
        Ok(directory) => {
            let mut out = Out::stdout();
            out.line(directory.as_os_str().as_bytes());
            out.finish()
        }
        Err(error) => {
            cli::warn_error(b"working directory", &error);
            1
        }
    }
}

/// `which NAME…`: where the shell finds programs.
pub fn which(args: &[Vec<u8>]) -> i32 {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut out = Out::stdout();
    let mut status = 0;
    for name in args {
        let executable = |path: &[u8]| cli::path(path).is_file() && sys::access(path, libc::X_OK);
        let found = if name.contains(&b'/') {
            Some(name.clone()).filter(|p| executable(p))
        } else {
            let mut places = path.as_bytes().split(|&b| b == b':');
            places.find_map(|d| Some([d, b"/", name].concat()).filter(|p| executable(p)))
        };
        match found {
            Some(path) => out.line(&path),
            None => status = 1,
        }
    }
    status | out.finish()
}

fn trim_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&b| b != b'/').map_or(0, |i| i + 1);
    &path[..end]
}

/// The last component of a path.
pub fn last_component(path: &[u8]) -> &[u8] {
    let trimmed = trim_slashes(path);
    if trimmed.is_empty() && !path.is_empty() {
        return b"/";
    }
    trimmed.rsplit(|&b| b == b'/').next().unwrap_or(trimmed)
}

/// The path without its last component.
pub fn parent(path: &[u8]) -> &[u8] {
    let trimmed = trim_slashes(path);
    match trimmed.iter().rposition(|&b| b == b'/') {
        Some(at) => match trim_slashes(&trimmed[..at]) {
            b"" => b"/",
            parent => parent,
        },
        None if trimmed.is_empty() && !path.is_empty() => b"/",
        None => b".",
    }
}

/// `name` within `directory`.
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if directory.ends_with(b"/") { b"" } else { b"/" };
    [directory, slash, name].concat()
}

/// The names in a directory, sorted.
pub fn entries(directory: &[u8]) -> std::io::Result<Vec<Vec<u8>>> {
    use std::os::unix::ffi::OsStringExt;
    let entries = std::fs::read_dir(cli::path(directory))?;
    let names = entries.map(|entry| entry.map(|e| e.file_name().into_vec()));
    let mut names = names.collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_as_posix_says() {
        for (path, directory, base) in [
            ("/usr/lib", "/usr", "lib"),
            ("/usr/", "/", "usr"),
            ("usr", ".", "usr"),
            ("/", "/", "/"),
            ("a//b//", "a", "b"),
            ("", ".", ""),
        ] {
            assert_eq!(parent(path.as_bytes()), directory.as_bytes(), "{path}");
            assert_eq!(last_component(path.as_bytes()), base.as_bytes(), "{path}");
        }
    }
}
