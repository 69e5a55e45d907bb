//! One run of one test.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gnomon_abi::test_report::Outcome;

use super::balance::{self, Balance, Loss, in_both};
use super::{descendants, os};
use crate::program::{self, Program};
use crate::sys::{self, Pid, Wait};

/// Of a test's output, so many bytes at the end are kept.
const OUTPUT: usize = 32 << 10;

/// How often a test is run to tell a loss from what is kept for the next time.
const RUNS: usize = 3;

/// How tests are run.
pub struct Setting {
    /// The program that holds the tests.
    pub program: Vec<u8>,
    /// How long a test may take.
    pub limit: Duration,
    /// Whether what the kernel has given out is counted.
    pub balance: bool,
    /// Where scratch directories are made.
    pub scratch: PathBuf,
    /// Readable when a child has ended.
    pub signals: i32,
    /// `/dev/null`.
    pub null: i32,
}

/// How a run has ended.
pub struct Ended {
    /// In what way.
    pub outcome: Outcome,
    /// From the child's start to its end.
    pub time: Duration,
    /// The end of what it wrote.
    pub output: Vec<u8>,
    /// What it has not given back.
    pub losses: Vec<Loss>,
}

impl Ended {
    fn is_clean(&self) -> bool {
        self.losses.is_empty()
    }
}

impl Setting {
    /// Run the test `name` as a fresh child, in a session and a scratch directory of its own; `begin`
    /// is called before, each time that it is run.
    ///
    /// # Errors
    /// The runner itself cannot go on: no process, no directory; `begin`'s own.
    pub fn run(&self, name: &str, begin: &dyn Fn() -> io::Result<()>) -> io::Result<Ended> {
        begin()?;
        let before = self.count(false);
        let mut ended = self.run_uncounted(name)?;
        if ended.outcome != Outcome::Passed || (self.count(false) == before && ended.is_clean()) {
            return Ok(ended);
        }
        // Caches may have grown, or something is lost: what is lost each time is.
        for run in 1..RUNS {
            begin()?;
            let before = self.count(true);
            let mut again = self.run_uncounted(name)?;
            if again.outcome != Outcome::Passed {
                return Ok(again);
            }
            if let (Some(before), Some(after)) = (before, self.count(true)) {
                again.losses.extend(after.losses(&before));
            }
            ended.losses = match run {
                1 => again.losses,
                _ => in_both(&ended.losses, &again.losses),
            };
            if ended.is_clean() {
                break;
            }
        }
        Ok(ended)
    }

    fn count(&self, without_caches: bool) -> Option<Balance> {
        if without_caches && self.balance {
            balance::drop_caches();
        }
        self.balance.then(Balance::take).flatten()
    }

    fn run_uncounted(&self, name: &str) -> io::Result<Ended> {
        let directory = self.scratch_directory()?;
        let (reader, writer) = os::output_pipe()?;
        let started = Instant::now();
        let child = sys::fork()?;
        if child == 0 {
            self.become_test(name, &directory, writer);
        }
        sys::close(writer);
        let mut output = Vec::with_capacity(OUTPUT);
        let wait = self.watch(child, reader, started, &mut output);
        let time = started.elapsed();
        if wait.is_none() {
            let _ = sys::kill(-child, libc::SIGKILL);
            let _ = sys::kill(child, libc::SIGKILL);
        }
        let left = descendants::end_all(self.signals);
        // What children wrote that have outlived the test is part of its output.
        take_output(reader, &mut output);
        sys::close(reader);
        let _ = fs::remove_dir_all(&directory);
        let outcome = match wait {
            None => Outcome::TimedOut,
            Some(Wait::Signaled(signal)) => Outcome::Killed(signal),
            Some(wait) => Outcome::of_status(wait.status()),
        };
        let losses = if outcome == Outcome::Passed && left > 0 {
            vec![(left, "processes".to_owned())]
        } else {
            Vec::new()
        };
        Ok(Ended {
            outcome,
            time,
            output,
            losses,
        })
    }

    fn scratch_directory(&self) -> io::Result<PathBuf> {
        let path = self.scratch.join(format!("gnomon-test-{}", sys::getpid()));
        let _ = fs::remove_dir_all(&path);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(path)
    }

    /// In the child: becomes the test.
    fn become_test(&self, name: &str, directory: &PathBuf, writer: i32) -> ! {
        let _ = sys::setsid();
        os::unblock_child_signal();
        let connected = sys::dup2(self.null, 0)
            .and_then(|()| sys::dup2(writer, 1))
            .and_then(|()| sys::dup2(writer, 2))
            .and_then(|()| std::env::set_current_dir(directory));
        let error = match connected {
            Ok(()) => {
                let argv = [self.program.clone(), name.into()];
                Program::new(&argv, &sys::environment(), b"").exec()
            }
            Err(error) => error,
        };
        crate::cli::warn_error(&self.program, &error);
        sys::exit_now(program::exec_status(&error))
    }

    /// Waits for the child and gathers its output; None: its time is over.
    fn watch(
        &self,
        child: Pid,
        reader: i32,
        started: Instant,
        output: &mut Vec<u8>,
    ) -> Option<Wait> {
        let mut reader = reader;
        loop {
            let left = self.limit.checked_sub(started.elapsed())?;
            let [readable, _] = os::wait_readable([reader, self.signals], left);
            if readable && !take_output(reader, output) {
                // Closed by all: only the child's end is waited for.
                reader = -1;
            }
            os::drain_signals(self.signals);
            while let Ok(Some((pid, wait))) = os::reap() {
                if pid == child {
                    return Some(wait);
                }
            }
        }
    }
}

/// Takes what is there; false: nothing more will come.
fn take_output(reader: i32, output: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match sys::read_once(reader, &mut buffer) {
            Ok(0) => return false,
            Ok(count) => keep(output, &buffer[..count]),
            Err(_) => return true,
        }
    }
}

/// Adds to the output, whose end is kept.
fn keep(output: &mut Vec<u8>, bytes: &[u8]) {
    let excess = (output.len() + bytes.len()).saturating_sub(OUTPUT);
    output.drain(..excess.min(output.len()));
    output.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_long_output_is_kept() {
        let mut output = vec![b'a'; OUTPUT];
        keep(&mut output, b"end");
        assert_eq!(output.len(), OUTPUT);
        assert!(output.ends_with(b"aend"));
    }
}
