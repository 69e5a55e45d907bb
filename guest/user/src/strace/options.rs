//! The command line; which calls are shown.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::table::{self, Call};

/// Bytes of a string that are shown (`-s`).
const STRING_LIMIT: usize = 32;

/// What the command line asks for.
pub struct Options {
    /// `-f`: children too.
    pub follow: bool,
    /// `-c`: a table of counts instead of lines.
    pub count: bool,
    /// `-q`: no messages about processes that come and go.
    pub quiet: bool,
    /// `-t`: the time of day before each line.
    pub time_of_day: bool,
    /// `-T`: how long each call took.
    pub durations: bool,
    /// `-o`
    pub output: Option<PathBuf>,
    /// `-s`
    pub string_limit: usize,
    /// `-p`
    pub pids: Vec<i32>,
    /// The program and its arguments.
    pub program: Vec<Vec<u8>>,
    /// `-e trace=`: one entry a number of a call; None: all.
    shown: Option<Vec<bool>>,
    /// `-e signal=none`
    pub signals: bool,
}

/// A group of calls that `-e trace=%NAME` stands for.
fn in_class(call: &Call, class: &str) -> Option<bool> {
    Some(match class {
        "all" => true,
        "file" => call.takes_path(),
        "desc" => call.takes_descriptor(),
        "process" => matches!(
            call.name,
            "clone"
                | "clone3"
                | "fork"
                | "vfork"
                | "execve"
                | "execveat"
                | "exit"
                | "exit_group"
                | "wait4"
                | "waitid"
                | "kill"
                | "tkill"
                | "tgkill"
                | "pidfd_send_signal"
                | "rt_sigqueueinfo"
                | "rt_tgsigqueueinfo"
        ),
        "signal" => {
            call.name.contains("sig") || matches!(call.name, "kill" | "tkill" | "tgkill" | "pause")
        }
        "memory" => matches!(
            call.name,
            "mmap"
                | "munmap"
                | "mprotect"
                | "mremap"
                | "brk"
                | "madvise"
                | "msync"
                | "mincore"
                | "mlock"
                | "mlock2"
                | "munlock"
                | "mlockall"
                | "munlockall"
        ),
        "network" | "net" => (41..=55).contains(&call.number) || call.number == 288,
        "ipc" => (29..=31).contains(&call.number) || (64..=71).contains(&call.number),
        "clock" => call.name.starts_with("clock_") || call.name.ends_with("timeofday"),
        _ => return None,
    })
}

fn parse_trace(list: &str) -> Result<Vec<bool>, String> {
    let (list, wanted) = match list.strip_prefix('!') {
        Some(rest) => (rest, false),
        None => (list, true),
    };
    let mut shown = vec![!wanted; table::SIZE];
    let mut mark = |number: usize| shown[number] = wanted;
    for name in list.split(',').filter(|name| !name.is_empty()) {
        if name == "none" {
            continue;
        }
        if let Some(class) = name.strip_prefix('%').or((name == "all").then_some(name)) {
            for call in table::CALLS {
                if in_class(call, class).ok_or(format!("no class of calls is called {name}"))? {
                    mark(call.number);
                }
            }
            continue;
        }
        let optional = name.strip_prefix('?');
        match table::by_name(optional.unwrap_or(name)) {
            Some(call) => mark(call.number),
            None if optional.is_some() => {}
            None => return Err(format!("no system call is called {name}")),
        }
    }
    Ok(shown)
}

impl Options {
    /// Takes a command line apart.
    ///
    /// # Errors
    /// A message about what is wrong with it.
    pub fn parse(arguments: Vec<OsString>) -> Result<Self, String> {
        let mut options = Options {
            follow: false,
            count: false,
            quiet: false,
            time_of_day: false,
            durations: false,
            output: None,
            string_limit: STRING_LIMIT,
            pids: Vec::new(),
            program: Vec::new(),
            shown: None,
            signals: true,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let bytes = argument.into_vec();
            if bytes == b"--" {
                options
                    .program
                    .extend(arguments.by_ref().map(OsString::into_vec));
                break;
            }
            if bytes.len() < 2 || bytes[0] != b'-' {
                options.program.push(bytes);
                options
                    .program
                    .extend(arguments.by_ref().map(OsString::into_vec));
                break;
            }
            let mut letters = &bytes[1..];
            while let Some((&letter, rest)) = letters.split_first() {
                letters = rest;
                match letter {
                    b'f' => options.follow = true,
                    b'c' => options.count = true,
                    b'q' => options.quiet = true,
                    b't' => options.time_of_day = true,
                    b'T' => options.durations = true,
                    b'o' | b'e' | b's' | b'p' => {
                        let value = if rest.is_empty() {
                            let next = arguments.next();
                            next.map(OsString::into_vec)
                                .ok_or(format!("option -{} needs a value", letter as char))?
                        } else {
                            rest.to_vec()
                        };
                        letters = &[];
                        options.set(letter, value)?;
                    }
                    other => {
                        return Err(format!("there is no option -{}", other.escape_ascii()));
                    }
                }
            }
        }
        if options.program.is_empty() && options.pids.is_empty() {
            return Err(
                "usage: strace [-cfqtT] [-e trace=LIST] [-o FILE] [-s BYTES] \
                        [-p PID]... [PROGRAM ARGS...]"
                    .into(),
            );
        }
        Ok(options)
    }

    fn set(&mut self, letter: u8, value: Vec<u8>) -> Result<(), String> {
        let text = String::from_utf8_lossy(&value).into_owned();
        let number = || {
            text.parse::<u32>()
                .map_err(|_| format!("-{} {text}: not a number", letter as char))
        };
        match letter {
            b'o' => self.output = Some(OsString::from_vec(value).into()),
            b's' => self.string_limit = number()? as usize,
            b'p' => self.pids.push(number()? as i32),
            _ => match text.split_once('=') {
                Some(("trace", list)) => self.shown = Some(parse_trace(list)?),
                Some(("signal", "none")) => self.signals = false,
                Some(("signal", "all")) => self.signals = true,
                Some((what, _)) => return Err(format!("-e {what}= is not known")),
                None => self.shown = Some(parse_trace(&text)?),
            },
        }
        Ok(())
    }

    /// Whether a call is shown.
    pub fn shows(&self, number: u64) -> bool {
        match &self.shown {
            None => true,
            Some(shown) => shown.get(number as usize).copied().unwrap_or(false),
        }
    }
}
