//! `cp [-adfiHLnpPrRTuv] SOURCE… TARGET` and `mv [-finTuv] SOURCE… TARGET`.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use super::input::Input;
use super::{names, remove};
use crate::cli::{self, Options};
use crate::sys;

/// `cp`.
pub fn cp(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "adfiHLnpPrRTuv") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let all = options.has(b'a');
    let recursive = all || options.has(b'r') || options.has(b'R');
    let how = How {
        recursive,
        preserve: all || options.has(b'p'),
        keep_links: match options.last_of(b"PLHd") {
            Some(b'L' | b'H') => false,
            Some(_) => true,
            None => recursive,
        },
        force: options.has(b'f'),
        verbose: options.has(b'v'),
    };
    to_targets(&options, |source, target| {
        let kept = options.has(b'n') && cli::path(target).exists();
        if kept || is_current(&options, source, target) || !agreed(&options, target) {
            return 0;
        }
        let followed = !how.keep_links;
        copy(source, target, &how, followed)
    })
}

/// `mv`.
pub fn mv(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "finTuv") {
        Ok(options) => options,
        Err(status) => return status,
    };
    to_targets(&options, |source, target| {
        let exists = cli::path(target).symlink_metadata().is_ok();
        let kept = exists && options.last_of(b"fn") == Some(b'n');
        if kept || is_current(&options, source, target) {
            return 0;
        }
        if exists && is_same(source, target) {
            return say_same(source, target);
        }
        if !agreed(&options, target) {
            return 0;
        }
        match fs::rename(cli::path(source), cli::path(target)) {
            Ok(()) if options.has(b'v') => say_done("renamed ", source, target),
            Ok(()) => 0,
            Err(error) if error.raw_os_error() == Some(libc::EXDEV) => {
                let how = How {
                    recursive: true,
                    preserve: true,
                    keep_links: true,
                    force: true,
                    verbose: options.has(b'v'),
                };
                match copy(source, target, &how, false) {
                    0 => remove::tree(source, how.verbose),
                    status => status,
                }
            }
            Err(error) => {
                cli::warn(format_args!(
                    "{} to {}: {}",
                    cli::show(source),
                    cli::show(target),
                    cli::error_text(&error)
                ));
                1
            }
        }
    })
}

/// Asks under `-i` whether a file that exists may be overwritten.
fn agreed(options: &Options, target: &[u8]) -> bool {
    options.last_of(b"fin") != Some(b'i')
        || cli::path(target).symlink_metadata().is_err()
        || remove::ask(&format!("overwrite '{}'? ", cli::show(target)))
}

/// Whether `-u` spares the target: it is as new as the source, or newer.
fn is_current(options: &Options, source: &[u8], target: &[u8]) -> bool {
    let modified = |name: &[u8]| cli::path(name).metadata().and_then(|m| m.modified()).ok();
    options.has(b'u')
        && modified(target).is_some_and(|target| modified(source).is_some_and(|s| s <= target))
}

/// Whether both are one name of one file. Two names of one file are not.
fn is_same(source: &[u8], target: &[u8]) -> bool {
    let place = |name: &[u8]| {
        let parent = fs::canonicalize(cli::path(names::parent(name))).ok()?;
        Some(parent.join(cli::path(names::last_component(name))))
    };
    place(source).is_some() && place(source) == place(target)
}

fn say_same(source: &[u8], target: &[u8]) -> i32 {
    let (source, target) = (cli::show(source), cli::show(target));
    cli::warn(format_args!("{source} and {target} are the same file"));
    1
}

fn say_done(what: &str, source: &[u8], target: &[u8]) -> i32 {
    let (source, target) = (cli::show(source), cli::show(target));
    cli::tell(format_args!("{what}'{source}' -> '{target}'"))
}

/// Calls `action` with every source and where it goes: into the last operand if that is a
/// directory.
fn to_targets(options: &Options, mut action: impl FnMut(&[u8], &[u8]) -> i32) -> i32 {
    let Some((target, sources)) = options.operands.split_last().filter(|(_, s)| !s.is_empty())
    else {
        cli::warn(format_args!("needs a source and a target"));
        return 1;
    };
    let into = cli::path(target).is_dir() && !options.has(b'T');
    if sources.len() > 1 && !into {
        cli::warn(format_args!(
            "target {} is not a directory",
            cli::show(target)
        ));
        return 1;
    }
    let mut status = 0;
    for source in sources {
        status |= if into {
            action(source, &names::join(target, names::last_component(source)))
        } else {
            action(source, target)
        };
    }
    status
}

