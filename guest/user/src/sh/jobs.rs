//! Processes and jobs: fork, process groups, the terminal, waiting.
//!
//! A job is the processes of one pipeline. With job control (`set -m`, on when interactive) each
//! job is a process group of its own and the terminal belongs to the group in the foreground.

use std::io;

use super::{Shell, Unwind};
use crate::sys::{self, Disposition, Pid, Wait};
use crate::{cli, cli::Out};

/// What a forked child is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Part of a job in the foreground; the group to join, 0 to found one.
    Foreground(Pid),
    /// Part of a job in the background.
    Background(Pid),
    /// Command substitution and the like: no job, stays in the shell's group.
    Helper,
}

/// A process of a job: its last known change, `None` while it runs.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pid: Pid,
    change: Option<Wait>,
}

/// A job.
#[derive(Debug)]
pub struct Job {
    number: usize,
    group: Pid,
    processes: Vec<Process>,
    text: Vec<u8>,
    /// The user has been told of its present state.
    told: bool,
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
    fn go_on(&mut self) {
        for process in &mut self.processes {
            if matches!(process.change, Some(Wait::Stopped(_))) {
                process.change = None;
            }
        }
        self.told = true;
    }

    fn state(&self) -> State {
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

    fn describe(&self, current: Option<usize>) -> String {
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
    list: Vec<Job>,
    /// Job numbers, the one used last at the end.
    recent: Vec<usize>,
    /// The terminal, while job control is on.
    pub terminal: Option<i32>,
    /// The shell's own group.
    pub group: Pid,
    /// The terminal's settings, for when a program dies or stops and leaves it in others.
    modes: Option<libc::termios>,
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
    fn keep_modes(&mut self, terminal: i32, state: State) {
        match (state, &self.modes) {
            (State::Done(Wait::Exited(_)), _) => self.modes = sys::tcgetattr(terminal).ok(),
            (_, Some(modes)) => {
                let _ = sys::tcsetattr(terminal, modes);
            }
            (_, None) => {}
        }
    }

    fn current(&self) -> Option<usize> {
        self.recent.last().copied()
    }

    fn touch(&mut self, number: usize) {
        self.recent.retain(|n| *n != number);
        self.recent.push(number);
    }

    fn remove(&mut self, number: usize) {
        self.list.retain(|j| j.number != number);
        self.recent.retain(|n| *n != number);
    }

    fn get(&self, number: usize) -> Option<&Job> {
        self.list.iter().find(|j| j.number == number)
    }

    fn get_mut(&mut self, number: usize) -> Option<&mut Job> {
        self.list.iter_mut().find(|j| j.number == number)
    }

    /// Notes what `waitpid` has told.
    fn note(&mut self, pid: Pid, change: Wait) {
        for job in &mut self.list {
            if let Some(process) = job.processes.iter_mut().find(|p| p.pid == pid) {
                process.change = Some(change);
                job.told = false;
            }
        }
    }

    /// The job that `%n`, `%%`, `%-`, `%text` or a process id means.
    fn find(&self, spec: &[u8]) -> Option<usize> {
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

impl Shell {
    /// Lets a stopped job go on where it is, so that it notices a signal.
    pub fn wake_job(&mut self, target: Pid) {
        let mut jobs = self.jobs.list.iter_mut();
        let Some(job) = jobs.find(|j| j.group == target.abs()) else {
            return;
        };
        if matches!(job.state(), State::Stopped(_)) && sys::kill(target, libc::SIGCONT).is_ok() {
            job.go_on();
        }
    }

    /// Forks. 0 in the child, which then is a subshell in the group that `role` says.
    pub fn fork(&mut self, role: Role) -> Result<Pid, Unwind> {
        let pid = match sys::fork() {
            Ok(pid) => pid,
            Err(error) => return Err(self.cannot_fork(&error)),
        };
        let terminal = self.jobs.terminal;
        let group = match role {
            Role::Foreground(group) | Role::Background(group) => Some(group),
            Role::Helper => None,
        };
        if pid != 0 {
            // Parent and child both do this, so that it is done whoever is first.
            if let (Some(terminal), Some(group)) = (terminal, group) {
                let group = if group == 0 { pid } else { group };
                let _ = sys::setpgid(pid, group);
                if matches!(role, Role::Foreground(_)) {
                    let _ = sys::tcsetpgrp(terminal, group);
                }
            }
            return Ok(pid);
        }
        if let (Some(terminal), Some(group)) = (terminal, group) {
            let own = sys::getpid();
            let group = if group == 0 { own } else { group };
            let _ = sys::setpgid(0, group);
            if matches!(role, Role::Foreground(_)) {
                // SIGTTOU is still ignored here, as the shell set it.
                let _ = sys::tcsetpgrp(terminal, group);
            }
        }
        self.become_subshell(terminal.is_some());
        if terminal.is_none() && matches!(role, Role::Background(_)) {
            let _ = sys::set_signal(libc::SIGINT, Disposition::Ignore);
            let _ = sys::set_signal(libc::SIGQUIT, Disposition::Ignore);
            if let Ok(null) = sys::open(b"/dev/null", libc::O_RDONLY, 0) {
                let _ = sys::dup2(null, 0);
                sys::close(null);
            }
        }
        Ok(0)
    }

    /// The error of a fork.
    pub fn cannot_fork(&mut self, error: &io::Error) -> Unwind {
        let text = cli::error_text(error);
        self.fatal(format_args!("cannot fork: {text}"))
    }

    /// Drops what a subshell does not have of its parent.
    fn become_subshell(&mut self, job_control: bool) {
        let mut caught = None;
        if self.interactive || job_control {
            for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
                if !self.traps.is_ignored(signal) {
                    let _ = sys::set_signal(signal, Disposition::Default);
                }
            }
            for signal in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
                let _ = sys::set_signal(signal, Disposition::Default);
            }
            caught = self.first_caught();
        }
        self.reset_traps();
        if let Some(signal @ (libc::SIGINT | libc::SIGTERM)) = caught {
            // It came while the shell's handler was still in place.
            let _ = sys::kill(sys::getpid(), signal);
        }
        self.interactive = false;
        self.subshell = true;
        self.jobs.clear();
    }

    /// Takes the terminal for job control, or gives it back.
    pub fn set_job_control(&mut self, on: bool) {
        if !on {
            self.jobs.terminal = None;
            return;
        }
        let Ok(terminal) = sys::open(b"/dev/tty", libc::O_RDWR, 0) else {
            return;
        };
        let kept = sys::dup_above(terminal, 10).unwrap_or(terminal);
        if kept != terminal {
            sys::close(terminal);
        }
        // In the background of another shell: wait until brought to the foreground.
        loop {
            let own = sys::getpgrp();
            match sys::tcgetpgrp(kept) {
                Ok(group) if group == own => break,
                Ok(_) => {
                    let _ = sys::kill(0, libc::SIGTTIN);
                }
                Err(_) => {
                    sys::close(kept);
                    return;
                }
            }
        }
        for signal in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
            let _ = sys::set_signal(signal, Disposition::Ignore);
        }
        let pid = sys::getpid();
        // Fails for a session leader, which is its group's leader already.
        let _ = sys::setpgid(0, pid);
        let _ = sys::tcsetpgrp(kept, pid);
        self.jobs.group = pid;
        self.jobs.terminal = Some(kept);
        self.jobs.modes = sys::tcgetattr(kept).ok();
    }

    fn wait_flags(&self) -> i32 {
        if self.jobs.terminal.is_some() {
            libc::WUNTRACED
        } else {
            0
        }
    }

    /// Waits for a helper; changes of other children are noted.
    pub fn wait_helper(&mut self, child: Pid) -> i32 {
        sys::wait_for(child).map_or(127, Wait::status)
    }

    /// Waits until a job in the foreground has ended or stopped; gives its status.
    pub fn wait_foreground(&mut self, number: usize) -> i32 {
        let state = loop {
            match self.jobs.get(number).map(Job::state) {
                Some(State::Running) => {}
                Some(state) => break state,
                None => return 127,
            }
            self.pass_on_interrupt(number);
            match sys::waitpid(-1, self.wait_flags()) {
                Ok(Some((pid, change))) => self.jobs.note(pid, change),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break State::Done(Wait::Exited(127)),
            }
        };
        if let Some(terminal) = self.jobs.terminal {
            let _ = sys::tcsetpgrp(terminal, self.jobs.group);
            self.jobs.keep_modes(terminal, state);
        }
        match state {
            State::Stopped(signal) => {
                self.jobs.touch(number);
                self.say_state(number, true);
                128 + signal
            }
            State::Done(wait) => {
                self.say_end(wait);
                self.jobs.remove(number);
                wait.status()
            }
            State::Running => 0,
        }
    }

    /// ^C came to the shell if it was before the terminal belonged to the job.
    fn pass_on_interrupt(&mut self, number: usize) {
        if self.jobs.terminal.is_none() || !sys::any_caught() {
            return;
        }
        let caught = sys::take_caught();
        for signal in (1..64).filter(|signal| caught & (1 << signal) != 0) {
            match self.jobs.get(number) {
                Some(job) if signal == libc::SIGINT => {
                    // If it has ended meanwhile, it needs no signal.
                    let _ = sys::kill(-job.group, signal);
                }
                _ => sys::put_back_caught(signal),
            }
        }
    }

    /// What a user wants to know of a program that a signal has killed.
    fn say_end(&mut self, wait: Wait) {
        let (signal, core) = match wait {
            Wait::Signaled(signal) => (signal, ""),
            Wait::Dumped(signal) => (signal, " (core dumped)"),
            _ => return,
        };
        if signal == libc::SIGINT {
            if self.interactive {
                let _ = sys::write_all(2, b"\n");
            }
            if self.jobs.terminal.is_some() {
                // The user meant the whole command line.
                self.interrupted = true;
            }
        } else if signal != libc::SIGPIPE {
            let text = sys::signal_text(signal);
            let _ = sys::write_all(2, format!("{text}{core}\n").as_bytes());
        }
    }

    fn say_state(&mut self, number: usize, new_line: bool) {
        let current = self.jobs.current();
        if let Some(job) = self.jobs.get_mut(number) {
            job.told = true;
            let start = if new_line { "\n" } else { "" };
            let text = format!("{start}{}\n", job.describe(current));
            let _ = sys::write_all(2, text.as_bytes());
        }
    }

    /// Collects changes without waiting for any.
    pub fn poll_jobs(&mut self) {
        while let Ok(Some((pid, change))) = sys::waitpid(-1, libc::WNOHANG | self.wait_flags()) {
            self.jobs.note(pid, change);
        }
    }

    /// Before a prompt: tells of jobs that have ended or stopped.
    pub fn report_jobs(&mut self) {
        self.poll_jobs();
        let news: Vec<(usize, State)> = self
            .jobs
            .list
            .iter()
            .filter(|j| !j.told)
            .map(|j| (j.number, j.state()))
            .collect();
        for (number, state) in news {
            if state != State::Running {
                self.say_state(number, false);
            }
            if matches!(state, State::Done(_)) {
                self.jobs.remove(number);
            }
        }
    }

    /// `jobs`.
    pub fn builtin_jobs(&mut self, args: &[Vec<u8>]) -> i32 {
        self.poll_jobs();
        let mut out = Out::stdout();
        let pids_only = args.iter().any(|a| a == b"-p");
        let with_pids = args.iter().any(|a| a == b"-l");
        let current = self.jobs.current();
        let mut ended = Vec::new();
        for job in &mut self.jobs.list {
            job.told = true;
            if pids_only {
                out.line(job.group.to_string().as_bytes());
            } else if with_pids {
                let pids: Vec<String> = job.processes.iter().map(|p| p.pid.to_string()).collect();
                out.line(format!("{} {}", job.describe(current), pids.join(" ")).as_bytes());
            } else {
                out.line(job.describe(current).as_bytes());
            }
            if matches!(job.state(), State::Done(_)) {
                ended.push(job.number);
            }
        }
        for number in ended {
            self.jobs.remove(number);
        }
        out.finish()
    }

    /// `fg` and `bg`.
    pub fn builtin_resume(&mut self, args: &[Vec<u8>], foreground: bool) -> i32 {
        let name = if foreground { "fg" } else { "bg" };
        let Some(terminal) = self.jobs.terminal else {
            self.error(format_args!("{name}: no job control"));
            return 2;
        };
        let spec = args.first().map_or(&b"%"[..], |a| a);
        let Some(number) = self.jobs.find(spec) else {
            self.error(format_args!("{name}: no such job"));
            return 2;
        };
        self.jobs.touch(number);
        let Some(job) = self.jobs.get_mut(number) else {
            return 2;
        };
        job.go_on();
        let (group, text) = (job.group, job.text.clone());
        let mut out = Out::stdout();
        if foreground {
            out.line(&text);
        } else {
            out.line(format!("[{number}] {}", cli::show(&text)).as_bytes());
        }
        out.finish();
        if foreground {
            let _ = sys::tcsetpgrp(terminal, group);
        }
        if let Err(error) = sys::kill(-group, libc::SIGCONT) {
            self.complain(name.as_bytes(), &error);
            return 1;
        }
        if foreground {
            self.wait_foreground(number)
        } else {
            0
        }
    }

    /// `wait`.
    pub fn builtin_wait(&mut self, args: &[Vec<u8>]) -> i32 {
        if args.is_empty() {
            let numbers: Vec<usize> = self.jobs.list.iter().map(|j| j.number).collect();
            for number in numbers {
                if let Err(signal) = self.wait_background(number) {
                    return 128 + signal;
                }
            }
            return 0;
        }
        let mut status = 0;
        for arg in args {
            status = match self.jobs.find(arg) {
                None => 127,
                Some(number) => match self.wait_background(number) {
                    Ok(status) => status,
                    Err(signal) => return 128 + signal,
                },
            };
        }
        status
    }

    /// Waits for a job to end; `Err(signal)` if a trapped signal came first.
    fn wait_background(&mut self, number: usize) -> Result<i32, i32> {
        loop {
            match self.jobs.get(number).map(Job::state) {
                None => return Ok(127),
                Some(State::Running) => {}
                Some(State::Stopped(signal)) => return Ok(128 + signal),
                Some(State::Done(wait)) => {
                    self.jobs.remove(number);
                    return Ok(wait.status());
                }
            }
            if let Some(signal) = self.first_caught() {
                return Err(signal);
            }
            match sys::waitpid(-1, self.wait_flags()) {
                Ok(Some((pid, change))) => self.jobs.note(pid, change),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.jobs.remove(number);
                    return Ok(127);
                }
            }
        }
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
