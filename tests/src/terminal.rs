//! A program in a terminal, as somebody would use it: keys go in, and what it shows is waited for.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// A program with a terminal as its standard input and output, and controlled by it.
///
/// Standard error goes where the [`Command`] says. The program is killed when this is dropped.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    child: Child,
    /// Everything shown so far.
    screen: Vec<u8>,
    /// What has been waited for ends here.
    at: usize,
}

impl Terminal {
    /// Start `command` in a terminal of `columns` by `rows`.
    ///
    /// # Errors
    /// As the host tells.
    pub fn spawn(mut command: Command, columns: u16, rows: u16) -> io::Result<Self> {
        let (mut master, mut slave) = (-1, -1);
        let size = window(columns, rows);
        // SAFETY: all pointers are valid or null for the length of the call.
        let result = unsafe {
            libc::openpty(
                &mut master,
                &mut slave,
                std::ptr::null_mut(),
                std::ptr::null(),
                &size,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `openpty` has just made both descriptors, for nobody else.
        let (master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
        // SAFETY: the descriptor is open; the flag keeps it from the program.
        unsafe { libc::fcntl(master.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
        command.stdin(slave.try_clone()?).stdout(slave);
        // SAFETY: between fork and exec only system calls are made.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn()?;
        // `command` holds the terminal's other end: without it the end of the program is the
        // end of what the terminal shows.
        drop(command);
        Ok(Self {
            master,
            child,
            screen: Vec::new(),
            at: 0,
        })
    }

    /// Type `keys`.
    ///
    /// # Errors
    /// As the host tells.
    pub fn send(&mut self, keys: &str) -> io::Result<()> {
        self.master.write_all(keys.as_bytes())
    }

    /// Wait until `text` is shown after what was waited for last; what was shown before it.
    ///
    /// # Errors
    /// `TimedOut` or `UnexpectedEof`, with all that was shown instead.
    pub fn expect(&mut self, text: &str, timeout: Duration) -> io::Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            let new = &self.screen[self.at..];
            if let Some(found) = find(new, text.as_bytes()) {
                let before = String::from_utf8_lossy(&new[..found]).into_owned();
                self.at += found + text.len();
                return Ok(before);
            }
            if !self.fill(deadline)? {
                let shown = String::from_utf8_lossy(&self.screen[self.at..]);
                let kind = if Instant::now() < deadline {
                    io::ErrorKind::UnexpectedEof
                } else {
                    io::ErrorKind::TimedOut
                };
                let message = format!("waited for {text:?}, was shown {shown:?}");
                return Err(io::Error::new(kind, message));
            }
        }
    }

    /// Change the terminal's size; the program is told by SIGWINCH.
    ///
    /// # Errors
    /// As the host tells.
    pub fn resize(&mut self, columns: u16, rows: u16) -> io::Result<()> {
        let size = window(columns, rows);
        // SAFETY: the descriptor is open, and `size` valid for the length of the call.
        let result = unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &size) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Wait for the program's end.
    ///
    /// # Errors
    /// `TimedOut`, with all that was shown.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        // A program that shows more than the terminal holds would not end unless it is read.
        while self.fill(deadline)? {}
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                let message = format!("still runs; was shown {:?}", self.screen());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything shown so far.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen).into_owned()
    }

    /// The number of the program's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Read more of what is shown; false at the end or at the deadline.
    fn fill(&mut self, deadline: Instant) -> io::Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut pollfd = libc::pollfd {
            fd: self.master.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // Rounded up: a wait of 0 ms would spin.
        let milliseconds = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
        // SAFETY: `pollfd` is one valid structure for the length of the call.
        match unsafe { libc::poll(&mut pollfd, 1, milliseconds) } {
            0 => return Ok(false),
            n if n < 0 => {
                let error = io::Error::last_os_error();
                return if error.kind() == io::ErrorKind::Interrupted {
                    Ok(true)
                } else {
                    Err(error)
                };
            }
            _ => {}
        }
        let mut buffer = [0; 4096];
        match self.master.read(&mut buffer) {
            Ok(len) => {
                self.screen.extend_from_slice(&buffer[..len]);
                Ok(len > 0)
            }
            // The terminal's other end is closed: the program has ended.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl AsRawFd for Terminal {
    fn as_raw_fd(&self) -> RawFd {
        self.master.as_raw_fd()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn window(columns: u16, rows: u16) -> libc::winsize {
    libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// Where `needle` begins in `haystack`.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Terminal {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Terminal::spawn(command, 100, 30).unwrap()
    }

    #[test]
    fn typed_line_is_echoed_and_read() {
        let mut terminal = shell("read line; echo \"[$line]\"");
        terminal.send("hello\n").unwrap();
        terminal.expect("hello\r\n", SOON).unwrap();
        terminal.expect("[hello]\r\n", SOON).unwrap();
    }

    #[test]
    fn status_is_the_programs() {
        let status = shell("exit 7").wait(SOON).unwrap();
        assert_eq!(status.code(), Some(7));
    }

    #[test]
    fn program_is_controlled_by_the_terminal() {
        // One process alone: a shell may miss the key while it starts another.
        let mut terminal = shell("echo ready; read line");
        terminal.expect("ready", SOON).unwrap();
        terminal.send("\x03").unwrap();
        assert!(terminal.wait(SOON).is_ok());
    }

    #[test]
    fn size_is_told_and_changed() {
        let mut terminal = shell("stty size; read line; stty size");
        terminal.expect("30 100", SOON).unwrap();
        terminal.resize(80, 25).unwrap();
        terminal.send("\n").unwrap();
        terminal.expect("25 80", SOON).unwrap();
    }

    #[test]
    fn text_that_does_not_come_is_a_timeout() {
        let mut terminal = shell("echo other; sleep 100");
        terminal.expect("other", SOON).unwrap();
        let error = terminal
            .expect("text", Duration::from_millis(50))
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn end_of_the_program_ends_the_wait() {
        let error = shell("echo short").expect("text", SOON).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn large_output_does_not_keep_a_program_from_ending() {
        let mut terminal = shell("seq 100000");
        assert!(terminal.wait(SOON).unwrap().success());
        assert!(terminal.screen().ends_with("100000\r\n"));
    }
}
