//! `sh`: a shell after POSIX, with job control and line editing when somebody types into it.
//!
//! `sh [-aefuvxCim] [-c COMMANDS [NAME ARGS…] | FILE [ARGS…]]`
//!
//! The way of a program through the modules: [`lexer`] and [`parser`] make the tree of [`ast`],
//! [`exec`] walks it, [`expand`] (with [`arith`] and [`pattern`]) turns words into arguments,
//! [`simple`] and [`run`] make commands of them, [`redirect`], [`fork`] and [`wait`] arrange
//! descriptors and processes, [`builtins`] are what runs in the shell itself. Errors that end a
//! command, or the shell, travel as [`Unwind`].

mod arith;
mod ast;
mod builtins;
mod compound;
mod directory;
mod dollar;
mod edit;
mod exec;
mod expand;
mod fork;
mod getopts;
mod jobs;
mod lexer;
mod limits;
mod options;
mod parser;
pub mod pattern;
mod read;
mod redirect;
mod run;
mod simple;
mod trap;
mod vars;
mod wait;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::rc::Rc;

use crate::sys::{self, Disposition, Pid};
use crate::{cli, cli::Out};
use lexer::{Lexer, SyntaxError};

/// Why execution leaves the commands at hand.
#[derive(Debug, PartialEq, Eq)]
pub enum Unwind {
    /// `break` out of so many loops.
    Break(u32),
    /// `continue` the loop so many levels up.
    Continue(u32),
    /// `return` from a function or a file.
    Return(i32),
    /// `exit`.
    Exit(i32),
    /// An error, said already: ends a script, or the command line of a user.
    Fatal(i32),
    /// ^C.
    Interrupt,
}

/// An exit status, or why there is none.
pub type Flow = Result<i32, Unwind>;

/// The state of a shell.
pub struct Shell {
    options: options::Options,
    variables: vars::Variables,
    functions: BTreeMap<Vec<u8>, Rc<ast::Command>>,
    traps: trap::Traps,
    jobs: jobs::Jobs,
    /// `$0`.
    name: Vec<u8>,
    /// `$1` and on.
    positional: Vec<Vec<u8>>,
    /// `$?`.
    status: i32,
    /// `$$`, in subshells too.
    pid: Pid,
    /// `$!`.
    last_background: Option<Pid>,
    interactive: bool,
    subshell: bool,
    /// Line of the command at hand.
    line: u32,
    /// Above 0: the status is being tested, so `set -e` does not count.
    tested: u32,
    /// Loops around the command at hand.
    loops: u32,
    /// Functions around the command at hand.
    calls: u32,
    /// The command at hand is the shell's last: a program may take its place.
    tail: bool,
    /// A command substitution has set the status since the command began.
    substituted: bool,
    /// `exec` wants the redirections to stay.
    keep_redirects: bool,
    /// A job in the foreground was ended by ^C.
    interrupted: bool,
    /// Where `getopts` is within a group of letters.
    getopts_offset: usize,
}

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let mut shell = Shell::new();
    match shell.start(args) {
        Ok(start) => {
            let result = shell.run(start);
            shell.end(result)
        }
        Err(status) => status,
    }
}

/// Where a shell's commands come from.
enum Start {
    Text(Vec<u8>),
    Stdin,
}

/// `text` in quotes such that a shell reads it back as it is.
pub fn quote(text: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in text {
        if byte == b'\'' {
            quoted.extend(b"'\\''");
        } else {
            quoted.push(byte);
        }
    }
    quoted.push(b'\'');
    quoted
}

impl Shell {
    fn new() -> Self {
        let mut variables = vars::Variables::from_environment(sys::environment());
        let defaults: [(&[u8], &[u8]); 5] = [
            (b"IFS", b" \t\n"),
            (b"OPTIND", b"1"),
            (b"PS2", b"> "),
            (b"PS4", b"+ "),
            (b"PS1", if sys::geteuid() == 0 { b"# " } else { b"$ " }),
        ];
        for (name, value) in defaults {
            // IFS from outside could change the meaning of a script.
            if variables.get(name).is_none() || name == b"IFS" {
                let _ = variables.set(name, value);
            }
        }
        if let Ok(directory) = std::env::current_dir() {
            use std::os::unix::ffi::OsStrExt;
            let _ = variables.set(b"PWD", directory.as_os_str().as_bytes());
        }
        Shell {
            options: options::Options::default(),
            variables,
            functions: BTreeMap::new(),
            traps: trap::Traps::default(),
            jobs: jobs::Jobs::default(),
            name: b"sh".to_vec(),
            positional: Vec::new(),
            status: 0,
            pid: sys::getpid(),
            last_background: None,
            interactive: false,
            subshell: false,
            line: 1,
            tested: 0,
            loops: 0,
            calls: 0,
            tail: false,
            substituted: false,
            keep_redirects: false,
            interrupted: false,
            getopts_offset: 0,
        }
    }

