//! Real-time signals, and taking signals without a handler.

use crate::frame::child::fork;
use crate::frame::plain::zeroed;
use crate::frame::signals::{
    block, caught, caught_signals, pending, queue, raise, record, set, unblock,
};
use crate::frame::state::wait_until_asleep;
use crate::frame::time::milliseconds;
use libc::*;

tests!(
    real_time_signals_are_queued_in_order,
    lower_numbers_are_delivered_first,
    queued_value_reaches_the_handler,
    queue_is_limited_by_the_resource_limit,
    sigqueue_cannot_pretend_to_be_the_kernel,
    sigtimedwait_takes_a_pending_signal,
    sigtimedwait_takes_values_in_order,
    sigtimedwait_times_out_with_eagain,
    sigtimedwait_waits_for_a_signal,
    sigtimedwait_is_interrupted_by_another_signal,
    sigtimedwait_of_bad_arguments_is_an_error,
);

const FIRST: i32 = 40;

fn me() -> i32 {
    std::process::id() as i32
}

fn real_time_signals_are_queued_in_order() {
    record(FIRST, 0);
    block(&[FIRST]);
    (1..=5).for_each(|value| queue(me(), FIRST, value));
    unblock(&[FIRST]);
    let values: Vec<i32> = caught().iter().map(|c| c.value).collect();
    assert_eq!(values, [1, 2, 3, 4, 5]);
}

fn lower_numbers_are_delivered_first() {
    let signals = [FIRST + 2, FIRST, FIRST + 1];
    signals
        .iter()
        .for_each(|signal| record(*signal, SA_RESTART));
    block(&signals);
    signals.iter().for_each(|signal| raise(*signal));
    assert_eq!(pending(), set(&signals));
    // One at a time: together they would be stacked, and the last would run first.
    let mut order = Vec::new();
    for _ in signals {
        order.push(take(&signals, None).unwrap().0);
    }
    assert_eq!(order, [FIRST, FIRST + 1, FIRST + 2]);
    assert_eq!(caught(), []);
}

fn queued_value_reaches_the_handler() {
    record(SIGUSR1, 0);
    queue(me(), SIGUSR1, 4711);
    let told = caught()[0];
    assert_eq!(
        (told.signal, told.code, told.pid, told.value),
        (SIGUSR1, SI_QUEUE, me(), 4711)
    );
}

fn queue_is_limited_by_the_resource_limit() {
    crate::frame::child::isolated(|| {
        block(&[FIRST]);
        ok!(SYS_setrlimit, RLIMIT_SIGPENDING, &[0u64, 0]);
        let mut info = [0u32; 32];
        (info[0], info[2], info[4]) = (FIRST as u32, SI_QUEUE as u32, me() as u32);
        fails!(EAGAIN, SYS_rt_sigqueueinfo, me(), FIRST, &info);
        // Without a value it is sent all the same.
        raise(FIRST);
        assert_eq!(pending(), set(&[FIRST]));
    });
}

fn sigqueue_cannot_pretend_to_be_the_kernel() {
    let child = fork(|| drop(call!(SYS_pause)));
    let mut info = [0u32; 32];
    for code in [SI_USER, 0x80] {
        (info[0], info[2]) = (SIGUSR1 as u32, code as u32);
        fails!(EPERM, SYS_rt_sigqueueinfo, child.pid(), SIGUSR1, &info);
    }
}

/// Signal, code and value that `rt_sigtimedwait(2)` takes, or its error.
fn take(signals: &[i32], timeout: Option<timespec>) -> Result<(i32, i32, i32), i32> {
    let mut info: siginfo_t = zeroed();
    let set = set(signals);
    let taken = match &timeout {
        Some(timeout) => call!(SYS_rt_sigtimedwait, &set, &mut info, timeout, 8),
        None => call!(SYS_rt_sigtimedwait, &set, &mut info, 0, 8),
    };
    let signal = taken.map_err(|error| error.0)? as i32;
    // SAFETY: an integer or pointer of the structure.
    let value = unsafe { info.si_value() }.sival_ptr as i32;
    Ok((signal, info.si_code, value))
}

const NOW: Option<timespec> = Some(timespec {
    tv_sec: 0,
    tv_nsec: 0,
});

fn sigtimedwait_takes_a_pending_signal() {
    block(&[SIGUSR1]);
    raise(SIGUSR1);
    assert_eq!(take(&[SIGUSR1], NOW).map(|t| t.0), Ok(SIGUSR1));
    assert_eq!(pending(), 0);
}

fn sigtimedwait_takes_values_in_order() {
    block(&[FIRST]);
    queue(me(), FIRST, 7);
    queue(me(), FIRST, 8);
    assert_eq!(take(&[FIRST], NOW), Ok((FIRST, SI_QUEUE, 7)));
    assert_eq!(take(&[FIRST], NOW), Ok((FIRST, SI_QUEUE, 8)));
    assert_eq!(take(&[FIRST], NOW), Err(EAGAIN));
}

fn sigtimedwait_times_out_with_eagain() {
    let begin = std::time::Instant::now();
    assert_eq!(take(&[SIGUSR1], Some(milliseconds(5))), Err(EAGAIN));
    assert!(begin.elapsed().as_millis() >= 5);
}

fn sigtimedwait_waits_for_a_signal() {
    block(&[FIRST]);
    let parent = me();
    let child = fork(|| {
        wait_until_asleep(parent);
        queue(parent, FIRST, 9);
    });
    assert_eq!(take(&[FIRST], None), Ok((FIRST, SI_QUEUE, 9)));
    child.wait();
}

fn sigtimedwait_is_interrupted_by_another_signal() {
    record(SIGUSR2, SA_RESTART);
    block(&[FIRST]);
    let parent = me();
    let child = fork(|| {
        wait_until_asleep(parent);
        ok!(SYS_kill, parent, SIGUSR2);
    });
    assert_eq!(take(&[FIRST], None), Err(EINTR));
    assert_eq!(caught_signals(), [SIGUSR2]);
    child.wait();
}

fn sigtimedwait_of_bad_arguments_is_an_error() {
    let wrong = timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000_000,
    };
    fails!(EINVAL, SYS_rt_sigtimedwait, &1u64, 0, &wrong, 8);
    fails!(EINVAL, SYS_rt_sigtimedwait, &1u64, 0, 0, 4);
    fails!(EFAULT, SYS_rt_sigtimedwait, 8usize, 0, 0, 8);
}
