//! The `gnomon` command under test.
//!
//! `GNOMON_BIN` names it; without that it is the release build of this workspace.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::mode::Mode;
use crate::terminal::Terminal;

/// How long a run may take when the test says nothing: far more than any takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// `time`, or a multiple of it on a machine for which `GNOMON_TEST_PATIENCE` names a factor.
pub fn patience(time: Duration) -> Duration {
    let factor = std::env::var("GNOMON_TEST_PATIENCE").ok();
    time * factor.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// The directory that cargo builds into.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => dir.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
    }
}

/// What everything is compiled for (`.cargo/config.toml`).
pub const TARGET: &str = "x86_64-unknown-linux-musl";

/// The command under test.
///
/// # Panics
/// It has not been built.
pub fn binary() -> PathBuf {
    let path = match std::env::var_os("GNOMON_BIN") {
        Some(path) => path.into(),
        None => target_dir().join(TARGET).join("release/gnomon"),
    };
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --release`",
        path.display()
    );
    path
}

/// A run of `gnomon run`.
#[derive(Clone, Debug)]
pub struct Gnomon {
    mode: Mode,
    options: Vec<OsString>,
    program: Vec<OsString>,
    input: Vec<u8>,
    timeout: Duration,
}

/// How a run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this status.
    Status(i32),
    /// gnomon itself was killed by this signal.
    Signal(i32),
    /// It ran past its time and was killed.
    TimedOut,
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Status(code),
            None => Self::Signal(status.signal().unwrap_or(0)),
        }
    }
}

/// What a run left behind.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub end: End,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error: the program's, gnomon's and the kernel's.
    pub stderr: Vec<u8>,
}

impl Gnomon {
    /// The built-in guest in `mode`; without a program, its shell, which reads the input.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            options: Vec::new(),
            program: Vec::new(),
            input: Vec::new(),
            timeout: PATIENCE,
        }
    }

    /// Add options of `gnomon run`.
    pub fn options<S: Into<OsString>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.options.extend(words.into_iter().map(Into::into));
        self
    }

    /// Give the guest `mebibytes` of memory.
    pub fn memory(self, mebibytes: u32) -> Self {
        self.options(["--mem".to_owned(), mebibytes.to_string()])
    }

    /// Use `root`, an image or a directory, as the root file system.
    pub fn root(self, root: &Path) -> Self {
        self.options([OsStr::new("--root"), root.as_os_str()])
    }

    /// Put the file `host` into the guest as `guest`.
    pub fn file(self, host: &Path, guest: &str) -> Self {
        let mut spec = host.as_os_str().to_owned();
        spec.push(":");
        spec.push(guest);
        self.options([OsString::from("--file"), spec])
    }

    /// Run this program with these arguments.
    pub fn program<S: Into<OsString>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.program = words.into_iter().map(Into::into).collect();
        self
    }

    /// Run `script` in the guest's shell.
    pub fn shell(self, script: &str) -> Self {
        self.program(["sh", "-c", script])
    }

    /// Give `bytes` as standard input, then its end.
    pub fn input(mut self, bytes: &[u8]) -> Self {
        self.input = bytes.to_vec();
        self
    }

    /// Kill the run after `time`, which should be far more than it takes.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }

    /// The command, with its standard streams still to be connected.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .args(["run", "--mmu", self.mode.name()])
            .args(&self.options);
        if !self.program.is_empty() {
            command.arg("--").args(&self.program);
        }
        command
    }

    /// Run to the end.
    ///
    /// # Panics
    /// The command cannot be started.
    pub fn run(&self) -> Finished {
        let finished = finish(self.command(), &self.input, patience(self.timeout));
        finished.unwrap_or_else(|error| panic!("{}: {error}", binary().display()))
    }

    /// Run in a terminal of 80 by 25; standard error goes to the file `stderr`.
    ///
    /// # Panics
    /// The command cannot be started.
    pub fn terminal(&self, stderr: &Path) -> Terminal {
        let mut command = self.command();
        let stderr = File::create(stderr).unwrap_or_else(|error| panic!("{error}"));
        command.stderr(stderr).env("TERM", "vt100");
        Terminal::spawn(command, 80, 25)
            .unwrap_or_else(|error| panic!("{}: {error}", binary().display()))
    }
}

/// Run `command` with `input`, and kill it after `timeout`.
///
/// # Errors
/// It cannot be started.
pub fn finish(mut command: Command, input: &[u8], timeout: Duration) -> io::Result<Finished> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that has ended reads no more.
            let _ = stdin.map(|mut stdin| stdin.write_all(input));
        });
        let stdout = scope.spawn(move || read_all(stdout));
        let stderr = scope.spawn(move || read_all(stderr));
        let end = wait(&mut child, timeout)?;
        Ok(Finished {
            end,
            stdout: stdout.join().unwrap_or_default(),
            stderr: stderr.join().unwrap_or_default(),
        })
    })
}

/// Wait for the end of `child`, and kill it after `timeout`.
///
/// # Errors
/// As the host tells.
pub fn wait(child: &mut Child, timeout: Duration) -> io::Result<End> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.into());
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(End::TimedOut);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// All that `pipe` gives.
fn read_all(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What came before an error is still worth telling.
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}

impl Finished {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Assert that it ended with `status`, and look for signs of gnomon's or the kernel's own
    /// failure in what was said.
    ///
    /// # Panics
    /// It did not.
    #[track_caller]
    pub fn assert_status(&self, status: i32) -> &Self {
        let errors = self.errors();
        let sound = !errors.contains("panicked") && !errors.contains("the guest kernel");
        assert!(
            self.end == End::Status(status) && (sound || status == 125),
            "expected status {status}, got {:?}\n--- stdout\n{}\n--- stderr\n{errors}",
            self.end,
            shorten(&self.text()),
        );
        self
    }

    /// Assert that standard output is exactly `text`.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn assert_output(&self, text: &str) -> &Self {
        assert!(
            self.stdout == text.as_bytes(),
            "expected output {text:?}, got {:?}\n--- stderr\n{}",
            shorten(&self.text()),
            self.errors(),
        );
        self
    }
}

/// The beginning and the end of a long text.
fn shorten(text: &str) -> String {
    const SHOWN: usize = 2000;
    let count = text.chars().count();
    if count <= 2 * SHOWN {
        return text.to_owned();
    }
    let head: String = text.chars().take(SHOWN).collect();
    let tail: String = text.chars().skip(count - SHOWN).collect();
    format!("{head}\n[… {} characters …]\n{tail}", count - 2 * SHOWN)
}

/// A copy of the command that every user may run, at `path`.
///
/// # Errors
/// As the host tells.
pub fn copy_for_everyone(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::copy(binary(), path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn streams_and_status_are_told() {
        let finished = finish(sh("cat; echo err >&2; exit 3"), b"in", PATIENCE).unwrap();
        assert_eq!(finished.end, End::Status(3));
        assert_eq!(
            (finished.text(), finished.errors()),
            ("in".into(), "err\n".into())
        );
    }

    #[test]
    fn signal_is_no_status() {
        let finished = finish(sh("kill -9 $$"), b"", PATIENCE).unwrap();
        assert_eq!(finished.end, End::Signal(9));
    }

    #[test]
    fn run_past_its_time_is_killed() {
        let finished = finish(sh("exec sleep 100"), b"", Duration::from_millis(50)).unwrap();
        assert_eq!(finished.end, End::TimedOut);
    }

    #[test]
    fn long_text_is_shortened() {
        assert_eq!(shorten("short"), "short");
        assert!(shorten(&"x".repeat(10_000)).contains("[… 6000 characters …]"));
    }
}
