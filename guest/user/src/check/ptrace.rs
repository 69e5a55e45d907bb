//! Tracing: stops for signals, system calls, and what becomes of processes.

use crate::frame::child::{Child, Exit, fork};
use crate::frame::plain::zeroed;
use crate::frame::program::execute;
use crate::frame::report::exit;
use crate::frame::trace::{
    Request, must, next_stop, ptrace, registers, resume, set_registers, traced, wait_status,
};
use libc::*;

tests!(
    traced_child_stops_for_each_signal,
    signal_is_swallowed_or_replaced_by_the_tracer,
    ignored_signal_is_shown_to_the_tracer,
    calls_stop_before_and_after,
    marked_call_stops_tell_what_they_are,
    tracer_changes_the_result_of_a_call,
    tracer_prevents_a_call,
    unknown_call_stops_as_well,
    exec_raises_sigtrap,
    exec_event_replaces_the_sigtrap,
    fork_event_tells_the_child_which_is_traced,
    exit_event_tells_the_status,
);

fn traced_child_stops_for_each_signal() {
    let child = traced(|| {
        ok!(SYS_kill, std::process::id(), SIGUSR1);
    });
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGUSR1);
    let mut info: siginfo_t = zeroed();
    must(PTRACE_GETSIGINFO, child.pid(), 0, &raw mut info as usize);
    assert_eq!((info.si_signo, info.si_code), (SIGUSR1, SI_USER));
    resume(child.pid(), SIGUSR1);
    assert_eq!(child.wait(), Exit::Signal(SIGUSR1));
}

fn signal_is_swallowed_or_replaced_by_the_tracer() {
    let child = traced(|| {
        ok!(SYS_kill, std::process::id(), SIGUSR1);
        ok!(SYS_kill, std::process::id(), SIGUSR2);
    });
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGUSR1);
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGUSR2);
    resume(child.pid(), SIGTERM);
    assert_eq!(child.wait(), Exit::Signal(SIGTERM));
}

fn ignored_signal_is_shown_to_the_tracer() {
    let child = traced(|| {
        ok!(SYS_kill, std::process::id(), SIGWINCH);
    });
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGWINCH);
    resume(child.pid(), SIGWINCH);
    assert_eq!(child.wait(), Exit::Code(0));
}

/// Have a traced child make a call, and stop before it.
fn at_call(number: c_long, options: i32) -> Child {
    let child = traced(move || exit(call!(number).unwrap_or(255) as i32 & 0xff));
    must(PTRACE_SETOPTIONS, child.pid(), 0, options as usize);
    must(PTRACE_SYSCALL, child.pid(), 0, 0);
    let marked = options & PTRACE_O_TRACESYSGOOD != 0;
    let mark = if marked { 0x80 } else { 0 };
    assert_eq!(next_stop(child.pid()), SIGTRAP | mark);
    assert_eq!(registers(child.pid()).orig_rax, number as u64);
    child
}

fn calls_stop_before_and_after() {
    let child = at_call(SYS_getuid, 0);
    let before = registers(child.pid());
    assert_eq!(before.rax as i64, i64::from(-ENOSYS));
    must(PTRACE_SYSCALL, child.pid(), 0, 0);
    assert_eq!(next_stop(child.pid()), SIGTRAP);
    let after = registers(child.pid());
    assert_eq!(after.rax, ok!(SYS_getuid) as u64);
    assert_eq!((after.rip, after.rsp), (before.rip, before.rsp));
    resume(child.pid(), 0);
    assert!(matches!(child.wait(), Exit::Code(_)));
}

fn marked_call_stops_tell_what_they_are() {
    /// `PTRACE_GET_SYSCALL_INFO`
    const GET_SYSCALL_INFO: Request = 0x420e;
    const MARKED: i32 = SIGTRAP | 0x80;
    let info_of = |pid| {
        let mut info = [0u64; 11];
        let size = ptrace(GET_SYSCALL_INFO, pid, 88, &raw mut info as usize);
        (size, info[0] & 0xff, info[3])
    };
    let child = at_call(SYS_getppid, PTRACE_O_TRACESYSGOOD);
    let number = SYS_getppid as u64;
    assert_eq!(info_of(child.pid()), (Ok(80), 1, number));
    must(PTRACE_SYSCALL, child.pid(), 0, 0);
    assert_eq!(next_stop(child.pid()), MARKED);
    let me = u64::from(std::process::id());
    assert_eq!(info_of(child.pid()), (Ok(33), 2, me));
    resume(child.pid(), 0);
    child.wait();
}

fn tracer_changes_the_result_of_a_call() {
    let child = at_call(SYS_getppid, 0);
    must(PTRACE_SYSCALL, child.pid(), 0, 0);
    next_stop(child.pid());
    let mut registers = registers(child.pid());
    registers.rax = 42;
    set_registers(child.pid(), &registers);
    resume(child.pid(), 0);
    assert_eq!(child.wait(), Exit::Code(42));
}

fn tracer_prevents_a_call() {
    let child = at_call(SYS_getppid, 0);
    let mut registers = registers(child.pid());
    registers.orig_rax = u64::MAX;
    registers.rax = 7;
    set_registers(child.pid(), &registers);
    resume(child.pid(), 0);
    assert_eq!(child.wait(), Exit::Code(7));
}

fn unknown_call_stops_as_well() {
    let child = at_call(1000, 0);
    must(PTRACE_SYSCALL, child.pid(), 0, 0);
    next_stop(child.pid());
    assert_eq!(registers(child.pid()).rax as i64, i64::from(-ENOSYS));
    resume(child.pid(), 0);
    assert_eq!(child.wait(), Exit::Code(255));
}

fn execing() -> Child {
    traced(|| {
        let error = execute(crate::frame::program::SELF, &["guest-tests", "--list"], &[]);
        panic!("{error:?}");
    })
}

fn exec_raises_sigtrap() {
    let child = execing();
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGTRAP);
}

fn exec_event_replaces_the_sigtrap() {
    let child = execing();
    must(
        PTRACE_SETOPTIONS,
        child.pid(),
        0,
        PTRACE_O_TRACEEXEC as usize,
    );
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGTRAP | PTRACE_EVENT_EXEC << 8);
    assert_eq!(event_message(child.pid()), child.pid() as u64);
}

fn event_message(pid: i32) -> u64 {
    let mut message = 0u64;
    must(PTRACE_GETEVENTMSG, pid, 0, &raw mut message as usize);
    message
}

fn fork_event_tells_the_child_which_is_traced() {
    let child = traced(|| {
        let grandchild = fork(|| exit(3));
        assert_eq!(grandchild.wait(), Exit::Code(3));
    });
    must(
        PTRACE_SETOPTIONS,
        child.pid(),
        0,
        PTRACE_O_TRACEFORK as usize,
    );
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGTRAP | PTRACE_EVENT_FORK << 8);
    let grandchild = event_message(child.pid()) as i32;
    assert_eq!(next_stop(grandchild), SIGSTOP);
    resume(grandchild, 0);
    let status = wait_status(grandchild);
    assert_eq!((WIFEXITED(status), WEXITSTATUS(status)), (true, 3));
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGCHLD);
    resume(child.pid(), SIGCHLD);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn exit_event_tells_the_status() {
    let child = traced(|| exit(5));
    must(
        PTRACE_SETOPTIONS,
        child.pid(),
        0,
        PTRACE_O_TRACEEXIT as usize,
    );
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGTRAP | PTRACE_EVENT_EXIT << 8);
    assert_eq!(event_message(child.pid()), 5 << 8);
    resume(child.pid(), 0);
    assert_eq!(child.wait(), Exit::Code(5));
}
