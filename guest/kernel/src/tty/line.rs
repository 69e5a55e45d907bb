//! What is behind a terminal: a console, or the program that plays one.

use crate::errno::KResult;

/// Where a terminal's output goes, and where its input comes from.
pub trait Line: Send + Sync {
    /// Device number of the terminal.
    fn device(&self) -> u64;

    /// How many bytes can be written now without waiting for a reader.
    fn room(&self) -> usize;

    /// Write all of `bytes`, processed already; sleeps at most for a device. ERESTARTSYS, EIO.
    fn write(&self, bytes: &[u8]) -> KResult<()>;

    /// Write without sleeping, from interrupts: what finds no room is lost.
    fn write_now(&self, bytes: &[u8]);

    /// Wait until a device has taken all output.
    fn drain(&self);

    /// The terminal has room for input that it did not accept before.
    fn pump(&self);

    /// Whether nobody is at the other end any more.
    fn is_gone(&self) -> bool {
        false
    }

    /// One more description of the terminal.
    fn opened(&self) {}

    /// One description less.
    fn closed(&self) {}
}
