//! Text to gnomon's log port.

use crate::machine;
use core::fmt;
use gnomon_abi::ports;

/// Writes to the log port.
pub struct Log;

impl fmt::Write for Log {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes()
            .for_each(|byte| machine::out8(ports::LOG, byte));
        Ok(())
    }
}
