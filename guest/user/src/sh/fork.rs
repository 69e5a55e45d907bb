//! Making processes: what a child takes over of the shell, and whose the terminal is.
//!
//! With job control (`set -m`, on when interactive) each job is a process group of its own and the
//! terminal belongs to the group in the foreground.

use std::io;

use super::{Shell, Unwind};
use crate::cli;
use crate::sys::{self, Disposition, Pid};

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

impl Shell {
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
}
