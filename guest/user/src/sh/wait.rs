//! Waiting for processes, and telling the user of jobs: `jobs`, `fg`, `bg`, `wait`.

use std::io;

use super::Shell;
use super::jobs::{Job, State};
use crate::sys::{self, Pid, Wait};
use crate::{cli, cli::Out};

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

    /// Waits for a job to end; `Err(signal)` if a trapped signal came first, or meanwhile.
    fn wait_background(&mut self, number: usize) -> Result<i32, i32> {
        let mut waited = false;
        loop {
            // Whoever sends a signal and ends may have ended before the signal is seen here.
            match self.first_caught() {
                Some(signal) if waited && signal != libc::SIGCHLD => return Err(signal),
                _ => waited = true,
            }
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