struct How {
    recursive: bool,
    preserve: bool,
    keep_links: bool,
    force: bool,
    verbose: bool,
}

/// Copies `source` to `target`; says what fails.
fn copy(source: &[u8], target: &[u8], how: &How, follow: bool) -> i32 {
    let path = cli::path(source);
    let metadata = if follow {
        fs::metadata(path)
    } else {
        fs::symlink_metadata(path)
    };
    let metadata = match metadata {
        Ok(metadata) => metadata,
        Err(error) => {
            cli::warn_error(source, &error);
            return 1;
        }
    };
    if metadata.is_dir() {
        return copy_directory(source, target, how, &metadata);
    }
    let existing = fs::metadata(cli::path(target));
    if existing.is_ok_and(|e| e.dev() == metadata.dev() && e.ino() == metadata.ino()) {
        return say_same(source, target);
    }
    let kind = metadata.file_type();
    let result = if kind.is_symlink() {
        remove_if_there(target)
            .and_then(|()| std::os::unix::fs::symlink(fs::read_link(path)?, cli::path(target)))
    } else if kind.is_fifo() && how.recursive {
        sys::mkfifo(target, metadata.mode() & 0o777)
    } else {
        copy_file(source, target, how, &metadata)
    };
    let preserved = result.and_then(|()| match how.preserve && !kind.is_symlink() {
        true => preserve(target, &metadata),
        false => Ok(()),
    });
    match preserved {
        Ok(()) if how.verbose => say_done("", source, target),
        Ok(()) => 0,
        Err(error) => {
            cli::warn_error(target, &error);
            1
        }
    }
}

fn copy_directory(source: &[u8], target: &[u8], how: &How, metadata: &Metadata) -> i32 {
    if !how.recursive {
        cli::warn(format_args!(
            "{} is a directory (use -r)",
            cli::show(source)
        ));
        return 1;
    }
    let mut status = 0;
    let names = names::entries(source).and_then(|names| {
        if !cli::path(target).is_dir() {
            fs::create_dir(cli::path(target))?;
            if how.verbose {
                status |= say_done("", source, target);
            }
        }
        let inside = fs::canonicalize(cli::path(target))?;
        if inside.starts_with(fs::canonicalize(cli::path(source))?) {
            return Err(io::Error::other("cannot copy a directory into itself"));
        }
        Ok(names)
    });
    let result = names.and_then(|names| {
        for name in names {
            let (from, to) = (names::join(source, &name), names::join(target, &name));
            status |= copy(&from, &to, how, !how.keep_links);
        }
        if how.preserve {
            return preserve(target, metadata);
        }
        Ok(())
    });
    if let Err(error) = result {
        cli::warn_error(target, &error);
        status = 1;
    }
    status
}

fn remove_if_there(target: &[u8]) -> io::Result<()> {
    match fs::remove_file(cli::path(target)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy_file(source: &[u8], target: &[u8], how: &How, metadata: &Metadata) -> io::Result<()> {
    let mut from = Input::on(sys::open(source, libc::O_RDONLY, 0)?);
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
    let mode = metadata.mode() & 0o777;
    let to = match sys::open(target, flags, mode) {
        Err(_) if how.force => {
            remove_if_there(target)?;
            sys::open(target, flags, mode)?
        }
        result => result?,
    };
    let result = loop {
        match from.block() {
            Ok([]) => break Ok(()),
            Ok(block) => {
                if let Err(error) = sys::write_all(to, block) {
                    break Err(error);
                }
            }
            Err(error) => break Err(error),
        }
    };
    sys::close(to);
    result
}

/// Gives the copy owner, mode and times of the original.
fn preserve(target: &[u8], metadata: &Metadata) -> io::Result<()> {
    let path = cli::path(target);
    // Only root may give files away; anybody else keeps what the copy got.
    let _ = std::os::unix::fs::chown(path, Some(metadata.uid()), Some(metadata.gid()));
    fs::set_permissions(path, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    let time = |seconds, nanoseconds| libc::timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = [
        time(metadata.atime(), metadata.atime_nsec()),
        time(metadata.mtime(), metadata.mtime_nsec()),
    ];
    sys::set_times(target, Some(times))
}
