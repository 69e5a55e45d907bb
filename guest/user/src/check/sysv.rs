//! System V shared memory, semaphores and message queues.

use crate::frame::child::{Exit, fork, isolated};
use crate::frame::plain::zeroed;
use crate::frame::report::need_root;
use crate::frame::signals::record;
use crate::frame::state::wait_until_asleep;
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
    messages_are_chosen_by_type,
    message_of_the_lowest_type_up_to_a_bound_comes_first,
    except_takes_the_first_of_another_type,
    message_that_does_not_fit_is_e2big_or_cut,
    receive_without_a_message_is_enomsg,
    sender_sleeps_while_the_queue_is_full,
    removal_of_the_queue_wakes_the_receiver_with_eidrm,
    message_type_below_one_is_einval,
    queue_tells_what_it_holds,
    copy_leaves_the_message,
);

const CREATE: i32 = IPC_CREAT | 0o600;
const PAGE: usize = 4096;

/// A System V object, removed when dropped.
struct Object {
    id: usize,
    remove: fn(usize),
}

impl Drop for Object {
    fn drop(&mut self) {
        (self.remove)(self.id);
    }
}

fn segment(size: usize) -> Object {
    Object {
        id: ok!(SYS_shmget, IPC_PRIVATE, size, CREATE),
        remove: |id| _ = call!(SYS_shmctl, id, IPC_RMID, 0),
    }
}

fn semaphores(count: usize) -> Object {
    Object {
        id: ok!(SYS_semget, IPC_PRIVATE, count, CREATE),
        remove: |id| _ = call!(SYS_semctl, id, 0, IPC_RMID, 0),
    }
}

fn queue() -> Object {
    Object {
        id: ok!(SYS_msgget, IPC_PRIVATE, CREATE),
        remove: |id| _ = call!(SYS_msgctl, id, IPC_RMID, 0),
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

/// A key that no other test uses.
fn key() -> i32 {
    0x6767_0000 | std::process::id() as i32 & 0xffff
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

/// Text after a type, as msgsnd(2) takes it.
#[repr(C)]
struct Message {
    kind: i64,
    text: [u8; 16],
}

fn send(queue: &Object, kind: i64, text: &str) {
    let mut message = Message {
        kind,
        text: [0; 16],
    };
    message.text[..text.len()].copy_from_slice(text.as_bytes());
    ok!(SYS_msgsnd, queue.id, &message, text.len(), 0);
}

fn receive(queue: &Object, kind: i64, flags: i32) -> (i64, String) {
    let mut message: Message = Message {
        kind: 0,
        text: [0; 16],
    };
    let len = ok!(SYS_msgrcv, queue.id, &mut message, 16, kind, flags);
    let text = String::from_utf8_lossy(&message.text[..len]).into_owned();
    (message.kind, text)
}

fn messages_are_chosen_by_type() {
    let queue = queue();
    send(&queue, 2, "two");
    send(&queue, 5, "five");
    send(&queue, 2, "two again");
    assert_eq!(receive(&queue, 5, 0), (5, "five".into()));
    assert_eq!(receive(&queue, 0, 0), (2, "two".into()));
    assert_eq!(receive(&queue, 2, 0), (2, "two again".into()));
}

fn message_of_the_lowest_type_up_to_a_bound_comes_first() {
    let queue = queue();
    send(&queue, 4, "four");
    send(&queue, 2, "two");
    send(&queue, 9, "nine");
    assert_eq!(receive(&queue, -5, 0), (2, "two".into()));
    assert_eq!(receive(&queue, -5, 0), (4, "four".into()));
    let mut message = [0u64; 4];
    fails!(
        ENOMSG,
        SYS_msgrcv,
        queue.id,
        &mut message,
        16,
        -5,
        IPC_NOWAIT
    );
}

fn except_takes_the_first_of_another_type() {
    let queue = queue();
    send(&queue, 1, "one");
    send(&queue, 3, "three");
    assert_eq!(receive(&queue, 1, MSG_EXCEPT), (3, "three".into()));
}

fn message_that_does_not_fit_is_e2big_or_cut() {
    let queue = queue();
    send(&queue, 1, "0123456789");
    let mut message = [0u64; 4];
    fails!(E2BIG, SYS_msgrcv, queue.id, &mut message, 4, 0, 0);
    assert_eq!(
        ok!(SYS_msgrcv, queue.id, &mut message, 4, 0, MSG_NOERROR),
        4
    );
    fails!(ENOMSG, SYS_msgrcv, queue.id, &mut message, 4, 0, IPC_NOWAIT);
}

fn receive_without_a_message_is_enomsg() {
    let queue = queue();
    let mut message = [0u64; 4];
    fails!(
        ENOMSG,
        SYS_msgrcv,
        queue.id,
        &mut message,
        16,
        0,
        IPC_NOWAIT
    );
}

fn sender_sleeps_while_the_queue_is_full() {
    let queue = queue();
    let mut facts: msqid_ds = zeroed();
    ok!(SYS_msgctl, queue.id, IPC_STAT, &mut facts);
    facts.msg_qbytes = 10;
    ok!(SYS_msgctl, queue.id, IPC_SET, &facts);
    send(&queue, 1, "12345678");
    let message = Message {
        kind: 1,
        text: [0; 16],
    };
    fails!(EAGAIN, SYS_msgsnd, queue.id, &message, 8, IPC_NOWAIT);
    let child = fork(|| send(&queue, 2, "abc"));
    wait_until_asleep(child.pid());
    assert_eq!(receive(&queue, 0, 0).0, 1);
    assert_eq!(child.wait(), Exit::Code(0));
    assert_eq!(receive(&queue, 0, 0), (2, "abc".into()));
}

fn removal_of_the_queue_wakes_the_receiver_with_eidrm() {
    let queue = queue();
    let child = fork(|| {
        let mut message = [0u64; 4];
        fails!(EIDRM, SYS_msgrcv, queue.id, &mut message, 16, 0, 0);
    });
    wait_until_asleep(child.pid());
    ok!(SYS_msgctl, queue.id, IPC_RMID, 0);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn message_type_below_one_is_einval() {
    let queue = queue();
    let message = Message {
        kind: 0,
        text: [0; 16],
    };
    fails!(EINVAL, SYS_msgsnd, queue.id, &message, 1, 0);
    fails!(EINVAL, SYS_msgsnd, queue.id, &message, 8193, 0);
}

fn queue_tells_what_it_holds() {
    let queue = queue();
    send(&queue, 1, "abc");
    send(&queue, 1, "de");
    let mut facts: msqid_ds = zeroed();
    ok!(SYS_msgctl, queue.id, IPC_STAT, &mut facts);
    assert_eq!((facts.msg_qnum, facts.msg_qbytes), (2, 16384));
    assert_eq!(facts.msg_lspid, std::process::id() as i32);
}

fn copy_leaves_the_message() {
    let queue = queue();
    send(&queue, 1, "first");
    send(&queue, 1, "second");
    let copy = MSG_COPY | IPC_NOWAIT;
    assert_eq!(receive(&queue, 1, copy), (1, "second".into()));
    assert_eq!(receive(&queue, 0, 0), (1, "first".into()));
}
