//! System V semaphores.

use crate::frame::child::{Exit, fork, isolated};
use crate::frame::signals::record;
use crate::frame::state::wait_until_asleep;
use crate::frame::sysv::{CREATE, Object};
use libc::*;

tests!(
    operations_are_done_together_or_not_at_all,
    semaphore_sleeper_is_woken_when_the_value_suffices,
    waiting_for_zero_sleeps_until_zero,
    nowait_is_eagain,
    semtimedop_times_out,
    sleepers_are_counted,
    undo_is_done_when_the_process_ends,
    shared_undo_is_done_when_the_last_process_has_ended,
    undo_is_forgotten_when_the_value_is_set,
    value_above_the_largest_is_erange,
    unknown_semaphore_number_is_efbig,
    removal_of_the_set_wakes_sleepers_with_eidrm,
    signal_interrupts_a_semaphore_sleep,
    semctl_sets_and_gets_all_values,
    getpid_of_a_semaphore_is_the_last_process_that_changed_it,
);

fn semaphores(count: usize) -> Object {
    Object {
        id: ok!(SYS_semget, IPC_PRIVATE, count, CREATE),
        remove: |id| _ = call!(SYS_semctl, id, 0, IPC_RMID, 0),
    }
}

fn operation(number: u16, change: i16, flags: i32) -> sembuf {
    sembuf {
        sem_num: number,
        sem_op: change,
        sem_flg: flags as i16,
    }
}

fn change(set: &Object, number: u16, change: i16, flags: i32) {
    ok!(SYS_semop, set.id, &operation(number, change, flags), 1);
}

fn value(set: &Object, number: usize) -> usize {
    ok!(SYS_semctl, set.id, number, GETVAL, 0)
}

fn operations_are_done_together_or_not_at_all() {
    let set = semaphores(2);
    let both = [operation(0, 3, 0), operation(1, -1, IPC_NOWAIT)];
    fails!(EAGAIN, SYS_semop, set.id, &both, 2);
    assert_eq!(value(&set, 0), 0);
    change(&set, 1, 1, 0);
    ok!(SYS_semop, set.id, &both, 2);
    assert_eq!((value(&set, 0), value(&set, 1)), (3, 0));
}

fn semaphore_sleeper_is_woken_when_the_value_suffices() {
    let set = semaphores(1);
    let child = fork(|| change(&set, 0, -2, 0));
    wait_until_asleep(child.pid());
    change(&set, 0, 1, 0);
    wait_until_asleep(child.pid());
    change(&set, 0, 2, 0);
    assert_eq!(child.wait(), Exit::Code(0));
    assert_eq!(value(&set, 0), 1);
}

