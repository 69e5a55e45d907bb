//! poll, select, epoll, and the descriptors made for them.

use crate::frame::child::fork;
use crate::frame::descriptor::{Fd, pipe};
use crate::frame::signals::{block, caught_signals, queue, raise, record, set};
use crate::frame::state::wait_until_asleep;
use crate::frame::thread::spawn;
use libc::*;
use std::time::Instant;

tests!(
    poll_of_nothing_times_out,
    poll_of_a_closed_descriptor_is_pollnval,
    poll_skips_negative_descriptors,
    poll_wakes_when_a_byte_comes,
    poll_of_a_file_is_always_ready,
    poll_is_interrupted_by_a_signal,
    poll_of_bad_arguments_is_an_error,
    ppoll_waits_with_another_mask,
    select_gives_the_sets_of_what_is_ready,
    select_tells_what_time_is_left,
    select_of_bad_arguments_is_an_error,
    epoll_reports_what_was_asked_for,
    epoll_level_reports_until_it_is_read,
    epoll_edge_reports_once,
    epoll_edge_reports_again_after_new_data,
    epoll_oneshot_must_be_armed_again,
    epoll_limits_events_to_the_room_given,
    epoll_forgets_a_closed_file,
    epoll_can_watch_another_epoll,
    epoll_of_bad_arguments_is_an_error,
    epoll_wakes_a_waiter,
    eventfd_adds_up_and_is_read_to_zero,
    eventfd_semaphore_gives_one_at_a_time,
    eventfd_overflow_is_eagain,
    eventfd_of_a_wrong_size_is_einval,
    signalfd_reads_what_is_pending,
    signalfd_gives_queued_values,
    signalfd_of_nothing_pending_is_eagain,
);

fn poll(list: &mut [pollfd], timeout: i32) -> usize {
    ok!(SYS_poll, &mut list[..], list.len(), timeout)
}

fn entry(fd: i32, events: i16) -> pollfd {
    pollfd {
        fd,
        events,
        revents: 99,
    }
}

fn poll_of_nothing_times_out() {
    let begin = Instant::now();
    assert_eq!(poll(&mut [], 5), 0);
    assert!(begin.elapsed().as_millis() >= 5);
}

fn poll_of_a_closed_descriptor_is_pollnval() {
    let mut list = [entry(999, POLLIN)];
    assert_eq!(poll(&mut list, -1), 1);
    assert_eq!(list[0].revents, POLLNVAL);
}

fn poll_skips_negative_descriptors() {
    let (reader, writer) = pipe(0);
    writer.write("x").unwrap();
    let mut list = [
        entry(-1, POLLIN),
        entry(reader.0, POLLIN),
        entry(-7, POLLIN),
    ];
    assert_eq!(poll(&mut list, -1), 1);
    assert_eq!(list.map(|entry| entry.revents), [0, POLLIN, 0]);
}

fn poll_wakes_when_a_byte_comes() {
    let (first, (reader, writer)) = (pipe(0), pipe(0));
    let child = fork(|| {
        let mut list = [entry(first.0.0, POLLIN), entry(reader.0, POLLIN)];
        assert_eq!(poll(&mut list, -1), 1);
        assert_eq!(list.map(|entry| entry.revents), [0, POLLIN]);
    });
    wait_until_asleep(child.pid());
    writer.write("x").unwrap();
    assert_eq!(child.wait(), crate::frame::child::Exit::Code(0));
}

fn poll_of_a_file_is_always_ready() {
    let file = Fd::open(c"/etc/passwd", O_RDONLY);
    assert_eq!(file.poll(POLLIN | POLLOUT), POLLIN | POLLOUT);
}

fn poll_is_interrupted_by_a_signal() {
    record(SIGUSR1, SA_RESTART);
    let me = std::process::id() as i32;
    let child = fork(|| {
        wait_until_asleep(me);
        ok!(SYS_kill, me, SIGUSR1);
    });
    let (reader, _writer) = pipe(0);
    fails!(EINTR, SYS_poll, &mut entry(reader.0, POLLIN), 1, -1);
    child.wait();
}

fn poll_of_bad_arguments_is_an_error() {
    fails!(EFAULT, SYS_poll, 8usize, 1, 0);
    fails!(EINVAL, SYS_poll, 0, u32::MAX, 0);
}

