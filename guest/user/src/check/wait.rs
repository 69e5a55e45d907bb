//! Waiting for children: wait4 and waitid.

use crate::frame::child::{Exit, fork, sleeper};
use crate::frame::gate::Gate;
use crate::frame::plain::zeroed;
use crate::frame::report::exit;
use crate::frame::signals::{caught, dispose, record};
use crate::frame::state::wait_until;
use libc::*;

tests!(
    wait_without_children_is_echild,
    wait_for_a_stranger_is_echild,
    wait_with_unknown_options_is_einval,
    wnohang_finds_nothing_while_the_child_runs,
    wait_for_any_finds_the_one_that_has_ended,
    wait_for_a_group_sees_only_its_members,
    killed_child_is_reported_with_its_signal,
    stopped_and_continued_children_are_reported_once,
    stop_is_not_reported_without_wuntraced,
    wait4_gives_the_usage_of_the_child,
    waitid_describes_an_exit,
    waitid_describes_a_kill,
    waitid_describes_stop_and_continue,
    waitid_with_wnowait_leaves_the_child,
    waitid_with_nothing_to_report_gives_zero,
    waitid_without_events_is_einval,
    waitid_of_a_bad_type_is_einval,
    ignored_sigchld_reaps_children,
    nocldwait_reaps_children,
    sigchld_tells_how_the_child_ended,
    nocldstop_keeps_sigchld_for_the_end,
    child_with_another_exit_signal_needs_wclone,
    wait_is_interrupted_by_a_signal,
);

fn wait_without_children_is_echild() {
    fails!(ECHILD, SYS_wait4, -1, 0, 0, 0);
    fails!(ECHILD, SYS_wait4, -1, 0, WNOHANG, 0);
}

fn wait_for_a_stranger_is_echild() {
    let _child = sleeper();
    fails!(ECHILD, SYS_wait4, 1, 0, WNOHANG, 0);
    fails!(ECHILD, SYS_wait4, std::process::id(), 0, WNOHANG, 0);
}

fn wait_with_unknown_options_is_einval() {
    fails!(EINVAL, SYS_wait4, -1, 0, 0x100, 0);
}

fn wnohang_finds_nothing_while_the_child_runs() {
    let mut child = sleeper();
    assert_eq!(child.wait_with(WNOHANG), None);
    child.kill(SIGKILL);
    assert_eq!(child.wait(), Exit::Signal(SIGKILL));
}

fn wait_for_any_finds_the_one_that_has_ended() {
    let _first = sleeper();
    let mut second = fork(|| exit(3));
    let mut status = 0;
    assert_eq!(ok!(SYS_wait4, -1, &mut status, 0, 0), second.pid() as usize);
    second.forget();
    assert_eq!(Exit::from_status(status), Exit::Code(3));
}

fn wait_for_a_group_sees_only_its_members() {
    let outside = fork(|| exit(1));
    let gate = Gate::new();
    let inside = fork(|| {
        gate.pass();
        exit(2)
    });
    ok!(SYS_setpgid, inside.pid(), inside.pid());
    gate.open();
    wait_until(outside.pid(), 'Z');
    let mut status = 0;
    assert_eq!(
        ok!(SYS_wait4, -inside.pid(), &mut status, 0, 0),
        inside.pid() as usize
    );
    assert_eq!(Exit::from_status(status), Exit::Code(2));
    fails!(ECHILD, SYS_wait4, -inside.pid(), 0, 0, 0);
    let mut inside = inside;
    inside.forget();
    assert_eq!(ok!(SYS_wait4, 0, &mut status, 0, 0), outside.pid() as usize);
    let mut outside = outside;
    outside.forget();
}

fn killed_child_is_reported_with_its_signal() {
    for signal in [SIGKILL, SIGTERM, SIGUSR1, SIGALRM] {
        let child = sleeper();
        child.kill(signal);
        assert_eq!(child.wait(), Exit::Signal(signal));
    }
}

fn stopped_and_continued_children_are_reported_once() {
    let mut child = sleeper();
    child.kill(SIGSTOP);
    assert_eq!(child.wait_with(WUNTRACED), Some(Exit::Stopped(SIGSTOP)));
    assert_eq!(child.wait_with(WUNTRACED | WNOHANG), None);
    child.kill(SIGCONT);
    assert_eq!(child.wait_with(WCONTINUED), Some(Exit::Continued));
    assert_eq!(child.wait_with(WCONTINUED | WNOHANG), None);
}

fn stop_is_not_reported_without_wuntraced() {
    let mut child = sleeper();
    child.kill(SIGSTOP);
    wait_until(child.pid(), 'T');
    assert_eq!(child.wait_with(WNOHANG), None);
    assert_eq!(
        child.wait_with(WNOHANG | WUNTRACED),
        Some(Exit::Stopped(SIGSTOP))
    );
}

