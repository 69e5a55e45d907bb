//! System V message queues.

use crate::frame::child::{Exit, fork};
use crate::frame::plain::zeroed;
use crate::frame::state::wait_until_asleep;
use crate::frame::sysv::{CREATE, Object};
use libc::*;

tests!(
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

fn queue() -> Object {
    Object {
        id: ok!(SYS_msgget, IPC_PRIVATE, CREATE),
        remove: |id| _ = call!(SYS_msgctl, id, IPC_RMID, 0),
    }
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

fn receives_nothing(queue: &Object, kind: i64) {
    let mut message = [0u64; 4];
    fails!(
        ENOMSG,
        SYS_msgrcv,
        queue.id,
        &mut message,
        16,
        kind,
        IPC_NOWAIT
    );
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
    receives_nothing(&queue, -5);
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
    receives_nothing(&queue, 0);
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