fn ppoll_waits_with_another_mask() {
    record(SIGUSR1, 0);
    block(&[SIGUSR1]);
    raise(SIGUSR1);
    let none = 0u64;
    fails!(EINTR, SYS_ppoll, 0, 0, 0, &none, 8);
    assert_eq!(caught_signals(), [SIGUSR1]);
    assert_eq!(crate::frame::signals::mask(), set(&[SIGUSR1]));
}

fn select_gives_the_sets_of_what_is_ready() {
    let (reader, writer) = pipe(0);
    let (idle, _other) = pipe(0);
    writer.write("x").unwrap();
    let bit = |fd: &Fd| 1u64 << fd.0;
    let mut read = [bit(&reader) | bit(&idle); 16];
    read[1..].fill(0);
    let mut write = [bit(&writer), 0];
    let zero = [0u64; 2];
    assert_eq!(ok!(SYS_select, 64, &mut read, &mut write, 0, &zero), 2);
    assert_eq!((read[0], write[0]), (bit(&reader), bit(&writer)));
}

fn select_tells_what_time_is_left() {
    let (reader, writer) = pipe(0);
    writer.write("x").unwrap();
    let mut set = [1u64 << reader.0];
    let mut time = [100i64, 0];
    assert_eq!(ok!(SYS_select, reader.0 + 1, &mut set, 0, 0, &mut time), 1);
    assert!((98..=100).contains(&time[0]));
    drop(reader.read(1));
    let mut time = [0i64, 3000];
    assert_eq!(ok!(SYS_select, reader.0 + 1, &mut set, 0, 0, &mut time), 0);
    assert_eq!((time, set), ([0, 0], [0]));
}

fn select_of_bad_arguments_is_an_error() {
    let mut set = [1u64 << 40];
    fails!(EBADF, SYS_select, 64, &mut set, 0, 0, 0);
    fails!(EINVAL, SYS_select, -1, 0, 0, 0, 0);
    fails!(EFAULT, SYS_select, 64, 8usize, 0, 0, 0);
    fails!(EINVAL, SYS_select, 0, 0, 0, 0, &[-1i64, 0]);
}

fn epoll() -> Fd {
    Fd::new(ok!(SYS_epoll_create1, EPOLL_CLOEXEC))
}

fn control(epoll: &Fd, operation: i32, fd: &Fd, events: i32, data: u64) {
    let event = epoll_event {
        events: events as u32,
        u64: data,
    };
    ok!(SYS_epoll_ctl, epoll.0, operation, fd.0, &event);
}

/// Events and data of what is ready now.
fn ready(epoll: &Fd) -> Vec<(i32, u64)> {
    let mut events = [epoll_event { events: 0, u64: 0 }; 8];
    let count = ok!(SYS_epoll_wait, epoll.0, &mut events, 8, 0);
    events[..count]
        .iter()
        .map(|event| (event.events as i32, event.u64))
        .collect()
}

/// An epoll that watches the reading end of a pipe.
fn watched(events: i32) -> (Fd, Fd, Fd) {
    let (reader, writer) = pipe(0);
    let epoll = epoll();
    control(&epoll, EPOLL_CTL_ADD, &reader, events, 7);
    (epoll, reader, writer)
}

fn epoll_reports_what_was_asked_for() {
    let (epoll, reader, writer) = watched(EPOLLIN);
    control(&epoll, EPOLL_CTL_ADD, &writer, EPOLLOUT, 8);
    assert_eq!(ready(&epoll), [(EPOLLOUT, 8)]);
    writer.write("x").unwrap();
    let mut both = ready(&epoll);
    both.sort_unstable();
    assert_eq!(both, [(EPOLLIN, 7), (EPOLLOUT, 8)]);
    control(&epoll, EPOLL_CTL_DEL, &writer, 0, 0);
    assert_eq!(ready(&epoll), [(EPOLLIN, 7)]);
    control(&epoll, EPOLL_CTL_MOD, &reader, 0, 7);
    assert_eq!(ready(&epoll), []);
    drop(writer);
    assert_eq!(ready(&epoll), [(EPOLLHUP, 7)]);
}

fn epoll_level_reports_until_it_is_read() {
    let (epoll, reader, writer) = watched(EPOLLIN);
    writer.write("x").unwrap();
    assert_eq!(ready(&epoll), [(EPOLLIN, 7)]);
    assert_eq!(ready(&epoll), [(EPOLLIN, 7)]);
    reader.read(1).unwrap();
    assert_eq!(ready(&epoll), []);
}

