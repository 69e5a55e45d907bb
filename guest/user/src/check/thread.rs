//! Threads: clone's sharing, thread-local storage, exit and exec with several.

use crate::frame::child::{Exit, fork, in_child, isolated};
use crate::frame::descriptor::pipe;
use crate::frame::mapping::Mapping;
use crate::frame::report::exit;
use crate::frame::signals::raise;
use crate::frame::state::wait_until;
use crate::frame::thread::{clone, spawn};
use libc::*;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier};

tests!(
    membarrier_tells_what_it_knows_and_does_it,
    threads_share_memory_and_process_number,
    first_thread_number_is_the_process_number,
    every_thread_has_storage_of_its_own,
    segment_base_can_be_set_and_read,
    threads_share_descriptors,
    threads_share_the_working_directory,
    threads_have_names_of_their_own,
    many_threads_run_at_once,
    exit_group_ends_all_threads,
    exit_ends_one_thread,
    process_lives_while_any_thread_does,
    fatal_signal_ends_all_threads,
    fault_in_a_thread_ends_all_threads,
    child_of_a_thread_belongs_to_the_process,
    fork_copies_only_the_calling_thread,
    cleared_thread_number_wakes_a_waiter,
    thread_flags_without_memory_are_einval,
    stop_stops_all_threads,
    threads_are_listed_in_proc,
    thread_that_yields_lets_others_run,
    affinity_names_the_processors,
    clone3_makes_a_process,
    clone3_of_bad_arguments_is_an_error,
);

fn threads_share_memory_and_process_number() {
    let value = Arc::new(AtomicU32::new(0));
    let theirs = value.clone();
    let (pid, tid) = spawn(move || {
        theirs.store(5, SeqCst);
        (ok!(SYS_getpid), ok!(SYS_gettid))
    })
    .join();
    assert_eq!(value.load(SeqCst), 5);
    assert_eq!(pid, ok!(SYS_getpid));
    assert_ne!(tid, ok!(SYS_gettid));
}

fn first_thread_number_is_the_process_number() {
    assert_eq!(ok!(SYS_gettid), ok!(SYS_getpid));
}

fn every_thread_has_storage_of_its_own() {
    thread_local!(static VALUE: Cell<u32> = const { Cell::new(1) });
    VALUE.set(2);
    let theirs = spawn(|| {
        let before = VALUE.get();
        VALUE.set(3);
        before
    })
    .join();
    assert_eq!((theirs, VALUE.get()), (1, 2));
}

fn segment_base_can_be_set_and_read() {
    const ARCH_SET_GS: i32 = 0x1001;
    const ARCH_SET_FS: i32 = 0x1002;
    const ARCH_GET_FS: i32 = 0x1003;
    let memory = Mapping::anonymous(1);
    memory.set(8, 42);
    ok!(SYS_arch_prctl, ARCH_SET_GS, memory.at);
    let value: u64;
    // SAFETY: reads the byte set above.
    unsafe { std::arch::asm!("movzx {0:r}, byte ptr gs:[8]", out(reg) value) };
    assert_eq!(value, 42);
    let mut base = 0usize;
    ok!(SYS_arch_prctl, ARCH_GET_FS, &mut base);
    assert_ne!(base, 0);
    fails!(EPERM, SYS_arch_prctl, ARCH_SET_FS, 1usize << 63);
    fails!(EINVAL, SYS_arch_prctl, 0x9999, 0);
}

fn threads_share_descriptors() {
    let (reader, writer) = pipe(0);
    let number = writer.0;
    spawn(move || drop(ok!(SYS_close, number))).join();
    assert_eq!(reader.read(1), Ok(vec![]));
    std::mem::forget(writer);
}

fn threads_share_the_working_directory() {
    spawn(|| drop(ok!(SYS_chdir, c"/proc"))).join();
    assert_eq!(std::env::current_dir().unwrap().to_str(), Some("/proc"));
}

