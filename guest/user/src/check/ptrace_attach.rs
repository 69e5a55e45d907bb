//! Tracing: who traces whom, and how it begins and ends.

use crate::frame::child::{Child, Exit, fork};
use crate::frame::report::need_root;
use crate::frame::state::{wait_until, wait_until_asleep};
use crate::frame::trace::{asleep, must, next_stop, registers, resume};
use libc::*;
use std::sync::atomic::AtomicU64;

tests!(
    attached_process_stops,
    detached_process_goes_on,
    seized_process_stops_when_interrupted,
    group_stop_of_a_seized_process_is_listened_to,
    end_of_the_tracer_lets_go,
    exitkill_kills_with_the_tracer,
    requests_on_a_running_process_are_esrch,
    second_tracer_is_eperm,
    stranger_is_eperm,
    tracer_is_shown_in_status,
);

/// A place in memory that processes have.
static CELL: AtomicU64 = AtomicU64::new(5);

fn attached_process_stops() {
    let child = asleep();
    must(PTRACE_ATTACH, child.pid(), 0, 0);
    assert_eq!(next_stop(child.pid()), SIGSTOP);
    wait_until(child.pid(), 't');
    assert_eq!(registers(child.pid()).orig_rax, SYS_pause as u64);
}

fn detached_process_goes_on() {
    let child = asleep();
    must(PTRACE_ATTACH, child.pid(), 0, 0);
    next_stop(child.pid());
    must(PTRACE_DETACH, child.pid(), 0, 0);
    wait_until_asleep(child.pid());
    must(PTRACE_ATTACH, child.pid(), 0, 0);
    next_stop(child.pid());
    must(PTRACE_DETACH, child.pid(), 0, SIGTERM as usize);
    assert_eq!(child.wait(), Exit::Signal(SIGTERM));
}

/// `PTRACE_EVENT_STOP`
const EVENT_STOP: i32 = 128 << 8;

fn seize(child: &Child, options: i32) {
    must(PTRACE_SEIZE, child.pid(), 0, options as usize);
}

fn seized_process_stops_when_interrupted() {
    let child = asleep();
    seize(&child, 0);
    must(PTRACE_INTERRUPT, child.pid(), 0, 0);
    assert_eq!(next_stop(child.pid()), SIGTRAP | EVENT_STOP);
    resume(child.pid(), 0);
    wait_until_asleep(child.pid());
    child.kill(SIGTERM);
    assert_eq!(next_stop(child.pid()), SIGTERM);
    resume(child.pid(), SIGTERM);
    assert_eq!(child.wait(), Exit::Signal(SIGTERM));
}

fn group_stop_of_a_seized_process_is_listened_to() {
    let child = asleep();
    seize(&child, 0);
    child.kill(SIGSTOP);
    assert_eq!(next_stop(child.pid()), SIGSTOP);
    resume(child.pid(), SIGSTOP);
    assert_eq!(next_stop(child.pid()), SIGSTOP | EVENT_STOP);
    must(PTRACE_LISTEN, child.pid(), 0, 0);
    child.kill(SIGCONT);
    assert_eq!(next_stop(child.pid()), SIGTRAP | EVENT_STOP);
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGCONT);
    resume(child.pid(), SIGCONT);
    wait_until_asleep(child.pid());
}

/// Have another process trace `child` in some way, and end.
fn trace_and_end(child: &Child, options: i32) {
    let tracer = fork(|| {
        must(PTRACE_SEIZE, child.pid(), 0, options as usize);
        must(PTRACE_INTERRUPT, child.pid(), 0, 0);
        assert_eq!(next_stop(child.pid()), SIGTRAP | EVENT_STOP);
    });
    assert_eq!(tracer.wait(), Exit::Code(0));
}

fn end_of_the_tracer_lets_go() {
    need_root();
    let child = asleep();
    trace_and_end(&child, 0);
    wait_until_asleep(child.pid());
    child.kill(SIGTERM);
    assert_eq!(child.wait(), Exit::Signal(SIGTERM));
}

fn exitkill_kills_with_the_tracer() {
    need_root();
    let child = asleep();
    trace_and_end(&child, PTRACE_O_EXITKILL);
    assert_eq!(child.wait(), Exit::Signal(SIGKILL));
}

fn requests_on_a_running_process_are_esrch() {
    let child = asleep();
    let mut word = 0u64;
    let at = &raw mut word as usize;
    fails!(
        ESRCH,
        SYS_ptrace,
        PTRACE_PEEKDATA,
        child.pid(),
        CELL.as_ptr() as usize,
        at
    );
    seize(&child, 0);
    fails!(
        ESRCH,
        SYS_ptrace,
        PTRACE_PEEKDATA,
        child.pid(),
        CELL.as_ptr() as usize,
        at
    );
    fails!(ESRCH, SYS_ptrace, PTRACE_CONT, child.pid(), 0, 0);
    fails!(ESRCH, SYS_ptrace, PTRACE_ATTACH, 0x7fff_fff0, 0, 0);
}

fn second_tracer_is_eperm() {
    let child = asleep();
    seize(&child, 0);
    let other = fork(|| {
        fails!(EPERM, SYS_ptrace, PTRACE_SEIZE, child.pid(), 0, 0);
    });
    assert_eq!(other.wait(), Exit::Code(0));
    fails!(EPERM, SYS_ptrace, PTRACE_SEIZE, std::process::id(), 0, 0);
}

fn stranger_is_eperm() {
    need_root();
    let child = asleep();
    let other = fork(|| {
        ok!(SYS_setresuid, 1234, 1234, 1234);
        fails!(EPERM, SYS_ptrace, PTRACE_SEIZE, child.pid(), 0, 0);
        let mut byte = 0u8;
        let local = [&raw mut byte as usize, 1];
        let remote = [CELL.as_ptr() as usize, 1];
        fails!(
            EPERM,
            SYS_process_vm_readv,
            child.pid(),
            &local,
            1,
            &remote,
            1,
            0
        );
    });
    assert_eq!(other.wait(), Exit::Code(0));
}

fn tracer_is_shown_in_status() {
    let tracer_of = |pid: i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("TracerPid:\t"));
        line.unwrap().parse::<u32>().unwrap()
    };
    let child = asleep();
    assert_eq!(tracer_of(child.pid()), 0);
    seize(&child, 0);
    assert_eq!(tracer_of(child.pid()), std::process::id());
}
