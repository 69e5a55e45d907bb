//! `cat [-nu] [FILE…]`: writes files one after the other; `-n` numbers the lines.

use std::io;

use super::input::{self, Input};
use crate::cli::{Options, Out};
use crate::sys;

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "nu") {
        Ok(options) => options,
        Err(status) => return status,
    };
    if options.has(b'n') {
        let mut out = Out::stdout();
        let mut number = 0;
        let status = input::each(&options.operands, |_, input| {
            let mut line = Vec::new();
            while input.line(&mut line)? {
                number += 1;
                out.put(format!("{number:6}\t").as_bytes());
                out.put(&line);
            }
            Ok(())
        });
        return status | out.finish();
    }
    input::each(&options.operands, |_, input| copy(input))
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
