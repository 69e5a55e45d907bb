//! Process groups and sessions (`setpgid(2)`, `setsid(2)`).

use core::sync::atomic::Ordering;

use super::current_process;
use super::table::table;
use crate::errno::{Errno, KResult};

/// `setpgid`: put process `pid` (0: the running one) into group `pgid` (0: one of its own).
///
/// # Errors
/// ESRCH: neither the running process nor a child of it. EACCES: the child has called exec.
/// EPERM: a session leader, another session, or a group that is not in the session.
pub fn set_process_group(pid: u32, pgid: u32) -> KResult<()> {
    let me = current_process();
    let table = table();
    let pid = if pid == 0 { me.pid() } else { pid };
    let pgid = if pgid == 0 { pid } else { pgid };
    let target = table
        .process(pid)
        .filter(|p| !p.is_dead())
        .ok_or(Errno::ESRCH)?;
    if target.pid() != me.pid() {
        if target.ppid() != me.pid() {
            return Err(Errno::ESRCH);
        }
        if target.sid() != me.sid() {
            return Err(Errno::EPERM);
        }
        if target.has_execed.load(Ordering::Relaxed) {
            return Err(Errno::EACCES);
        }
    }
    if target.sid() == target.pid() {
        return Err(Errno::EPERM);
    }
    if pgid != pid && !table.group(pgid).any(|p| p.sid() == me.sid()) {
        return Err(Errno::EPERM);
    }
    target.set_pgid(pgid);
    Ok(())
}

/// `setsid`: the running process leads a new session and a new group, without a terminal.
///
/// # Errors
/// EPERM: it leads a group already.
pub fn start_session() -> KResult<u32> {
    let me = current_process();
    let pid = me.pid();
    {
        let table = table();
        if table.group(pid).next().is_some() {
            return Err(Errno::EPERM);
        }
        if let Some(process) = table.process(pid) {
            process.set_sid(pid);
            process.set_pgid(pid);
        }
    }
    me.ctty.lock().take();
    Ok(pid)
}
