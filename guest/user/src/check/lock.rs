//! Locks on files: fcntl's of processes and of descriptions, flock's.

use crate::frame::child::{Exit, fork, isolated};
use crate::frame::descriptor::Fd;
use crate::frame::plain::zeroed;
use crate::frame::scratch::Scratch;
use crate::frame::signals::record;
use crate::frame::state::wait_until_asleep;
use libc::*;

tests!(
    exclusive_lock_keeps_another_process_out,
    shared_locks_go_together,
    getlk_names_who_is_in_the_way,
    locks_of_other_ranges_do_not_meet,
    unlocking_the_middle_splits_a_lock,
    lock_goes_with_any_descriptor_of_the_file,
    lock_is_not_inherited_by_a_child,
    sleeper_gets_the_lock_when_it_is_given_up,
    signal_ends_the_sleep_for_a_lock,
    circle_of_sleepers_is_edeadlk,
    exclusive_lock_needs_a_writable_descriptor,
    lock_of_a_description_meets_that_of_a_process,
    lock_of_a_description_is_kept_by_its_copies,
    flock_belongs_to_the_description,
    flock_changes_from_shared_to_exclusive,
    flock_and_fcntl_do_not_meet,
    flock_with_an_unknown_operation_is_einval,
);

const F_OFD_SETLK: i32 = 37;

fn range(kind: i32, start: i64, len: i64) -> flock {
    let mut lock: flock = zeroed();
    lock.l_type = kind as i16;
    lock.l_whence = SEEK_SET as i16;
    lock.l_start = start;
    lock.l_len = len;
    lock
}

fn set(file: &Fd, kind: i32, start: i64, len: i64) -> Result<usize, crate::frame::call::Errno> {
    call!(SYS_fcntl, file.0, F_SETLK, &range(kind, start, len))
}

fn refused(file: &Fd, kind: i32, start: i64, len: i64) -> bool {
    match set(file, kind, start, len) {
        Ok(_) => {
            set(file, F_UNLCK, start, len).unwrap();
            false
        }
        Err(error) => {
            assert!(error.0 == EAGAIN || error.0 == EACCES, "{error:?}");
            true
        }
    }
}

fn file(scratch: &Scratch) -> Fd {
    Fd::open(&scratch.c("file"), O_RDWR | O_CREAT)
}

/// What a child of this process sees of a lock that it asks for.
fn child_is_refused(scratch: &Scratch, kind: i32, start: i64, len: i64) -> bool {
    let child =
        fork(|| crate::frame::report::exit(refused(&file(scratch), kind, start, len).into()));
    child.wait() == Exit::Code(1)
}

fn exclusive_lock_keeps_another_process_out() {
    let scratch = Scratch::new();
    let file = file(&scratch);
    set(&file, F_WRLCK, 0, 10).unwrap();
    assert!(child_is_refused(&scratch, F_WRLCK, 5, 1));
    assert!(child_is_refused(&scratch, F_RDLCK, 5, 1));
    set(&file, F_UNLCK, 0, 10).unwrap();
    assert!(!child_is_refused(&scratch, F_WRLCK, 5, 1));
}

fn shared_locks_go_together() {
    let scratch = Scratch::new();
    let file = file(&scratch);
    set(&file, F_RDLCK, 0, 0).unwrap();
    assert!(!child_is_refused(&scratch, F_RDLCK, 3, 3));
    assert!(child_is_refused(&scratch, F_WRLCK, 3, 3));
}

fn getlk_names_who_is_in_the_way() {
    let scratch = Scratch::new();
    let own = file(&scratch);
    set(&own, F_WRLCK, 4, 6).unwrap();
    let me = std::process::id() as i32;
    isolated(|| {
        let mut asked = range(F_RDLCK, 0, 0);
        ok!(SYS_fcntl, file(&scratch).0, F_GETLK, &mut asked);
        assert_eq!(i32::from(asked.l_type), F_WRLCK);
        assert_eq!((asked.l_start, asked.l_len, asked.l_pid), (4, 6, me));
    });
    let mut asked = range(F_WRLCK, 0, 0);
    ok!(SYS_fcntl, own.0, F_GETLK, &mut asked);
    assert_eq!(i32::from(asked.l_type), F_UNLCK);
}

fn locks_of_other_ranges_do_not_meet() {
    let scratch = Scratch::new();
    let file = file(&scratch);
    set(&file, F_WRLCK, 10, 10).unwrap();
    assert!(!child_is_refused(&scratch, F_WRLCK, 0, 10));
    assert!(!child_is_refused(&scratch, F_WRLCK, 20, 0));
}

fn unlocking_the_middle_splits_a_lock() {
    let scratch = Scratch::new();
    let file = file(&scratch);
    set(&file, F_WRLCK, 0, 30).unwrap();
    set(&file, F_UNLCK, 10, 10).unwrap();
    assert!(!child_is_refused(&scratch, F_WRLCK, 10, 10));
    assert!(child_is_refused(&scratch, F_WRLCK, 9, 1));
    assert!(child_is_refused(&scratch, F_WRLCK, 20, 1));
}

fn lock_goes_with_any_descriptor_of_the_file() {
    let scratch = Scratch::new();
    let kept = file(&scratch);
    set(&kept, F_WRLCK, 0, 0).unwrap();
    drop(file(&scratch));
    assert!(!child_is_refused(&scratch, F_WRLCK, 0, 0));
}

