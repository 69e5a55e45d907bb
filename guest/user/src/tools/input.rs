//! Files read by blocks or by lines, and the loop over a tool's operands.

use std::io;

use crate::{cli, sys};

/// The first read asks for this much, so that a short file touches few pages …
const FIRST: usize = 4 << 10;
/// … and later ones for up to this much.
const LARGEST: usize = 128 << 10;

/// A file that is read through a buffer.
pub struct Input {
    fd: i32,
    buffer: Vec<u8>,
    /// The bytes of `buffer` that have not been taken yet.
    start: usize,
    end: usize,
}

impl Input {
    /// Opens a file; `-` is standard input.
    pub fn open(path: &[u8]) -> io::Result<Self> {
        let fd = if path == b"-" {
            0
        } else {
            sys::open(path, libc::O_RDONLY, 0)?
        };
        Ok(Input::on(fd))
    }

    /// Reads from a descriptor, which is closed in the end unless it is a standard one.
    pub fn on(fd: i32) -> Self {
        Input {
            fd,
            buffer: Vec::new(),
            start: 0,
            end: 0,
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let length = (self.buffer.len() * 4).clamp(FIRST, LARGEST);
        if self.buffer.len() < length {
            self.buffer = vec![0; length];
        }
        self.start = 0;
        self.end = 0;
        self.end = sys::read(self.fd, &mut self.buffer)?;
        Ok(self.end)
    }

    /// Takes the next bytes; none at the end.
    pub fn block(&mut self) -> io::Result<&[u8]> {
        self.some(usize::MAX)
    }

    /// The bytes that come next, without taking them; none at the end.
    pub fn ahead(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.fill()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Takes bytes that [`Input::ahead`] has shown.
    pub fn skip(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }

    /// Takes at most `most` bytes; none at the end.
    pub fn some(&mut self, most: usize) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.fill()?;
        }
        let start = self.start;
        self.start = self.end.min(start.saturating_add(most));
        Ok(&self.buffer[start..self.start])
    }

    /// Takes a line with its line feed, which the last one may lack. False at the end.
    pub fn line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        self.record(line, b'\n')
    }

    /// Takes what ends with `terminator`, that included. False at the end.
    pub fn record(&mut self, record: &mut Vec<u8>, terminator: u8) -> io::Result<bool> {
        record.clear();
        loop {
            if self.start == self.end && self.fill()? == 0 {
                return Ok(!record.is_empty());
            }
            let bytes = &self.buffer[self.start..self.end];
            match bytes.iter().position(|&b| b == terminator) {
                Some(at) => {
                    record.extend_from_slice(&bytes[..=at]);
                    self.start += at + 1;
                    return Ok(true);
                }
                None => record.extend_from_slice(bytes),
            }
            self.start = self.end;
        }
    }

    /// Takes all that is left.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let block = self.block()?;
            if block.is_empty() {
                return Ok(all);
            }
            all.extend_from_slice(block);
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if self.fd > 2 {
            sys::close(self.fd);
        }
    }
}

/// Calls `action` for every operand, for standard input if there is none. Says which cannot be
/// read; gives 1 then, otherwise 0.
pub fn each(
    operands: &[Vec<u8>],
    mut action: impl FnMut(&[u8], &mut Input) -> io::Result<()>,
) -> i32 {
    let stdin = [b"-".to_vec()];
    let operands = if operands.is_empty() {
        &stdin[..]
    } else {
        operands
    };
    let mut status = 0;
    for operand in operands {
        let result = Input::open(operand).and_then(|mut input| action(operand, &mut input));
        if let Err(error) = result {
            cli::warn_error(operand, &error);
            status = 1;
        }
    }
    status
}

/// A line without its line feed.
pub fn chomp(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}
