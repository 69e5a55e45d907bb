//! `hexdump [-Cv] [-n BYTES] [-s OFFSET] [FILE…]`: bytes in hexadecimal, as 16-bit words, or with
//! `-C` one by one and as text.

use super::input;
use crate::cli::{self, Options, Out};

const WIDTH: usize = 16;

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "Cvn:s:") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let number = |letter, default| options.value(letter).map_or(Some(default), cli::size);
    let (Some(length), Some(skip)) = (number(b'n', u64::MAX), number(b's', 0)) else {
        cli::warn(format_args!("-n and -s take a number"));
        return 1;
    };
    let mut dump = Dump {
        canonical: options.has(b'C'),
        all: options.has(b'v'),
        offset: skip,
        row: Vec::new(),
        last: Vec::new(),
        repeated: false,
        out: Out::stdout(),
    };
    let (mut skip, mut left) = (skip, length);
    let status = input::each(&options.operands, |_, input| {
        while left > 0 && !dump.out.failed() {
            let most = if skip > 0 { skip } else { left };
            let block = input.some(usize::try_from(most).unwrap_or(usize::MAX))?;
            if block.is_empty() {
                break;
            }
            if skip > 0 {
                skip -= block.len() as u64;
                continue;
            }
            left -= block.len() as u64;
            block.iter().for_each(|&byte| dump.byte(byte));
        }
        Ok(())
    });
    dump.finish() | status
}

struct Dump {
    canonical: bool,
    all: bool,
    offset: u64,
    row: Vec<u8>,
    last: Vec<u8>,
    repeated: bool,
    out: Out,
}

impl Dump {
    fn byte(&mut self, byte: u8) {
        self.row.push(byte);
        if self.row.len() == WIDTH {
            self.show();
        }
    }

    /// Shows the row, or a star for all that are equal to the one before.
    fn show(&mut self) {
        let row = std::mem::take(&mut self.row);
        if !self.all && row == self.last {
            if !self.repeated {
                self.out.line(b"*");
            }
            self.repeated = true;
        } else {
            self.repeated = false;
            let line = self.line(&row);
            self.out.line(line.as_bytes());
        }
        self.offset += row.len() as u64;
        self.last = row;
    }

    fn line(&self, row: &[u8]) -> String {
        if !self.canonical {
            let words = row.chunks(2).map(|pair| {
                let high = pair.get(1).copied().unwrap_or(0);
                format!(" {:04x}", u16::from_le_bytes([pair[0], high]))
            });
            return format!("{:07x}{}", self.offset, words.collect::<String>());
        }
        let mut line = format!("{:08x} ", self.offset);
        for index in 0..WIDTH {
            if index == WIDTH / 2 {
                line.push(' ');
            }
            match row.get(index) {
                Some(byte) => line.push_str(&format!(" {byte:02x}")),
                None => line.push_str("   "),
            }
        }
        line.push_str("  |");
        line.extend(row.iter().map(|&b| match b {
            b' '..=b'~' => b as char,
            _ => '.',
        }));
        line.push('|');
        line
    }

    fn finish(mut self) -> i32 {
        if !self.row.is_empty() {
            self.show();
        }
        if !self.last.is_empty() {
            let width = if self.canonical { 8 } else { 7 };
            let offset = self.offset;
            self.out.line(format!("{offset:0width$x}").as_bytes());
        }
        self.out.finish()
    }
}
