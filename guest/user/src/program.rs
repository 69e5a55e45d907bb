//! A program to execute: looked for on `PATH`, with its arguments and environment in the form that
//! the kernel takes.

use std::cell::UnsafeCell;
use std::ffi::CString;
use std::io;

use crate::sys::{self, Pid};

/// A program, its arguments and its environment.
pub struct Program {
    /// Where it may be.
    paths: Vec<CString>,
    argv: Strings,
    envp: Strings,
}

/// Strings ended by NUL, and pointers to them ended by a null pointer.
struct Strings {
    pointers: Vec<*const libc::c_char>,
    /// What the pointers point to.
    _owned: Vec<CString>,
}

impl Strings {
    fn new(strings: &[Vec<u8>]) -> Self {
        let owned: Vec<CString> = strings.iter().map(|s| sys::c_string(s)).collect();
        let mut pointers: Vec<_> = owned.iter().map(|s| s.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Strings {
            pointers,
            _owned: owned,
        }
    }
}

/// Why a program could not be started.
pub enum SpawnError {
    /// There can be no further process.
    Fork(io::Error),
    /// It cannot be executed.
    Exec(io::Error),
}

/// What a child does on the memory of its parent takes no more stack than this.
const STACK: usize = 16 << 10;

#[repr(align(16))]
struct Stack(UnsafeCell<[u8; STACK]>);

// SAFETY: used by one child at a time, while the only thread of the parent waits for it.
unsafe impl Sync for Stack {}

static CHILD_STACK: Stack = Stack(UnsafeCell::new([0; STACK]));

impl Program {
    /// The program `argv[0]`, looked for on `path` unless it has a slash.
    pub fn new(argv: &[Vec<u8>], environment: &[Vec<u8>], path: &[u8]) -> Self {
        let name = argv.first().map_or(&b""[..], |name| name);
        let paths = if name.is_empty() {
            Vec::new()
        } else if name.contains(&b'/') {
            vec![sys::c_string(name)]
        } else {
            let directories = path.split(|&b| b == b':');
            directories
                .map(|directory| match directory {
                    b"" => sys::c_string(&[b"./", name].concat()),
                    _ => sys::c_string(&[directory, b"/", name].concat()),
                })
                .collect()
        };
        Program {
            paths,
            argv: Strings::new(argv),
            envp: Strings::new(environment),
        }
    }

    /// The program in the file `path`, called by another name.
    pub fn at(path: Vec<u8>, argv: &[Vec<u8>], environment: &[Vec<u8>]) -> Self {
        Program {
            paths: vec![sys::c_string(&path)],
            argv: Strings::new(argv),
            envp: Strings::new(environment),
        }
    }

    /// Puts the program in the place of the calling one; returns only if that fails.
    pub fn exec(&self) -> io::Error {
        let mut failure = io::Error::from_raw_os_error(libc::ENOENT);
        for path in &self.paths {
            let (argv, envp) = (&self.argv.pointers, &self.envp.pointers);
            // SAFETY: the strings end with NUL, the arrays with a null pointer.
            unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                // Another directory may hold one that can be executed.
                Some(libc::EACCES) => failure = error,
                _ => return error,
            }
        }
        failure
    }

    /// Starts the program as a child. Nothing of the caller's memory is copied: the child uses it
    /// until it executes the program, and the caller waits for that. To be called only while no
    /// signal is caught, since a handler would run in the child too.
    pub fn spawn(&self) -> Result<Pid, SpawnError> {
        struct Start<'p> {
            program: &'p Program,
            error: Option<io::Error>,
        }
        extern "C" fn child(start: *mut libc::c_void) -> libc::c_int {
            // SAFETY: the parent passes a `Start` and waits, so this is the only reference.
            let start = unsafe { &mut *start.cast::<Start<'_>>() };
            start.error = Some(start.program.exec());
            sys::exit_now(127)
        }
        let mut start = Start {
            program: self,
            error: None,
        };
        // SAFETY: the stack is unused while the parent runs; `start` outlives the child's use of
        // this memory, which ends before clone returns (CLONE_VFORK).
        let pid = unsafe {
            libc::clone(
                child,
                CHILD_STACK.0.get().cast::<u8>().add(STACK).cast(),
                libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
                (&raw mut start).cast(),
            )
        };
        if pid < 0 {
            return Err(SpawnError::Fork(io::Error::last_os_error()));
        }
        match start.error {
            None => Ok(pid),
            Some(error) => {
                // It has ended already; there is nobody to tell of a failure.
                let _ = sys::wait_for(pid);
                Err(SpawnError::Exec(error))
            }
        }
    }
}

/// The exit status that says why a program could not be executed.
pub fn exec_status(error: &io::Error) -> i32 {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => 127,
        _ => 126,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_tells_missing_from_not_executable() {
        let of = |code| exec_status(&io::Error::from_raw_os_error(code));
        assert_eq!(
            (of(libc::ENOENT), of(libc::EACCES), of(libc::ENOEXEC)),
            (127, 126, 126)
        );
    }

    #[test]
    fn names_without_slash_are_looked_for_on_the_path() {
        let paths = |name: &[u8]| {
            let program = Program::new(&[name.to_vec()], &[], b"/bin::/x");
            let paths = program.paths.iter().map(|p| p.to_str().unwrap().to_owned());
            paths.collect::<Vec<_>>()
        };
        assert_eq!(paths(b"ls"), ["/bin/ls", "./ls", "/x/ls"]);
        assert_eq!(paths(b"./ls"), ["./ls"]);
        assert_eq!(paths(b""), [""; 0]);
    }

    #[test]
    fn spawned_program_gives_its_status_and_a_missing_one_its_error() {
        let program = |name: &str| Program::new(&[name.as_bytes().to_vec()], &[], b"/usr/bin:/bin");
        let pid = program("false").spawn().ok().unwrap();
        assert_eq!(sys::wait_for(pid).unwrap(), sys::Wait::Exited(1));
        let missing = program("no-such-program").spawn();
        assert!(matches!(missing, Err(SpawnError::Exec(e)) if exec_status(&e) == 127));
    }
}
