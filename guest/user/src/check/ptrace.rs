//! Tracing: stops, registers, memory, events.

use crate::frame::call::Errno;
use crate::frame::child::{Child, Exit, fork};
use crate::frame::plain::zeroed;
use crate::frame::program::execute;
use crate::frame::report::{exit, need_root};
use crate::frame::state::{wait_until, wait_until_asleep};
use libc::*;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

tests!(
    traced_child_stops_for_each_signal,
    signal_is_swallowed_or_replaced_by_the_tracer,
    ignored_signal_is_shown_to_the_tracer,
    calls_stop_before_and_after,
    marked_call_stops_tell_what_they_are,
    tracer_changes_the_result_of_a_call,
    tracer_prevents_a_call,
    unknown_call_stops_as_well,
    tracer_reads_and_writes_memory,
    memory_that_is_not_mapped_is_eio,
    breakpoint_in_read_only_text_stays_the_childs,
    single_steps_are_one_instruction_each,
    step_over_a_call_ends_behind_it,
    registers_are_read_and_written_as_a_set,
    selectors_of_the_kernel_are_refused,
    exec_raises_sigtrap,
    exec_event_replaces_the_sigtrap,
    fork_event_tells_the_child_which_is_traced,
    exit_event_tells_the_status,
    attached_process_stops,
    detached_process_goes_on,
    seized_process_stops_when_interrupted,
    group_stop_of_a_seized_process_is_listened_to,
    end_of_the_tracer_lets_go,
    exitkill_kills_with_the_tracer,
    requests_on_a_running_process_are_esrch,
    second_tracer_is_eperm,
    stranger_is_eperm,
    process_vm_readv_copies_between_processes,
    tracer_is_shown_in_status,
);

/// The C libraries differ in the type of requests.
#[cfg(target_env = "musl")]
type Request = i32;
#[cfg(not(target_env = "musl"))]
type Request = u32;

fn ptrace(request: Request, pid: i32, addr: usize, data: usize) -> Result<usize, Errno> {
    call!(SYS_ptrace, request, pid, addr, data)
}

#[track_caller]
fn must(request: Request, pid: i32, addr: usize, data: usize) {
    if let Err(error) = ptrace(request, pid, addr, data) {
        panic!("ptrace request {request:#x}: {error:?}");
    }
}

/// The wait status of a child or a traced process.
fn wait_status(pid: i32) -> i32 {
    let mut status = 0;
    assert_eq!(ok!(SYS_wait4, pid, &mut status, __WALL, 0), pid as usize);
    status
}

/// What a stop is for: the signal in the low byte, the event above it.
#[track_caller]
fn next_stop(pid: i32) -> i32 {
    let status = wait_status(pid);
    assert!(WIFSTOPPED(status), "status {status:#x}");
    status >> 8
}

/// A child that has asked to be traced and is in its first stop.
fn traced(body: impl FnOnce()) -> Child {
    let child = fork(|| {
        must(PTRACE_TRACEME, 0, 0, 0);
        ok!(SYS_kill, std::process::id(), SIGSTOP);
        body();
    });
    assert_eq!(next_stop(child.pid()), SIGSTOP);
    child
}

fn resume(pid: i32, signal: i32) {
    must(PTRACE_CONT, pid, 0, signal as usize);
}

fn registers(pid: i32) -> user_regs_struct {
    let mut registers: user_regs_struct = zeroed();
    must(PTRACE_GETREGS, pid, 0, &raw mut registers as usize);
    registers
}

fn set_registers(pid: i32, registers: &user_regs_struct) {
    must(PTRACE_SETREGS, pid, 0, &raw const *registers as usize);
}

/// A word of another process's memory.
fn peek(pid: i32, at: usize) -> Result<u64, Errno> {
    let mut word = 0u64;
    ptrace(PTRACE_PEEKDATA, pid, at, &raw mut word as usize).map(|_| word)
}

/// A process that does nothing until it is killed.
fn sleeper() -> Child {
    let child = fork(|| {
        loop {
            let _ = call!(SYS_pause);
        }
    });
    wait_until_asleep(child.pid());
    child
}

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