    /// Reads the command line.
    fn start(&mut self, args: &[Vec<u8>]) -> Result<Start, i32> {
        let mut args = args.iter().cloned().peekable();
        let (mut commands, mut from_stdin, mut interactive) = (false, false, false);
        let mut monitor = false;
        while let Some(arg) = args.next_if(|a| a.len() > 1 && (a[0] == b'-' || a[0] == b'+')) {
            if arg == b"--" {
                break;
            }
            let on = arg[0] == b'-';
            for &letter in &arg[1..] {
                match letter {
                    b'c' => commands = true,
                    b's' => from_stdin = true,
                    b'i' => interactive = true,
                    b'm' => monitor = on,
                    b'l' => {}
                    b'o' => {
                        let name = args.next().unwrap_or_default();
                        if !self.set_long_option(&name, on) {
                            return Err(2);
                        }
                    }
                    _ => match self.options.switch(letter) {
                        Some(switch) => *switch = on,
                        None => {
                            self.error(format_args!("Illegal option -{}", letter as char));
                            return Err(2);
                        }
                    },
                }
            }
        }
        let mut start = Start::Stdin;
        if commands {
            let Some(text) = args.next() else {
                self.error(format_args!("-c requires an argument"));
                return Err(2);
            };
            if let Some(name) = args.next() {
                self.name = name;
            }
            start = Start::Text(text);
        } else if !from_stdin && let Some(file) = args.next() {
            let text = std::fs::read(cli::path(&file)).map_err(|error| {
                self.error(format_args!(
                    "cannot open {}: {}",
                    cli::show(&file),
                    cli::error_text(&error)
                ));
                if error.kind() == io::ErrorKind::NotFound {
                    127
                } else {
                    126
                }
            })?;
            self.name = file;
            start = Start::Text(text);
        } else if sys::isatty(0) && sys::isatty(2) {
            interactive = true;
        }
        self.positional = args.collect();
        if interactive {
            self.interactive = true;
            let _ = sys::set_signal(libc::SIGINT, Disposition::Catch);
            let _ = sys::set_signal(libc::SIGQUIT, Disposition::Ignore);
            // Not ignored, lest a child miss it between fork and exec; nothing comes of it here.
            let _ = sys::set_signal(libc::SIGTERM, Disposition::Catch);
        }
        if monitor || interactive {
            self.options.monitor = true;
            self.set_job_control(true);
        }
        Ok(start)
    }

    fn run(&mut self, start: Start) -> Flow {
        match start {
            Start::Text(text) => self.run_text(&text, true),
            Start::Stdin if self.interactive => self.run_interactive(),
            Start::Stdin => self.run_stdin(),
        }
    }

    /// Runs a program text; syntax errors are fatal.
    pub fn run_string(&mut self, text: &[u8]) -> Flow {
        self.run_text(text, false)
    }

    fn run_text(&mut self, text: &[u8], last: bool) -> Flow {
        let mut lexer = Lexer::new(text, 1, true);
        let mut status = 0;
        loop {
            let start = lexer.position;
            match parser::next_line(&mut lexer) {
                Ok(None) => return Ok(status),
                Ok(Some(list)) => {
                    if self.options.verbose {
                        let _ = sys::write_all(2, lexer.text(start, lexer.position));
                    }
                    if self.options.noexec {
                        continue;
                    }
                    let line = self.line;
                    let rest = lexer.text(lexer.position, text.len());
                    status = if last && rest.trim_ascii().is_empty() {
                        self.run_last_list(&list)?
                    } else {
                        self.run_list(&list)?
                    };
                    if !last {
                        self.line = line;
                    }
                }
                Err(error) => return Err(self.syntax_error(lexer.line, error)),
            }
        }
    }

    fn syntax_error(&mut self, line: u32, error: SyntaxError) -> Unwind {
        self.line = line;
        match error {
            SyntaxError::Incomplete(what) => self.fatal(format_args!("Syntax error: {what}")),
            SyntaxError::Wrong(what) => self.fatal(format_args!("Syntax error: {what}")),
        }
    }

