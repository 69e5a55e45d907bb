//! Standard input on its way to the guest, with the keys that gnomon keeps for itself.
//!
//! Ctrl-A is the escape: Ctrl-A x quits, Ctrl-A Ctrl-A (or Ctrl-A a) sends one Ctrl-A, Ctrl-A h
//! tells. Only a raw terminal has it; a file or a pipe is passed on byte for byte.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use gnomon_devices::virtio::console::ConsoleInput;

/// Ctrl-A.
const ESCAPE: u8 = 1;

/// Told when the user wants something of gnomon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End the virtual machine.
    Quit,
    /// Say which keys there are.
    Help,
}

/// Takes the escape sequences out of what the user types.
#[derive(Debug, Default)]
pub struct Keys {
    escaped: bool,
}

impl Keys {
    /// Append what the guest gets of `typed` to `out`; the commands among it.
    pub fn filter(&mut self, typed: &[u8], out: &mut Vec<u8>) -> Vec<Command> {
        let mut commands = Vec::new();
        for &byte in typed {
            if std::mem::take(&mut self.escaped) {
                match byte {
                    b'x' | b'X' => commands.push(Command::Quit),
                    b'h' | b'?' => commands.push(Command::Help),
                    ESCAPE | b'a' => out.push(ESCAPE),
                    other => out.extend([ESCAPE, other]),
                }
            } else if byte == ESCAPE {
                self.escaped = true;
            } else {
                out.push(byte);
            }
        }
        commands
    }
}

/// Read `fd` to its end and give everything to the guest; with `keys`, look for commands and hand
/// them to `command`. Returns at the end of the input, or when the console takes no more.
pub fn pump(
    fd: BorrowedFd<'_>,
    input: &ConsoleInput,
    mut keys: Option<Keys>,
    mut command: impl FnMut(Command),
) {
    let mut buffer = vec![0; 64 << 10];
    let mut filtered = Vec::new();
    loop {
        let len = match read(fd, &mut buffer) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) => {
                log::warn!("standard input ends: {error}");
                break;
            }
        };
        let typed = &buffer[..len];
        let pushed = match &mut keys {
            None => input.push(typed),
            Some(keys) => {
                filtered.clear();
                keys.filter(typed, &mut filtered)
                    .into_iter()
                    .for_each(&mut command);
                input.push(&filtered)
            }
        };
        if pushed.is_err() {
            return;
        }
    }
    input.close();
}

/// Read, waiting where others have made `fd` non-blocking.
fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        // SAFETY: the buffer is valid for its length.
        let len = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        if let Ok(len) = usize::try_from(len) {
            return Ok(len);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => {
                let mut pollfd = libc::pollfd {
                    fd: fd.as_raw_fd(),
                    events: libc::POLLIN,
                    revents: 0,
                };
                // SAFETY: one valid structure; a failure is seen by the next read.
                unsafe { libc::poll(&mut pollfd, 1, -1) };
            }
            _ => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(pieces: &[&[u8]]) -> (Vec<u8>, Vec<Command>) {
        let (mut keys, mut out, mut commands) = (Keys::default(), Vec::new(), Vec::new());
        for piece in pieces {
            commands.extend(keys.filter(piece, &mut out));
        }
        (out, commands)
    }

    #[test]
    fn ordinary_keys_pass() {
        assert_eq!(filter(&[b"ls\r"]), (b"ls\r".to_vec(), vec![]));
    }

    #[test]
    fn escape_x_quits_even_in_two_reads() {
        assert_eq!(
            filter(&[b"a\x01", b"xb"]),
            (b"ab".to_vec(), vec![Command::Quit])
        );
    }

    #[test]
    fn doubled_escape_passes_once() {
        assert_eq!(filter(&[b"\x01\x01"]), (b"\x01".to_vec(), vec![]));
    }

    #[test]
    fn unknown_command_passes_both() {
        assert_eq!(filter(&[b"\x01z"]), (b"\x01z".to_vec(), vec![]));
    }
}