fn epoll_edge_reports_once() {
    let (epoll, _reader, writer) = watched(EPOLLIN | EPOLLET);
    writer.write("x").unwrap();
    assert_eq!(ready(&epoll), [(EPOLLIN, 7)]);
    assert_eq!(ready(&epoll), []);
}

fn epoll_edge_reports_again_after_new_data() {
    let (epoll, _reader, writer) = watched(EPOLLIN | EPOLLET);
    writer.write("x").unwrap();
    assert_eq!(ready(&epoll).len(), 1);
    writer.write("y").unwrap();
    assert_eq!(ready(&epoll), [(EPOLLIN, 7)]);
}

fn epoll_oneshot_must_be_armed_again() {
    let events = EPOLLIN | EPOLLONESHOT;
    let (epoll, reader, writer) = watched(events);
    writer.write("x").unwrap();
    assert_eq!(ready(&epoll), [(EPOLLIN, 7)]);
    writer.write("y").unwrap();
    assert_eq!(ready(&epoll), []);
    control(&epoll, EPOLL_CTL_MOD, &reader, events, 9);
    assert_eq!(ready(&epoll), [(EPOLLIN, 9)]);
}

fn epoll_limits_events_to_the_room_given() {
    let epoll = epoll();
    let pipes: Vec<(Fd, Fd)> = (0..3).map(|_| pipe(0)).collect();
    for (number, (_, writer)) in pipes.iter().enumerate() {
        control(&epoll, EPOLL_CTL_ADD, writer, EPOLLOUT, number as u64);
    }
    let mut event = [epoll_event { events: 0, u64: 0 }];
    let mut seen: Vec<u64> = (0..3)
        .map(|_| {
            assert_eq!(ok!(SYS_epoll_wait, epoll.0, &mut event, 1, 0), 1);
            event[0].u64
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2], "each has its turn");
}

fn epoll_forgets_a_closed_file() {
    let (epoll, reader, writer) = watched(EPOLLIN);
    writer.write("x").unwrap();
    drop(reader);
    assert_eq!(ready(&epoll), []);
}

fn epoll_can_watch_another_epoll() {
    let (inner, _reader, writer) = watched(EPOLLIN);
    let outer = epoll();
    control(&outer, EPOLL_CTL_ADD, &inner, EPOLLIN, 5);
    assert_eq!(ready(&outer), []);
    writer.write("x").unwrap();
    assert_eq!(ready(&outer), [(EPOLLIN, 5)]);
    let event = epoll_event {
        events: EPOLLIN as u32,
        u64: 0,
    };
    fails!(
        ELOOP,
        SYS_epoll_ctl,
        inner.0,
        EPOLL_CTL_ADD,
        outer.0,
        &event
    );
}

fn epoll_of_bad_arguments_is_an_error() {
    let (epoll, reader, writer) = watched(EPOLLIN);
    let mut event = epoll_event {
        events: EPOLLIN as u32,
        u64: 0,
    };
    let file = Fd::open(c"/etc/passwd", O_RDONLY);
    fails!(
        EEXIST,
        SYS_epoll_ctl,
        epoll.0,
        EPOLL_CTL_ADD,
        reader.0,
        &event
    );
    fails!(EPERM, SYS_epoll_ctl, epoll.0, EPOLL_CTL_ADD, file.0, &event);
    fails!(
        ENOENT,
        SYS_epoll_ctl,
        epoll.0,
        EPOLL_CTL_MOD,
        writer.0,
        &event
    );
    fails!(EBADF, SYS_epoll_ctl, epoll.0, EPOLL_CTL_ADD, 999, &event);
    fails!(
        EINVAL,
        SYS_epoll_ctl,
        epoll.0,
        EPOLL_CTL_ADD,
        epoll.0,
        &event
    );
    fails!(
        EINVAL,
        SYS_epoll_ctl,
        reader.0,
        EPOLL_CTL_ADD,
        epoll.0,
        &event
    );
    fails!(EINVAL, SYS_epoll_ctl, epoll.0, 77, reader.0, &event);
    fails!(EINVAL, SYS_epoll_wait, epoll.0, &mut event, 0, 0);
    fails!(EINVAL, SYS_epoll_create, 0);
    fails!(EINVAL, SYS_epoll_create1, 1);
}

