//! What one process or thread waits at until another lets it through.

use super::descriptor::{Fd, pipe};

/// A gate that parent and child share when it is made before the fork. Each opening lets one through.
pub struct Gate {
    reader: Fd,
    writer: Fd,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        let (reader, writer) = pipe(libc::O_CLOEXEC);
        Gate { reader, writer }
    }

    /// Let one through.
    pub fn open(&self) {
        self.send(0);
    }

    /// Wait until let through.
    pub fn pass(&self) {
        self.receive();
    }

    /// Let one through with a value.
    pub fn send(&self, value: u64) {
        assert_eq!(self.writer.write(value.to_ne_bytes()), Ok(8));
    }

    /// The descriptor behind [`Gate::send`], for a signal handler.
    pub fn writer_fd(&self) -> i32 {
        self.writer.raw()
    }

    /// Wait for a value.
    pub fn receive(&self) -> u64 {
        loop {
            match self.reader.read(8) {
                Ok(bytes) => return u64::from_ne_bytes(bytes.try_into().expect("a whole value")),
                Err(error) => assert_eq!(error.0, libc::EINTR),
            }
        }
    }
}
