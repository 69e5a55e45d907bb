//! Clocks, sleeping, alarms and timers.

use crate::frame::child::{Exit, fork, isolated};
use crate::frame::descriptor::Fd;
use crate::frame::plain::zeroed;
use crate::frame::signals::{block, caught, caught_signals, pending, record, set};
use crate::frame::time::milliseconds;
use libc::*;
use std::time::{Duration, Instant};

tests!(
    clocks_run_forward,
    clock_resolutions_are_fine,
    unknown_clock_is_einval,
    processor_time_runs_only_with_the_process,
    realtime_agrees_with_time_and_gettimeofday,
    setting_the_clock_needs_permission,
    nanosleep_sleeps_at_least_as_long,
    nanosleep_of_a_bad_time_is_einval,
    absolute_sleep_to_the_past_returns_at_once,
    alarm_raises_sigalrm,
    alarm_tells_what_was_left,
    interval_timer_repeats,
    virtual_timer_counts_the_process_alone,
    interval_timer_of_a_bad_kind_is_einval,
    posix_timer_sends_its_value,
    posix_timer_counts_overruns,
    posix_timer_without_signal_can_be_read,
    posix_timer_that_is_disarmed_has_nothing_left,
    posix_timer_that_is_deleted_is_gone,
    posix_timer_of_bad_arguments_is_an_error,
    timerfd_counts_expirations,
    timerfd_is_readable_after_it_expires,
    timerfd_that_is_disarmed_reads_eagain,
    timerfd_tells_what_is_left,
    timerfd_of_bad_arguments_is_an_error,
    times_counts_ticks,
);

fn now(clock: i32) -> i64 {
    let mut time: timespec = zeroed();
    ok!(SYS_clock_gettime, clock, &mut time);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn every(interval: i64, first: i64) -> itimerspec {
    itimerspec {
        it_interval: milliseconds(interval),
        it_value: milliseconds(first),
    }
}

fn clocks_run_forward() {
    for clock in [
        CLOCK_REALTIME,
        CLOCK_MONOTONIC,
        CLOCK_BOOTTIME,
        CLOCK_MONOTONIC_RAW,
    ] {
        let times: Vec<i64> = (0..50).map(|_| now(clock)).collect();
        assert!(times.is_sorted() && times[0] > 0, "clock {clock}");
    }
}

fn clock_resolutions_are_fine() {
    for clock in [CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID] {
        let mut resolution: timespec = zeroed();
        ok!(SYS_clock_getres, clock, &mut resolution);
        assert_eq!((resolution.tv_sec, resolution.tv_nsec), (0, 1));
    }
}

fn unknown_clock_is_einval() {
    let mut time: timespec = zeroed();
    fails!(EINVAL, SYS_clock_gettime, 99, &mut time);
    fails!(EINVAL, SYS_clock_getres, 99, &mut time);
    fails!(EFAULT, SYS_clock_gettime, CLOCK_MONOTONIC, 8usize);
}

fn processor_time_runs_only_with_the_process() {
    let (wall, before) = (Instant::now(), now(CLOCK_PROCESS_CPUTIME_ID));
    ok!(SYS_nanosleep, &milliseconds(30), 0);
    let asleep = now(CLOCK_PROCESS_CPUTIME_ID) - before;
    assert!(
        asleep < wall.elapsed().as_nanos() as i64 / 2,
        "{asleep} ns in a sleep"
    );
    let begin = now(CLOCK_THREAD_CPUTIME_ID);
    while now(CLOCK_THREAD_CPUTIME_ID) == begin {}
}

fn realtime_agrees_with_time_and_gettimeofday() {
    let mut day: timeval = zeroed();
    ok!(SYS_gettimeofday, &mut day, 0);
    let (seconds, real) = (ok!(SYS_time, 0) as i64, now(CLOCK_REALTIME) / 1_000_000_000);
    assert!((0..3).contains(&(real - day.tv_sec)) && (0..3).contains(&(real - seconds)));
}

fn setting_the_clock_needs_permission() {
    isolated(|| {
        if ok!(SYS_geteuid) == 0 {
            ok!(SYS_setresuid, 65534, 65534, 65534);
        }
        fails!(EPERM, SYS_clock_settime, CLOCK_REALTIME, &milliseconds(1));
    });
}

fn nanosleep_sleeps_at_least_as_long() {
    let begin = now(CLOCK_MONOTONIC);
    ok!(SYS_nanosleep, &milliseconds(20), 0);
    ok!(
        SYS_clock_nanosleep,
        CLOCK_MONOTONIC,
        0,
        &milliseconds(10),
        0
    );
    assert!(now(CLOCK_MONOTONIC) - begin >= 30_000_000);
}

fn nanosleep_of_a_bad_time_is_einval() {
    fails!(
        EINVAL,
        SYS_nanosleep,
        &timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000_000
        },
        0
    );
    fails!(
        EINVAL,
        SYS_nanosleep,
        &timespec {
            tv_sec: -1,
            tv_nsec: 0
        },
        0
    );
    fails!(EFAULT, SYS_nanosleep, 8usize, 0);
}

