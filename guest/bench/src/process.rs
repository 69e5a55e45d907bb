//! Calls, switches, processes and signals.

use crate::{Outcome, check};
use std::ptr;

pub fn getppid(count: u64) -> Outcome {
    for _ in 0..count {
        // SAFETY: takes nothing, touches nothing.
        unsafe { libc::getppid() };
    }
    Ok(())
}

/// Run `child` in a new process, which ends with status 0, or 1 if it failed; its pid.
fn spawn(child: impl FnOnce() -> Outcome) -> std::io::Result<i32> {
    // SAFETY: this program has one thread, so the child may do what it likes.
    match check(unsafe { libc::fork() })? {
        0 => {
            let status = i32::from(child().is_err());
            // SAFETY: ends the child without running what the parent registered.
            unsafe { libc::_exit(status) }
        }
        pid => Ok(pid as i32),
    }
}

/// A process that runs until this value is dropped.
pub struct Child(i32);

impl Child {
    /// Start `work` in a new process.
    pub fn spawn(work: impl FnOnce() -> Outcome) -> std::io::Result<Self> {
        spawn(work).map(Self)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: this process's own child, which nobody else waits for.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, ptr::null_mut(), 0);
        }
    }
}

/// Wait for the end of a child; an error unless its status is 0.
pub fn wait(pid: i32) -> Outcome {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the status.
    check(unsafe { libc::waitpid(pid, &mut status, 0) })?;
    if status == 0 {
        Ok(())
    } else {
        Err(std::io::Error::other(format!(
            "child ended with {status:#x}"
        )))
    }
}

fn yield_times(count: u64) -> Outcome {
    for _ in 0..count {
        // SAFETY: takes nothing, touches nothing.
        unsafe { libc::sched_yield() };
    }
    Ok(())
}

pub fn yields(count: u64) -> Outcome {
    let child = spawn(|| yield_times(count / 2))?;
    yield_times(count / 2)?;
    wait(child)
}

/// The two ends of a new pipe: to read from and to write to.
pub fn new_pipe() -> std::io::Result<[i32; 2]> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    check(unsafe { libc::pipe(ends.as_mut_ptr()) })?;
    Ok(ends)
}

pub fn receive(fd: i32) -> Outcome {
    let mut byte = 0u8;
    // SAFETY: room for one byte.
    match check(unsafe { libc::read(fd, (&raw mut byte).cast(), 1) } as i64)? {
        1 => Ok(()),
        _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

pub fn send(fd: i32) -> Outcome {
    let byte = 0u8;
    // SAFETY: one byte to read.
    check(unsafe { libc::write(fd, (&raw const byte).cast(), 1) } as i64).map(|_| ())
}

pub fn pipe(count: u64) -> Outcome {
    let [there_read, there_write] = new_pipe()?;
    let [back_read, back_write] = new_pipe()?;
    let child = spawn(|| {
        (0..count).try_for_each(|_| {
            receive(there_read)?;
            send(back_write)
        })
    })?;
    for _ in 0..count {
        send(there_write)?;
        receive(back_read)?;
    }
    wait(child)
}

pub fn forkwait(count: u64) -> Outcome {
    (0..count).try_for_each(|_| wait(spawn(|| Ok(()))?))
}

fn run(program: &std::ffi::CStr, args: &[&std::ffi::CStr]) -> Outcome {
    let mut argv: Vec<*const libc::c_char> = args.iter().map(|arg| arg.as_ptr()).collect();
    argv.push(ptr::null());
    let environment = [ptr::null()];
    wait(spawn(|| {
        // SAFETY: both arrays end with a null pointer and hold strings ended by NUL.
        check(unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), environment.as_ptr()) })
            .map(|_| ())
    })?)
}

pub fn exec(count: u64) -> Outcome {
    (0..count).try_for_each(|_| run(c"/bin/true", &[c"true"]))
}

pub fn shell(count: u64) -> Outcome {
    (0..count).try_for_each(|_| run(c"/bin/sh", &[c"sh", c"-c", c"true"]))
}

/// The macro workload: what small scripts do most, with Debian's busybox.
const SCRIPT: &std::ffi::CStr = c"
    set -e
    b=/bin/busybox
    dir=/tmp/script.$$
    $b mkdir $dir
    cd $dir
    for n in 1 2 3 4; do
        echo line $n >>text
        $b sed s/line/word/ text | $b sort -r | $b head -n 2 >out.$n
    done
    $b cat out.* | $b tr a-z A-Z | $b grep -c WORD >sum
    test $($b cat sum) = 7
    $b cp text copy
    $b cmp text copy
    cd /
    $b rm -r $dir
";

pub fn script(count: u64) -> Outcome {
    (0..count).try_for_each(|_| run(c"/bin/busybox", &[c"sh", c"-c", SCRIPT]))
}

/// Do `work` in so many processes at a time.
pub fn together(processes: usize, work: impl Fn() -> Outcome) -> Outcome {
    let children: Vec<i32> = (0..processes)
        .map(|_| spawn(&work))
        .collect::<Result<_, _>>()?;
    children.into_iter().try_for_each(wait)
}

extern "C" fn on_signal(_signal: i32) {}

pub fn signal(count: u64) -> Outcome {
    // SAFETY: the handler does nothing, so it may run anywhere.
    unsafe { libc::signal(libc::SIGUSR1, on_signal as *const () as libc::sighandler_t) };
    for _ in 0..count {
        // SAFETY: SIGUSR1 is caught.
        check(unsafe { libc::raise(libc::SIGUSR1) })?;
    }
    Ok(())
}
