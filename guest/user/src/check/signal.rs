//! Signals: dispositions, masks, handlers, alternate stacks, restarting.

use crate::frame::child::{Child, Exit, fork, in_child, isolated};
use crate::frame::descriptor::pipe;
use crate::frame::gate::Gate;
use crate::frame::mapping::Mapping;
use crate::frame::signals::{
    block, caught, caught_signals, dispose, handle, handle_masking, mask, pending, raise, record,
    set, set_mask, unblock,
};
use crate::frame::state::wait_until_asleep;
use crate::frame::thread;
use libc::*;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};

tests!(
    default_action_kills_or_ignores,
    kill_and_stop_cannot_be_caught_or_blocked,
    signal_zero_only_checks,
    kill_of_bad_numbers_is_an_error,
    blocked_signal_is_pending_until_unblocked,
    ordinary_signal_is_queued_once,
    ignored_signal_does_not_become_pending,
    ignoring_a_pending_signal_discards_it,
    handler_runs_with_its_signal_blocked,
    nodefer_handler_can_be_interrupted_by_its_own_signal,
    handler_masks_what_its_set_says,
    mask_is_restored_after_the_handler,
    resethand_handler_runs_once,
    handler_is_told_the_sender,
    mask_operations_do_what_they_say,
    sigprocmask_of_bad_arguments_is_an_error,
    sigaction_of_bad_arguments_is_an_error,
    sigaction_gives_back_what_was_set,
    handler_runs_on_the_alternate_stack,
    alternate_stack_cannot_be_changed_while_in_use,
    alternate_stack_of_bad_arguments_is_an_error,
    read_is_interrupted_without_restart,
    read_is_restarted_with_restart,
    nanosleep_is_interrupted_and_tells_what_is_left,
    pause_returns_after_a_handler,
    sigsuspend_waits_with_another_mask,
    stopped_process_continues_where_it_was,
    sigcont_discards_pending_stops,
    sigkill_ends_a_stopped_process,
    signal_for_a_stopped_process_waits,
    kill_of_a_group_reaches_every_member,
    kill_of_everybody_else_spares_the_sender,
    kill_needs_permission,
    tgkill_reaches_one_thread,
    process_signal_goes_to_a_thread_that_lets_it_through,
    every_thread_has_a_mask_of_its_own,
    handler_registers_are_restored,
    abort_kills_even_when_blocked,
);

fn default_action_kills_or_ignores() {
    for signal in [
        SIGHUP, SIGINT, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGIO, 34, 64,
    ] {
        assert_eq!(in_child(|| raise(signal)), Exit::Signal(signal));
    }
    for signal in [SIGCHLD, SIGURG, SIGWINCH, SIGCONT] {
        assert_eq!(in_child(|| raise(signal)), Exit::Code(0));
    }
    for signal in [SIGQUIT, SIGABRT, SIGSEGV, SIGXCPU, SIGSYS] {
        assert_eq!(in_child(|| raise(signal)).signal(), Some(signal));
    }
}

fn kill_and_stop_cannot_be_caught_or_blocked() {
    let action = [SIG_IGN, 0, 0, 0];
    fails!(EINVAL, SYS_rt_sigaction, SIGKILL, &action, 0, 8);
    fails!(EINVAL, SYS_rt_sigaction, SIGSTOP, &action, 0, 8);
    block(&[SIGKILL, SIGSTOP, SIGUSR1]);
    assert_eq!(mask(), set(&[SIGUSR1]));
}

fn signal_zero_only_checks() {
    ok!(SYS_kill, std::process::id(), 0);
    fails!(ESRCH, SYS_kill, 0x3fff_ffff, 0);
}

fn kill_of_bad_numbers_is_an_error() {
    fails!(EINVAL, SYS_kill, std::process::id(), 65);
    fails!(EINVAL, SYS_kill, std::process::id(), -1);
    fails!(ESRCH, SYS_kill, -0x3fff_ffff, SIGTERM);
    fails!(EINVAL, SYS_tgkill, -1, 1, SIGTERM);
    fails!(ESRCH, SYS_tgkill, std::process::id(), 0x3fff_ffff, SIGTERM);
}

