//! The table of jobs. A job is the processes of one pipeline; what [`wait`](super::wait) hears of
//! them is noted here.

use crate::cli;
use crate::sys::{self, Pid, Wait};

/// A process of a job: its last known change, `None` while it runs.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Its id.
    pub pid: Pid,
    /// Its last known change.
    pub change: Option<Wait>,
}

/// A job.
#[derive(Debug)]
pub struct Job {
    /// What `%n` calls it.
    pub number: usize,
    /// Its process group, with job control; the first process otherwise.
    pub group: Pid,
    /// Its processes, in the order of the pipeline.
    pub processes: Vec<Process>,
    /// The command line.
    pub text: Vec<u8>,
    /// The user has been told of its present state.
    pub told: bool,
}

/// The state of a job as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A process still runs.
    Running,
    /// None runs, one is stopped by this signal.
    Stopped(i32),
    /// All have ended; the last one so.
    Done(Wait),
}

impl Job {
    /// Notes that its stopped processes go on.
    pub fn go_on(&mut self) {
        for process in &mut self.processes {
            if matches!(process.change, Some(Wait::Stopped(_))) {
                process.change = None;
            }
        }
        self.told = true;
    }

    /// Its state as a whole.
    pub fn state(&self) -> State {
        let mut state = State::Done(Wait::Exited(0));
        for process in &self.processes {
            match process.change {
                None | Some(Wait::Continued) => return State::Running,
                Some(Wait::Stopped(signal)) => state = State::Stopped(signal),
                Some(end) if !matches!(state, State::Stopped(_)) => state = State::Done(end),
                Some(_) => {}
            }
        }
        state
    }

    /// Its line in what `jobs` shows.
    pub fn describe(&self, current: Option<usize>) -> String {
        let mark = if current == Some(self.number) {
            '+'
        } else {
            ' '
        };
        let state = match self.state() {
            State::Running => "Running".to_owned(),
            State::Stopped(_) => "Stopped".to_owned(),
            State::Done(Wait::Exited(0)) => "Done".to_owned(),
            State::Done(Wait::Exited(status)) => format!("Done({status})"),
            State::Done(wait) => sys::signal_text(wait.status() - 128),
        };
        format!(
            "[{}] {mark} {state:<24}{}",
            self.number,
            cli::show(&self.text)
        )
    }
}

/// All jobs.
#[derive(Default)]
pub struct Jobs {
    /// The jobs, in the order of their numbers.
    pub list: Vec<Job>,
    /// Job numbers, the one used last at the end.
    recent: Vec<usize>,
    /// The terminal, while job control is on.
    pub terminal: Option<i32>,
    /// The shell's own group.
    pub group: Pid,
    /// The terminal's settings, for when a program dies or stops and leaves it in others.
    pub modes: Option<libc::termios>,
}

impl Jobs {
    /// Adds a job; gives its number.
    pub fn add(&mut self, pids: &[Pid], text: &[u8]) -> usize {
        let number = self.list.iter().map(|j| j.number).max().unwrap_or(0) + 1;
        self.list.push(Job {
            number,
            group: pids[0],
            processes: pids
                .iter()
                .map(|&pid| Process { pid, change: None })
                .collect(),
            text: text.to_vec(),
            told: true,
        });
        self.recent.push(number);
        number
    }

    /// Forgets all jobs: a subshell has none.
    pub fn clear(&mut self) {
        self.list.clear();
        self.recent.clear();
        self.terminal = None;
    }

    /// After a job in the foreground: takes over the terminal's settings if the job has ended by
    /// itself, brings back the old ones if not.
    pub fn keep_modes(&mut self, terminal: i32, state: State) {
        match (state, &self.modes) {
            (State::Done(Wait::Exited(_)), _) => self.modes = sys::tcgetattr(terminal).ok(),
            (_, Some(modes)) => {
                let _ = sys::tcsetattr(terminal, modes);
            }
            (_, None) => {}
        }
    }

    /// The number of the current job.
    pub fn current(&self) -> Option<usize> {
        self.recent.last().copied()
    }

    /// Makes a job the current one.
    pub fn touch(&mut self, number: usize) {
        self.recent.retain(|n| *n != number);
        self.recent.push(number);
    }

    /// Forgets a job.
    pub fn remove(&mut self, number: usize) {
        self.list.retain(|j| j.number != number);
        self.recent.retain(|n| *n != number);
    }

    /// The job of that number.
    pub fn get(&self, number: usize) -> Option<&Job> {
        self.list.iter().find(|j| j.number == number)
    }

    /// The job of that number, to change it.
    pub fn get_mut(&mut self, number: usize) -> Option<&mut Job> {
        self.list.iter_mut().find(|j| j.number == number)
    }

    /// Notes what `waitpid` has told.
    pub fn note(&mut self, pid: Pid, change: Wait) {
        for job in &mut self.list {
            if let Some(process) = job.processes.iter_mut().find(|p| p.pid == pid) {
                process.change = Some(change);
                job.told = false;
            }
        }
    }

    /// The job that `%n`, `%%`, `%-`, `%text` or a process id means.
    pub fn find(&self, spec: &[u8]) -> Option<usize> {
        let Some(name) = spec.strip_prefix(b"%") else {
            let pid: Pid = cli::number(spec)?;
            let mut jobs = self.list.iter();
            return jobs
                .find(|j| j.processes.iter().any(|p| p.pid == pid))
                .map(|j| j.number);
        };
        match name {
            b"" | b"%" | b"+" => self.current(),
            b"-" => self.recent.iter().rev().nth(1).copied(),
            _ => match cli::number::<usize>(name) {
                Some(number) => self.get(number).map(|j| j.number),
                None => self
                    .list
                    .iter()
                    .find(|j| j.text.starts_with(name))
                    .map(|j| j.number),
            },
        }
    }

    /// The negated group, for `kill %n`.
    pub fn kill_target(&self, spec: &[u8]) -> Option<Pid> {
        let job = self.get(self.find(spec)?)?;
        Some(if self.terminal.is_some() {
            -job.group
        } else {
            job.group
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(changes: &[Option<Wait>]) -> Job {
        Job {
            number: 1,
            group: 10,
            processes: changes
                .iter()
                .map(|&change| Process { pid: 10, change })
                .collect(),
            text: b"a | b".to_vec(),
            told: true,
        }
    }

    #[test]
    fn job_ends_with_its_last_process() {
        let done = Some(Wait::Exited(3));
        assert_eq!(job(&[None, done]).state(), State::Running);
        assert_eq!(
            job(&[done, Some(Wait::Exited(0))]).state(),
            State::Done(Wait::Exited(0))
        );
        assert_eq!(
            job(&[done, Some(Wait::Stopped(20))]).state(),
            State::Stopped(20)
        );
        assert_eq!(
            job(&[Some(Wait::Stopped(20)), None]).state(),
            State::Running
        );
    }

    #[test]
    fn jobs_are_found_by_number_text_and_process() {
        let mut jobs = Jobs::default();
        jobs.add(&[100, 101], b"sleep 1");
        jobs.add(&[200], b"cat");
        assert_eq!(jobs.find(b"%1"), Some(1));
        assert_eq!(jobs.find(b"%%"), Some(2));
        assert_eq!(jobs.find(b"%-"), Some(1));
        assert_eq!(jobs.find(b"%sl"), Some(1));
        assert_eq!(jobs.find(b"101"), Some(1));
        assert_eq!(jobs.find(b"%9"), None);
    }
}
