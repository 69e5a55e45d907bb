//! New threads and processes (`clone(2)`, `fork(2)`, `vfork(2)`, `clone3(2)`).

use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;

use super::completion::Completion;
use super::current;
use super::kstack::KernelStack;
use super::process::{self, Process};
use super::ptrace;
use super::signal;
use super::signal::state::ProcessSignals;
use super::table::{PID_MAX, table};
use super::thread::{self, Task};
use crate::arch::TrapFrame;
use crate::arch::context::Context;
use crate::arch::syscall_entry;
use crate::errno::{Errno, KResult};
use crate::mm::{self, user};
use crate::sched;
use crate::sync::SpinLock;
use crate::task::rlimit::Resource;

/// Share the address space.
pub const CLONE_VM: u64 = 0x100;
/// Share root, working directory and umask.
pub const CLONE_FS: u64 = 0x200;
/// Share the descriptors.
pub const CLONE_FILES: u64 = 0x400;
/// Share the signal actions.
pub const CLONE_SIGHAND: u64 = 0x800;
/// A pidfd for the child.
pub const CLONE_PIDFD: u64 = 0x1000;
/// Trace the child as well, if the caller is traced.
pub const CLONE_PTRACE: u64 = 0x2000;
/// The parent sleeps until the child execs or ends.
pub const CLONE_VFORK: u64 = 0x4000;
/// The caller's parent becomes the child's.
pub const CLONE_PARENT: u64 = 0x8000;
/// A thread of the same process.
pub const CLONE_THREAD: u64 = 0x1_0000;
/// Share the adjustments of semaphores.
pub const CLONE_SYSVSEM: u64 = 0x4_0000;
/// Set the child's FS base.
pub const CLONE_SETTLS: u64 = 0x8_0000;
/// Store the child's number in the parent's memory.
pub const CLONE_PARENT_SETTID: u64 = 0x10_0000;
/// Do not trace the child, whatever the tracer asks for.
pub const CLONE_UNTRACED: u64 = 0x80_0000;
/// Clear the child's number in its memory when it ends, and wake a futex there.
pub const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
/// Store the child's number in its memory.
pub const CLONE_CHILD_SETTID: u64 = 0x100_0000;
/// Signal handlers back to the default (clone3).
pub const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// Namespaces, and other things that do not exist here: mount, cgroup, uts, ipc, user, pid, net.
const CLONE_NEW: u64 =
    0x2_0000 | 0x200_0000 | 0x400_0000 | 0x800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000;
/// The child's number is chosen by the caller, or its cgroup (clone3).
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Arguments of clone in all its forms.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneArgs {
    /// `CLONE_…`, without the exit signal.
    pub flags: u64,
    /// Stack pointer of the child; 0: the parent's.
    pub stack: usize,
    /// Where the parent finds the child's pidfd.
    pub pidfd: usize,
    /// Where the parent finds the child's number.
    pub parent_tid: usize,
    /// Where the child finds its number, and clears it.
    pub child_tid: usize,
    /// FS base.
    pub tls: usize,
    /// Signal to the parent at the child's end; 0: none.
    pub exit_signal: u32,
}