fn blocked_signal_is_pending_until_unblocked() {
    record(SIGUSR1, 0);
    block(&[SIGUSR1]);
    raise(SIGUSR1);
    assert_eq!((caught().len(), pending()), (0, set(&[SIGUSR1])));
    unblock(&[SIGUSR1]);
    assert_eq!((caught_signals(), pending()), (vec![SIGUSR1], 0));
}

fn ordinary_signal_is_queued_once() {
    record(SIGUSR1, 0);
    block(&[SIGUSR1]);
    (0..3).for_each(|_| raise(SIGUSR1));
    unblock(&[SIGUSR1]);
    assert_eq!(caught_signals(), [SIGUSR1]);
}

fn ignored_signal_does_not_become_pending() {
    dispose(SIGUSR1, SIG_IGN);
    raise(SIGUSR1);
    assert_eq!(pending(), 0);
}

fn ignoring_a_pending_signal_discards_it() {
    record(SIGUSR1, 0);
    block(&[SIGUSR1]);
    raise(SIGUSR1);
    dispose(SIGUSR1, SIG_IGN);
    record(SIGUSR1, 0);
    unblock(&[SIGUSR1]);
    assert_eq!(caught(), []);
}

static DEPTH: AtomicU32 = AtomicU32::new(0);
static DEEPEST: AtomicU32 = AtomicU32::new(0);
static RUNS: AtomicU32 = AtomicU32::new(0);
static MASK: AtomicUsize = AtomicUsize::new(0);

extern "C" fn raise_once_more(signal: i32, _: *mut siginfo_t, _: *mut c_void) {
    DEEPEST.fetch_max(DEPTH.fetch_add(1, SeqCst) + 1, SeqCst);
    MASK.store(mask() as usize, SeqCst);
    if RUNS.fetch_add(1, SeqCst) == 0 {
        raise(signal);
    }
    DEPTH.fetch_sub(1, SeqCst);
}

fn handler_runs_with_its_signal_blocked() {
    handle(SIGUSR1, 0, raise_once_more);
    raise(SIGUSR1);
    assert_eq!((RUNS.load(SeqCst), DEEPEST.load(SeqCst)), (2, 1));
}

fn nodefer_handler_can_be_interrupted_by_its_own_signal() {
    handle(SIGUSR1, SA_NODEFER, raise_once_more);
    raise(SIGUSR1);
    assert_eq!((RUNS.load(SeqCst), DEEPEST.load(SeqCst)), (2, 2));
}

fn handler_masks_what_its_set_says() {
    handle_masking(SIGUSR1, 0, &[SIGTERM, SIGHUP], raise_once_more);
    block(&[SIGALRM]);
    raise(SIGUSR1);
    assert_eq!(
        MASK.load(SeqCst) as u64,
        set(&[SIGUSR1, SIGTERM, SIGHUP, SIGALRM])
    );
}

fn mask_is_restored_after_the_handler() {
    handle_masking(SIGUSR1, 0, &[SIGTERM], raise_once_more);
    block(&[SIGALRM]);
    raise(SIGUSR1);
    assert_eq!(mask(), set(&[SIGALRM]));
}

fn resethand_handler_runs_once() {
    let end = in_child(|| {
        record(SIGUSR1, SA_RESETHAND);
        raise(SIGUSR1);
        assert_eq!(caught_signals(), [SIGUSR1]);
        raise(SIGUSR1);
    });
    assert_eq!(end, Exit::Signal(SIGUSR1));
}

fn handler_is_told_the_sender() {
    const SI_TKILL: i32 = -6;
    record(SIGUSR1, 0);
    let me = std::process::id() as i32;
    raise(SIGUSR1);
    ok!(SYS_tgkill, me, me, SIGUSR1);
    let child = fork(|| drop(ok!(SYS_kill, me, SIGUSR1)));
    let pid = child.pid();
    child.wait();
    let told: Vec<_> = caught().iter().map(|c| (c.code, c.pid)).collect();
    assert_eq!(told, [(SI_USER, me), (SI_TKILL, me), (SI_USER, pid)]);
}