static CELL: AtomicU64 = AtomicU64::new(5);

fn tracer_reads_and_writes_memory() {
    let child = traced(|| {
        CELL.store(6, SeqCst);
        ok!(SYS_kill, std::process::id(), SIGSTOP);
        exit(CELL.load(SeqCst) as i32);
    });
    let at = CELL.as_ptr() as usize;
    assert_eq!(peek(child.pid(), at), Ok(5));
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGSTOP);
    assert_eq!(peek(child.pid(), at), Ok(6));
    must(PTRACE_POKEDATA, child.pid(), at, 77);
    resume(child.pid(), 0);
    assert_eq!(child.wait(), Exit::Code(77));
    assert_eq!(CELL.load(SeqCst), 5);
}

fn memory_that_is_not_mapped_is_eio() {
    let child = traced(|| {});
    assert_eq!(peek(child.pid(), 8), Err(Errno(EIO)));
    let poked = ptrace(PTRACE_POKEDATA, child.pid(), 8, 0);
    assert_eq!(poked, Err(Errno(EIO)));
    assert_eq!(peek(child.pid(), 1 << 63), Err(Errno(EIO)));
}

#[inline(never)]
extern "C" fn breakpoint_here() -> i32 {
    std::hint::black_box(9)
}

fn breakpoint_in_read_only_text_stays_the_childs() {
    let at = breakpoint_here as *const () as usize;
    let child = traced(|| {
        exit(std::hint::black_box(
            breakpoint_here as extern "C" fn() -> i32,
        )())
    });
    let text = peek(child.pid(), at).unwrap();
    must(
        PTRACE_POKETEXT,
        child.pid(),
        at,
        (text & !0xff | 0xcc) as usize,
    );
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGTRAP);
    let mut registers = registers(child.pid());
    assert_eq!(registers.rip as usize, at + 1);
    // Another process of the same file, this one, is not concerned.
    assert_eq!(breakpoint_here(), 9);
    registers.rip -= 1;
    set_registers(child.pid(), &registers);
    must(PTRACE_POKETEXT, child.pid(), at, text as usize);
    resume(child.pid(), 0);
    assert_eq!(child.wait(), Exit::Code(9));
}

fn step(pid: i32) {
    must(PTRACE_SINGLESTEP, pid, 0, 0);
    assert_eq!(next_stop(pid), SIGTRAP);
}

fn single_steps_are_one_instruction_each() {
    let child = traced(|| {
        // SAFETY: instructions without effect, and a breakpoint that the tracer takes.
        unsafe { std::arch::asm!("int3", "nop", "nop", "inc {0:e}", "nop", out(reg) _) };
        exit(0);
    });
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGTRAP);
    let start = registers(child.pid()).rip;
    let steps: [u64; 4] = std::array::from_fn(|_| {
        step(child.pid());
        assert_eq!(registers(child.pid()).eflags >> 8 & 1, 0, "TF is hidden");
        registers(child.pid()).rip - start
    });
    assert_eq!(steps[..2], [1, 2]);
    assert!(steps[2] > 2 && steps[3] == steps[2] + 1, "{steps:?}");
    resume(child.pid(), 0);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn step_over_a_call_ends_behind_it() {
    let child = traced(|| {
        // SAFETY: a breakpoint that the tracer takes, and getpid, which changes RAX, RCX and R11.
        unsafe {
            std::arch::asm!("int3", "syscall", "nop", inout("rax") SYS_getpid => _,
                out("rcx") _, out("r11") _)
        };
        exit(0);
    });
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGTRAP);
    let start = registers(child.pid()).rip;
    step(child.pid());
    let after = registers(child.pid());
    assert_eq!((after.rip, after.rax), (start + 2, child.pid() as u64));
    step(child.pid());
    assert_eq!(registers(child.pid()).rip, start + 3);
    resume(child.pid(), 0);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn registers_are_read_and_written_as_a_set() {
    const NT_PRSTATUS: usize = 1;
    let child = traced(|| {
        let value: i32;
        // SAFETY: a breakpoint at which the tracer changes the register.
        unsafe { std::arch::asm!("int3", inout("r12d") 0x111 => value) };
        exit(value);
    });
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGTRAP);
    let mut set = [0u64; 64];
    let mut vector = [&raw mut set as usize, size_of_val(&set)];
    must(
        PTRACE_GETREGSET,
        child.pid(),
        NT_PRSTATUS,
        &raw mut vector as usize,
    );
    assert_eq!(vector[1], size_of::<user_regs_struct>());
    assert_eq!(set[3], 0x111);
    std::hint::black_box(&mut set)[3] = 0x22;
    must(
        PTRACE_SETREGSET,
        child.pid(),
        NT_PRSTATUS,
        &raw mut vector as usize,
    );
    resume(child.pid(), 0);
    assert_eq!(child.wait(), Exit::Code(0x22));
}