fn threads_have_names_of_their_own() {
    let name = || {
        let mut name = [0u8; 16];
        ok!(SYS_prctl, PR_GET_NAME, &mut name);
        name
    };
    let before = name();
    let theirs = spawn(move || {
        ok!(SYS_prctl, PR_SET_NAME, c"worker");
        name()
    })
    .join();
    assert_eq!(&theirs[..7], b"worker\0");
    assert_eq!(name(), before);
}

fn many_threads_run_at_once() {
    let barrier = Arc::new(Barrier::new(33));
    let threads: Vec<_> = (0..32)
        .map(|i| {
            let barrier = barrier.clone();
            spawn(move || {
                barrier.wait();
                i
            })
        })
        .collect();
    barrier.wait();
    let sum: u32 = threads.into_iter().map(|thread| thread.join()).sum();
    assert_eq!(sum, 31 * 32 / 2);
}

/// Threads that never come back.
fn sleepers(count: usize) {
    for _ in 0..count {
        spawn(|| {
            loop {
                let _ = call!(SYS_pause);
            }
        })
        .wait_until_asleep();
    }
}

fn exit_group_ends_all_threads() {
    let end = in_child(|| {
        sleepers(3);
        spawn(|| ok!(SYS_exit_group, 6)).join();
    });
    assert_eq!(end, Exit::Code(6));
}

fn exit_ends_one_thread() {
    isolated(|| {
        let (reader, writer) = pipe(0);
        let number = writer.0;
        let thread = spawn(move || {
            let _ = call!(SYS_write, number, c"x", 1);
            let _ = call!(SYS_exit, 9);
        });
        assert_eq!(reader.read(1), Ok(b"x".to_vec()));
        crate::frame::state::wait_until_dead_thread(thread.tid());
    });
}

fn process_lives_while_any_thread_does() {
    let end = in_child(|| {
        let first = std::process::id() as i32;
        spawn(move || {
            // The first thread is gone and yet the process is there.
            crate::frame::state::wait_until_dead_thread(first);
            exit(4)
        });
        ok!(SYS_exit, 3);
    });
    assert_eq!(end, Exit::Code(4));
}

fn fatal_signal_ends_all_threads() {
    let end = in_child(|| {
        sleepers(3);
        raise(SIGTERM);
    });
    assert_eq!(end, Exit::Signal(SIGTERM));
}

fn fault_in_a_thread_ends_all_threads() {
    let end = in_child(|| {
        sleepers(2);
        spawn(|| crate::frame::mapping::poke(8, 1)).join();
    });
    assert_eq!(end.signal(), Some(SIGSEGV));
}

fn child_of_a_thread_belongs_to_the_process() {
    let child = spawn(|| fork(|| exit(2))).join();
    assert_eq!(child.wait(), Exit::Code(2));
}

fn fork_copies_only_the_calling_thread() {
    sleepers(2);
    isolated(|| {
        assert_eq!(std::fs::read_dir("/proc/self/task").unwrap().count(), 1);
        assert_eq!(ok!(SYS_gettid), ok!(SYS_getpid));
    });
    assert_eq!(std::fs::read_dir("/proc/self/task").unwrap().count(), 3);
}

fn cleared_thread_number_wakes_a_waiter() {
    let memory = Mapping::shared(1);
    memory.word(0).store(1, SeqCst);
    let at = memory.at;
    // It shares memory, and so the word is cleared as it ends.
    let pid = clone(CLONE_VM | SIGCHLD, move || {
        ok!(SYS_set_tid_address, at);
    });
    while memory.word(0).load(SeqCst) != 0 {
        let _ = call!(SYS_futex, at, FUTEX_WAIT, 1, 0);
    }
    assert_eq!(
        crate::frame::child::Child::from_pid(pid).wait(),
        Exit::Code(0)
    );
}

fn thread_flags_without_memory_are_einval() {
    fails!(EINVAL, SYS_clone, CLONE_THREAD | CLONE_VM, 0, 0, 0, 0);
    fails!(EINVAL, SYS_clone, CLONE_THREAD, 0, 0, 0, 0);
    fails!(EINVAL, SYS_unshare, CLONE_VM | 1);
}