fn absolute_sleep_to_the_past_returns_at_once() {
    ok!(
        SYS_clock_nanosleep,
        CLOCK_MONOTONIC,
        TIMER_ABSTIME,
        &milliseconds(1),
        0
    );
    let soon = now(CLOCK_MONOTONIC) + 10_000_000;
    ok!(
        SYS_clock_nanosleep,
        CLOCK_MONOTONIC,
        TIMER_ABSTIME,
        &milliseconds(soon / 1_000_000 + 1),
        0
    );
    assert!(now(CLOCK_MONOTONIC) >= soon);
}

fn alarm_raises_sigalrm() {
    let child = fork(|| {
        let soon = itimerval {
            it_interval: zeroed(),
            it_value: timeval {
                tv_sec: 0,
                tv_usec: 1000,
            },
        };
        ok!(SYS_setitimer, ITIMER_REAL, &soon, 0);
        let _ = call!(SYS_pause);
    });
    assert_eq!(child.wait(), Exit::Signal(SIGALRM));
}

fn alarm_tells_what_was_left() {
    assert_eq!(ok!(SYS_alarm, 100), 0);
    assert!((99..=100).contains(&ok!(SYS_alarm, 200)));
    let mut timer: itimerval = zeroed();
    ok!(SYS_getitimer, ITIMER_REAL, &mut timer);
    assert!((199..=200).contains(&timer.it_value.tv_sec));
    assert!((199..=200).contains(&ok!(SYS_alarm, 0)));
    assert_eq!(ok!(SYS_alarm, 0), 0);
}

fn tick(kind: i32) {
    let period = timeval {
        tv_sec: 0,
        tv_usec: 5000,
    };
    let timer = itimerval {
        it_interval: period,
        it_value: period,
    };
    ok!(SYS_setitimer, kind, &timer, 0);
}

fn interval_timer_repeats() {
    record(SIGALRM, 0);
    let begin = Instant::now();
    tick(ITIMER_REAL);
    while caught().len() < 3 {
        let _ = call!(SYS_pause);
    }
    assert!(begin.elapsed() >= Duration::from_millis(15));
}

fn virtual_timer_counts_the_process_alone() {
    for (kind, signal) in [(ITIMER_VIRTUAL, SIGVTALRM), (ITIMER_PROF, SIGPROF)] {
        record(signal, 0);
        tick(kind);
        let mut sum = 1u64;
        while !caught_signals().contains(&signal) {
            // Most of the time is the program's own, also where the kernel is emulated.
            for n in 0..20_000_000 {
                sum = std::hint::black_box(sum.wrapping_mul(31) + n);
            }
        }
        let never: itimerval = zeroed();
        ok!(SYS_setitimer, kind, &never, 0);
    }
}

fn interval_timer_of_a_bad_kind_is_einval() {
    let mut timer: itimerval = zeroed();
    fails!(EINVAL, SYS_getitimer, 3, &mut timer);
    timer.it_value.tv_usec = 1_000_000;
    fails!(EINVAL, SYS_setitimer, ITIMER_REAL, &timer, 0);
    fails!(EFAULT, SYS_setitimer, ITIMER_REAL, 8usize, 0);
}

/// A timer that sends `signal` with a value, or nothing.
fn timer(signal: Option<i32>) -> i32 {
    let mut event: sigevent = zeroed();
    event.sigev_notify = if signal.is_some() {
        SIGEV_SIGNAL
    } else {
        SIGEV_NONE
    };
    event.sigev_signo = signal.unwrap_or(0);
    event.sigev_value = sigval {
        sival_ptr: 77 as *mut c_void,
    };
    let mut id = -1;
    ok!(SYS_timer_create, CLOCK_MONOTONIC, &event, &mut id);
    id
}

fn posix_timer_sends_its_value() {
    const SI_TIMER: i32 = -2;
    record(SIGUSR1, 0);
    let id = timer(Some(SIGUSR1));
    // Over and over: the first may come between the look and the pause. Not so often that a slow
    // machine does nothing else.
    ok!(SYS_timer_settime, id, 0, &every(50, 50), 0);
    while caught().is_empty() {
        let _ = call!(SYS_pause);
    }
    assert_eq!((caught()[0].signal, caught()[0].code), (SIGUSR1, SI_TIMER));
    assert_eq!(caught()[0].value, 77);
}

fn posix_timer_counts_overruns() {
    block(&[SIGUSR1]);
    let id = timer(Some(SIGUSR1));
    ok!(SYS_timer_settime, id, 0, &every(1, 1), 0);
    ok!(SYS_nanosleep, &milliseconds(20), 0);
    assert_eq!(pending(), set(&[SIGUSR1]));
    let taken = set(&[SIGUSR1]);
    assert_eq!(ok!(SYS_rt_sigtimedwait, &taken, 0, 0, 8), SIGUSR1 as usize);
    assert!(ok!(SYS_timer_getoverrun, id) >= 5);
}

