//! System V shared memory.

use crate::frame::child::{Exit, fork, isolated};
use crate::frame::plain::zeroed;
use crate::frame::report::need_root;
use crate::frame::sysv::{CREATE, Object, key};
use libc::*;

tests!(
    segment_is_shared_between_processes,
    segment_outlives_a_child_that_attached_it,
    segment_attached_read_only_cannot_be_written,
    segment_to_be_destroyed_lives_until_it_is_detached,
    attachments_are_counted,
    fork_and_exit_count_as_attaching_and_detaching,
    shmdt_of_another_address_is_einval,
    shmat_at_a_taken_address_is_einval,
    shmat_rounds_down_when_asked,
    segment_of_no_bytes_is_einval,
    segment_with_a_key_is_found_again,
    larger_request_than_the_segment_is_einval,
    segment_of_another_user_is_eacces,
    removed_segment_is_unknown,
);

const PAGE: usize = 4096;

fn segment(size: usize) -> Object {
    Object {
        id: ok!(SYS_shmget, IPC_PRIVATE, size, CREATE),
        remove: |id| _ = call!(SYS_shmctl, id, IPC_RMID, 0),
    }
}

/// Attach a segment; a place for a word.
fn attach(segment: &Object, flags: i32) -> *mut u64 {
    ok!(SYS_shmat, segment.id, 0, flags) as *mut u64
}

fn store(at: *mut u64, value: u64) {
    // SAFETY: the tests store into segments that they have attached.
    unsafe { at.write_volatile(value) };
}

fn load(at: *mut u64) -> u64 {
    // SAFETY: as above.
    unsafe { at.read_volatile() }
}

fn facts(segment: &Object) -> shmid_ds {
    let mut facts: shmid_ds = zeroed();
    ok!(SYS_shmctl, segment.id, IPC_STAT, &mut facts);
    facts
}

fn segment_is_shared_between_processes() {
    let segment = segment(PAGE);
    let at = attach(&segment, 0);
    let child = fork(|| store(at, 42));
    assert_eq!(child.wait(), Exit::Code(0));
    assert_eq!(load(at), 42);
}

fn segment_outlives_a_child_that_attached_it() {
    let segment = segment(3 * PAGE);
    isolated(|| store(attach(&segment, 0), 7));
    assert_eq!(load(attach(&segment, 0)), 7);
}

fn segment_attached_read_only_cannot_be_written() {
    let segment = segment(PAGE);
    let at = attach(&segment, SHM_RDONLY);
    assert_eq!(load(at), 0);
    let child = fork(|| store(at, 1));
    assert_eq!(child.wait().signal(), Some(SIGSEGV));
}

fn segment_to_be_destroyed_lives_until_it_is_detached() {
    let segment = segment(PAGE);
    let at = attach(&segment, 0);
    store(at, 5);
    ok!(SYS_shmctl, segment.id, IPC_RMID, 0);
    assert_eq!(load(at), 5);
    assert_eq!(facts(&segment).shm_perm.mode & 0o1000, 0o1000);
    ok!(SYS_shmdt, at);
    let mut facts: shmid_ds = zeroed();
    fails!(EINVAL, SYS_shmctl, segment.id, IPC_STAT, &mut facts);
}

fn attachments_are_counted() {
    let segment = segment(2 * PAGE);
    assert_eq!(facts(&segment).shm_nattch, 0);
    let first = attach(&segment, 0);
    let _second = attach(&segment, 0);
    assert_eq!(facts(&segment).shm_nattch, 2);
    ok!(SYS_shmdt, first);
    let now = facts(&segment);
    assert_eq!((now.shm_nattch, now.shm_segsz), (1, 2 * PAGE));
    assert_eq!(now.shm_cpid, std::process::id() as i32);
    assert_eq!(now.shm_lpid, std::process::id() as i32);
}

fn fork_and_exit_count_as_attaching_and_detaching() {
    let segment = segment(PAGE);
    let _at = attach(&segment, 0);
    isolated(|| assert_eq!(facts(&segment).shm_nattch, 2));
    assert_eq!(facts(&segment).shm_nattch, 1);
}

fn shmdt_of_another_address_is_einval() {
    let segment = segment(2 * PAGE);
    let at = attach(&segment, 0) as usize;
    fails!(EINVAL, SYS_shmdt, at + PAGE);
    fails!(EINVAL, SYS_shmdt, at + 1);
    ok!(SYS_shmdt, at);
    fails!(EINVAL, SYS_shmdt, at);
}

fn shmat_at_a_taken_address_is_einval() {
    let segment = segment(PAGE);
    let at = attach(&segment, 0) as usize;
    fails!(EINVAL, SYS_shmat, segment.id, at, 0);
    fails!(EINVAL, SYS_shmat, segment.id, at + 1, 0);
    fails!(EINVAL, SYS_shmat, segment.id + 100_000, 0, 0);
}

fn shmat_rounds_down_when_asked() {
    let segment = segment(PAGE);
    let at = attach(&segment, 0) as usize;
    ok!(SYS_shmdt, at);
    assert_eq!(ok!(SYS_shmat, segment.id, at + 123, SHM_RND), at);
}

fn segment_of_no_bytes_is_einval() {
    fails!(EINVAL, SYS_shmget, IPC_PRIVATE, 0, CREATE);
}

fn segment_with_a_key_is_found_again() {
    fails!(ENOENT, SYS_shmget, key(), PAGE, 0);
    let mut segment = segment(PAGE);
    ok!(SYS_shmctl, segment.id, IPC_RMID, 0);
    segment.id = ok!(SYS_shmget, key(), PAGE, CREATE);
    assert_eq!(ok!(SYS_shmget, key(), PAGE, 0), segment.id);
    assert_eq!(ok!(SYS_shmget, key(), PAGE, CREATE), segment.id);
    fails!(EEXIST, SYS_shmget, key(), PAGE, CREATE | IPC_EXCL);
}

fn larger_request_than_the_segment_is_einval() {
    let mut segment = segment(PAGE);
    ok!(SYS_shmctl, segment.id, IPC_RMID, 0);
    segment.id = ok!(SYS_shmget, key(), PAGE, CREATE);
    fails!(EINVAL, SYS_shmget, key(), PAGE + 1, 0);
}

fn segment_of_another_user_is_eacces() {
    need_root();
    let segment = segment(PAGE);
    isolated(|| {
        ok!(SYS_setresgid, 1000, 1000, 1000);
        ok!(SYS_setresuid, 1000, 1000, 1000);
        fails!(EACCES, SYS_shmat, segment.id, 0, 0);
        fails!(EPERM, SYS_shmctl, segment.id, IPC_RMID, 0);
    });
}

fn removed_segment_is_unknown() {
    let segment = segment(PAGE);
    ok!(SYS_shmctl, segment.id, IPC_RMID, 0);
    fails!(EINVAL, SYS_shmat, segment.id, 0, 0);
    fails!(EINVAL, SYS_shmctl, segment.id, IPC_RMID, 0);
}