fn mask_operations_do_what_they_say() {
    assert_eq!(set_mask(set(&[1, 2])), 0);
    assert_eq!(block(&[3, 64]), set(&[1, 2]));
    assert_eq!(unblock(&[1]), set(&[1, 2, 3, 64]));
    assert_eq!(mask(), set(&[2, 3, 64]));
}

fn sigprocmask_of_bad_arguments_is_an_error() {
    fails!(EINVAL, SYS_rt_sigprocmask, 9, &0u64, 0, 8);
    fails!(EINVAL, SYS_rt_sigprocmask, SIG_BLOCK, &0u64, 0, 4);
    fails!(EFAULT, SYS_rt_sigprocmask, SIG_BLOCK, 8usize, 0, 8);
    fails!(EFAULT, SYS_rt_sigprocmask, SIG_BLOCK, 0, 8usize, 8);
}

fn sigaction_of_bad_arguments_is_an_error() {
    fails!(EINVAL, SYS_rt_sigaction, 0, 0, 0, 8);
    fails!(EINVAL, SYS_rt_sigaction, 65, 0, 0, 8);
    fails!(EINVAL, SYS_rt_sigaction, SIGUSR1, 0, 0, 4);
    fails!(EFAULT, SYS_rt_sigaction, SIGUSR1, 8usize, 0, 8);
}

fn sigaction_gives_back_what_was_set() {
    const SA_RESTORER: usize = 0x0400_0000;
    let flags = SA_RESTORER | SA_RESTART as usize;
    let action = [0x1234_5678, flags, 0x40_1000, set(&[SIGTERM]) as usize];
    let mut old = [0usize; 4];
    ok!(SYS_rt_sigaction, SIGUSR1, &action, 0, 8);
    ok!(SYS_rt_sigaction, SIGUSR1, 0, &mut old, 8);
    assert_eq!(old, action);
}

static STACK_POINTER: AtomicUsize = AtomicUsize::new(0);

extern "C" fn note_stack(_: i32, _: *mut siginfo_t, _: *mut c_void) {
    let here = 0u8;
    STACK_POINTER.store((&raw const here).addr(), SeqCst);
    let mut now: stack_t = crate::frame::plain::zeroed();
    ok!(SYS_sigaltstack, 0, &mut now);
    RUNS.store(now.ss_flags as u32, SeqCst);
    MASK.store(
        call!(SYS_sigaltstack, &now, 0).map_or_else(|e| e.0 as usize, |_| 0),
        SeqCst,
    );
}

fn on_alternate_stack(size: usize) -> Mapping {
    let memory = Mapping::anonymous(size / 4096);
    let stack = stack_t {
        ss_sp: memory.at as *mut c_void,
        ss_flags: 0,
        ss_size: size,
    };
    ok!(SYS_sigaltstack, &stack, 0);
    memory
}

fn handler_runs_on_the_alternate_stack() {
    let memory = on_alternate_stack(65536);
    handle(SIGUSR1, SA_ONSTACK, note_stack);
    raise(SIGUSR1);
    let pointer = STACK_POINTER.load(SeqCst);
    assert!((memory.at..memory.at + memory.len).contains(&pointer));
    assert_eq!(RUNS.load(SeqCst), SS_ONSTACK as u32);
    handle(SIGUSR1, 0, note_stack);
    raise(SIGUSR1);
    let pointer = STACK_POINTER.load(SeqCst);
    assert!(!(memory.at..memory.at + memory.len).contains(&pointer));
}

fn alternate_stack_cannot_be_changed_while_in_use() {
    let _memory = on_alternate_stack(65536);
    handle(SIGUSR1, SA_ONSTACK, note_stack);
    raise(SIGUSR1);
    assert_eq!(MASK.load(SeqCst), EPERM as usize);
}

fn alternate_stack_of_bad_arguments_is_an_error() {
    let small = stack_t {
        ss_sp: 0x10000 as *mut c_void,
        ss_flags: 0,
        ss_size: 100,
    };
    fails!(ENOMEM, SYS_sigaltstack, &small, 0);
    let flags = stack_t {
        ss_sp: 0x10000 as *mut c_void,
        ss_flags: 77,
        ss_size: 65536,
    };
    fails!(EINVAL, SYS_sigaltstack, &flags, 0);
    fails!(EFAULT, SYS_sigaltstack, 8usize, 0);
}

