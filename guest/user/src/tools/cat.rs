//! `cat [-AbeEnstTuv] [FILE…]`: writes files one after the other. `-n` numbers the lines, `-b` those
//! that are not empty; `-s` leaves one of several empty ones; `-v`, `-T` and `-E` show control
//! characters, tabs and ends of lines, `-A` all three.

use std::io;

use super::input::{self, Input};
use crate::cli::{Options, Out};
use crate::sys;

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "AbeEnstTuv") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let any = |letters: &[u8]| letters.iter().any(|letter| options.has(*letter));
    let shown = Shown {
        controls: any(b"Aevt"),
        tabs: any(b"ATt"),
        ends: any(b"AEe"),
    };
    let (numbers, squeeze) = (any(b"nb"), options.has(b's'));
    if !numbers && !squeeze && !shown.controls && !shown.tabs && !shown.ends {
        return input::each(&options.operands, |_, input| copy(input));
    }
    let mut out = Out::stdout();
    let (mut number, mut was_empty) = (0, false);
    let status = input::each(&options.operands, |_, input| {
        let mut line = Vec::new();
        while input.line(&mut line)? {
            let empty = line == b"\n";
            if squeeze && empty && was_empty {
                continue;
            }
            was_empty = empty;
            if numbers && !(empty && options.has(b'b')) {
                number += 1;
                out.put(format!("{number:6}\t").as_bytes());
            }
            for &byte in &line {
                shown.put(&mut out, byte);
            }
        }
        Ok(())
    });
    status | out.finish()
}

/// What is shown of bytes that a terminal does not show.
struct Shown {
    controls: bool,
    tabs: bool,
    ends: bool,
}

impl Shown {
    fn put(&self, out: &mut Out, byte: u8) {
        match byte {
            b'\n' if self.ends => out.put(b"$\n"),
            b'\t' if self.tabs => out.put(b"^I"),
            b'\n' | b'\t' => out.put(&[byte]),
            _ if self.controls => {
                if byte >= 0x80 {
                    out.put(b"M-");
                }
                match byte & 0x7f {
                    0x7f => out.put(b"^?"),
                    low @ ..0x20 => out.put(&[b'^', low | 0x40]),
                    printable => out.put(&[printable]),
                }
            }
            _ => out.put(&[byte]),
        }
    }
}

/// Writes each block as soon as it has been read.
fn copy(input: &mut Input) -> io::Result<()> {
    loop {
        let block = input.block()?;
        if block.is_empty() {
            return Ok(());
        }
        sys::write_all(1, block)?;
    }
}