fn selectors_of_the_kernel_are_refused() {
    let child = traced(|| {});
    let mut registers = registers(child.pid());
    registers.cs = 0x10;
    let set = ptrace(
        PTRACE_SETREGS,
        child.pid(),
        0,
        &raw const registers as usize,
    );
    assert_eq!(set, Err(Errno(EIO)));
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

fn attached_process_stops() {
    let child = sleeper();
    must(PTRACE_ATTACH, child.pid(), 0, 0);
    assert_eq!(next_stop(child.pid()), SIGSTOP);
    wait_until(child.pid(), 't');
    assert_eq!(registers(child.pid()).orig_rax, SYS_pause as u64);
}

fn detached_process_goes_on() {
    let child = sleeper();
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
    let child = sleeper();
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
    let child = sleeper();
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
    let child = sleeper();
    trace_and_end(&child, 0);
    wait_until_asleep(child.pid());
    child.kill(SIGTERM);
    assert_eq!(child.wait(), Exit::Signal(SIGTERM));
}

fn exitkill_kills_with_the_tracer() {
    need_root();
    let child = sleeper();
    trace_and_end(&child, PTRACE_O_EXITKILL);
    assert_eq!(child.wait(), Exit::Signal(SIGKILL));
}

fn requests_on_a_running_process_are_esrch() {
    let child = sleeper();
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
    let child = sleeper();
    seize(&child, 0);
    let other = fork(|| {
        fails!(EPERM, SYS_ptrace, PTRACE_SEIZE, child.pid(), 0, 0);
    });
    assert_eq!(other.wait(), Exit::Code(0));
    fails!(EPERM, SYS_ptrace, PTRACE_SEIZE, std::process::id(), 0, 0);
}

fn stranger_is_eperm() {
    need_root();
    let child = sleeper();
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

fn process_vm_readv_copies_between_processes() {
    let child = fork(|| {
        CELL.store(0x1122_3344_5566_7788, SeqCst);
        loop {
            let _ = call!(SYS_pause);
        }
    });
    wait_until_asleep(child.pid());
    let (mut first, mut second) = ([0u8; 3], [0u8; 5]);
    let local = [&raw mut first as usize, 3, &raw mut second as usize, 5];
    let remote = [CELL.as_ptr() as usize, 8];
    assert_eq!(
        ok!(SYS_process_vm_readv, child.pid(), &local, 2, &remote, 1, 0),
        8
    );
    assert_eq!(first, [0x88, 0x77, 0x66]);
    assert_eq!(second, [0x55, 0x44, 0x33, 0x22, 0x11]);
    assert_eq!(
        ok!(SYS_process_vm_writev, child.pid(), &local, 1, &remote, 1, 0),
        3
    );
    let nowhere = [8usize, 8];
    fails!(
        EFAULT,
        SYS_process_vm_readv,
        child.pid(),
        &local,
        2,
        &nowhere,
        1,
        0
    );
}

fn tracer_is_shown_in_status() {
    let tracer_of = |pid: i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("TracerPid:\t"));
        line.unwrap().parse::<u32>().unwrap()
    };
    let child = sleeper();
    assert_eq!(tracer_of(child.pid()), 0);
    seize(&child, 0);
    assert_eq!(tracer_of(child.pid()), std::process::id());
}