fn stop_stops_all_threads() {
    let memory = Mapping::shared(1);
    let mut child = fork(|| {
        let at = memory.at;
        spawn(move || {
            loop {
                crate::frame::mapping::poke(at, crate::frame::mapping::peek(at).wrapping_add(1));
                let _ = call!(SYS_sched_yield);
            }
        });
        let _ = call!(SYS_pause);
    });
    while memory.get(0) == 0 {
        ok!(SYS_sched_yield);
    }
    child.kill(SIGSTOP);
    assert_eq!(child.wait_with(WUNTRACED), Some(Exit::Stopped(SIGSTOP)));
    wait_until(child.pid(), 'T');
    let before = memory.get(0);
    (0..20).for_each(|_| drop(ok!(SYS_sched_yield)));
    assert_eq!(memory.get(0), before);
}

fn threads_are_listed_in_proc() {
    sleepers(2);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    assert!(status.contains("Threads:\t3\n"));
    let own = spawn(|| {
        let tid = ok!(SYS_gettid);
        (
            tid,
            std::path::Path::new(&format!("/proc/self/task/{tid}/stat")).exists(),
        )
    })
    .join();
    assert!(own.1, "thread {} is not there", own.0);
}

fn thread_that_yields_lets_others_run() {
    let turn = Arc::new(AtomicU32::new(0));
    let theirs = turn.clone();
    let other = spawn(move || {
        for n in 0..50 {
            while theirs.load(SeqCst) != 2 * n + 1 {
                ok!(SYS_sched_yield);
            }
            theirs.store(2 * n + 2, SeqCst);
        }
    });
    for n in 0..50 {
        turn.store(2 * n + 1, SeqCst);
        while turn.load(SeqCst) != 2 * n + 2 {
            ok!(SYS_sched_yield);
        }
    }
    other.join();
}

fn affinity_names_the_processors() {
    let mut set = [0u64; 16];
    let len = ok!(SYS_sched_getaffinity, 0, 128, &mut set);
    assert!(len >= 8 && set.iter().any(|word| *word != 0));
    ok!(SYS_sched_setaffinity, 0, len, &set);
    fails!(EINVAL, SYS_sched_setaffinity, 0, 128, &[0u64; 16]);
    fails!(EINVAL, SYS_sched_getaffinity, 0, 1, &mut set);
}

fn clone3_makes_a_process() {
    let memory = Mapping::shared(1);
    let mut arguments = [0u64; 11];
    arguments[0] = CLONE_PARENT_SETTID as u64;
    arguments[3] = memory.at as u64;
    arguments[4] = SIGCHLD as u64;
    let pid = ok!(SYS_clone3, &arguments, 88);
    if pid == 0 {
        exit(8);
    }
    assert_eq!(memory.word(0).load(SeqCst) as usize, pid);
    assert_eq!(
        crate::frame::child::Child::from_pid(pid as i32).wait(),
        Exit::Code(8)
    );
}

fn clone3_of_bad_arguments_is_an_error() {
    let mut arguments = [0u64; 11];
    fails!(EINVAL, SYS_clone3, &arguments, 8);
    fails!(EFAULT, SYS_clone3, 8usize, 88);
    arguments[4] = 100;
    fails!(EINVAL, SYS_clone3, &arguments, 88);
    arguments[4] = 0;
    arguments[5] = 0x1000;
    fails!(EINVAL, SYS_clone3, &arguments, 88);
}

fn membarrier_tells_what_it_knows_and_does_it() {
    let known = ok!(SYS_membarrier, 0, 0, 0);
    assert_ne!(known & 1, 0);
    ok!(SYS_membarrier, 1, 0, 0);
    // Register, then use.
    ok!(SYS_membarrier, 16, 0, 0);
    ok!(SYS_membarrier, 8, 0, 0);
    fails!(EINVAL, SYS_membarrier, 0x4000_0000, 0, 0);
    fails!(EINVAL, SYS_membarrier, 0, 0x80, 0);
}