fn lock_is_not_inherited_by_a_child() {
    let scratch = Scratch::new();
    let file = file(&scratch);
    set(&file, F_WRLCK, 0, 0).unwrap();
    isolated(|| assert!(refused(&file, F_WRLCK, 0, 0)));
    assert!(child_is_refused(&scratch, F_WRLCK, 0, 0));
}

fn sleeper_gets_the_lock_when_it_is_given_up() {
    let scratch = Scratch::new();
    let own = file(&scratch);
    set(&own, F_WRLCK, 0, 0).unwrap();
    let child = fork(|| {
        let other = file(&scratch);
        ok!(SYS_fcntl, other.0, F_SETLKW, &range(F_WRLCK, 0, 0));
    });
    wait_until_asleep(child.pid());
    set(&own, F_UNLCK, 0, 0).unwrap();
    assert_eq!(child.wait(), Exit::Code(0));
}

fn signal_ends_the_sleep_for_a_lock() {
    let scratch = Scratch::new();
    let own = file(&scratch);
    set(&own, F_WRLCK, 0, 0).unwrap();
    let child = fork(|| {
        record(SIGUSR1, 0);
        let other = file(&scratch);
        fails!(EINTR, SYS_fcntl, other.0, F_SETLKW, &range(F_WRLCK, 0, 0));
    });
    wait_until_asleep(child.pid());
    child.kill(SIGUSR1);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn circle_of_sleepers_is_edeadlk() {
    let scratch = Scratch::new();
    let own = file(&scratch);
    set(&own, F_WRLCK, 0, 1).unwrap();
    let child = fork(|| {
        let other = file(&scratch);
        set(&other, F_WRLCK, 1, 1).unwrap();
        ok!(SYS_fcntl, other.0, F_SETLKW, &range(F_WRLCK, 0, 1));
    });
    wait_until_asleep(child.pid());
    fails!(EDEADLK, SYS_fcntl, own.0, F_SETLKW, &range(F_WRLCK, 1, 1));
    set(&own, F_UNLCK, 0, 1).unwrap();
    assert_eq!(child.wait(), Exit::Code(0));
}

fn exclusive_lock_needs_a_writable_descriptor() {
    let scratch = Scratch::new();
    drop(file(&scratch));
    let reader = Fd::open(&scratch.c("file"), O_RDONLY);
    assert_eq!(set(&reader, F_WRLCK, 0, 0).map_err(|e| e.0), Err(EBADF));
    set(&reader, F_RDLCK, 0, 0).unwrap();
}

fn lock_of_a_description_meets_that_of_a_process() {
    let scratch = Scratch::new();
    let (one, other) = (file(&scratch), file(&scratch));
    ok!(SYS_fcntl, one.0, F_OFD_SETLK, &range(F_WRLCK, 0, 0));
    fails!(
        EAGAIN,
        SYS_fcntl,
        other.0,
        F_OFD_SETLK,
        &range(F_WRLCK, 0, 0)
    );
    assert!(refused(&other, F_WRLCK, 0, 0));
    let mut with_pid = range(F_WRLCK, 0, 0);
    with_pid.l_pid = 1;
    fails!(EINVAL, SYS_fcntl, one.0, F_OFD_SETLK, &with_pid);
}

fn lock_of_a_description_is_kept_by_its_copies() {
    let scratch = Scratch::new();
    let (one, other) = (file(&scratch), file(&scratch));
    ok!(SYS_fcntl, one.0, F_OFD_SETLK, &range(F_WRLCK, 0, 0));
    let copy = Fd::new(ok!(SYS_dup, one.0));
    drop(one);
    fails!(
        EAGAIN,
        SYS_fcntl,
        other.0,
        F_OFD_SETLK,
        &range(F_WRLCK, 0, 0)
    );
    drop(copy);
    ok!(SYS_fcntl, other.0, F_OFD_SETLK, &range(F_WRLCK, 0, 0));
}

fn flock_belongs_to_the_description() {
    let scratch = Scratch::new();
    let (one, other) = (file(&scratch), file(&scratch));
    ok!(SYS_flock, one.0, LOCK_EX);
    fails!(EAGAIN, SYS_flock, other.0, LOCK_SH | LOCK_NB);
    let copy = Fd::new(ok!(SYS_dup, one.0));
    drop(one);
    fails!(EAGAIN, SYS_flock, other.0, LOCK_EX | LOCK_NB);
    // Any copy gives it up for all.
    ok!(SYS_flock, copy.0, LOCK_UN);
    ok!(SYS_flock, other.0, LOCK_EX | LOCK_NB);
}

fn flock_changes_from_shared_to_exclusive() {
    let scratch = Scratch::new();
    let (one, other) = (file(&scratch), file(&scratch));
    ok!(SYS_flock, one.0, LOCK_SH);
    ok!(SYS_flock, other.0, LOCK_SH);
    fails!(EAGAIN, SYS_flock, one.0, LOCK_EX | LOCK_NB);
    ok!(SYS_flock, other.0, LOCK_UN);
    ok!(SYS_flock, one.0, LOCK_EX | LOCK_NB);
}

fn flock_and_fcntl_do_not_meet() {
    let scratch = Scratch::new();
    let file = file(&scratch);
    ok!(SYS_flock, file.0, LOCK_EX);
    assert!(!child_is_refused(&scratch, F_WRLCK, 0, 0));
}

fn flock_with_an_unknown_operation_is_einval() {
    let scratch = Scratch::new();
    let file = file(&scratch);
    fails!(EINVAL, SYS_flock, file.0, 0);
    fails!(EBADF, SYS_flock, 999, LOCK_SH);
}
