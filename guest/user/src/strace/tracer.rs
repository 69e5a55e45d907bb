//! Starts, attaches and follows programs; one step a stop.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::argument::{self, Context};
use crate::kind::Arg;
use crate::options::Options;
use crate::output::Output;
use crate::summary::Summary;
use crate::table::{self, Call, Ret};
use crate::tracee::{CallStop, Tracee};
use crate::{errno, signal, structs};

/// `PTRACE_EVENT_STOP`
const EVENT_STOP: i32 = 128;
/// What marks a stop at a system call (`PTRACE_O_TRACESYSGOOD`).
const CALL_STOP: i32 = libc::SIGTRAP | 0x80;

/// How strace itself ends: as the program that it started.
pub enum End {
    /// With a status.
    Exit(i32),
    /// By a signal.
    Signal(i32),
}

/// End as a program that a signal has killed.
pub fn die_of(signo: i32) -> ! {
    // SAFETY: plain calls; the limit keeps this process from leaving a core image of its own.
    unsafe {
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        libc::setrlimit(libc::RLIMIT_CORE, &none);
        libc::signal(signo, libc::SIG_DFL);
        libc::raise(signo);
    }
    std::process::exit(128 + signo)
}

/// A call that has begun.
struct Begun {
    number: u64,
    arguments: [u64; 6],
    /// Arguments that have been shown.
    shown: usize,
    since: Instant,
}

/// What is known of a thread.
#[derive(Default)]
struct State {
    begun: Option<Begun>,
    /// Nothing is shown before it runs the program.
    hidden: bool,
    /// Attached by `-p`, and not seen in its first stop yet.
    attaching: bool,
}

/// The tracer.
pub struct Tracer {
    options: Options,
    output: Output,
    summary: Summary,
    threads: HashMap<Tracee, State>,
    /// The process that strace has started.
    child: Option<i32>,
    end: End,
}

fn call_of(number: u64) -> Option<&'static Call> {
    table::by_number(number)
}

