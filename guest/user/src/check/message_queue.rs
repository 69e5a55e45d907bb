//! POSIX message queues. The system calls take names without their slash.

use crate::frame::child::{Exit, fork, isolated};
use crate::frame::descriptor::Fd;
use crate::frame::plain::zeroed;
use crate::frame::report::need_root;
use crate::frame::signals::{block, caught, record, unblock};
use crate::frame::state::wait_until_asleep;
use libc::*;
use std::ffi::CString;

tests!(
    messages_come_by_priority_and_age,
    receive_needs_room_for_the_longest_message,
    longer_message_than_the_queue_allows_is_emsgsize,
    priority_out_of_range_is_einval,
    empty_nonblocking_queue_is_eagain,
    full_nonblocking_queue_is_eagain,
    receiver_sleeps_until_a_message_comes,
    sender_sleeps_until_there_is_room,
    receive_times_out_at_its_deadline,
    bad_timeout_is_einval,
    attributes_say_what_was_asked_for,
    only_nonblock_can_be_changed,
    exclusive_creation_of_an_existing_queue_is_eexist,
    unknown_queue_is_enoent,
    name_with_a_slash_is_eacces,
    queue_lives_on_after_its_name_is_removed,
    access_mode_is_kept_to,
    permissions_of_other_users_are_checked,
    notification_is_sent_once_for_a_message_to_an_empty_queue,
    second_registration_is_ebusy,
    notification_is_not_sent_while_a_receiver_sleeps,
    poll_sees_messages_and_room,
    descriptor_is_closed_at_exec,
    queue_has_a_file_in_its_file_system,
    call_on_another_descriptor_is_ebadf,
);

/// A queue, removed when dropped.
struct Queue {
    name: CString,
    fd: Fd,
}

const LENGTH: usize = 32;

fn attributes(messages: i64, length: i64) -> mq_attr {
    // SAFETY: integers.
    let mut attributes: mq_attr = unsafe { std::mem::zeroed() };
    attributes.mq_maxmsg = messages;
    attributes.mq_msgsize = length;
    attributes
}

impl Queue {
    /// A new queue for `messages` messages of up to [`LENGTH`] bytes.
    fn new(messages: i64, flags: i32) -> Self {
        let name = CString::new(format!("guest-tests-{}", std::process::id())).unwrap();
        let shape = attributes(messages, LENGTH as i64);
        let flags = O_RDWR | O_CREAT | O_EXCL | flags;
        let fd = Fd::new(ok!(
            SYS_mq_open,
            &name.as_bytes_with_nul()[0],
            flags,
            0o600,
            &shape
        ));
        Queue { name, fd }
    }

    fn name(&self) -> &u8 {
        &self.name.as_bytes_with_nul()[0]
    }

    fn send(&self, text: &str, priority: u32) {
        ok!(
            SYS_mq_timedsend,
            self.fd.0,
            text.as_bytes(),
            text.len(),
            priority,
            0
        );
    }

    fn receive(&self) -> (String, u32) {
        let mut text = [0u8; LENGTH];
        let mut priority = 0u32;
        let len = ok!(
            SYS_mq_timedreceive,
            self.fd.0,
            &mut text,
            LENGTH,
            &mut priority,
            0
        );
        (String::from_utf8_lossy(&text[..len]).into_owned(), priority)
    }

    fn attributes(&self) -> mq_attr {
        let mut now = attributes(0, 0);
        ok!(SYS_mq_getsetattr, self.fd.0, 0, &mut now);
        now
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let _ = call!(SYS_mq_unlink, self.name());
    }
}

fn messages_come_by_priority_and_age() {
    let queue = Queue::new(4, 0);
    queue.send("low", 1);
    queue.send("high", 7);
    queue.send("low again", 1);
    queue.send("high again", 7);
    assert_eq!(queue.receive(), ("high".into(), 7));
    assert_eq!(queue.receive(), ("high again".into(), 7));
    assert_eq!(queue.receive(), ("low".into(), 1));
    assert_eq!(queue.receive(), ("low again".into(), 1));
}

fn receive_needs_room_for_the_longest_message() {
    let queue = Queue::new(2, 0);
    queue.send("x", 0);
    let mut text = [0u8; LENGTH];
    fails!(
        EMSGSIZE,
        SYS_mq_timedreceive,
        queue.fd.0,
        &mut text,
        LENGTH - 1,
        0,
        0
    );
}

fn longer_message_than_the_queue_allows_is_emsgsize() {
    let queue = Queue::new(2, 0);
    let text = [b'x'; LENGTH + 1];
    fails!(
        EMSGSIZE,
        SYS_mq_timedsend,
        queue.fd.0,
        &text,
        text.len(),
        0,
        0
    );
    ok!(SYS_mq_timedsend, queue.fd.0, &text, LENGTH, 0, 0);
}

