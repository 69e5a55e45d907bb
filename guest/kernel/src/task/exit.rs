//! The end of threads and processes (`_exit(2)`, `exit_group(2)`).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::process::Process;
use super::signal::action::{SA_NOCLDWAIT, SIG_IGN};
use super::signal::{self, SIGCHLD, SIGCONT, SIGHUP, SigInfo, info};
use super::table::{Table, table};
use super::thread::Task;
use super::{core_dump, current, current_arc, futex, ptrace, robust, wait};
use crate::fs::{FdTable, FsContext};
use crate::mm::layout::PAGE;
use crate::mm::{space, user};
use crate::time::itimer;
use crate::{fs, power, sched, tty};

/// End the whole process with a wait status (`wait(2)`: exit status in bits 8 to 15, or the number
/// of a signal, with 0x80 for a core image).
pub fn exit_group(status: u32) -> ! {
    begin_group_exit(status);
    exit_thread(status)
}

/// As [`exit_group`], but the running thread ends where it would return to ring 3: what its call holds
/// is given back before.
pub(super) fn begin_group_exit(status: u32) {
    let process = &*current().process;
    let mut signals = process.signals.lock();
    if signals.exiting.is_none() {
        signals.exiting = Some(status);
        signal::wake_exiting(process);
    }
}

/// End the running thread; with the last one the process ends, with `status` unless the end of the
/// whole process has been asked for before.
pub fn exit_thread(status: u32) -> ! {
    let me = current_arc();
    if me.stack().is_some_and(|stack| !stack.is_intact()) {
        panic!("the kernel stack of task {} overflowed", me.tid());
    }
    let process = me.process.clone();
    core_dump::hold_still(&me);
    if me.is_traced() {
        ptrace::exiting(&me, status);
    }
    release_user_state(&me);
    table().tasks.remove(&me.tid());
    super::futex_pi::owner_ended(me.tid());
    let last = leave_threads(&me);
    if last {
        let status = process.signals.lock().exiting.unwrap_or(status);
        exit_process(&process, status);
    }
    if me.is_traced() {
        ptrace::ended(&me, status);
    }
    process.thread_exit.wake_all();
    drop(process);
    sched::exit_current(me)
}

/// Robust futexes, and the word that a joining thread waits for.
pub(super) fn release_user_state(me: &Task) {
    robust::release(me);
    let clear = me.clear_child_tid.swap(0, Ordering::Relaxed);
    // Nobody is left to look at the word if this was the only user of the address space.
    if clear != 0 && me.process.own_space().is_some() {
        // A bad address is the program's own affair.
        let _ = user::write_user(clear, &0u32);
        let _ = futex::wake(clear, 1, futex::MATCH_ANY);
    }
}

/// Leave the process's list of threads; true: it was the last one.
fn leave_threads(me: &Arc<Task>) -> bool {
    let process = &*me.process;
    process.dead_usage.lock().add(&me.usage());
    // What it used counts as the process's from here on.
    me.run_ns.store(0, Ordering::Relaxed);
    me.split.clear();
    me.since_ns.store(crate::time::now_ns(), Ordering::Relaxed);
    let mut signals = process.signals.lock();
    let counted = me.signals.lock().stopped;
    let last = {
        let mut threads = process.threads.lock();
        threads.retain(|t| !Arc::ptr_eq(t, me));
        threads.is_empty()
    };
    let all_stopped = signal::thread_ended(process, &mut signals, counted);
    // Signals for the process that this thread had been told of need another one to look.
    for thread in process.threads.lock().iter() {
        signal::recalculate(thread, &signals);
    }
    let signo = match signals.stop {
        signal::Stop::Stopped { signo } if all_stopped => Some(signo),
        _ => None,
    };
    drop(signals);
    if let Some(signo) = signo {
        signal::tell_parent(process, info::CLD_STOPPED, signo as i32);
    }
    last
}

/// The last thread of a process is gone: give back what it had, and tell the family.
fn exit_process(process: &Arc<Process>, status: u32) {
    if process.pid() == 1 {
        machine_end(status);
    }
    itimer::stop_all(process);
    crate::ipc::sem::exit(process.pid());
    let pages = process.own_space().map_or(0, |space| space.peak());
    process.dead_usage.lock().max_rss_kib = (pages * PAGE / 1024) as u64;
    ptrace::release_all(process);
    close_files(process);
    fs::unix::garbage::collect();
    fs::lock::exited(process.pid());
    leave_space(process);
    if let Some(vfork) = process.vfork.lock().take() {
        vfork.complete();
    }
    tty::disassociate(process);
    process.exe.lock().take();
    process.status.store(status, Ordering::Relaxed);
    leave_family(process, status);
    process.tell_watchers();
}

/// The first process has ended, and the machine ends with it.
fn machine_end(status: u32) -> ! {
    fs::unmount_all();
    let code = if status & 0x7f != 0 {
        128 + (status & 0x7f)
    } else {
        status >> 8 & 0xff
    };
    power::exit(code as i32)
}