    /// Runs commands from a stdin that is no terminal: reads no further than the line it runs, so
    /// that the commands can read on from there.
    fn run_stdin(&mut self) -> Flow {
        let mut line_number = 1;
        let mut status = 0;
        let mut text = Vec::new();
        loop {
            let more = read::line(0, &mut text);
            let mut lexer = Lexer::new(&text, line_number, !more);
            match parser::next_line(&mut lexer) {
                Err(SyntaxError::Incomplete(_)) if more => continue,
                Err(error) => {
                    let line = lexer.line;
                    return Err(self.syntax_error(line, error));
                }
                Ok(list) => {
                    if let Some(list) = list.filter(|_| !self.options.noexec) {
                        status = self.run_list(&list)?;
                    }
                }
            }
            line_number += text.iter().filter(|&&b| b == b'\n').count() as u32;
            text.clear();
            if !more {
                return Ok(status);
            }
        }
    }

    fn run_interactive(&mut self) -> Flow {
        let mut editor = edit::Editor::new();
        loop {
            self.report_jobs();
            let mut text = Vec::new();
            let mut prompt_name = &b"PS1"[..];
            let parsed = loop {
                let prompt = self.prompt(prompt_name);
                match editor.read_line(&prompt) {
                    edit::Line::Text(line) => text.extend(line),
                    edit::Line::Interrupted => {
                        self.status = 130;
                        break Ok(None);
                    }
                    edit::Line::End if text.is_empty() => {
                        let _ = sys::write_all(2, b"\n");
                        return Ok(self.status);
                    }
                    edit::Line::End => {
                        break Err(SyntaxError::Incomplete("unexpected end of file"));
                    }
                }
                text.push(b'\n');
                match parser::next_line(&mut Lexer::new(&text, 1, false)) {
                    Err(SyntaxError::Incomplete(_)) => prompt_name = b"PS2",
                    result => break result,
                }
            };
            editor.remember(&text);
            sys::take_caught();
            self.interrupted = false;
            let result = match parsed {
                Ok(None) => continue,
                Ok(Some(list)) => self.run_list(&list),
                Err(error) => Err(self.syntax_error(1, error)),
            };
            self.tested = 0;
            self.loops = 0;
            match result {
                Ok(_) => {}
                Err(Unwind::Exit(status)) => return Err(Unwind::Exit(status)),
                Err(Unwind::Fatal(status)) => self.status = status,
                Err(Unwind::Interrupt) => self.status = 130,
                Err(_) => {}
            }
        }
    }

    fn prompt(&mut self, name: &[u8]) -> Vec<u8> {
        let text = self.variables.get(name).unwrap_or_default().to_vec();
        match lexer::text_with_expansions(&text) {
            Ok(word) => self.expand_string(&word).unwrap_or(text),
            Err(_) => text,
        }
    }

    /// Ends the shell: runs the trap on EXIT; gives the exit status.
    pub fn end(&mut self, result: Flow) -> i32 {
        let status = match result {
            Ok(status) | Err(Unwind::Exit(status) | Unwind::Fatal(status)) => status,
            Err(Unwind::Return(status)) => status,
            Err(Unwind::Interrupt) => 130,
            Err(Unwind::Break(_) | Unwind::Continue(_)) => 0,
        };
        self.run_exit_trap(status) & 0xff
    }

    /// One line on stderr.
    pub fn error(&self, message: fmt::Arguments<'_>) {
        let name = cli::show(&self.name);
        let text = if self.interactive {
            format!("{name}: {message}\n")
        } else {
            format!("{name}: {}: {message}\n", self.line)
        };
        let _ = sys::write_all(2, text.as_bytes());
    }

    /// Says what failed with `subject`.
    pub fn complain(&self, subject: &[u8], error: &io::Error) {
        self.error(format_args!(
            "{}: {}",
            cli::show(subject),
            cli::error_text(error)
        ));
    }

    /// Says an error and gives what ends the command.
    pub fn fatal(&self, message: fmt::Arguments<'_>) -> Unwind {
        self.error(message);
        Unwind::Fatal(2)
    }

    /// Sets a variable.
    pub fn set_variable(&mut self, name: &[u8], value: &[u8]) -> Result<(), Unwind> {
        if let Err(message) = self.variables.set(name, value) {
            return Err(self.fatal(format_args!("{message}")));
        }
        if self.options.allexport {
            self.variables.export(name, true);
        }
        if name == b"OPTIND" {
            self.getopts_offset = 0;
        }
        Ok(())
    }

    /// Output of a built-in: to descriptor 1, at once.
    pub fn print(&self, lines: &[Vec<u8>]) -> i32 {
        let mut out = Out::stdout();
        for line in lines {
            out.line(line);
        }
        out.finish()
    }
}
