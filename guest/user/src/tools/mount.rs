//! `mount [-t TYPE] [-o OPTIONS] [SOURCE TARGET]` and `umount TARGET…`.

use super::input::Input;
use crate::cli::{self, Options, Out};
use crate::sys;

/// Options that are flags to the kernel; others go to the file system as text.
const FLAGS: &[(&[u8], u64)] = &[
    (b"ro", libc::MS_RDONLY),
    (b"nosuid", libc::MS_NOSUID),
    (b"nodev", libc::MS_NODEV),
    (b"noexec", libc::MS_NOEXEC),
    (b"noatime", libc::MS_NOATIME),
    (b"sync", libc::MS_SYNCHRONOUS),
    (b"remount", libc::MS_REMOUNT),
    (b"bind", libc::MS_BIND),
    (b"rw", 0),
    (b"defaults", 0),
];

/// `mount`: without operands shows what is mounted.
pub fn mount(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "t:o:r") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let (source, target) = match &options.operands[..] {
        [] => return show(),
        [source, target] => (source, target),
        _ => {
            cli::warn(format_args!(
                "usage: mount [-t TYPE] [-o OPTIONS] SOURCE TARGET"
            ));
            return 1;
        }
    };
    let mut flags = if options.has(b'r') {
        libc::MS_RDONLY
    } else {
        0
    };
    let mut data: Vec<&[u8]> = Vec::new();
    for option in options
        .values(b'o')
        .flat_map(|list| list.split(|&b| b == b','))
    {
        match FLAGS.iter().find(|(name, _)| *name == option) {
            Some((_, flag)) => flags |= flag,
            None => data.push(option),
        }
    }
    let kind = options.value(b't').unwrap_or(b"ext2");
    match sys::mount(source, target, kind, flags, &data.join(&b',')) {
        Ok(()) => 0,
        Err(error) => {
            cli::warn_error(target, &error);
            1
        }
    }
}

fn show() -> i32 {
    let table = Input::open(b"/proc/mounts").and_then(|mut input| input.rest());
    let table = match table {
        Ok(table) => table,
        Err(error) => {
            cli::warn_error(b"/proc/mounts", &error);
            return 1;
        }
    };
    let mut out = Out::stdout();
    for line in table.split(|&b| b == b'\n') {
        let fields: Vec<_> = line.split(|&b| b == b' ').map(cli::show).collect();
        if let [source, target, kind, options, ..] = &fields[..] {
            out.line(format!("{source} on {target} type {kind} ({options})").as_bytes());
        }
    }
    out.finish()
}

/// `umount`.
pub fn umount(args: &[Vec<u8>]) -> i32 {
    let mut status = 0;
    for target in args {
        if let Err(error) = sys::umount(target) {
            cli::warn_error(target, &error);
            status = 1;
        }
    }
    status
}