fn posix_timer_without_signal_can_be_read() {
    let id = timer(None);
    ok!(SYS_timer_settime, id, 0, &every(0, 100_000), 0);
    let mut left: itimerspec = zeroed();
    ok!(SYS_timer_gettime, id, &mut left);
    assert!((98..=100).contains(&left.it_value.tv_sec));
    let mut old: itimerspec = zeroed();
    ok!(SYS_timer_settime, id, 0, &every(0, 0), &mut old);
    assert!((98..=100).contains(&old.it_value.tv_sec));
}

fn posix_timer_that_is_disarmed_has_nothing_left() {
    let id = timer(Some(SIGUSR1));
    ok!(SYS_timer_settime, id, 0, &every(0, 100_000), 0);
    ok!(SYS_timer_settime, id, 0, &every(0, 0), 0);
    let mut left: itimerspec = zeroed();
    ok!(SYS_timer_gettime, id, &mut left);
    assert_eq!((left.it_value.tv_sec, left.it_value.tv_nsec), (0, 0));
}

fn posix_timer_that_is_deleted_is_gone() {
    let id = timer(Some(SIGUSR1));
    ok!(SYS_timer_delete, id);
    fails!(EINVAL, SYS_timer_delete, id);
    let mut left: itimerspec = zeroed();
    fails!(EINVAL, SYS_timer_gettime, id, &mut left);
}

fn posix_timer_of_bad_arguments_is_an_error() {
    let mut event: sigevent = zeroed();
    let mut id = 0;
    fails!(EINVAL, SYS_timer_create, 99, 0, &mut id);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = 100;
    fails!(EINVAL, SYS_timer_create, CLOCK_MONOTONIC, &event, &mut id);
    fails!(EFAULT, SYS_timer_create, CLOCK_MONOTONIC, 8usize, &mut id);
    let id = timer(None);
    let mut wrong = every(0, 1);
    wrong.it_value.tv_nsec = -1;
    fails!(EINVAL, SYS_timer_settime, id, 0, &wrong, 0);
}

fn timer_descriptor(flags: i32, time: itimerspec) -> Fd {
    let fd = Fd::new(ok!(SYS_timerfd_create, CLOCK_MONOTONIC, flags));
    ok!(SYS_timerfd_settime, fd.0, 0, &time, 0);
    fd
}

fn timerfd_counts_expirations() {
    let fd = timer_descriptor(0, every(2, 2));
    ok!(SYS_nanosleep, &milliseconds(15), 0);
    let count = u64::from_ne_bytes(fd.read(8).unwrap().try_into().unwrap());
    assert!(count >= 5, "{count}");
}

fn timerfd_is_readable_after_it_expires() {
    let fd = timer_descriptor(0, every(0, 10));
    assert_eq!(fd.poll(POLLIN), 0);
    let mut poll = pollfd {
        fd: fd.0,
        events: POLLIN,
        revents: 0,
    };
    assert_eq!(ok!(SYS_poll, &mut poll, 1, -1), 1);
    assert_eq!(fd.read(8), Ok(1u64.to_ne_bytes().to_vec()));
}

fn timerfd_that_is_disarmed_reads_eagain() {
    let fd = timer_descriptor(TFD_NONBLOCK, every(0, 0));
    let mut count = 0u64;
    fails!(EAGAIN, SYS_read, fd.0, &mut count, 8);
    fails!(EINVAL, SYS_read, fd.0, &mut count, 4);
}

fn timerfd_tells_what_is_left() {
    let fd = timer_descriptor(0, every(7000, 100_000));
    let mut left: itimerspec = zeroed();
    ok!(SYS_timerfd_gettime, fd.0, &mut left);
    assert!((98..=100).contains(&left.it_value.tv_sec));
    assert_eq!(left.it_interval.tv_sec, 7);
}

fn timerfd_of_bad_arguments_is_an_error() {
    fails!(EINVAL, SYS_timerfd_create, 99, 0);
    fails!(EINVAL, SYS_timerfd_create, CLOCK_MONOTONIC, 1);
    let file = Fd::open(c"/", O_RDONLY);
    fails!(EINVAL, SYS_timerfd_settime, file.0, 0, &every(0, 1), 0);
    fails!(EBADF, SYS_timerfd_settime, -1, 0, &every(0, 1), 0);
}

fn times_counts_ticks() {
    let mut first: tms = zeroed();
    let begin = ok!(SYS_times, &mut first);
    ok!(SYS_nanosleep, &milliseconds(30), 0);
    let mut second: tms = zeroed();
    let passed = ok!(SYS_times, &mut second) - begin;
    assert!((2..100).contains(&passed), "{passed} ticks");
    assert!(second.tms_utime >= first.tms_utime);
}
