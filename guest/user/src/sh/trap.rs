//! `trap`: commands that run when a signal arrives or the shell ends.

use std::collections::BTreeMap;

use super::{Shell, Unwind};
use crate::cli::{self, Out};
use crate::sys::{self, Disposition};

/// The number that stands for the end of the shell.
const EXIT: i32 = 0;

/// The traps that are set.
#[derive(Default)]
pub struct Traps {
    /// Signal to commands; `None`: ignored.
    actions: BTreeMap<i32, Option<Vec<u8>>>,
    /// The parent shell's, which `trap` without arguments still shows in a subshell.
    inherited: BTreeMap<i32, Option<Vec<u8>>>,
}

impl Traps {
    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// Whether `trap ''` has been said of the signal.
    pub fn is_ignored(&self, signal: i32) -> bool {
        matches!(self.actions.get(&signal), Some(None))
    }
}

impl Shell {
    /// In a subshell: caught signals get their default back, ignored ones stay ignored.
    pub fn reset_traps(&mut self) {
        self.traps.inherited = self.traps.actions.clone();
        for (&signal, action) in &self.traps.actions {
            if signal != EXIT && action.is_some() {
                let _ = sys::set_signal(signal, Disposition::Default);
            }
        }
        self.traps.actions.retain(|_, action| action.is_none());
        sys::take_caught();
    }

    /// The first signal that has been caught, left for [`Shell::check_signals`].
    pub fn first_caught(&self) -> Option<i32> {
        if !sys::any_caught() {
            return None;
        }
        let caught = sys::take_caught();
        let signals = (1..64).filter(|signal| caught & (1 << signal) != 0);
        let mut first = None;
        for signal in signals {
            sys::put_back_caught(signal);
            first = first.or(Some(signal));
        }
        first
    }

    /// Runs the traps of signals that have come; ^C without a trap ends the command line.
    pub fn check_signals(&mut self) -> Result<(), Unwind> {
        if std::mem::take(&mut self.interrupted) {
            return Err(Unwind::Interrupt);
        }
        if !sys::any_caught() {
            return Ok(());
        }
        let caught = sys::take_caught();
        for signal in (1..64).filter(|signal| caught & (1 << signal) != 0) {
            match self.traps.actions.get(&signal) {
                Some(Some(action)) => {
                    let action = action.clone();
                    self.run_action(&action)?;
                }
                None if signal == libc::SIGINT && self.interactive => {
                    // The terminal has shown ^C.
                    let _ = sys::write_all(2, b"\n");
                    return Err(Unwind::Interrupt);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Runs a trap's commands; `$?` is the same afterwards.
    fn run_action(&mut self, action: &[u8]) -> Result<(), Unwind> {
        let status = self.status;
        let result = self.run_string(action);
        self.status = status;
        result.map(drop)
    }

    /// Runs the trap on EXIT, once; gives the status to end with.
    pub fn run_exit_trap(&mut self, status: i32) -> i32 {
        let Some(Some(action)) = self.traps.actions.remove(&EXIT) else {
            return status;
        };
        self.status = status;
        self.tested = 0;
        match self.run_string(&action) {
            Err(Unwind::Exit(status)) => status,
            _ => status,
        }
    }

    /// `trap`.
    pub fn builtin_trap(&mut self, args: &[Vec<u8>]) -> i32 {
        let args = match args.first() {
            Some(first) if first == b"--" => &args[1..],
            _ => args,
        };
        let Some(action) = args.first() else {
            return self.print_traps();
        };
        let bare_signal = args.len() == 1 || cli::number::<i32>(action).is_some();
        let (action, signals) = if action == b"-" {
            (None, &args[1..])
        } else if bare_signal && sys::signal_number(action).is_some() {
            (None, args)
        } else {
            (Some(action.clone()), &args[1..])
        };
        let mut status = 0;
        self.traps.inherited.clear();
        for name in signals {
            match sys::signal_number(name) {
                Some(signal) => self.set_trap(signal, action.clone()),
                None => {
                    self.error(format_args!("trap: {}: bad trap", cli::show(name)));
                    status = 1;
                }
            }
        }
        status
    }

    fn set_trap(&mut self, signal: i32, action: Option<Vec<u8>>) {
        let known = self.traps.actions.contains_key(&signal);
        if signal != EXIT && !known && !self.interactive && sys::is_ignored(signal) {
            // Ignored since before the shell started: that is the parent's wish.
            return;
        }
        let disposition = match &action {
            // An interactive shell always wants to know of ^C.
            None if signal == libc::SIGINT && self.interactive => Disposition::Catch,
            None => Disposition::Default,
            Some(action) if action.is_empty() => Disposition::Ignore,
            Some(_) => Disposition::Catch,
        };
        if signal != EXIT {
            // SIGKILL and SIGSTOP cannot be changed, and are said to be set all the same.
            let _ = sys::set_signal(signal, disposition);
        }
        match action {
            None => self.traps.actions.remove(&signal),
            Some(action) => {
                let action = (!action.is_empty()).then_some(action);
                self.traps.actions.insert(signal, action)
            }
        };
    }

    fn print_traps(&mut self) -> i32 {
        let mut out = Out::stdout();
        let shown = if self.traps.inherited.is_empty() {
            &self.traps.actions
        } else {
            &self.traps.inherited
        };
        for (&signal, action) in shown {
            let name = if signal == EXIT {
                "EXIT"
            } else {
                sys::signal_name(signal).unwrap_or("?")
            };
            let mut line = b"trap -- ".to_vec();
            line.extend(super::quote(action.as_deref().unwrap_or_default()));
            line.extend(format!(" {name}").as_bytes());
            out.line(&line);
        }
        out.finish()
    }
}