/// A child that sends a signal to this process once it is asleep, then does `after`.
fn signal_me_asleep(signal: i32, after: impl FnOnce()) -> Child {
    let me = std::process::id() as i32;
    fork(|| {
        wait_until_asleep(me);
        ok!(SYS_kill, me, signal);
        after();
    })
}

fn read_is_interrupted_without_restart() {
    record(SIGUSR1, 0);
    let (reader, _writer) = pipe(0);
    let child = signal_me_asleep(SIGUSR1, || {});
    let mut byte = 0u8;
    fails!(EINTR, SYS_read, reader.0, &mut byte, 1);
    child.wait();
}

fn read_is_restarted_with_restart() {
    record(SIGUSR1, SA_RESTART);
    let (reader, writer) = pipe(0);
    let me = std::process::id() as i32;
    let child = signal_me_asleep(SIGUSR1, || {
        wait_until_asleep(me);
        writer.write("x").unwrap();
    });
    assert_eq!(reader.read(1), Ok(b"x".to_vec()));
    assert_eq!(caught_signals(), [SIGUSR1]);
    child.wait();
}

fn nanosleep_is_interrupted_and_tells_what_is_left() {
    record(SIGUSR1, SA_RESTART);
    let child = signal_me_asleep(SIGUSR1, || {});
    let hour = timespec {
        tv_sec: 3600,
        tv_nsec: 0,
    };
    let mut left: timespec = crate::frame::plain::zeroed();
    fails!(EINTR, SYS_nanosleep, &hour, &mut left);
    assert!(
        (3590..3600).contains(&left.tv_sec),
        "{} s left",
        left.tv_sec
    );
    child.wait();
}

fn pause_returns_after_a_handler() {
    record(SIGUSR1, SA_RESTART);
    let child = signal_me_asleep(SIGUSR1, || {});
    fails!(EINTR, SYS_pause);
    assert_eq!(caught_signals(), [SIGUSR1]);
    child.wait();
}

fn sigsuspend_waits_with_another_mask() {
    record(SIGUSR1, 0);
    record(SIGUSR2, 0);
    block(&[SIGUSR1, SIGUSR2]);
    raise(SIGUSR2);
    let only_two = set(&[SIGUSR2]);
    let child = signal_me_asleep(SIGUSR1, || {});
    fails!(EINTR, SYS_rt_sigsuspend, &only_two, 8);
    assert_eq!(caught_signals(), [SIGUSR1]);
    assert_eq!(mask(), set(&[SIGUSR1, SIGUSR2]));
    child.wait();
}