fn waiting_for_zero_sleeps_until_zero() {
    let set = semaphores(1);
    change(&set, 0, 1, 0);
    let child = fork(|| change(&set, 0, 0, 0));
    wait_until_asleep(child.pid());
    assert_eq!(ok!(SYS_semctl, set.id, 0, GETZCNT, 0), 1);
    change(&set, 0, -1, 0);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn nowait_is_eagain() {
    let set = semaphores(1);
    fails!(EAGAIN, SYS_semop, set.id, &operation(0, -1, IPC_NOWAIT), 1);
}

fn semtimedop_times_out() {
    let set = semaphores(1);
    let short = timespec {
        tv_sec: 0,
        tv_nsec: 1000,
    };
    fails!(
        EAGAIN,
        SYS_semtimedop,
        set.id,
        &operation(0, -1, 0),
        1,
        &short
    );
}

fn sleepers_are_counted() {
    let set = semaphores(1);
    assert_eq!(ok!(SYS_semctl, set.id, 0, GETNCNT, 0), 0);
    let child = fork(|| change(&set, 0, -1, 0));
    wait_until_asleep(child.pid());
    assert_eq!(ok!(SYS_semctl, set.id, 0, GETNCNT, 0), 1);
    child.kill(SIGKILL);
    assert_eq!(child.wait(), Exit::Signal(SIGKILL));
    assert_eq!(ok!(SYS_semctl, set.id, 0, GETNCNT, 0), 0);
}

fn undo_is_done_when_the_process_ends() {
    let set = semaphores(1);
    change(&set, 0, 5, 0);
    isolated(|| {
        change(&set, 0, -3, SEM_UNDO);
        assert_eq!(value(&set, 0), 2);
    });
    assert_eq!(value(&set, 0), 5);
}

fn shared_undo_is_done_when_the_last_process_has_ended() {
    let set = semaphores(1);
    change(&set, 0, 9, 0);
    isolated(|| {
        change(&set, 0, -1, SEM_UNDO);
        let flags = CLONE_SYSVSEM | SIGCHLD;
        let pid = ok!(SYS_clone, flags, 0, 0, 0, 0);
        if pid == 0 {
            change(&set, 0, -2, SEM_UNDO);
            crate::frame::report::exit(0);
        }
        ok!(SYS_wait4, pid, 0, 0, 0);
        assert_eq!(value(&set, 0), 6);
        change(&set, 0, -4, SEM_UNDO);
    });
    assert_eq!(value(&set, 0), 9);
}

fn undo_is_forgotten_when_the_value_is_set() {
    let set = semaphores(1);
    change(&set, 0, 5, 0);
    isolated(|| {
        change(&set, 0, -3, SEM_UNDO);
        ok!(SYS_semctl, set.id, 0, SETVAL, 9);
    });
    assert_eq!(value(&set, 0), 9);
}

fn value_above_the_largest_is_erange() {
    let set = semaphores(1);
    ok!(SYS_semctl, set.id, 0, SETVAL, 32767);
    fails!(ERANGE, SYS_semop, set.id, &operation(0, 1, 0), 1);
    fails!(ERANGE, SYS_semctl, set.id, 0, SETVAL, 32768);
    fails!(ERANGE, SYS_semctl, set.id, 0, SETVAL, -1);
}

fn unknown_semaphore_number_is_efbig() {
    let set = semaphores(2);
    fails!(EFBIG, SYS_semop, set.id, &operation(2, 1, 0), 1);
    fails!(EINVAL, SYS_semctl, set.id, 2, GETVAL, 0);
    fails!(EINVAL, SYS_semop, set.id, &operation(0, 1, 0), 0);
    fails!(E2BIG, SYS_semop, set.id, &operation(0, 1, 0), 501);
    fails!(EINVAL, SYS_semget, IPC_PRIVATE, 0, CREATE);
}

fn removal_of_the_set_wakes_sleepers_with_eidrm() {
    let set = semaphores(1);
    let child = fork(|| fails!(EIDRM, SYS_semop, set.id, &operation(0, -1, 0), 1));
    wait_until_asleep(child.pid());
    ok!(SYS_semctl, set.id, 0, IPC_RMID, 0);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn signal_interrupts_a_semaphore_sleep() {
    let set = semaphores(1);
    let child = fork(|| {
        record(SIGUSR1, SA_RESTART);
        fails!(EINTR, SYS_semop, set.id, &operation(0, -1, 0), 1);
    });
    wait_until_asleep(child.pid());
    child.kill(SIGUSR1);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn semctl_sets_and_gets_all_values() {
    let set = semaphores(3);
    let (new, mut now) = ([4u16, 0, 9], [0u16; 3]);
    ok!(SYS_semctl, set.id, 0, SETALL, &new);
    ok!(SYS_semctl, set.id, 0, GETALL, &mut now);
    assert_eq!(now, new);
    // struct semid64_ds: the mode is its sixth word.
    let mut facts = [0u32; 26];
    ok!(SYS_semctl, set.id, 0, IPC_STAT, &mut facts);
    assert_eq!(facts[5] & 0o777, 0o600);
}

fn getpid_of_a_semaphore_is_the_last_process_that_changed_it() {
    let set = semaphores(1);
    let child = fork(|| change(&set, 0, 1, 0));
    let pid = child.pid() as usize;
    assert_eq!(child.wait(), Exit::Code(0));
    assert_eq!(ok!(SYS_semctl, set.id, 0, GETPID, 0), pid);
}
