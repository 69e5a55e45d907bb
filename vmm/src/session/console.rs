//! The guest's console on gnomon's standard input, output and error.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use gnomon_devices::exit::{ExitEvent, ExitLatch};
use gnomon_devices::logport::{LogSink, LogWriter};
use gnomon_devices::output::FdWriter;
use gnomon_devices::virtio::console::ConsoleInput;

use super::{SessionError, os};
use crate::boot::kernel::Entry;
use crate::cli::FAILED;
use crate::devices::Ends;
use crate::events::Wakers;
use crate::input::{self, Command, Keys};
use crate::terminal::{self, LineWriter};

/// Kernel messages that a report repeats.
const LOG_LINES: usize = 12;

/// How the guest's console is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// A terminal with line discipline in the guest; the user's own is raw.
    Tty,
    /// Bytes in, bytes out, errors apart.
    Stream,
}

impl Console {
    /// As standard input and output suggest.
    pub fn detect() -> Self {
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            Self::Tty
        } else {
            Self::Stream
        }
    }

    /// What the kernel's command line has to say.
    pub const fn cmdline(self) -> &'static str {
        match self {
            Self::Tty => "console=tty",
            Self::Stream => "console=stream",
        }
    }
}

/// The guest's way to standard output. When nobody reads it any more, the guest ends as a program
/// does that SIGPIPE kills.
struct Stdout {
    out: FdWriter,
    latch: Arc<ExitLatch>,
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        if let Err(error) = &result {
            let status = if error.kind() == io::ErrorKind::BrokenPipe {
                128 + libc::SIGPIPE as u8
            } else {
                log::error!("standard output: {error}");
                FAILED
            };
            self.latch.set(ExitEvent::Exit(status));
            // The guest is about to end: the rest goes nowhere.
            return Ok(bytes.len());
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What the devices of a guest that is entered at `entry` are connected to; the output of further
/// consoles goes to the files `further`.
pub fn ends(entry: Entry, further: &[PathBuf]) -> Result<Ends, SessionError> {
    let latch = Arc::new(ExitLatch::new());
    let stderr = || duplicate(io::stderr().as_fd());
    let log = LogSink::new(Box::new(LineWriter(FdWriter::new(stderr()?))), LOG_LINES);
    let stdout = || -> Result<_, SessionError> {
        Ok(Box::new(Stdout {
            out: FdWriter::new(duplicate(io::stdout().as_fd())?),
            latch: Arc::clone(&latch),
        }))
    };
    Ok(Ends {
        stdout: stdout()?,
        stderr: Box::new(LineWriter(FdWriter::new(stderr()?))),
        // A kernel that is not gnomon's own knows no other console.
        serial: match entry {
            Entry::Pvh(_) => stdout()?,
            Entry::Long(_) => Box::new(LogWriter(Arc::clone(&log))),
        },
        further: further
            .iter()
            .map(|path| create(path))
            .collect::<Result<_, _>>()?,
        log,
        size: terminal::size(libc::STDOUT_FILENO),
        latch,
    })
}

/// The file `path`, made or emptied, as a console's output.
fn create(path: &Path) -> Result<Box<dyn Write + Send>, SessionError> {
    let file = File::create(path).map_err(|source| SessionError::Console {
        path: path.display().to_string(),
        source,
    })?;
    Ok(Box::new(FdWriter::new(file.into())))
}

/// Start to read standard input.
pub fn read_input(
    input: &ConsoleInput,
    console: Console,
    wakers: &Arc<Wakers>,
) -> Result<(), SessionError> {
    let (input, wakers) = (input.clone(), Arc::clone(wakers));
    let keys = (console == Console::Tty).then(Keys::default);
    // Not joined: it may wait for the user for ever, and ends with the process.
    thread::Builder::new()
        .name("stdin".into())
        .spawn(move || {
            let stdin = io::stdin();
            input::pump(stdin.as_fd(), &input, keys, |command| match command {
                Command::Quit => {
                    let _ = wakers.quit.write(1);
                }
                Command::Help => {
                    let _ = LineWriter(io::stderr())
                        .write_all(b"\ngnomon: Ctrl-A x quits, Ctrl-A Ctrl-A sends Ctrl-A\n");
                }
            });
        })
        .map_err(os("cannot start a thread"))?;
    Ok(())
}

fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, SessionError> {
    fd.try_clone_to_owned()
        .map_err(os("cannot use standard output or error"))
}