/// The file that a program's name stands for.
fn find_program(name: &[u8]) -> Result<PathBuf, String> {
    let shown = String::from_utf8_lossy(name).into_owned();
    let named = Path::new(OsStr::from_bytes(name));
    let usable = |path: &Path| {
        path.metadata()
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if name.contains(&b'/') {
        return match named.metadata() {
            Ok(_) => Ok(named.into()),
            Err(_) => Err(format!("cannot find '{shown}': no such file")),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(named))
        .find(|path| usable(path))
        .ok_or(format!("cannot find '{shown}' on PATH"))
}

fn c_string(bytes: &[u8]) -> Result<CString, String> {
    CString::new(bytes).map_err(|_| "an argument has a NUL in it".into())
}

fn last_error(what: &str) -> String {
    format!("{what}: {}", io::Error::last_os_error())
}

/// Start a program that waits until its tracer is there.
fn start(program: &[Vec<u8>], seize: impl Fn(Tracee) -> io::Result<()>) -> Result<i32, String> {
    let path = find_program(&program[0])?;
    let path = c_string(path.as_os_str().as_bytes())?;
    let arguments = program
        .iter()
        .map(|argument| c_string(argument))
        .collect::<Result<Vec<_>, _>>()?;
    let mut argv: Vec<_> = arguments.iter().map(|argument| argument.as_ptr()).collect();
    argv.push(std::ptr::null());
    let mut gate = [0; 2];
    // SAFETY: room for two descriptors.
    if unsafe { libc::pipe2(gate.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(last_error("pipe"));
    }
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    // SAFETY: this process has one thread; the child makes only plain system calls before execve.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let mut byte = 0u8;
        // SAFETY: as above; all pointers are to memory that was made before the fork.
        unsafe {
            libc::close(gate[1]);
            libc::read(gate[0], (&raw mut byte).cast(), 1);
            libc::execve(path.as_ptr(), argv.as_ptr(), environ);
            libc::_exit(127);
        }
    }
    if pid < 0 {
        return Err(last_error("fork"));
    }
    seize(Tracee(pid))
        .and_then(|()| Tracee(pid).interrupt())
        .map_err(|error| format!("cannot trace the program: {error}"))?;
    // The child sees the end of the pipe when its tracer lets it go on.
    // SAFETY: descriptors of this process.
    unsafe {
        libc::close(gate[0]);
        libc::close(gate[1]);
    }
    Ok(pid)
}

impl Tracer {
    /// A tracer of what the command line names.
    ///
    /// # Errors
    /// A message about what cannot be started or traced.
    pub fn new(options: Options) -> Result<Self, String> {
        let output = Output::new(&options)?;
        let mut tracer = Self {
            options,
            output,
            summary: Summary::default(),
            threads: HashMap::new(),
            child: None,
            end: End::Exit(0),
        };
        for pid in tracer.options.pids.clone() {
            tracer.attach(pid)?;
        }
        if !tracer.options.program.is_empty() {
            let flags = tracer.flags() | libc::PTRACE_O_EXITKILL;
            let pid = start(&tracer.options.program, |tracee| tracee.seize(flags))?;
            tracer.child = Some(pid);
            let state = State {
                hidden: true,
                ..State::default()
            };
            tracer.threads.insert(Tracee(pid), state);
        }
        Ok(tracer)
    }

    fn flags(&self) -> i32 {
        let mut flags = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACEEXEC;
        if self.options.follow {
            flags |=
                libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK;
        }
        flags
    }

    /// Trace a running process, with `-f` all of its threads.
    fn attach(&mut self, pid: i32) -> Result<(), String> {
        let mut tids = vec![pid];
        if self.options.follow
            && let Ok(list) = std::fs::read_dir(format!("/proc/{pid}/task"))
        {
            tids = list
                .flatten()
                .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
                .collect();
        }
        for tid in tids {
            let tracee = Tracee(tid);
            tracee
                .seize(self.flags())
                .and_then(|()| tracee.interrupt())
                .map_err(|error| format!("cannot trace process {tid}: {error}"))?;
            let state = State {
                attaching: true,
                ..State::default()
            };
            self.threads.insert(tracee, state);
        }
        Ok(())
    }

    /// Follow until all have ended.
    ///
    /// # Errors
    /// A message about what went wrong.
    pub fn run(mut self) -> Result<End, String> {
        while !self.threads.is_empty() {
            let mut status = 0;
            // SAFETY: `status` is a place for the status.
            let pid = unsafe { libc::waitpid(-1, &mut status, libc::__WALL) };
            if pid < 0 {
                match io::Error::last_os_error().raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::ECHILD) => break,
                    _ => return Err(last_error("wait")),
                }
            }
            self.step(Tracee(pid), status);
        }
        if self.options.count {
            let table = self.summary.table();
            self.output.raw(&table);
        }
        Ok(self.end)
    }

    /// Something has happened to a thread.
    fn step(&mut self, tracee: Tracee, status: i32) {
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            self.ended(tracee, status);
            return;
        }
        if let Entry::Vacant(new) = self.threads.entry(tracee) {
            new.insert(State::default());
            self.output.several = true;
        }
        let (signo, event) = (status >> 8 & 0xff, status >> 16);
        let resumed = match (signo, event) {
            (CALL_STOP, _) => {
                self.at_call(tracee);
                tracee.resume(0)
            }
            (libc::SIGTRAP, EVENT_STOP) => {
                self.first_stop(tracee);
                tracee.resume(0)
            }
            (signo, EVENT_STOP) => {
                if self.options.signals {
                    let name = signal::name(signo as u32);
                    self.line(tracee, &format!("--- stopped by {name} ---"));
                }
                tracee.listen()
            }
            (_, libc::PTRACE_EVENT_EXEC) => {
                self.executed(tracee);
                tracee.resume(0)
            }
            (_, 0) => {
                self.at_signal(tracee, signo);
                tracee.resume(signo)
            }
            _ => tracee.resume(0),
        };
        if resumed.is_err() {
            // It has been killed meanwhile: its end will be reported.
        }
    }

    fn first_stop(&mut self, tracee: Tracee) {
        let Some(state) = self.threads.get_mut(&tracee) else {
            return;
        };
        if std::mem::take(&mut state.attaching) && !self.options.quiet {
            eprintln!("strace: Process {} attached", tracee.0);
        }
    }

    /// A line, unless only counts are wanted.
    fn line(&mut self, tracee: Tracee, text: &str) {
        if !self.options.count {
            self.output.line(tracee, text);
        }
    }

    fn at_signal(&mut self, tracee: Tracee, signo: i32) {
        if !self.options.signals {
            return;
        }
        let text = match tracee.siginfo() {
            Ok(info) => format!(
                "--- {} {} ---",
                signal::name(signo as u32),
                signal::info(&info)
            ),
            Err(_) => format!("--- {} ---", signal::name(signo as u32)),
        };
        self.line(tracee, &text);
    }

    /// exec by another thread than the first: that one's number goes on with the new program.
    fn executed(&mut self, tracee: Tracee) {
        let old = tracee.event_message().map(|tid| Tracee(tid as i32));
        if let Ok(old) = old
            && old != tracee
            && let Some(state) = self.threads.remove(&old)
        {
            self.threads.insert(tracee, state);
        }
    }

    fn ended(&mut self, tracee: Tracee, status: i32) {
        let state = self.threads.remove(&tracee);
        self.output.abandon(tracee);
        let end = if libc::WIFEXITED(status) {
            End::Exit(libc::WEXITSTATUS(status))
        } else {
            End::Signal(libc::WTERMSIG(status))
        };
        if state.is_none_or(|state| !state.hidden) {
            let text = match end {
                End::Exit(status) => format!("+++ exited with {status} +++"),
                End::Signal(signo) => {
                    let core = if libc::WCOREDUMP(status) {
                        " (core dumped)"
                    } else {
                        ""
                    };
                    format!("+++ killed by {}{core} +++", signal::name(signo as u32))
                }
            };
            self.line(tracee, &text);
        }
        if Some(tracee.0) == self.child {
            self.end = end;
        }
    }

    fn at_call(&mut self, tracee: Tracee) {
        match tracee.call_stop() {
            Ok(CallStop::Entry { number, arguments }) => self.enter(tracee, number, arguments),
            Ok(CallStop::Exit { result }) => self.leave(tracee, result),
            Ok(CallStop::Other) | Err(_) => {}
        }
    }

    fn enter(&mut self, tracee: Tracee, number: u64, arguments: [u64; 6]) {
        let hides = |state: &mut State| {
            if state.hidden && number != libc::SYS_execve as u64 {
                return true;
            }
            state.hidden = false;
            false
        };
        if self.threads.get_mut(&tracee).is_none_or(hides) || !self.options.shows(number) {
            return;
        }
        let mut shown = 0;
        if !self.options.count {
            let (text, count) = self.arguments(tracee, number, &arguments, 0, None);
            shown = count;
            self.output
                .begin(tracee, &format!("{}({text}", table::name(number)));
        }
        if let Some(state) = self.threads.get_mut(&tracee) {
            state.begun = Some(Begun {
                number,
                arguments,
                shown,
                since: Instant::now(),
            });
        }
        if call_of(number).is_some_and(|call| call.result == Ret::Never) && !self.options.count {
            self.output.end(tracee, &table::name(number), ")", "?");
        }
    }

    /// The text of arguments from `first` on: up to the first one that the kernel fills, or, when
    /// the call is over, all. Gives how many have been shown.
    fn arguments(
        &self,
        tracee: Tracee,
        number: u64,
        arguments: &[u64; 6],
        first: usize,
        result: Option<i64>,
    ) -> (String, usize) {
        const UNKNOWN: &[Arg] = &[Arg::Hex; 6];
        let (name, kinds) =
            call_of(number).map_or(("", UNKNOWN), |call| (call.name, call.arguments));
        let all = argument::count(name, arguments, kinds.len());
        let context = Context {
            tracee,
            name,
            arguments,
            result,
            limit: self.options.string_limit,
        };
        let mut text = String::new();
        let mut index = first;
        while index < all {
            let kind = kinds[index];
            if result.is_none() && kind.is_out() {
                break;
            }
            if index > 0 {
                text.push_str(", ");
            }
            text += &context.show(kind, index);
            index += 1;
        }
        (text, index)
    }

    fn leave(&mut self, tracee: Tracee, result: i64) {
        let Some(begun) = self
            .threads
            .get_mut(&tracee)
            .and_then(|state| state.begun.take())
        else {
            return;
        };
        let took = begun.since.elapsed();
        let name = table::name(begun.number);
        if self.options.count {
            self.summary.add(&name, took, (-4095..0).contains(&result));
            return;
        }
        let (text, _) = self.arguments(
            tracee,
            begun.number,
            &begun.arguments,
            begun.shown,
            Some(result),
        );
        let mut shown = self.result(begun.number, result);
        if self.options.durations {
            shown += &format!(" <{:.6}>", took.as_secs_f64());
        }
        self.output.end(tracee, &name, &format!("{text})"), &shown);
    }

    fn result(&self, number: u64, result: i64) -> String {
        let error = i32::try_from(result.wrapping_neg()).unwrap_or(0);
        if (1..4096).contains(&error) {
            if let Some((name, text)) = errno::restart(error) {
                return format!("? {name} ({text})");
            }
            return match errno::name(error) {
                Some(name) => format!("-1 {name} ({})", errno::text(error)),
                None => format!("-1 (errno {error})"),
            };
        }
        match call_of(number).map(|call| call.result) {
            Some(Ret::Address) => structs::address(result as u64),
            Some(Ret::Mode) => structs::octal(result as u64),
            Some(_) => result.to_string(),
            None => format!("{result:#x}"),
        }
    }
}
