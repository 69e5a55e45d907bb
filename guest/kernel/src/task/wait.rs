//! Waiting for children (`wait4(2)`, `waitid(2)`).

use alloc::sync::Arc;

use super::signal::{SIGCHLD, SIGCONT, Unreported, info};
use super::{Process, Usage, current_process, exit, ptrace};
use crate::errno::{Errno, KResult};

/// Return at once if no child has changed state.
pub const WNOHANG: u32 = 1;
/// Also children that have stopped (`WSTOPPED`).
pub const WUNTRACED: u32 = 2;
/// Children that have ended (`waitid`).
pub const WEXITED: u32 = 4;
/// Also children that have been continued.
pub const WCONTINUED: u32 = 8;
/// Leave the child as it is, to be waited for again (`waitid`).
pub const WNOWAIT: u32 = 0x0100_0000;
/// Only children of this thread: no difference here.
pub const WNOTHREAD: u32 = 0x2000_0000;
/// All children, whatever their exit signal.
pub const WALL: u32 = 0x4000_0000;
/// Only children that have an exit signal other than SIGCHLD.
pub const WCLONE: u32 = 0x8000_0000;

/// Which children are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Any.
    Any,
    /// The one with this number.
    Pid(u32),
    /// Those of this group.
    Group(u32),
}

/// A change of state of a child.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The child.
    pub pid: u32,
    /// Its real user.
    pub uid: u32,
    /// Wait status, as wait4 gives it.
    pub status: u32,
    /// `si_code`.
    pub code: i32,
    /// `si_status`.
    pub value: i32,
    /// What it and its own children have used.
    pub usage: Usage,
}

fn matches(child: &Process, target: Target, options: u32) -> bool {
    let right = match target {
        Target::Any => true,
        Target::Pid(pid) => child.pid() == pid,
        Target::Group(pgid) => child.pgid() == pgid,
    };
    let clone = child
        .exit_signal
        .load(core::sync::atomic::Ordering::Relaxed)
        != SIGCHLD;
    right && (options & WALL != 0 || clone == (options & WCLONE != 0))
}

/// `si_code` and `si_status` for the wait status of an end.
pub(super) fn ended(status: u32) -> (i32, i32) {
    match status & 0x7f {
        0 => (info::CLD_EXITED, (status >> 8 & 0xff) as i32),
        signal if status & 0x80 != 0 => (info::CLD_DUMPED, signal as i32),
        signal => (info::CLD_KILLED, signal as i32),
    }
}

/// What of a child can be reported now.
fn event_of(child: &Process, options: u32) -> Option<Event> {
    let event = |status, code, value| Event {
        pid: child.pid(),
        uid: child.creds.lock().uid,
        status,
        code,
        value,
        usage: {
            let mut usage = child.usage();
            usage.add(&child.child_usage());
            usage
        },
    };
    if child.is_zombie() {
        if options & WEXITED == 0 || ptrace::is_held(child) {
            return None;
        }
        let status = child.exit_status();
        let (code, value) = ended(status);
        return Some(event(status, code, value));
    }
    if options & (WUNTRACED | WCONTINUED) == 0 || child.is_dead() {
        return None;
    }
    let unreported = {
        let mut signals = child.signals.lock();
        let wanted = match signals.unreported {
            Some(Unreported::Stopped(_)) => options & WUNTRACED != 0 && signals.is_stopped(),
            Some(Unreported::Continued) => options & WCONTINUED != 0,
            None => false,
        };
        match (wanted, options & WNOWAIT != 0) {
            (false, _) => None,
            (true, true) => signals.unreported,
            (true, false) => signals.unreported.take(),
        }
    }?;
    Some(match unreported {
        Unreported::Stopped(signo) => event(signo << 8 | 0x7f, info::CLD_STOPPED, signo as i32),
        Unreported::Continued => event(0xffff, info::CLD_CONTINUED, SIGCONT as i32),
    })
}

/// One look at the children.
enum Look {
    Found(Event, Arc<Process>),
    /// A traced thread has stopped or ended; no more is to be done about it.
    Traced(Event),
    /// There are such children, but nothing has happened to them.
    NotYet,
    NoSuchChild,
}

fn look(parent: &Process, target: Target, options: u32) -> Look {
    let children = parent.children.lock();
    let mut any = false;
    for child in children
        .iter()
        .filter(|child| matches(child, target, options))
    {
        any |= !child.is_dead() || child.is_zombie();
        if let Some(event) = event_of(child, options) {
            return Look::Found(event, child.clone());
        }
    }
    drop(children);
    match ptrace::look(parent, target, options) {
        ptrace::Look::Event(event) => Look::Traced(event),
        ptrace::Look::NotYet => Look::NotYet,
        ptrace::Look::None if any => Look::NotYet,
        ptrace::Look::None => Look::NoSuchChild,
    }
}

/// Wait until a child of the running process that `target` names changes state in one of the ways
/// that `options` (WEXITED, WUNTRACED, WCONTINUED; WNOHANG, WNOWAIT) asks for. None: with WNOHANG,
/// nothing has happened.
///
/// # Errors
/// ECHILD: there is no such child. ERESTARTSYS: a signal.
pub fn wait(target: Target, options: u32) -> KResult<Option<Event>> {
    let parent = current_process();
    loop {
        let found = parent
            .child_events
            .wait(|| match look(parent, target, options) {
                Look::Found(event, child) => Some(Ok(Some((event, Some(child))))),
                Look::Traced(event) => Some(Ok(Some((event, None)))),
                Look::NoSuchChild => Some(Err(Errno::ECHILD)),
                Look::NotYet if options & WNOHANG != 0 => Some(Ok(None)),
                Look::NotYet => None,
            })??;
        let Some((event, child)) = found else {
            return Ok(None);
        };
        let Some(child) = child else {
            return Ok(Some(event));
        };
        if !child.is_zombie() || options & WNOWAIT != 0 {
            return Ok(Some(event));
        }
        // Another thread may have been quicker.
        if exit::reap(&child) {
            parent.child_usage.lock().add(&event.usage);
            return Ok(Some(event));
        }
    }
}