fn wait4_gives_the_usage_of_the_child() {
    let mut child = fork(|| {
        let memory = crate::frame::mapping::Mapping::anonymous(100);
        (0..100).for_each(|page| memory.set(page * 4096, 1));
    });
    let mut usage: rusage = zeroed();
    ok!(SYS_wait4, child.pid(), 0, 0, &mut usage);
    child.forget();
    assert!(usage.ru_minflt >= 100, "{} faults", usage.ru_minflt);
    assert!(usage.ru_maxrss >= 400, "{} KiB", usage.ru_maxrss);
}

/// Signal, code, pid and status of what `waitid(2)` finds.
fn wait_id(kind: u32, id: i32, options: i32) -> (i32, i32, i32, i32) {
    let mut info: siginfo_t = zeroed();
    ok!(SYS_waitid, kind, id, &mut info, options, 0);
    // SAFETY: integers of the structure, set or zero.
    unsafe { (info.si_signo, info.si_code, info.si_pid(), info.si_status()) }
}

fn waitid_describes_an_exit() {
    let mut child = fork(|| exit(9));
    let seen = wait_id(P_PID, child.pid(), WEXITED);
    child.forget();
    assert_eq!(seen, (SIGCHLD, CLD_EXITED, child.pid(), 9));
}

fn waitid_describes_a_kill() {
    let mut child = sleeper();
    child.kill(SIGTERM);
    let seen = wait_id(P_ALL, 0, WEXITED);
    child.forget();
    assert_eq!(seen, (SIGCHLD, CLD_KILLED, child.pid(), SIGTERM));
}

fn waitid_describes_stop_and_continue() {
    let child = sleeper();
    child.kill(SIGSTOP);
    let stop = wait_id(P_PID, child.pid(), WSTOPPED);
    assert_eq!(stop, (SIGCHLD, CLD_STOPPED, child.pid(), SIGSTOP));
    child.kill(SIGCONT);
    let go = wait_id(P_PID, child.pid(), WCONTINUED);
    assert_eq!(go, (SIGCHLD, CLD_CONTINUED, child.pid(), SIGCONT));
}

fn waitid_with_wnowait_leaves_the_child() {
    let child = fork(|| exit(5));
    let seen = (SIGCHLD, CLD_EXITED, child.pid(), 5);
    assert_eq!(wait_id(P_PID, child.pid(), WEXITED | WNOWAIT), seen);
    assert_eq!(wait_id(P_PGID, 0, WEXITED | WNOWAIT), seen);
    assert_eq!(child.wait(), Exit::Code(5));
}

fn waitid_with_nothing_to_report_gives_zero() {
    let child = sleeper();
    assert_eq!(wait_id(P_PID, child.pid(), WEXITED | WNOHANG), (0, 0, 0, 0));
}

fn waitid_without_events_is_einval() {
    fails!(EINVAL, SYS_waitid, P_ALL, 0, 0, WNOHANG, 0);
}

fn waitid_of_a_bad_type_is_einval() {
    fails!(EINVAL, SYS_waitid, 77, 0, 0, WEXITED, 0);
}

fn ignored_sigchld_reaps_children() {
    dispose(SIGCHLD, SIG_IGN);
    let mut child = fork(|| {});
    child.forget();
    fails!(ECHILD, SYS_wait4, child.pid(), 0, 0, 0);
    fails!(ESRCH, SYS_kill, child.pid(), 0);
}

fn nocldwait_reaps_children() {
    record(SIGCHLD, SA_NOCLDWAIT | SA_RESTART);
    let mut child = fork(|| {});
    child.forget();
    fails!(ECHILD, SYS_wait4, child.pid(), 0, 0, 0);
}

fn sigchld_tells_how_the_child_ended() {
    record(SIGCHLD, SA_RESTART);
    let child = fork(|| exit(3));
    let pid = child.pid();
    child.wait();
    let seen: Vec<_> = caught().iter().map(|c| (c.signal, c.code, c.pid)).collect();
    assert_eq!(seen, [(SIGCHLD, CLD_EXITED, pid)]);
}

fn nocldstop_keeps_sigchld_for_the_end() {
    record(SIGCHLD, SA_NOCLDSTOP | SA_RESTART);
    let mut child = sleeper();
    child.kill(SIGSTOP);
    child.wait_with(WUNTRACED);
    child.kill(SIGCONT);
    child.wait_with(WCONTINUED);
    assert_eq!(caught(), []);
    child.kill(SIGKILL);
    child.wait();
    assert_eq!(caught()[0].code, CLD_KILLED);
}

fn child_with_another_exit_signal_needs_wclone() {
    dispose(SIGUSR1, SIG_IGN);
    let pid = crate::frame::thread::clone(SIGUSR1, || {});
    fails!(ECHILD, SYS_wait4, pid, 0, 0, 0);
    let mut status = 0;
    assert_eq!(ok!(SYS_wait4, pid, &mut status, __WCLONE, 0), pid as usize);
}

fn wait_is_interrupted_by_a_signal() {
    record(SIGUSR1, 0);
    let me = std::process::id() as i32;
    let sleeper = sleeper();
    let _sender = fork(|| {
        crate::frame::state::wait_until_asleep(me);
        ok!(SYS_kill, me, SIGUSR1);
    });
    fails!(EINTR, SYS_wait4, sleeper.pid(), 0, 0, 0);
}