fn close_files(process: &Process) {
    if process.files.is_shared() {
        // SAFETY: the last thread of the process, without locks.
        drop(unsafe { process.files.replace(FdTable::new()) });
    } else {
        let files = process.files.lock().close_all();
        drop(files);
    }
    let root = process.fs.lock().root.clone();
    // SAFETY: as above.
    drop(unsafe {
        process.fs.replace(FsContext {
            cwd: root.clone(),
            root,
            umask: 0,
        })
    });
}

/// Give up the address space; the processor goes on with the kernel's own tables.
pub(super) fn leave_space(process: &Process) {
    // SAFETY: the last thread of the process; the kernel's tables replace the space's before it is
    // dropped.
    unsafe {
        space::activate_kernel();
        drop(process.replace_space(None));
    }
}

/// Children go to the nearest subreaper or to the first process; groups that are orphaned and
/// stopped get SIGHUP and SIGCONT; the parent is told.
fn leave_family(process: &Arc<Process>, status: u32) {
    let mut orphans = Vec::new();
    let mut death_signals = Vec::new();
    let children;
    let new_parent;
    {
        let table = table();
        new_parent = find_reaper(&table, process);
        children = core::mem::take(&mut *process.children.lock());
        for child in &children {
            let signo = child.parent_death_signal().load(Ordering::Relaxed);
            if signo != 0 {
                death_signals.push((child.clone(), signo));
            }
            if let Some(reaper) = &new_parent {
                child.set_parent(reaper);
                child.exit_signal.store(SIGCHLD, Ordering::Relaxed);
                reaper.children.lock().push(child.clone());
            }
            // A group is orphaned by this end only if it was this process that tied it to the rest of
            // its session: as the parent of a member, or as a member with a parent outside.
            if child.pgid() != process.pgid()
                && child.sid() == process.sid()
                && signal::orphaned_stopped(&table, child.pgid(), None)
            {
                orphans.push(child.pgid());
            }
        }
        let tied = process
            .parent()
            .is_some_and(|p| p.pgid() != process.pgid() && p.sid() == process.sid());
        if tied && signal::orphaned_stopped(&table, process.pgid(), Some(process)) {
            orphans.push(process.pgid());
        }
        process.become_zombie();
    }
    for pgid in orphans {
        signal::send_to_group(pgid, SigInfo::kernel(SIGHUP));
        signal::send_to_group(pgid, SigInfo::kernel(SIGCONT));
    }
    for (child, signo) in death_signals {
        // Death of the parent is best effort.
        let _ = signal::send_to_process(&child, SigInfo::kernel(signo));
    }
    if let Some(reaper) = new_parent
        && children.iter().any(|child| child.is_zombie())
    {
        for child in children
            .iter()
            .filter(|child| child.is_zombie() && !ptrace::is_held_by_tracer(child))
        {
            tell_parent(child, child.exit_status());
        }
        reaper.child_events.wake_all();
    }
    if !ptrace::tell_tracer_of_end(process) {
        tell_parent(process, status);
    }
}

/// Who gets the children of a process that ends.
fn find_reaper(table: &Table, process: &Process) -> Option<Arc<Process>> {
    let mut ancestor = process.parent();
    while let Some(candidate) = ancestor {
        if candidate.subreaper().load(Ordering::Relaxed) && !candidate.is_dead() {
            return Some(candidate);
        }
        ancestor = candidate.parent();
    }
    table.process(1).cloned()
}

/// SIGCHLD (or whatever clone asked for) to the parent of a zombie. A parent that ignores SIGCHLD
/// has no zombies.
pub(super) fn tell_parent(process: &Arc<Process>, status: u32) {
    let Some(parent) = process.parent() else {
        reap(process);
        return;
    };
    let signo = process.exit_signal.load(Ordering::Relaxed);
    let action = *parent.signals.lock().actions.get(SIGCHLD);
    let forget =
        signo == SIGCHLD && (action.handler == SIG_IGN || action.flags & SA_NOCLDWAIT != 0);
    if signo != 0 && !(forget && action.handler == SIG_IGN) {
        let usage = process.usage();
        let (code, value) = wait::ended(status);
        let uid = process.creds.lock().uid;
        let mut info = SigInfo::child(
            code,
            process.pid(),
            uid,
            value,
            crate::time::ns_to_ticks(usage.user_ns),
            crate::time::ns_to_ticks(usage.system_ns),
        );
        info.signo = signo;
        // SIGCHLD is a standard signal: there is always room.
        let _ = signal::send_to_process(&parent, info);
    }
    if forget {
        reap(process);
    }
    parent.child_events.wake_all();
}

/// Remove a zombie for good: nobody will ask for it again. False: somebody else did it.
pub(super) fn reap(process: &Arc<Process>) -> bool {
    let mut table = table();
    if !process.reap() {
        return false;
    }
    table.processes.remove(&process.pid());
    if let Some(parent) = process.parent() {
        parent
            .children
            .lock()
            .retain(|child| !Arc::ptr_eq(child, process));
    }
    drop(table);
    ptrace::forget_leader(process);
    true
}