fn epoll_wakes_a_waiter() {
    let (epoll, _reader, writer) = watched(EPOLLIN);
    let waiter = spawn(move || {
        let mut event = [epoll_event { events: 0, u64: 0 }];
        (
            ok!(SYS_epoll_wait, epoll.0, &mut event, 1, -1),
            event[0].u64,
        )
    });
    waiter.wait_until_asleep();
    writer.write("x").unwrap();
    assert_eq!(waiter.join(), (1, 7));
}

fn event(value: u32, flags: i32) -> Fd {
    Fd::new(ok!(SYS_eventfd2, value, flags))
}

fn value(fd: &Fd) -> u64 {
    u64::from_ne_bytes(fd.read(8).unwrap().try_into().unwrap())
}

fn eventfd_adds_up_and_is_read_to_zero() {
    let fd = event(3, EFD_NONBLOCK);
    fd.write(4u64.to_ne_bytes()).unwrap();
    assert_eq!(fd.poll(POLLIN | POLLOUT), POLLIN | POLLOUT);
    assert_eq!(value(&fd), 7);
    assert_eq!(fd.poll(POLLIN), 0);
    assert_eq!(fd.read(8).map_err(|error| error.0), Err(EAGAIN));
}

fn eventfd_semaphore_gives_one_at_a_time() {
    let fd = event(2, EFD_NONBLOCK | EFD_SEMAPHORE);
    assert_eq!((value(&fd), value(&fd)), (1, 1));
    assert_eq!(fd.read(8).map_err(|error| error.0), Err(EAGAIN));
}

fn eventfd_overflow_is_eagain() {
    let fd = event(0, EFD_NONBLOCK);
    fd.write((u64::MAX - 1).to_ne_bytes()).unwrap();
    assert_eq!(fd.poll(POLLOUT), 0);
    fails!(EAGAIN, SYS_write, fd.0, &1u64, 8);
    fails!(EINVAL, SYS_write, fd.0, &u64::MAX, 8);
    assert_eq!(value(&fd), u64::MAX - 1);
}

fn eventfd_of_a_wrong_size_is_einval() {
    let fd = event(1, 0);
    let mut word = 0u64;
    fails!(EINVAL, SYS_read, fd.0, &mut word, 4);
    fails!(EINVAL, SYS_write, fd.0, &word, 4);
    fails!(EINVAL, SYS_eventfd2, 0, 0x4000_0000);
}

fn signal_descriptor(signals: &[i32], flags: i32) -> Fd {
    block(signals);
    let set = set(signals);
    Fd::new(ok!(SYS_signalfd4, -1, &set, 8, flags))
}

/// Signal, code, sender and value of the next record.
fn record_of(fd: &Fd) -> (u32, i32, u32, u64) {
    let bytes = fd.read(128).unwrap();
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    let value = u64::from_ne_bytes(bytes[48..56].try_into().unwrap());
    (word(0), word(8) as i32, word(12), value)
}

fn signalfd_reads_what_is_pending() {
    let fd = signal_descriptor(&[SIGUSR1, SIGUSR2], 0);
    assert_eq!(fd.poll(POLLIN), 0);
    raise(SIGUSR2);
    assert_eq!(fd.poll(POLLIN), POLLIN);
    assert_eq!(
        record_of(&fd),
        (SIGUSR2 as u32, SI_USER, std::process::id(), 0)
    );
    assert_eq!(crate::frame::signals::pending(), 0);
}

fn signalfd_gives_queued_values() {
    let fd = signal_descriptor(&[40], 0);
    let me = std::process::id();
    (1..=3).for_each(|value| queue(me as i32, 40, value));
    let values: Vec<u64> = (0..3).map(|_| record_of(&fd).3).collect();
    assert_eq!(values, [1, 2, 3]);
}

fn signalfd_of_nothing_pending_is_eagain() {
    let fd = signal_descriptor(&[SIGUSR1], SFD_NONBLOCK);
    let mut record = [0u8; 128];
    fails!(EAGAIN, SYS_read, fd.0, &mut record, 128);
    fails!(EINVAL, SYS_read, fd.0, &mut record, 100);
    fails!(EINVAL, SYS_signalfd4, -1, &0u64, 4, 0);
}
