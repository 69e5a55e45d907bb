//! A process that runs tests and reports: a guest, or the runner on the host.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::programs::Programs;
use crate::mode::Mode;

/// How long a guest that has been told to stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The console of the guest that the report comes through: nothing else writes to it.
const REPORT: &str = "/dev/hvc2";

/// What a running process has to say.
pub enum Event {
    /// A line of the report.
    Line(String),
    /// Nothing for as long as was waited.
    Silence,
    /// It has ended.
    End,
}

/// A process that runs tests.
pub struct Run {
    child: Child,
    lines: Receiver<String>,
    errors: Arc<Mutex<Vec<String>>>,
    error_reader: Option<JoinHandle<()>>,
}

/// How a guest is started.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Memory in MiB.
    pub mem_mib: u64,
    /// Further options of `gnomon run`.
    pub options: Vec<OsString>,
}

impl Run {
    /// Boot a guest in `mode` that runs the tests `names`, for `limit` seconds each at most.
    ///
    /// # Errors
    /// The host cannot start it.
    pub fn guest(
        machine: &Machine,
        programs: &Programs,
        mode: &Mode,
        names: &[String],
        limit: u64,
    ) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot start a guest: {error}");
        let gnomon = std::env::current_exe().map_err(failed)?;
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let fd = writer.as_raw_fd();
        let mut command = Command::new(gnomon);
        command
            .arg("run")
            .args(mode.options())
            .args(["--mem", &machine.mem_mib.to_string()])
            .args(&machine.options)
            .args(programs.options())
            .args(["--console", &format!("/proc/self/fd/{fd}")])
            .args(["--", "test-runner", "-b", "-t", &limit.to_string()])
            .args([REPORT, programs.tests_in_guest()])
            .stdout(Stdio::null());
        // SAFETY: fcntl is async-signal-safe, and the descriptor is open until the child runs.
        unsafe {
            command.pre_exec(move || match libc::fcntl(fd, libc::F_SETFD, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let run = Self::start(command, reader, names).map_err(failed);
        drop(writer);
        run
    }

    /// Run the tests `names` on this Linux.
    ///
    /// # Errors
    /// The host cannot start the runner.
    pub fn host(programs: &Programs, names: &[String], limit: u64) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot run tests on this Linux: {error}");
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let mut command = Command::new(programs.runner());
        command
            .args(["test-runner", "-t", &limit.to_string(), "/dev/stdout"])
            .arg(programs.tests())
            .env("TMPDIR", programs.directory())
            .stdout(writer);
        Self::start(command, reader, names).map_err(failed)
    }

    fn start(mut command: Command, reader: PipeReader, names: &[String]) -> std::io::Result<Self> {
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: prctl is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                // A guest must not outlive who watches it.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let mut child = command.spawn()?;
        // The command may hold the report's writing end.
        drop(command);
        let names = names.join("\n");
        if let Some(mut stdin) = child.stdin.take() {
            // A guest that dies does not read to the end.
            thread::spawn(move || drop(stdin.write_all(names.as_bytes())));
        }
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for_each_line(reader, |line| drop(sender.send(line)));
        });
        let errors = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&errors);
        let error_reader = child.stderr.take().map(|stderr| {
            thread::spawn(move || {
                for_each_line(stderr, |line| {
                    kept.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(line);
                });
            })
        });
        Ok(Self {
            child,
            lines,
            errors,
            error_reader,
        })
    }

    /// What comes next, within `time`.
    pub fn next(&self, time: Duration) -> Event {
        match self.lines.recv_timeout(time) {
            Ok(line) => Event::Line(line),
            Err(RecvTimeoutError::Timeout) => Event::Silence,
            Err(RecvTimeoutError::Disconnected) => Event::End,
        }
    }

    /// The lines of standard error since the last call: for a guest, the kernel's log.
    pub fn take_errors(&self) -> Vec<String> {
        std::mem::take(&mut *self.errors.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stop it, first in a way that makes gnomon tell where the guest is.
    pub fn stop(&mut self) {
        // SAFETY: the child has not been waited for, so the number is its own.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGQUIT) };
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
    }

    /// Its status, once it has ended, with all that it has said on standard error.
    ///
    /// # Errors
    /// The host cannot wait for it.
    pub fn finish(mut self) -> Result<(ExitStatus, Vec<String>), String> {
        let status = self
            .child
            .wait()
            .map_err(|error| format!("cannot wait for a guest: {error}"))?;
        if let Some(reader) = self.error_reader.take() {
            let _ = reader.join();
        }
        Ok((status, self.take_errors()))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn for_each_line(stream: impl Read, mut each: impl FnMut(String)) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(1..) = stream.read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line);
        each(text.trim_end_matches(['\n', '\r']).to_owned());
        line.clear();
    }
}
