//! Processes and threads.
//!
//! | file | what |
//! |---|---|
//! | `process`, `thread` | [`Process`]: what threads share; [`Task`]: one thread |
//! | `shared` | what processes may share: descriptors, working directory |
//! | `table`, `family` | all by number; groups and sessions |
//! | `start`, `fork`, `completion`, `exec`, `elf`, `stack`, `exit`, `wait` | their lives |
//! | `signal` | signals and job control |
//! | `core_dump` | what is left of a program that a signal has ended |
//! | `ptrace` | one process watches and changes another |
//! | `futex`, `futex_pi`, `robust` | user-space locks |
//! | `pidfd` | processes as descriptors |
//! | `creds`, `rlimit`, `usage`, `oom` | who, how much at most, how much so far, and who goes when there is nothing left |
//! | `mapped` | the names of mapped files |
//! | `kstack`, `loadavg` | kernel stacks; how busy the machine is |

mod completion;
pub mod core_dump;
mod creds;
mod elf;
pub mod exec;
pub mod exit;
mod family;
pub mod fork;
pub mod futex;
pub mod futex_pi;
pub mod kstack;
pub mod loadavg;
pub mod mapped;
pub mod oom;
pub mod pidfd;
mod process;
pub mod ptrace;
pub mod rlimit;
mod robust;
mod shared;
pub mod signal;
mod stack;
mod start;
pub mod table;
pub mod thread;
mod usage;
pub mod wait;

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

pub use creds::{CAP_LAST, Creds};
pub use family::{set_process_group, start_session};
pub use process::Process;
pub use robust::HEAD_SIZE as ROBUST_HEAD_SIZE;
pub use start::{init, spawn_init, start_kernel_thread};
pub use table::{all_processes, find_process, find_task};
pub use thread::{COMM_LEN, RestartBlock, Task};
pub use usage::Usage;

use crate::arch::trap::Exception;
use crate::arch::{TrapFrame, percpu};
use crate::mm::AddressSpace;
use crate::{sched, syscall};

/// The running task.
#[inline(always)]
pub fn current() -> &'static Task {
    // SAFETY: `init` and the scheduler keep this pointer at the running task, which is alive while
    // it runs. The reference must not outlive the task; code that runs *in* the task cannot.
    unsafe { &*percpu::current().cast::<Task>() }
}

/// The running task, counted.
pub fn current_arc() -> Arc<Task> {
    let task: *const Task = current();
    // SAFETY: every task is made by `Arc::new_cyclic` and alive while it runs.
    unsafe {
        Arc::increment_strong_count(task);
        Arc::from_raw(task)
    }
}

/// The process of the running task.
#[inline(always)]
pub fn current_process() -> &'static Process {
    &current().process
}

/// The address space of the running program; none in the idle task.
#[inline]
pub fn current_space() -> Option<&'static AddressSpace> {
    current_process().own_space()
}

/// Flags that say what a task is, not what has to be done.
const LASTING: u32 = thread::TRACED | thread::TRACE_CALLS;

/// The running program has a page fault: a minor one until [`count_major_fault`] says otherwise.
#[inline(always)]
pub fn count_fault() {
    current_process()
        .minor_faults
        .fetch_add(1, Ordering::Relaxed);
}

/// Its page fault had to read from a device.
pub fn count_major_fault() {
    let process = current_process();
    process.minor_faults.fetch_sub(1, Ordering::Relaxed);
    process.major_faults.fetch_add(1, Ordering::Relaxed);
}

/// Work before a return to ring 3: let others run, act on signals. Runs only if somebody set the
/// processor's work flag.
pub fn on_user_return(frame: &mut TrapFrame) {
    loop {
        if sched::need_resched() {
            sched::schedule();
        }
        let me = current();
        if me.work_flags() & !LASTING != 0 {
            me.clear_flags(thread::RELOAD);
            signal::deliver(frame);
        }
        if me.work_flags() & !LASTING == 0 && !sched::need_resched() {
            break;
        }
    }
    if current().work_flags() & thread::TRACE_CALLS != 0 {
        syscall::follow(true);
    }
    sched::start_slice();
    percpu::clear_work();
}

/// The running program raised an exception that nothing resolved.
pub fn user_exception(frame: &mut TrapFrame, exception: Exception) {
    signal::fault(frame, exception);
}
