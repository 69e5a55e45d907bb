//! Programs: how a simple command that is neither function nor built-in gets its process.

use std::io;

use super::ast::Redirect;
use super::fork::Role;
use super::redirect::Saved;
use super::{Flow, Shell};
use crate::program::{self, Program, SpawnError};
use crate::{cli, sys};

impl Shell {
    /// Runs a program in the foreground. `tail`: it may take the shell's place.
    pub fn run_program(
        &mut self,
        values: &[(Vec<u8>, Vec<u8>)],
        args: &[Vec<u8>],
        redirects: &[Redirect],
        tail: bool,
        text: &[u8],
    ) -> Flow {
        if tail {
            if !self.redirect(redirects)? {
                return Ok(1);
            }
            self.exec(values, args);
        }
        // With signals caught, or a terminal to hand over, the child has more to do first.
        if !self.interactive && self.traps.is_empty() && self.jobs.terminal.is_none() {
            return self.spawn_program(values, args, redirects, text);
        }
        self.fork_program(values, args, redirects, text)
    }

    /// Runs a program in a child that copies nothing of the shell.
    fn spawn_program(
        &mut self,
        values: &[(Vec<u8>, Vec<u8>)],
        args: &[Vec<u8>],
        redirects: &[Redirect],
        text: &[u8],
    ) -> Flow {
        let mut saved = Saved::default();
        let child = match self.redirect_saving(redirects, Some(&mut saved)) {
            Ok(true) => self.program(values, args).spawn(),
            result => {
                saved.restore();
                return result.map(|_| 1);
            }
        };
        if let Err(SpawnError::Exec(error)) = &child
            && error.raw_os_error() != Some(libc::ENOEXEC)
        {
            self.say_not_executed(args, error);
        }
        saved.restore();
        match child {
            Ok(pid) => {
                let number = self.jobs.add(&[pid], text);
                Ok(self.wait_foreground(number))
            }
            // A script without an interpreter line.
            Err(SpawnError::Exec(error)) if error.raw_os_error() == Some(libc::ENOEXEC) => {
                self.fork_program(values, args, redirects, text)
            }
            Err(SpawnError::Exec(error)) => Ok(program::exec_status(&error)),
            Err(SpawnError::Fork(error)) => Err(self.cannot_fork(&error)),
        }
    }

    fn fork_program(
        &mut self,
        values: &[(Vec<u8>, Vec<u8>)],
        args: &[Vec<u8>],
        redirects: &[Redirect],
        text: &[u8],
    ) -> Flow {
        let pid = self.fork(Role::Foreground(0))?;
        if pid == 0 {
            match self.redirect(redirects) {
                Ok(true) => self.exec(values, args),
                Ok(false) => sys::exit_now(1),
                Err(unwind) => self.finish(Err(unwind)),
            }
        }
        let number = self.jobs.add(&[pid], text);
        Ok(self.wait_foreground(number))
    }

    fn program(&self, values: &[(Vec<u8>, Vec<u8>)], args: &[Vec<u8>]) -> Program {
        let own_path = values.iter().rev().find(|(name, _)| name == b"PATH");
        let path = match own_path {
            Some((_, path)) => &path[..],
            None => self.variables.get(b"PATH").unwrap_or(b"/bin:/usr/bin"),
        };
        Program::new(args, &self.variables.environment(values), path)
    }

    /// Becomes a program, or ends with 126 or 127.
    pub fn exec(&mut self, values: &[(Vec<u8>, Vec<u8>)], args: &[Vec<u8>]) -> ! {
        let error = self.program(values, args).exec();
        if error.raw_os_error() == Some(libc::ENOEXEC)
            && let Some(script) = self.find_program(&args[0])
        {
            // A script without an interpreter line is one for this shell.
            let mut argv = vec![b"sh".to_vec(), script];
            argv.extend_from_slice(&args[1..]);
            let own = b"/proc/self/exe".to_vec();
            Program::at(own, &argv, &self.variables.environment(values)).exec();
        }
        self.say_not_executed(args, &error);
        sys::exit_now(program::exec_status(&error))
    }

    fn say_not_executed(&self, args: &[Vec<u8>], error: &io::Error) {
        match program::exec_status(error) {
            127 => self.error(format_args!("{}: not found", cli::show(&args[0]))),
            _ => self.complain(&args[0], error),
        }
    }

    /// The file that a command name means.
    pub fn find_program(&self, name: &[u8]) -> Option<Vec<u8>> {
        let usable = |path: &[u8]| {
            sys::access(path, libc::X_OK) && cli::path(path).metadata().is_ok_and(|m| m.is_file())
        };
        if name.contains(&b'/') {
            return usable(name).then(|| name.to_vec());
        }
        let path = self.variables.get(b"PATH").unwrap_or(b"/bin:/usr/bin");
        path.split(|&b| b == b':')
            .map(|directory| {
                let directory = if directory.is_empty() {
                    b"."
                } else {
                    directory
                };
                [directory, b"/", name].concat()
            })
            .find(|candidate| usable(candidate))
    }
}
