//! Process groups, sessions, resource limits, file locks.

use crate::frame::child::{Exit, fork, in_child, isolated};
use crate::frame::descriptor::Fd;
use crate::frame::gate::Gate;
use crate::frame::mapping::Mapping;
use crate::frame::plain::zeroed;
use crate::frame::scratch::Scratch;
use crate::frame::signals::{caught_signals, record};
use crate::frame::state::wait_until_asleep;
use libc::*;

tests!(
    child_is_in_the_group_and_session_of_its_parent,
    parent_puts_a_child_into_a_group,
    group_of_a_child_that_has_executed_is_eacces,
    group_in_another_session_is_eperm,
    setsid_makes_a_session_and_a_group,
    group_leader_cannot_make_a_session,
    numbers_of_unknown_processes_are_esrch,
    orphaned_stopped_group_is_woken,
    limits_are_read_and_lowered,
    soft_limit_above_the_hard_one_is_einval,
    limits_are_inherited_and_survive_exec,
    processor_time_limit_is_sigxcpu,
    process_limit_is_eagain,
    data_limit_stops_brk,
    flock_excludes_other_descriptions,
    flock_is_shared_by_copies_of_a_descriptor,
    flock_waits_until_it_is_free,
    record_lock_excludes_other_processes,
    record_locks_split_and_join,
    record_lock_is_released_by_any_close,
    record_lock_deadlock_is_edeadlk,
    description_lock_excludes_within_a_process,
    sysinfo_describes_the_machine,
    scheduling_policy_can_be_read,
);

fn child_is_in_the_group_and_session_of_its_parent() {
    let (group, session) = (ok!(SYS_getpgid, 0), ok!(SYS_getsid, 0));
    isolated(|| {
        assert_eq!((ok!(SYS_getpgrp), ok!(SYS_getsid, 0)), (group, session));
    });
}

fn parent_puts_a_child_into_a_group() {
    let gate = Gate::new();
    let child = fork(|| gate.pass());
    ok!(SYS_setpgid, child.pid(), 0);
    assert_eq!(ok!(SYS_getpgid, child.pid()), child.pid() as usize);
    gate.open();
    assert_eq!(child.wait(), Exit::Code(0));
}

fn group_of_a_child_that_has_executed_is_eacces() {
    let (reader, writer) = crate::frame::descriptor::pipe(O_CLOEXEC);
    let (_full, blocked) = crate::frame::descriptor::pipe(O_CLOEXEC);
    blocked.set_flags(O_NONBLOCK);
    while blocked.write([0; 4096]).is_ok() {}
    blocked.set_flags(0);
    let child = fork(|| {
        ok!(SYS_dup2, blocked.0, 1);
        crate::frame::program::become_role("pid", &[], &[]);
    });
    drop(writer);
    // Exec has closed the child's copy.
    assert!(reader.read_to_end().is_empty());
    fails!(EACCES, SYS_setpgid, child.pid(), 0);
}

fn group_in_another_session_is_eperm() {
    let ready = Gate::new();
    let child = fork(|| {
        ok!(SYS_setsid);
        ready.open();
        let _ = call!(SYS_pause);
    });
    ready.pass();
    fails!(EPERM, SYS_setpgid, child.pid(), child.pid());
    fails!(EPERM, SYS_setpgid, 0, child.pid());
    fails!(EINVAL, SYS_setpgid, 0, -1);
}

fn setsid_makes_a_session_and_a_group() {
    isolated(|| {
        let me = ok!(SYS_getpid);
        assert_eq!(ok!(SYS_setsid), me);
        assert_eq!((ok!(SYS_getsid, 0), ok!(SYS_getpgrp)), (me, me));
        // It has no terminal.
        fails!(ENXIO, SYS_open, c"/dev/tty", O_RDWR, 0);
    });
}

fn group_leader_cannot_make_a_session() {
    isolated(|| {
        ok!(SYS_setpgid, 0, 0);
        fails!(EPERM, SYS_setsid);
    });
}

fn numbers_of_unknown_processes_are_esrch() {
    fails!(ESRCH, SYS_getpgid, 0x3fff_ffff);
    fails!(ESRCH, SYS_getsid, 0x3fff_ffff);
    fails!(ESRCH, SYS_setpgid, 0x3fff_ffff, 0);
}

fn orphaned_stopped_group_is_woken() {
    let (reader, writer) = crate::frame::descriptor::pipe(0);
    let middle = fork(|| {
        ok!(SYS_setsid);
        let stopped = fork(|| {
            record(SIGHUP, 0);
            record(SIGCONT, 0);
            ok!(SYS_setpgid, 0, 0);
            ok!(SYS_kill, ok!(SYS_getpid), SIGSTOP);
            let mut signals = caught_signals();
            signals.sort_unstable();
            writer.write(format!("{signals:?}")).unwrap();
        });
        let mut stopped = stopped;
        stopped.wait_with(WUNTRACED);
        stopped.forget();
    });
    assert_eq!(middle.wait(), Exit::Code(0));
    drop(writer);
    let expected = format!("[{SIGHUP}, {SIGCONT}]");
    assert_eq!(String::from_utf8(reader.read_to_end()).unwrap(), expected);
}

