//! Child processes that run a closure.

use super::report::exit;
use std::sync::Mutex;

/// The children of this process that have not been waited for.
static CHILDREN: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// How a process has ended, or what else a wait has seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with a status.
    Code(i32),
    /// A signal has killed it.
    Signal(i32),
    /// A signal has killed it and it has dumped core.
    Core(i32),
    /// A signal has stopped it.
    Stopped(i32),
    /// SIGCONT has continued it.
    Continued,
}

impl Exit {
    /// From the status that `wait4(2)` stores.
    pub fn from_status(status: i32) -> Self {
        if libc::WIFEXITED(status) {
            Exit::Code(libc::WEXITSTATUS(status))
        } else if libc::WIFCONTINUED(status) {
            Exit::Continued
        } else if libc::WIFSTOPPED(status) {
            Exit::Stopped(libc::WSTOPSIG(status))
        } else if libc::WCOREDUMP(status) {
            Exit::Core(libc::WTERMSIG(status))
        } else {
            Exit::Signal(libc::WTERMSIG(status))
        }
    }

    /// The signal that has killed it, if one has.
    pub fn signal(self) -> Option<i32> {
        match self {
            Exit::Signal(signal) | Exit::Core(signal) => Some(signal),
            _ => None,
        }
    }
}

/// A child; killed and waited for when dropped.
pub struct Child {
    pid: i32,
    waited: bool,
}

impl Child {
    /// A child made by other means.
    pub fn from_pid(pid: i32) -> Self {
        if let Ok(mut children) = CHILDREN.lock() {
            children.push(pid);
        }
        Child { pid, waited: false }
    }

    /// Its process number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Send it a signal.
    pub fn kill(&self, signal: i32) {
        ok!(libc::SYS_kill, self.pid, signal);
    }

    /// Wait until it has ended.
    pub fn wait(mut self) -> Exit {
        self.wait_with(0).expect("a blocking wait saw nothing")
    }

    /// `wait4(2)` with options: `None` where WNOHANG found nothing.
    pub fn wait_with(&mut self, options: i32) -> Option<Exit> {
        let mut status = 0;
        loop {
            match call!(libc::SYS_wait4, self.pid, &mut status, options, 0) {
                Ok(0) => return None,
                Ok(_) => break,
                Err(error) if error.0 == libc::EINTR => {}
                Err(error) => panic!("wait4: {error:?}"),
            }
        }
        let seen = Exit::from_status(status);
        if !matches!(seen, Exit::Stopped(_) | Exit::Continued) {
            self.forget();
        }
        Some(seen)
    }

    /// Somebody else waits for it.
    pub fn forget(&mut self) {
        self.waited = true;
        if let Ok(mut children) = CHILDREN.lock() {
            children.retain(|pid| *pid != self.pid);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.waited {
            let _ = call!(libc::SYS_kill, self.pid, libc::SIGKILL);
            self.wait_with(0);
        }
    }
}

/// Run `body` in a child, which then exits with status 0; an assertion that fails in it ends it with
/// another status.
pub fn fork(body: impl FnOnce()) -> Child {
    // SAFETY: the tests fork while no other thread holds a lock that the child needs.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            if let Ok(mut children) = CHILDREN.lock() {
                children.clear();
            }
            body();
            exit(0)
        }
        pid => Child::from_pid(pid),
    }
}

/// A child that does nothing until a signal ends it.
pub fn sleeper() -> Child {
    fork(|| {
        loop {
            let _ = call!(libc::SYS_pause);
        }
    })
}

/// How a child that runs `body` ends.
pub fn in_child(body: impl FnOnce()) -> Exit {
    fork(body).wait()
}

/// Run `body`'s assertions in a child: what it does to its process stays there.
pub fn isolated(body: impl FnOnce()) {
    assert_eq!(in_child(body), Exit::Code(0));
}

/// Kill and wait for the children that are left.
pub fn kill_all() {
    let left = CHILDREN
        .try_lock()
        .map(|mut list| std::mem::take(&mut *list));
    for pid in left.unwrap_or_default() {
        let _ = call!(libc::SYS_kill, pid, libc::SIGKILL);
        let _ = call!(libc::SYS_wait4, pid, 0, 0, 0);
    }
}
