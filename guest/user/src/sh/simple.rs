//! Simple commands: assignments, built-ins, functions, programs.

use std::rc::Rc;

use super::ast::{Command, Redirect, Word};
use super::builtins::{self, Builtin};
use super::redirect::Saved;
use super::{Flow, Shell, Unwind};
use crate::sys;

/// Functions that call themselves deeper than this are stopped, so that the stack holds.
const MAX_CALLS: u32 = 500;

impl Shell {
    /// Runs a simple command. `tail`: a program may take the shell's place.
    pub fn run_simple(
        &mut self,
        assigns: &[(Vec<u8>, Word)],
        words: &[Word],
        redirects: &[Redirect],
        tail: bool,
        text: &[u8],
    ) -> Flow {
        self.substituted = false;
        let mut args = self.expand_command(words)?;
        let mut only_builtins = false;
        while args.first().is_some_and(|a| a == b"command")
            && args
                .get(1)
                .is_some_and(|a| !a.starts_with(b"-") || a == b"-p")
        {
            only_builtins = true;
            let skip = 1 + usize::from(args[1] == b"-p");
            args.drain(..skip);
        }
        let function = match args.first() {
            Some(name) if !only_builtins => self.functions.get(name).cloned(),
            _ => None,
        };
        let builtin = args.first().and_then(|name| builtins::find(name));
        if let Some(builtin) = builtin.filter(|b| b.special || function.is_none()) {
            let status = self.run_builtin(builtin, assigns, &args, redirects)?;
            self.check_status(status)?;
            return Ok(status);
        }
        let mut values = Vec::new();
        for (name, word) in assigns {
            let value = self.expand_assignment(word)?;
            values.push((name.clone(), value));
            if args.is_empty() {
                self.trace(&values[values.len() - 1..], &[]);
                let (name, value) = &values[values.len() - 1];
                self.set_variable(name, value)?;
            }
        }
        if args.is_empty() {
            return self.run_nothing(redirects);
        }
        self.trace(&values, &args);
        if let Some(body) = function {
            let status = self.call(&body, &values, &args, redirects)?;
            self.check_status(status)?;
            return Ok(status);
        }
        let status = self.run_program(&values, &args, redirects, tail, text)?;
        self.check_status(status)?;
        Ok(status)
    }

    /// Redirections, or assignments, alone.
    fn run_nothing(&mut self, redirects: &[Redirect]) -> Flow {
        let mut saved = Saved::default();
        let done = self.redirect_saving(redirects, Some(&mut saved));
        saved.restore();
        let status = match (done?, self.substituted) {
            (false, _) => 1,
            (true, true) => self.status,
            (true, false) => 0,
        };
        self.check_status(status)?;
        Ok(status)
    }

    fn run_builtin(
        &mut self,
        builtin: Builtin,
        assigns: &[(Vec<u8>, Word)],
        args: &[Vec<u8>],
        redirects: &[Redirect],
    ) -> Flow {
        let mut values = Vec::new();
        for (name, word) in assigns {
            values.push((name.clone(), self.expand_assignment(word)?));
        }
        self.trace(&values, args);
        let mut saved = Saved::default();
        match self.redirect_saving(redirects, Some(&mut saved)) {
            Ok(true) => {}
            result => {
                saved.restore();
                result?;
                // A special built-in's failure ends a shell that nobody types into.
                return if builtin.special && !self.interactive {
                    Err(Unwind::Fatal(2))
                } else {
                    Ok(1)
                };
            }
        }
        let mut remembered = Vec::new();
        let mut failed = None;
        for (name, value) in &values {
            remembered.push((name, self.variables.remember(name)));
            if let Err(unwind) = self.set_variable(name, value) {
                failed = Some(unwind);
            }
        }
        let result = match failed {
            Some(unwind) => Err(unwind),
            None => (builtin.run)(self, &args[1..]),
        };
        if !builtin.special {
            for (name, variable) in remembered.into_iter().rev() {
                self.variables.restore(name, variable);
            }
        }
        if std::mem::take(&mut self.keep_redirects) {
            saved.forget();
        } else {
            saved.restore();
        }
        result
    }

    fn call(
        &mut self,
        body: &Rc<Command>,
        values: &[(Vec<u8>, Vec<u8>)],
        args: &[Vec<u8>],
        redirects: &[Redirect],
    ) -> Flow {
        if self.calls >= MAX_CALLS {
            return Err(self.fatal(format_args!("functions nested too deeply")));
        }
        let mut saved = Saved::default();
        match self.redirect_saving(redirects, Some(&mut saved)) {
            Ok(true) => {}
            result => {
                saved.restore();
                return result.map(|_| 1);
            }
        }
        let positional = std::mem::replace(&mut self.positional, args[1..].to_vec());
        let loops = std::mem::take(&mut self.loops);
        self.variables.open_scope();
        self.calls += 1;
        let mut result = Ok(0);
        for (name, value) in values {
            self.variables.localize(name);
            result = result.and(self.set_variable(name, value).map(|()| 0));
            self.variables.export(name, true);
        }
        if result.is_ok() {
            result = self.run_command(body, b"");
        }
        self.calls -= 1;
        self.variables.close_scope();
        self.loops = loops;
        self.positional = positional;
        saved.restore();
        match result {
            Err(Unwind::Return(status)) => Ok(status),
            other => other,
        }
    }

    /// `set -x`.
    fn trace(&self, values: &[(Vec<u8>, Vec<u8>)], args: &[Vec<u8>]) {
        if !self.options.xtrace {
            return;
        }
        let mut line = self.variables.get(b"PS4").unwrap_or(b"+ ").to_vec();
        let assigned = values.iter().map(|(n, v)| [n, &b"="[..], v].concat());
        let all: Vec<Vec<u8>> = assigned.chain(args.iter().cloned()).collect();
        line.extend(all.join(&b' '));
        line.push(b'\n');
        let _ = sys::write_all(2, &line);
    }
}