fn limit(which: u32) -> rlimit64 {
    let mut limit = zeroed();
    ok!(SYS_prlimit64, 0, which, 0, &mut limit);
    limit
}

fn limits_are_read_and_lowered() {
    isolated(|| {
        let before = limit(RLIMIT_NOFILE as _);
        ok!(SYS_setrlimit, RLIMIT_NOFILE, &[30u64, 40]);
        let after = limit(RLIMIT_NOFILE as _);
        assert_eq!((after.rlim_cur, after.rlim_max), (30, 40));
        assert!(before.rlim_cur > 40);
        ok!(SYS_setrlimit, RLIMIT_NOFILE, &[40u64, 40]);
        let _ = call!(SYS_setresuid, 65534, 65534, 65534);
        fails!(EPERM, SYS_setrlimit, RLIMIT_NOFILE, &[40u64, 50]);
    });
}

fn soft_limit_above_the_hard_one_is_einval() {
    fails!(EINVAL, SYS_setrlimit, RLIMIT_CORE, &[2u64, 1]);
    fails!(EINVAL, SYS_setrlimit, 99, &[1u64, 1]);
    fails!(EFAULT, SYS_setrlimit, RLIMIT_CORE, 8usize);
}

fn limits_are_inherited_and_survive_exec() {
    let (text, _) = crate::frame::program::output_of(|| {
        ok!(SYS_setrlimit, RLIMIT_NOFILE, &[33u64, 44]);
        isolated(|| assert_eq!(limit(RLIMIT_NOFILE as _).rlim_cur, 33));
        crate::frame::program::execute(c"/bin/cat", &["cat", "/proc/self/limits"], &[]);
    });
    let line = text
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[3..5], ["33", "44"]);
}

fn processor_time_limit_is_sigxcpu() {
    let end = in_child(|| {
        ok!(SYS_setrlimit, RLIMIT_CPU, &[1u64, 2]);
        loop {
            std::hint::black_box((0..1000u64).sum::<u64>());
        }
    });
    assert_eq!(end.signal(), Some(SIGXCPU));
}

fn process_limit_is_eagain() {
    isolated(|| {
        let _ = call!(SYS_setresuid, 54321, 54321, 54321);
        ok!(SYS_setrlimit, RLIMIT_NPROC, &[1u64, 1]);
        fails!(EAGAIN, SYS_clone, SIGCHLD, 0, 0, 0, 0);
    });
}

fn data_limit_stops_brk() {
    isolated(|| {
        let start = ok!(SYS_brk, 0);
        ok!(SYS_setrlimit, RLIMIT_DATA, &[16u64 << 20, 16 << 20]);
        assert_eq!(ok!(SYS_brk, start + (64 << 20)), start);
    });
}

fn open(scratch: &Scratch) -> Fd {
    Fd::open(&scratch.c("lock"), O_RDWR | O_CREAT)
}

fn flock_excludes_other_descriptions() {
    let scratch = Scratch::new();
    let (one, other) = (open(&scratch), open(&scratch));
    ok!(SYS_flock, one.0, LOCK_SH);
    ok!(SYS_flock, other.0, LOCK_SH | LOCK_NB);
    fails!(EAGAIN, SYS_flock, one.0, LOCK_EX | LOCK_NB);
    ok!(SYS_flock, other.0, LOCK_UN);
    ok!(SYS_flock, one.0, LOCK_EX | LOCK_NB);
    fails!(EAGAIN, SYS_flock, other.0, LOCK_SH | LOCK_NB);
    drop(one);
    ok!(SYS_flock, other.0, LOCK_EX | LOCK_NB);
    fails!(EINVAL, SYS_flock, other.0, 16);
}

fn flock_is_shared_by_copies_of_a_descriptor() {
    let scratch = Scratch::new();
    let one = open(&scratch);
    ok!(SYS_flock, one.0, LOCK_EX);
    let copy = Fd::new(ok!(SYS_dup, one.0));
    isolated(|| drop(ok!(SYS_flock, copy.0, LOCK_EX | LOCK_NB)));
    drop(one);
    fails!(EAGAIN, SYS_flock, open(&scratch).0, LOCK_EX | LOCK_NB);
}

fn flock_waits_until_it_is_free() {
    let scratch = Scratch::new();
    let one = open(&scratch);
    ok!(SYS_flock, one.0, LOCK_EX);
    let child = fork(|| drop(ok!(SYS_flock, open(&scratch).0, LOCK_EX)));
    wait_until_asleep(child.pid());
    ok!(SYS_flock, one.0, LOCK_UN);
    assert_eq!(child.wait(), Exit::Code(0));
}

