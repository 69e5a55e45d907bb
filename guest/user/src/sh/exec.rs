//! Execution of the syntax tree.

use std::rc::Rc;

use super::ast::{Command, Connector, Item, Kind, List, Pipeline, Redirect, Word};
use super::fork::Role;
use super::redirect::Saved;
use super::{Flow, Shell, Unwind, pattern};
use crate::sys;
use crate::sys::Pid;

impl Shell {
    /// Runs a list; gives the status of its last command.
    pub fn run_list(&mut self, list: &List) -> Flow {
        self.run_items(list, false)
    }

    /// Runs a list. `last`: nothing comes after it, so its last program may take the shell's place.
    fn run_items(&mut self, list: &List, last: bool) -> Flow {
        let mut status = 0;
        for (index, item) in list.items.iter().enumerate() {
            self.check_signals()?;
            self.tail = last && index + 1 == list.items.len() && self.traps.is_empty();
            status = self.run_item(item)?;
            self.status = status;
        }
        self.check_signals()?;
        Ok(status)
    }

    /// Runs the last list of a program.
    pub fn run_last_list(&mut self, list: &List) -> Flow {
        self.run_items(list, !self.interactive)
    }

    fn run_item(&mut self, item: &Item) -> Flow {
        if self.options.noexec && !self.interactive {
            return Ok(0);
        }
        if item.background {
            self.tail = false;
            return self.run_background(item);
        }
        let Some(((last_connector, last), middle)) = item.rest.split_last() else {
            return self.run_pipeline(&item.first);
        };
        let tail = std::mem::take(&mut self.tail);
        self.tested += 1;
        let status = self.run_tested(item, middle);
        self.tested -= 1;
        let status = status?;
        self.status = status;
        if (status == 0) == (*last_connector == Connector::And) {
            self.tail = tail;
            return self.run_pipeline(last);
        }
        Ok(status)
    }

    /// All pipelines of an and-or list but the last one: `set -e` does not count there.
    fn run_tested(&mut self, item: &Item, middle: &[(Connector, Pipeline)]) -> Flow {
        let mut status = self.run_pipeline(&item.first)?;
        for (connector, pipeline) in middle {
            self.status = status;
            if (status == 0) == (*connector == Connector::And) {
                status = self.run_pipeline(pipeline)?;
            }
        }
        Ok(status)
    }

    fn run_background(&mut self, item: &Item) -> Flow {
        let pids = if item.rest.is_empty() && !item.first.negated {
            self.spawn(&item.first, true)?
        } else {
            let pid = self.fork(Role::Background(0))?;
            if pid == 0 {
                let result = self.run_foreground(item);
                self.finish(result);
            }
            vec![pid]
        };
        let number = self.jobs.add(&pids, &item.text);
        self.last_background = pids.last().copied();
        if self.interactive {
            let text = format!("[{number}] {}\n", pids[pids.len() - 1]);
            let _ = sys::write_all(2, text.as_bytes());
        }
        Ok(0)
    }

    fn run_foreground(&mut self, item: &Item) -> Flow {
        let mut status = self.run_pipeline(&item.first)?;
        for (connector, pipeline) in &item.rest {
            self.status = status;
            if (status == 0) == (*connector == Connector::And) {
                status = self.run_pipeline(pipeline)?;
            }
        }
        Ok(status)
    }

    fn run_pipeline(&mut self, pipeline: &Pipeline) -> Flow {
        if pipeline.negated {
            self.tail = false;
            self.tested += 1;
        }
        let result = match &pipeline.commands[..] {
            [command] => self.run_command(command, &pipeline.text),
            _ => {
                self.tail = false;
                self.spawn(pipeline, false).map(|pids| {
                    let number = self.jobs.add(&pids, &pipeline.text);
                    self.wait_foreground(number)
                })
            }
        };
        if pipeline.negated {
            self.tested -= 1;
            return result.map(|status| i32::from(status == 0));
        }
        let status = result?;
        if pipeline.commands.len() > 1 {
            self.check_status(status)?;
        }
        Ok(status)
    }

    /// Starts the processes of a pipeline.
    fn spawn(&mut self, pipeline: &Pipeline, background: bool) -> Result<Vec<Pid>, Unwind> {
        let mut pids: Vec<Pid> = Vec::new();
        let mut input: Option<i32> = None;
        for (index, command) in pipeline.commands.iter().enumerate() {
            let last = index + 1 == pipeline.commands.len();
            let pipe = match last {
                true => None,
                false => Some(self.attempt(b"pipe", sys::pipe())?),
            };
            let group = pids.first().copied().unwrap_or(0);
            let role = if background {
                Role::Background(group)
            } else {
                Role::Foreground(group)
            };
            let child = self.fork(role);
            if let Ok(0) = child {
                if let Some(fd) = input {
                    let _ = sys::dup2(fd, 0);
                    sys::close(fd);
                }
                if let Some((reader, writer)) = pipe {
                    sys::close(reader);
                    let _ = sys::dup2(writer, 1);
                    sys::close(writer);
                }
                self.run_command_and_exit(command);
            }
            if let Some(fd) = input.take() {
                sys::close(fd);
            }
            if let Some((reader, writer)) = pipe {
                sys::close(writer);
                input = Some(reader);
            }
            match child {
                Ok(pid) => pids.push(pid),
                Err(unwind) => {
                    input.into_iter().for_each(sys::close);
                    return Err(unwind);
                }
            }
        }
        Ok(pids)
    }

