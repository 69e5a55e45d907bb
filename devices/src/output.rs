//! Output to a file descriptor without a buffer in between.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};

/// Writes straight to a file descriptor, so that nothing is lost when gnomon is killed.
///
/// Others may have set `O_NONBLOCK` on a terminal or pipe that gnomon shares with them: where
/// the descriptor is full, it waits until there is room.
pub struct FdWriter {
    file: File,
}

impl FdWriter {
    /// A writer to `fd`.
    pub fn new(fd: OwnedFd) -> Self {
        Self { file: fd.into() }
    }

    /// Wait until the descriptor takes bytes, or has an error that the next write will tell.
    fn wait(&self) -> io::Result<()> {
        let mut pollfd = libc::pollfd {
            fd: self.file.as_raw_fd(),
            events: libc::POLLOUT,
            revents: 0,
        };
        // SAFETY: `pollfd` is one valid structure for the length of the call.
        let ready = unsafe { libc::poll(&mut pollfd, 1, -1) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Write for FdWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::FromRawFd;

    use super::*;

    /// A pipe whose write end does not block.
    fn pipe() -> (File, FdWriter) {
        let mut fds = [0; 2];
        // SAFETY: `fds` has room for the two descriptors.
        assert_eq!(unsafe { libc::pipe(fds.as_mut_ptr()) }, 0);
        // SAFETY: the descriptor is open.
        unsafe { libc::fcntl(fds[1], libc::F_SETFL, libc::O_NONBLOCK) };
        // SAFETY: both descriptors are open and nobody else's.
        unsafe {
            (
                File::from_raw_fd(fds[0]),
                FdWriter::new(OwnedFd::from_raw_fd(fds[1])),
            )
        }
    }

    #[test]
    fn full_pipe_is_waited_for() {
        let (mut reader, mut writer) = pipe();
        let sent: Vec<u8> = (0..1_000_000_u32).map(|i| i as u8).collect();
        let expected = sent.clone();
        let thread = std::thread::spawn(move || writer.write_all(&sent));
        let mut received = Vec::new();
        reader.read_to_end(&mut received).unwrap();
        thread.join().unwrap().unwrap();
        assert!(received == expected);
    }

    #[test]
    fn closed_pipe_is_an_error() {
        let (reader, mut writer) = pipe();
        drop(reader);
        let error = writer.write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
