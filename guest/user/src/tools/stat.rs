//! `stat [-L] [-c FORMAT] FILE…`: what is known of a file.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::mode;
use crate::cli::{self, Options, Out};
use crate::sys;

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "Lc:") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let mut out = Out::stdout();
    let mut status = 0;
    for file in &options.operands {
        let path = cli::path(file);
        let metadata = match options.has(b'L') {
            true => fs::metadata(path),
            false => fs::symlink_metadata(path),
        };
        match metadata {
            Ok(metadata) => {
                let text = match options.value(b'c') {
                    Some(format) => expand(&cli::show(format), file, &metadata),
                    None => describe(file, &metadata),
                };
                out.line(text.as_bytes());
            }
            Err(error) => {
                cli::warn_error(file, &error);
                status = 1;
            }
        }
    }
    status | out.finish()
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => "directory",
        () if kind.is_symlink() => "symbolic link",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () if kind.is_char_device() => "character special file",
        () if kind.is_block_device() => "block special file",
        () if metadata.size() == 0 => "regular empty file",
        () => "regular file",
    }
}

fn time(seconds: i64, nanoseconds: i64) -> String {
    let time = sys::broken_down(seconds, false);
    let date = sys::format_time(b"%Y-%m-%d %H:%M:%S", &time);
    let zone = sys::format_time(b"%z", &time);
    format!("{}.{nanoseconds:09} {}", cli::show(&date), cli::show(&zone))
}

fn named(name: &[u8]) -> String {
    let shown = cli::show(name).into_owned();
    match fs::read_link(cli::path(name)) {
        Ok(target) => format!("{shown} -> {}", target.display()),
        Err(_) => shown,
    }
}

fn describe(name: &[u8], metadata: &Metadata) -> String {
    let device = match metadata.rdev() {
        0 => String::new(),
        rdev => {
            let (major, minor) = mode::device(rdev);
            format!("  Device type: {major},{minor}")
        }
    };
    format!(
        "  File: {}\n  Size: {:<10} Blocks: {:<8} IO Block: {:<6} {}\n\
         Device: {:x}h  Inode: {:<10} Links: {}{device}\n\
         Access: ({:04o}/{})  Uid: {}  Gid: {}\nAccess: {}\nModify: {}\nChange: {}",
        named(name),
        metadata.size(),
        metadata.blocks(),
        metadata.blksize(),
        kind(metadata),
        metadata.dev(),
        metadata.ino(),
        metadata.nlink(),
        metadata.mode() & 0o7777,
        mode::letters(metadata.mode()),
        metadata.uid(),
        metadata.gid(),
        time(metadata.atime(), metadata.atime_nsec()),
        time(metadata.mtime(), metadata.mtime_nsec()),
        time(metadata.ctime(), metadata.ctime_nsec()),
    )
}

/// Fills in the letters of `-c`.
fn expand(format: &str, name: &[u8], metadata: &Metadata) -> String {
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let (major, minor) = mode::device(metadata.rdev());
        text += &match letters.next() {
            Some('n') => cli::show(name).into_owned(),
            Some('N') => named(name),
            Some('s') => metadata.size().to_string(),
            Some('b') => metadata.blocks().to_string(),
            Some('B') => "512".to_owned(),
            Some('o') => metadata.blksize().to_string(),
            Some('f') => format!("{:x}", metadata.mode()),
            Some('F') => kind(metadata).to_owned(),
            Some('a') => format!("{:o}", metadata.mode() & 0o7777),
            Some('A') => mode::letters(metadata.mode()),
            Some('u') => metadata.uid().to_string(),
            Some('g') => metadata.gid().to_string(),
            Some('U') => mode::name_of("/etc/passwd", metadata.uid()),
            Some('G') => mode::name_of("/etc/group", metadata.gid()),
            Some('i') => metadata.ino().to_string(),
            Some('h') => metadata.nlink().to_string(),
            Some('d') => metadata.dev().to_string(),
            Some('t') => format!("{major:x}"),
            Some('T') => format!("{minor:x}"),
            Some('X') => metadata.atime().to_string(),
            Some('Y') => metadata.mtime().to_string(),
            Some('Z') => metadata.ctime().to_string(),
            Some('x') => time(metadata.atime(), metadata.atime_nsec()),
            Some('y') => time(metadata.mtime(), metadata.mtime_nsec()),
            Some('z') => time(metadata.ctime(), metadata.ctime_nsec()),
            Some(other) => other.to_string(),
            None => "%".to_owned(),
        };
    }
    text
}
