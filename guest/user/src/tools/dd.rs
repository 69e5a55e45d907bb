//! `dd [if=FILE] [of=FILE] [bs=N] [ibs=N] [obs=N] [count=N] [skip=N] [seek=N]
//! [conv=notrunc,sync,fsync,fdatasync,ucase,lcase] [iflag=fullblock] [oflag=append] [status=none]`:
//! copies blocks.

use std::io;
use std::time::Instant;

use crate::{cli, sys};

struct Job {
    /// Bytes that are read at once; those that `seek` counts in.
    block: usize,
    out_block: usize,
    count: Option<u64>,
    skip: u64,
    seek: u64,
    pad: bool,
    full: bool,
    letters: fn(&mut [u8]),
}

/// Whole and partial blocks.
#[derive(Default)]
struct Records {
    whole: u64,
    partial: u64,
    bytes: u64,
}

impl Records {
    fn add(&mut self, length: usize, block: usize) {
        if length == block {
            self.whole += 1;
        } else {
            self.partial += 1;
        }
        self.bytes += length as u64;
    }
}

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let (mut source, mut target) = (None, None);
    let (mut truncate, mut fsync, mut quiet) = (true, false, false);
    let mut job = Job {
        block: 512,
        out_block: 512,
        count: None,
        skip: 0,
        seek: 0,
        pad: false,
        full: false,
        letters: |_| {},
    };
    let mut append = 0;
    for arg in args {
        let at = arg.iter().position(|&b| b == b'=').unwrap_or(arg.len());
        let (name, value) = (&arg[..at], arg.get(at + 1..).unwrap_or_default());
        let number = cli::size(value);
        match (name, number) {
            (b"if", _) => source = Some(value),
            (b"of", _) => target = Some(value),
            (b"bs", Some(n @ 1..=0x1000_0000)) => {
                (job.block, job.out_block) = (n as usize, n as usize);
            }
            (b"ibs", Some(n @ 1..=0x1000_0000)) => job.block = n as usize,
            (b"obs", Some(n @ 1..=0x1000_0000)) => job.out_block = n as usize,
            (b"count", Some(n)) => job.count = Some(n),
            (b"skip", Some(n)) => job.skip = n,
            (b"seek", Some(n)) => job.seek = n,
            (b"conv", _) => {
                for word in value.split(|&b| b == b',') {
                    match word {
                        b"notrunc" => truncate = false,
                        b"fsync" | b"fdatasync" => fsync = true,
                        b"sync" => job.pad = true,
                        b"ucase" => job.letters = <[u8]>::make_ascii_uppercase,
                        b"lcase" => job.letters = <[u8]>::make_ascii_lowercase,
                        _ => {
                            let word = cli::show(word);
                            cli::warn(format_args!("conv={word}: unknown conversion"));
                            return 1;
                        }
                    }
                }
            }
            (b"iflag", _) if value == b"fullblock" => job.full = true,
            (b"oflag", _) if value == b"append" => append = libc::O_APPEND,
            (b"status", _) => quiet = value == b"none" || value == b"noxfer",
            _ => {
                cli::warn(format_args!("{}: unknown operand", cli::show(arg)));
                return 1;
            }
        }
    }
    let opened = |path: Option<&[u8]>, standard, flags| match path {
        None => Ok(standard),
        Some(path) => sys::open(path, flags, 0o666).inspect_err(|e| cli::warn_error(path, e)),
    };
    let truncation = if truncate && job.seek == 0 {
        libc::O_TRUNC
    } else {
        0
    };
    let flags = libc::O_WRONLY | libc::O_CREAT | truncation | append;
    let Ok(from) = opened(source, 0, libc::O_RDONLY) else {
        return 1;
    };
    let Ok(to) = opened(target, 1, flags) else {
        return 1;
    };
    let start = Instant::now();
    let (mut read, mut written) = (Records::default(), Records::default());
    if truncate && target.is_some() && job.seek > 0 {
        // What is no regular file has no length to set.
        let _ = sys::truncate(to, job.seek.saturating_mul(job.out_block as u64));
    }
    let mut result = job.copy(from, to, &mut read, &mut written);
    if fsync && result.is_ok() {
        result = sys::fsync(to);
    }
    if !quiet {
        let seconds = start.elapsed().as_secs_f64();
        let text = format!(
            "{}+{} records in\n{}+{} records out\n{} bytes copied, {seconds:.6} s\n",
            read.whole, read.partial, written.whole, written.partial, written.bytes
        );
        let _ = sys::write_all(2, text.as_bytes());
    }
    match result {
        Ok(()) => 0,
        Err(error) => {
            cli::warn_error(b"copy", &error);
            1
        }
    }
}

impl Job {
    fn copy(
        &self,
        from: i32,
        to: i32,
        read: &mut Records,
        written: &mut Records,
    ) -> io::Result<()> {
        let mut buffer = vec![0; self.block];
        let distance = |blocks: u64, block: usize| {
            let bytes = blocks.checked_mul(block as u64);
            bytes
                .and_then(|b| i64::try_from(b).ok())
                .ok_or(io::Error::from_raw_os_error(libc::EINVAL))
        };
        if self.skip > 0 && sys::seek_by(from, distance(self.skip, self.block)?).is_err() {
            for _ in 0..self.skip {
                if sys::read(from, &mut buffer)? == 0 {
                    break;
                }
            }
        }
        if self.seek > 0 {
            sys::seek_by(to, distance(self.seek, self.out_block)?)?;
        }
        while self
            .count
            .is_none_or(|count| read.whole + read.partial < count)
        {
            let mut length = sys::read(from, &mut buffer)?;
            while self.full && length > 0 && length < self.block {
                match sys::read(from, &mut buffer[length..])? {
                    0 => break,
                    more => length += more,
                }
            }
            if length == 0 {
                break;
            }
            read.add(length, self.block);
            if self.pad && length < self.block {
                buffer[length..].fill(0);
                length = self.block;
            }
            (self.letters)(&mut buffer[..length]);
            sys::write_all(to, &buffer[..length])?;
            written.add(length, self.block);
        }
        if self.out_block != self.block {
            // As many blocks as would be written if all were filled.
            let block = self.out_block as u64;
            written.whole = written.bytes / block;
            written.partial = u64::from(!written.bytes.is_multiple_of(block));
        }
        Ok(())
    }
}
