//! Descriptors that are closed when dropped, and what is done with most of them.

use super::call::Errno;
use libc::*;
use std::ffi::CStr;

/// A descriptor of this process's. It goes into a call as `fd.0`.
#[derive(Debug)]
pub struct Fd(pub i32);

impl Fd {
    /// Open a file.
    pub fn open(path: &CStr, flags: i32) -> Self {
        Self::new(ok!(SYS_open, path, flags, 0o600))
    }

    /// From what a call has returned.
    pub fn new(result: usize) -> Self {
        Fd(result as i32)
    }

    /// The number alone.
    pub fn raw(&self) -> i32 {
        self.0
    }

    /// Read up to `count` bytes.
    pub fn read(&self, count: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; count];
        let got = call!(SYS_read, self.0, &mut bytes[..], count)?;
        bytes.truncate(got);
        Ok(bytes)
    }

    /// Read until there is no more.
    pub fn read_to_end(&self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let part = self.read(65536).expect("read");
            if part.is_empty() {
                return all;
            }
            all.extend(part);
        }
    }

    /// Write; returns how many bytes were taken.
    pub fn write(&self, bytes: impl AsRef<[u8]>) -> Result<usize, Errno> {
        let bytes = bytes.as_ref();
        call!(SYS_write, self.0, bytes, bytes.len())
    }

    /// `lseek(2)`
    pub fn seek(&self, offset: i64, whence: i32) -> Result<usize, Errno> {
        call!(SYS_lseek, self.0, offset, whence)
    }

    /// Set flags such as O_NONBLOCK.
    pub fn set_flags(&self, flags: i32) {
        ok!(SYS_fcntl, self.0, F_SETFL, flags);
    }

    /// The events of `events` that `poll(2)` reports now.
    pub fn poll(&self, events: i16) -> i16 {
        let mut poll = pollfd {
            fd: self.0,
            events,
            revents: 0,
        };
        ok!(SYS_poll, &mut poll, 1, 0);
        poll.revents
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        let _ = call!(SYS_close, self.0);
    }
}

/// A pipe: the end to read from and the end to write to.
pub fn pipe(flags: i32) -> (Fd, Fd) {
    let mut ends = [0i32; 2];
    ok!(SYS_pipe2, &mut ends, flags);
    (Fd(ends[0]), Fd(ends[1]))
}

/// Two connected UNIX sockets.
pub fn socket_pair(kind: i32) -> (Fd, Fd) {
    let mut ends = [0i32; 2];
    ok!(SYS_socketpair, AF_UNIX, kind, 0, &mut ends);
    (Fd(ends[0]), Fd(ends[1]))
}