fn priority_out_of_range_is_einval() {
    let queue = Queue::new(2, 0);
    fails!(EINVAL, SYS_mq_timedsend, queue.fd.0, c"x", 1, 32768, 0);
    ok!(SYS_mq_timedsend, queue.fd.0, c"x", 1, 32767, 0);
}

fn empty_nonblocking_queue_is_eagain() {
    let queue = Queue::new(2, O_NONBLOCK);
    let mut text = [0u8; LENGTH];
    fails!(
        EAGAIN,
        SYS_mq_timedreceive,
        queue.fd.0,
        &mut text,
        LENGTH,
        0,
        0
    );
}

fn full_nonblocking_queue_is_eagain() {
    let queue = Queue::new(1, O_NONBLOCK);
    queue.send("x", 0);
    fails!(EAGAIN, SYS_mq_timedsend, queue.fd.0, c"x", 1, 0, 0);
}

fn receiver_sleeps_until_a_message_comes() {
    let queue = Queue::new(2, 0);
    let child = fork(|| assert_eq!(queue.receive(), ("late".into(), 3)));
    wait_until_asleep(child.pid());
    queue.send("late", 3);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn sender_sleeps_until_there_is_room() {
    let queue = Queue::new(1, 0);
    queue.send("first", 0);
    let child = fork(|| queue.send("second", 0));
    wait_until_asleep(child.pid());
    assert_eq!(queue.receive().0, "first");
    assert_eq!(child.wait(), Exit::Code(0));
    assert_eq!(queue.receive().0, "second");
}

fn receive_times_out_at_its_deadline() {
    let queue = Queue::new(2, 0);
    let past = timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let mut text = [0u8; LENGTH];
    fails!(
        ETIMEDOUT,
        SYS_mq_timedreceive,
        queue.fd.0,
        &mut text,
        LENGTH,
        0,
        &past
    );
}

fn bad_timeout_is_einval() {
    let queue = Queue::new(2, 0);
    let bad = timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000_000,
    };
    let mut text = [0u8; LENGTH];
    fails!(
        EINVAL,
        SYS_mq_timedreceive,
        queue.fd.0,
        &mut text,
        LENGTH,
        0,
        &bad
    );
}

fn attributes_say_what_was_asked_for() {
    let queue = Queue::new(3, O_NONBLOCK);
    queue.send("x", 0);
    let now = queue.attributes();
    assert_eq!(
        (now.mq_maxmsg, now.mq_msgsize, now.mq_curmsgs),
        (3, LENGTH as i64, 1)
    );
    assert_eq!(now.mq_flags, i64::from(O_NONBLOCK));
}

fn only_nonblock_can_be_changed() {
    let queue = Queue::new(2, 0);
    let mut new = attributes(5, 99);
    new.mq_flags = i64::from(O_NONBLOCK);
    ok!(SYS_mq_getsetattr, queue.fd.0, &new, 0);
    let now = queue.attributes();
    assert_eq!((now.mq_flags, now.mq_maxmsg), (i64::from(O_NONBLOCK), 2));
    new.mq_flags = i64::from(O_APPEND);
    fails!(EINVAL, SYS_mq_getsetattr, queue.fd.0, &new, 0);
}

fn exclusive_creation_of_an_existing_queue_is_eexist() {
    let queue = Queue::new(2, 0);
    fails!(
        EEXIST,
        SYS_mq_open,
        queue.name(),
        O_RDWR | O_CREAT | O_EXCL,
        0o600,
        0
    );
    drop(Fd::new(ok!(
        SYS_mq_open,
        queue.name(),
        O_RDWR | O_CREAT,
        0o600,
        0
    )));
}

fn unknown_queue_is_enoent() {
    fails!(ENOENT, SYS_mq_open, c"guest-tests-none", O_RDWR, 0, 0);
    fails!(ENOENT, SYS_mq_unlink, c"guest-tests-none");
}

fn name_with_a_slash_is_eacces() {
    fails!(EACCES, SYS_mq_open, c"/slash", O_RDWR | O_CREAT, 0o600, 0);
    fails!(ENOENT, SYS_mq_open, c"", O_RDWR | O_CREAT, 0o600, 0);
}

fn queue_lives_on_after_its_name_is_removed() {
    let queue = Queue::new(2, 0);
    queue.send("kept", 0);
    ok!(SYS_mq_unlink, queue.name());
    fails!(ENOENT, SYS_mq_open, queue.name(), O_RDWR, 0, 0);
    assert_eq!(queue.receive().0, "kept");
}