fn stopped_process_continues_where_it_was() {
    let gate = Gate::new();
    let mut child = fork(|| gate.pass());
    child.kill(SIGSTOP);
    child.wait_with(WUNTRACED);
    gate.open();
    assert_eq!(child.wait_with(WNOHANG), None);
    child.kill(SIGCONT);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn sigcont_discards_pending_stops() {
    let ready = Gate::new();
    let go = Gate::new();
    let child = fork(|| {
        block(&[SIGTSTP]);
        ready.open();
        go.pass();
        assert_eq!(pending(), 0);
    });
    ready.pass();
    child.kill(SIGTSTP);
    child.kill(SIGCONT);
    go.open();
    assert_eq!(child.wait(), Exit::Code(0));
}

fn sigkill_ends_a_stopped_process() {
    let mut child = fork(|| raise(SIGSTOP));
    child.wait_with(WUNTRACED);
    child.kill(SIGKILL);
    assert_eq!(child.wait(), Exit::Signal(SIGKILL));
}

fn signal_for_a_stopped_process_waits() {
    let mut child = fork(|| raise(SIGSTOP));
    child.wait_with(WUNTRACED);
    child.kill(SIGTERM);
    assert_eq!(child.wait_with(WNOHANG), None);
    child.kill(SIGCONT);
    assert_eq!(child.wait(), Exit::Signal(SIGTERM));
}

fn kill_of_a_group_reaches_every_member() {
    let members: Vec<Child> = (0..3).map(|_| fork(|| drop(call!(SYS_pause)))).collect();
    let leader = members[0].pid();
    for member in &members {
        ok!(SYS_setpgid, member.pid(), leader);
    }
    ok!(SYS_kill, -leader, SIGTERM);
    for member in members {
        assert_eq!(member.wait(), Exit::Signal(SIGTERM));
    }
    fails!(ESRCH, SYS_kill, -leader, SIGTERM);
}

fn kill_of_everybody_else_spares_the_sender() {
    // As a user that nobody else is, so that nobody else is hit.
    crate::frame::report::need_root();
    let ready = Gate::new();
    isolated(|| {
        ok!(SYS_setresuid, 54321, 54321, 54321);
        let child = fork(|| {
            ready.open();
            let _ = call!(SYS_pause);
        });
        ready.pass();
        ok!(SYS_kill, -1, SIGTERM);
        assert_eq!(child.wait(), Exit::Signal(SIGTERM));
    });
}

fn kill_needs_permission() {
    isolated(|| {
        if ok!(SYS_geteuid) == 0 {
            ok!(SYS_setresuid, 54321, 54321, 54321);
        }
        fails!(EPERM, SYS_kill, 1, SIGTERM);
        fails!(EPERM, SYS_kill, 1, 0);
    });
}

fn tgkill_reaches_one_thread() {
    static TID: AtomicU32 = AtomicU32::new(0);
    extern "C" fn note_thread(_: i32, _: *mut siginfo_t, _: *mut c_void) {
        TID.store(ok!(SYS_gettid) as u32, SeqCst);
    }
    handle(SIGUSR1, 0, note_thread);
    let thread = thread::spawn(|| fails!(EINTR, SYS_pause));
    thread.wait_until_asleep();
    let tid = thread.tid();
    ok!(SYS_tgkill, std::process::id(), tid, SIGUSR1);
    thread.join();
    assert_eq!(TID.load(SeqCst), tid as u32);
}

fn process_signal_goes_to_a_thread_that_lets_it_through() {
    record(SIGUSR1, 0);
    let thread = thread::spawn(|| fails!(EINTR, SYS_pause));
    block(&[SIGUSR1]);
    thread.wait_until_asleep();
    raise(SIGUSR1);
    thread.join();
    assert_eq!(caught_signals(), [SIGUSR1]);
}

fn every_thread_has_a_mask_of_its_own() {
    block(&[SIGUSR1]);
    let inherited = thread::spawn(|| block(&[SIGUSR2])).join();
    assert_eq!((inherited, mask()), (set(&[SIGUSR1]), set(&[SIGUSR1])));
}

fn handler_registers_are_restored() {
    extern "C" fn spoil(_: i32, _: *mut siginfo_t, _: *mut c_void) {
        // SAFETY: registers that a function may spoil.
        unsafe {
            std::arch::asm!("pxor xmm0, xmm0", "pxor xmm7, xmm7", "xor eax, eax", "xor r8d, r8d",
                out("xmm0") _, out("xmm7") _, out("rax") _, out("r8") _);
        }
    }
    handle(SIGUSR1, 0, spoil);
    let (mut vector, mut r8, mut r15) = (0x1122_3344_5566_7788_u64, 8u64, 15u64);
    let pid = u64::from(std::process::id());
    // SAFETY: kill(getpid(), SIGUSR1); the handler runs as the call returns.
    unsafe {
        std::arch::asm!(
            "movq xmm7, {v}", "syscall", "movq {v}, xmm7",
            v = inout(reg) vector,
            inout("rax") SYS_kill => _, in("rdi") pid, in("rsi") u64::from(SIGUSR1 as u32),
            inout("r8") r8, inout("r15") r15,
            out("rcx") _, out("r11") _, out("xmm7") _, out("xmm0") _,
        );
    }
    assert_eq!((vector, r8, r15), (0x1122_3344_5566_7788, 8, 15));
}

fn abort_kills_even_when_blocked() {
    let end = in_child(|| {
        block(&[SIGABRT]);
        // SAFETY: ends the process.
        unsafe { abort() }
    });
    assert_eq!(end.signal(), Some(SIGABRT));
}