    /// In a child: runs a command and ends.
    fn run_command_and_exit(&mut self, command: &Command) -> ! {
        self.tail = true;
        let result = self.run_command(command, b"");
        self.finish(result)
    }

    /// In a child: runs a list and ends.
    pub fn run_subshell_and_exit(&mut self, list: &Rc<List>) -> ! {
        let result = self.run_items(list, true);
        self.finish(result)
    }

    /// Ends a subshell.
    pub fn finish(&mut self, result: Flow) -> ! {
        let status = self.end(result);
        sys::exit_now(status)
    }

    /// `set -e`.
    pub fn check_status(&self, status: i32) -> Result<(), Unwind> {
        if status != 0 && self.options.errexit && self.tested == 0 {
            return Err(Unwind::Exit(status));
        }
        Ok(())
    }

    /// Runs a command; `text` is what the user calls it.
    pub fn run_command(&mut self, command: &Command, text: &[u8]) -> Flow {
        let tail = std::mem::take(&mut self.tail);
        self.line = command.line;
        match &command.kind {
            Kind::Simple { assigns, words } => {
                return self.run_simple(assigns, words, &command.redirects, tail, text);
            }
            Kind::Subshell(list) => {
                let status = self.run_subshell(list, &command.redirects, tail, text)?;
                self.check_status(status)?;
                return Ok(status);
            }
            Kind::Function { name, body } => {
                self.functions.insert(name.clone(), body.clone());
                return Ok(0);
            }
            _ if command.redirects.is_empty() => return self.run_compound(&command.kind),
            _ => {}
        }
        let mut saved = Saved::default();
        let result = match self.redirect_saving(&command.redirects, Some(&mut saved)) {
            Ok(true) => self.run_compound(&command.kind),
            Ok(false) => Ok(1),
            Err(unwind) => Err(unwind),
        };
        saved.restore();
        result
    }

    fn run_subshell(
        &mut self,
        list: &Rc<List>,
        redirects: &[Redirect],
        tail: bool,
        text: &[u8],
    ) -> Flow {
        if tail {
            // Already a child of its own, with nothing to do afterwards.
            if !self.redirect(redirects)? {
                return Ok(1);
            }
            self.run_subshell_and_exit(list);
        }
        let pid = self.fork(Role::Foreground(0))?;
        if pid == 0 {
            match self.redirect(redirects) {
                Ok(true) => self.run_subshell_and_exit(list),
                Ok(false) => sys::exit_now(1),
                Err(unwind) => self.finish(Err(unwind)),
            }
        }
        let number = self.jobs.add(&[pid], text);
        Ok(self.wait_foreground(number))
    }

    fn run_compound(&mut self, kind: &Kind) -> Flow {
        match kind {
            Kind::Group(list) => self.run_list(list),
            Kind::If {
                branches,
                otherwise,
            } => {
                for (condition, body) in branches {
                    if self.run_condition(condition)? == 0 {
                        return self.run_list(body);
                    }
                }
                otherwise.as_ref().map_or(Ok(0), |body| self.run_list(body))
            }
            Kind::Loop {
                until,
                condition,
                body,
            } => self.run_loop(|shell, status| {
                if (shell.run_condition(condition)? == 0) == *until {
                    return Ok(false);
                }
                *status = shell.run_list(body)?;
                Ok(true)
            }),
            Kind::For { name, words, body } => {
                let values = match words {
                    Some(words) => self.expand_words(words)?,
                    None => self.positional.clone(),
                };
                let mut values = values.into_iter();
                self.run_loop(|shell, status| {
                    let Some(value) = values.next() else {
                        return Ok(false);
                    };
                    shell.set_variable(name, &value)?;
                    *status = shell.run_list(body)?;
                    Ok(true)
                })
            }
            Kind::Case { word, arms } => self.run_case(word, arms),
            Kind::Simple { .. } | Kind::Subshell(_) | Kind::Function { .. } => Ok(0),
        }
    }

    fn run_condition(&mut self, condition: &List) -> Flow {
        self.tested += 1;
        let result = self.run_list(condition);
        self.tested -= 1;
        result
    }

    /// Calls `round` until it gives false or `break` ends the loop.
    fn run_loop(
        &mut self,
        mut round: impl FnMut(&mut Shell, &mut i32) -> Result<bool, Unwind>,
    ) -> Flow {
        let mut status = 0;
        self.loops += 1;
        let result = loop {
            match round(self, &mut status) {
                Ok(true) => {}
                Ok(false) => break Ok(status),
                Err(Unwind::Break(1)) => break Ok(0),
                Err(Unwind::Continue(1)) => status = 0,
                Err(Unwind::Break(levels)) => break Err(Unwind::Break(levels - 1)),
                Err(Unwind::Continue(levels)) => break Err(Unwind::Continue(levels - 1)),
                Err(unwind) => break Err(unwind),
            }
        };
        self.loops -= 1;
        result
    }

    fn run_case(&mut self, word: &Word, arms: &[(Vec<Word>, List)]) -> Flow {
        let value = self.expand_string(word)?;
        for (patterns, body) in arms {
            for pattern in patterns {
                let pattern = self.expand_pattern(pattern)?;
                if pattern::matches(&pattern, &value) {
                    return self.run_list(body);
                }
            }
        }
        Ok(0)
    }
}