/// A lock of some bytes.
fn bytes(kind: i32, start: i64, len: i64) -> flock {
    let mut lock: flock = zeroed();
    lock.l_type = kind as i16;
    lock.l_start = start;
    lock.l_len = len;
    lock
}

fn set(fd: &Fd, kind: i32, start: i64, len: i64) -> Result<usize, i32> {
    call!(SYS_fcntl, fd.0, F_SETLK, &bytes(kind, start, len)).map_err(|error| error.0)
}

fn record_lock_excludes_other_processes() {
    let scratch = Scratch::new();
    let file = open(&scratch);
    let me = std::process::id() as i32;
    assert_eq!(set(&file, F_WRLCK, 10, 10), Ok(0));
    isolated(|| {
        assert_eq!(set(&file, F_WRLCK, 15, 1), Err(EAGAIN));
        assert_eq!(set(&file, F_RDLCK, 0, 100), Err(EAGAIN));
        assert_eq!(set(&file, F_WRLCK, 20, 5), Ok(0));
        let mut asked = bytes(F_WRLCK, 0, 0);
        ok!(SYS_fcntl, file.0, F_GETLK, &mut asked);
        assert_eq!((asked.l_pid, asked.l_start, asked.l_len), (me, 10, 10));
    });
    // One's own lock is no obstacle.
    assert_eq!(set(&file, F_RDLCK, 0, 100), Ok(0));
}

fn record_locks_split_and_join() {
    let scratch = Scratch::new();
    let file = open(&scratch);
    assert_eq!(set(&file, F_WRLCK, 0, 30), Ok(0));
    assert_eq!(set(&file, F_UNLCK, 10, 10), Ok(0));
    isolated(|| {
        assert_eq!(set(&file, F_WRLCK, 10, 10), Ok(0));
        assert_eq!(set(&file, F_WRLCK, 9, 1), Err(EAGAIN));
        assert_eq!(set(&file, F_WRLCK, 20, 1), Err(EAGAIN));
    });
}

fn record_lock_is_released_by_any_close() {
    let scratch = Scratch::new();
    let file = open(&scratch);
    assert_eq!(set(&file, F_WRLCK, 0, 0), Ok(0));
    drop(open(&scratch));
    isolated(|| assert_eq!(set(&file, F_WRLCK, 0, 0), Ok(0)));
}

fn record_lock_deadlock_is_edeadlk() {
    let scratch = Scratch::new();
    let file = open(&scratch);
    let ready = Gate::new();
    assert_eq!(set(&file, F_WRLCK, 0, 1), Ok(0));
    let child = fork(|| {
        assert_eq!(set(&file, F_WRLCK, 1, 1), Ok(0));
        ready.open();
        ok!(SYS_fcntl, file.0, F_SETLKW, &bytes(F_WRLCK, 0, 1));
    });
    ready.pass();
    wait_until_asleep(child.pid());
    fails!(EDEADLK, SYS_fcntl, file.0, F_SETLKW, &bytes(F_WRLCK, 1, 1));
    assert_eq!(set(&file, F_UNLCK, 0, 1), Ok(0));
    assert_eq!(child.wait(), Exit::Code(0));
}

fn description_lock_excludes_within_a_process() {
    let scratch = Scratch::new();
    let (one, other) = (open(&scratch), open(&scratch));
    ok!(SYS_fcntl, one.0, F_OFD_SETLK, &bytes(F_WRLCK, 0, 10));
    fails!(
        EAGAIN,
        SYS_fcntl,
        other.0,
        F_OFD_SETLK,
        &bytes(F_WRLCK, 5, 1)
    );
    drop(one);
    ok!(SYS_fcntl, other.0, F_OFD_SETLK, &bytes(F_WRLCK, 5, 1));
}

fn sysinfo_describes_the_machine() {
    let mut info: sysinfo = zeroed();
    ok!(SYS_sysinfo, &mut info);
    assert!(info.totalram > 0 && info.freeram <= info.totalram && info.procs > 0);
    assert!(info.mem_unit > 0);
    fails!(EFAULT, SYS_sysinfo, 8usize);
    // What is used is missing from what is free.
    drop(Mapping::anonymous(1));
}

fn scheduling_policy_can_be_read() {
    assert_eq!(ok!(SYS_sched_getscheduler, 0), SCHED_OTHER as usize);
    assert_eq!(ok!(SYS_sched_get_priority_max, SCHED_FIFO), 99);
    assert_eq!(ok!(SYS_sched_get_priority_min, SCHED_OTHER), 0);
    fails!(EINVAL, SYS_sched_get_priority_max, 99);
    fails!(ESRCH, SYS_sched_getscheduler, 0x3fff_ffff);
    fails!(EINVAL, SYS_sched_setscheduler, 0, SCHED_OTHER, &5i32);
}