fn access_mode_is_kept_to() {
    let queue = Queue::new(2, 0);
    let reader = Fd::new(ok!(SYS_mq_open, queue.name(), O_RDONLY, 0, 0));
    let writer = Fd::new(ok!(SYS_mq_open, queue.name(), O_WRONLY, 0, 0));
    let mut text = [0u8; LENGTH];
    fails!(EBADF, SYS_mq_timedsend, reader.0, c"x", 1, 0, 0);
    fails!(
        EBADF,
        SYS_mq_timedreceive,
        writer.0,
        &mut text,
        LENGTH,
        0,
        0
    );
}

fn permissions_of_other_users_are_checked() {
    need_root();
    let queue = Queue::new(2, 0);
    isolated(|| {
        ok!(SYS_setresgid, 1000, 1000, 1000);
        ok!(SYS_setresuid, 1000, 1000, 1000);
        fails!(EACCES, SYS_mq_open, queue.name(), O_RDONLY, 0, 0);
        // The directory is sticky.
        fails!(EPERM, SYS_mq_unlink, queue.name());
    });
}

fn signal_event(signal: i32) -> sigevent {
    // SAFETY: integers and pointers.
    let mut event: sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = signal;
    event.sigev_value.sival_ptr = 77 as *mut c_void;
    event
}

fn notification_is_sent_once_for_a_message_to_an_empty_queue() {
    const SI_MESGQ: i32 = -3;
    let queue = Queue::new(3, 0);
    record(SIGUSR1, 0);
    ok!(SYS_mq_notify, queue.fd.0, &signal_event(SIGUSR1));
    queue.send("first", 0);
    queue.send("second", 0);
    let caught = caught();
    assert_eq!(caught.len(), 1);
    assert_eq!((caught[0].code, caught[0].value), (SI_MESGQ, 77));
    // Registered anew, it waits until the queue is empty again.
    ok!(SYS_mq_notify, queue.fd.0, &signal_event(SIGUSR1));
    queue.send("third", 0);
    assert_eq!(crate::frame::signals::caught().len(), 1);
}

fn second_registration_is_ebusy() {
    let queue = Queue::new(2, 0);
    ok!(SYS_mq_notify, queue.fd.0, &signal_event(SIGUSR1));
    fails!(EBUSY, SYS_mq_notify, queue.fd.0, &signal_event(SIGUSR2));
    ok!(SYS_mq_notify, queue.fd.0, 0);
    ok!(SYS_mq_notify, queue.fd.0, &signal_event(SIGUSR2));
}

fn notification_is_not_sent_while_a_receiver_sleeps() {
    let queue = Queue::new(2, 0);
    block(&[SIGUSR1]);
    record(SIGUSR1, 0);
    let child = fork(|| drop(queue.receive()));
    wait_until_asleep(child.pid());
    ok!(SYS_mq_notify, queue.fd.0, &signal_event(SIGUSR1));
    queue.send("x", 0);
    assert_eq!(child.wait(), Exit::Code(0));
    unblock(&[SIGUSR1]);
    assert_eq!(caught(), []);
}

fn poll_sees_messages_and_room() {
    let queue = Queue::new(1, 0);
    let both = POLLIN | POLLOUT;
    assert_eq!(queue.fd.poll(both), POLLOUT);
    queue.send("x", 0);
    assert_eq!(queue.fd.poll(both), POLLIN);
}

fn descriptor_is_closed_at_exec() {
    let queue = Queue::new(2, 0);
    assert_eq!(ok!(SYS_fcntl, queue.fd.0, F_GETFD), FD_CLOEXEC as usize);
}

fn queue_has_a_file_in_its_file_system() {
    let queue = Queue::new(2, 0);
    let mut facts: stat64 = zeroed();
    ok!(SYS_fstat, queue.fd.0, &mut facts);
    assert_eq!(facts.st_mode, S_IFREG | 0o600);
    assert_eq!(facts.st_size, 80);
    queue.send("12345", 0);
    let text = String::from_utf8(queue.fd.read(128).unwrap()).unwrap();
    assert!(text.starts_with("QSIZE:5 "), "{text}");
}

fn call_on_another_descriptor_is_ebadf() {
    let (reader, _writer) = crate::frame::descriptor::pipe(0);
    let mut text = [0u8; LENGTH];
    fails!(
        EBADF,
        SYS_mq_timedreceive,
        reader.0,
        &mut text,
        LENGTH,
        0,
        0
    );
    fails!(EBADF, SYS_mq_getsetattr, 999, 0, 0);
}