fn check_flags(args: &CloneArgs) -> KResult<()> {
    let flags = args.flags;
    let needs = |what: u64, other: u64| flags & what != 0 && flags & other == 0;
    if flags & (CLONE_NEW | CLONE_INTO_CGROUP) != 0 {
        return Err(if flags & CLONE_INTO_CGROUP != 0 {
            Errno::EINVAL
        } else {
            Errno::EPERM
        });
    }
    if needs(CLONE_SIGHAND, CLONE_VM)
        || needs(CLONE_THREAD, CLONE_SIGHAND)
        || (flags & CLONE_SIGHAND != 0 && flags & CLONE_CLEAR_SIGHAND != 0)
        // Threads share descriptors and working directory here: they belong to the process.
        || (flags & CLONE_THREAD != 0 && flags & (CLONE_FILES | CLONE_FS) != CLONE_FILES | CLONE_FS)
        || (flags & CLONE_PIDFD != 0 && flags & CLONE_THREAD != 0)
        || (args.exit_signal != 0 && !signal::is_valid(args.exit_signal))
    {
        return Err(Errno::EINVAL);
    }
    if flags & CLONE_SETTLS != 0 && args.tls >= mm::layout::USER_END {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// Most tasks that there can be: an eighth of memory for their kernel parts.
fn max_tasks() -> usize {
    (mm::total_frames() / 8 / 6).clamp(64, PID_MAX as usize / 2)
}

fn check_limits(me: &Task) -> KResult<()> {
    let uid = me.process.creds.lock().uid;
    let limit = me.process.rlimit(Resource::Processes);
    let table = table();
    if table.task_count() >= max_tasks() {
        return Err(Errno::EAGAIN);
    }
    if uid != 0 {
        let own = table
            .tasks
            .values()
            .filter(|t| t.process.creds.lock().uid == uid)
            .count();
        if own as u64 >= limit {
            return Err(Errno::EAGAIN);
        }
    }
    Ok(())
}

/// Make a child of the running task, whose registers are in `frame`. Gives the child's number.
///
/// # Errors
/// EINVAL, EPERM: flags. EAGAIN: too many tasks. ENOMEM: memory is short.
pub fn clone(frame: &TrapFrame, args: &CloneArgs) -> KResult<usize> {
    check_flags(args)?;
    let me = current();
    check_limits(me)?;
    let flags = args.flags;
    let stack = KernelStack::new()?;
    let fpu = sched::with_saved_fpu(me, |fpu| fpu.duplicate());
    let vfork = (flags & CLONE_VFORK != 0).then(|| Arc::new(Completion::new()));

    let thread = flags & CLONE_THREAD != 0;
    let tid = table().allocate()?;
    let process = if thread {
        me.process.clone()
    } else {
        new_process(me, tid, args, vfork.clone())?
    };

    let child_frame = stack.frame();
    let mut registers = *frame;
    registers.rax = 0;
    if args.stack != 0 {
        registers.rsp = args.stack;
    }
    let settid = if flags & CLONE_CHILD_SETTID != 0 {
        args.child_tid
    } else {
        0
    };
    // SAFETY: the frame is at the top of the new stack, the context right below it.
    let context = unsafe {
        child_frame.write(registers);
        Context::for_new_task(child_frame as usize & !15, child_start, settid)
    };
    let (comm, _) = me.comm();
    let child = Task::new(thread::Parts {
        tid,
        process: process.clone(),
        entity: sched::fork_entity(),
        stack: Some(stack),
        context,
        fpu,
        fs_base: if flags & CLONE_SETTLS != 0 {
            args.tls
        } else {
            sched::user_fs_base(me)
        },
        gs_base: sched::user_gs_base(me),
        blocked: me.blocked(),
        comm,
    });
    if flags & CLONE_CHILD_CLEARTID != 0 {
        child
            .clear_child_tid
            .store(args.child_tid, Ordering::Relaxed);
    }
    child
        .sched_policy
        .store(me.sched_policy.load(Ordering::Relaxed), Ordering::Relaxed);
    child
        .sched_priority
        .store(me.sched_priority.load(Ordering::Relaxed), Ordering::Relaxed);
    if flags & CLONE_VM == 0 || flags & CLONE_VFORK != 0 {
        // A thread that shares memory gets no alternate stack: two would run on it.
        let alt = me.signals.lock().alt;
        child.signals.lock().alt = alt;
    }
    if flags & CLONE_PARENT_SETTID != 0 {
        user::write_user(args.parent_tid, &tid)?;
    }
    let pidfd = match flags & CLONE_PIDFD {
        0 => None,
        _ => Some(pidfd_of_child(&process, args.pidfd)?),
    };
    if let Err(errno) = publish(me, &child, &process, thread) {
        if let Some(fd) = pidfd {
            let file = me.process.files.lock().remove(fd);
            drop(file);
        }
        return Err(errno);
    }
    if flags & CLONE_SYSVSEM != 0 && !thread {
        crate::ipc::sem::share(me.process.pid(), process.pid());
    }
    let event = if me.is_traced() {
        ptrace::follow_child(me, &child, args)
    } else {
        None
    };
    sched::start(&child);
    if let Some(event) = event {
        ptrace::event(event, u64::from(tid));
    }
    if let Some(done) = vfork {
        // The child uses this task's memory: nothing but its exec or end may wake it.
        done.wait();
        if me.is_traced() {
            ptrace::vfork_done(tid);
        }
    }
    Ok(tid as usize)
}

/// A descriptor for the child, stored at `at`.
fn pidfd_of_child(process: &Arc<Process>, at: usize) -> KResult<usize> {
    let me = super::current_process();
    let fd = me.install_file(super::pidfd::create(process, false), true)?;
    if let Err(errno) = user::write_user(at, &(fd as u32)) {
        let file = me.files.lock().remove(fd);
        drop(file);
        return Err(errno);
    }
    Ok(fd)
}

/// Enter the child into the tables. From here on signals reach it.
fn publish(me: &Task, child: &Arc<Task>, process: &Arc<Process>, thread: bool) -> KResult<()> {
    let mut table = table();
    {
        let signals = me.process.signals.lock();
        // A process that is being killed gets no new threads or children: a kill of a group must
        // be able to catch up with it.
        if signals.exiting.is_some() || signals.exec_by.is_some() {
            return Err(Errno::ERESTARTNOINTR);
        }
        process.threads.lock().push(child.clone());
        if thread {
            signal::recalculate(child, &signals);
        }
    }
    table.tasks.insert(child.tid(), child.clone());
    table.forks += 1;
    if !thread {
        table.processes.insert(process.pid(), process.clone());
        if let Some(parent) = process.parent() {
            parent.children.lock().push(process.clone());
        }
    }
    Ok(())
}

fn new_process(
    me: &Task,
    pid: u32,
    args: &CloneArgs,
    vfork: Option<Arc<Completion>>,
) -> KResult<Arc<Process>> {
    let flags = args.flags;
    let old = &me.process;
    let space = match old.own_space() {
        None => None,
        Some(_) if flags & CLONE_VM != 0 => old.space(),
        Some(space) => Some(space.fork()?),
    };
    let files = if flags & CLONE_FILES != 0 {
        old.files.share()
    } else {
        Arc::new(SpinLock::new(old.files.lock().fork()?))
    };
    let fs = if flags & CLONE_FS != 0 {
        old.fs.share()
    } else {
        Arc::new(SpinLock::new(old.fs.lock().clone()))
    };
    let mut actions = old.signals.lock().actions.clone();
    if flags & CLONE_CLEAR_SIGHAND != 0 {
        actions.reset_handlers();
    }
    let (parent, ppid) = if flags & CLONE_PARENT != 0 {
        let parent = old.parent();
        (
            parent.as_ref().map_or(Weak::new(), Arc::downgrade),
            old.ppid(),
        )
    } else {
        (Arc::downgrade(old), old.pid())
    };
    let exit_signal = if flags & CLONE_PARENT != 0 {
        old.exit_signal.load(Ordering::Relaxed)
    } else {
        args.exit_signal
    };
    let process = Process::new(process::Parts {
        pid,
        parent,
        ppid,
        pgid: old.pgid(),
        sid: old.sid(),
        exit_signal,
        creds: old.creds.lock().clone(),
        space,
        files,
        fs,
        rlimits: *old.rlimits.lock(),
        signals: ProcessSignals::new(actions),
        ctty: old.ctty.lock().clone(),
        exe: old.exe.lock().clone(),
        image: *old.image.lock(),
        vfork,
        dumpable: old.dumpable.load(Ordering::Relaxed),
        no_new_privs: old.no_new_privs(),
        oom_adjustment: old.oom_adjustment.load(Ordering::Relaxed),
        personality: old.personality.load(Ordering::Relaxed),
    });
    crate::time::itimer::cpu_limit_changed(&process);
    Ok(process)
}

/// First code of a child: finish the switch, store its number if asked to, and go to ring 3.
extern "C" fn child_start(settid: usize) -> ! {
    sched::finish_switch();
    let me = current();
    if settid != 0 {
        // A bad address is the program's own affair.
        let _ = user::write_user(settid, &me.tid());
    }
    let Some(frame) = me.frame() else {
        unreachable!("a child without a kernel stack")
    };
    // SAFETY: `clone` has put the parent's registers there, which came from ring 3.
    unsafe { syscall_entry::return_to_user(frame) }
}
