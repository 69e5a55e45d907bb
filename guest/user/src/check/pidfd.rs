//! Processes as descriptors.

use crate::frame::child::{Child, Exit, fork, sleeper};
use crate::frame::descriptor::Fd;
use crate::frame::plain::zeroed;
use crate::frame::report::exit;
use crate::frame::signals::{caught, record};
use crate::frame::state::wait_until;
use libc::*;

tests!(
    pidfd_becomes_readable_when_the_process_ends,
    signal_goes_to_the_process_of_the_pidfd,
    signal_to_a_process_that_is_gone_is_esrch,
    pidfd_of_no_process_is_esrch,
    pidfd_with_unknown_flags_is_einval,
    pidfd_of_a_thread_is_refused,
    pidfd_is_closed_at_exec,
    waitid_takes_a_pidfd,
    waitid_of_a_nonblocking_pidfd_is_eagain,
    waitid_of_another_descriptor_is_ebadf,
    clone_gives_a_pidfd,
    clone3_gives_a_pidfd,
    descriptor_of_another_process_can_be_had,
    poll_sleeps_until_the_process_ends,
);

fn pidfd(pid: i32, flags: i32) -> Fd {
    Fd::new(ok!(SYS_pidfd_open, pid, flags))
}

fn pidfd_becomes_readable_when_the_process_ends() {
    let child = sleeper();
    let fd = pidfd(child.pid(), 0);
    assert_eq!(fd.poll(POLLIN), 0);
    child.kill(SIGKILL);
    wait_until(child.pid(), 'Z');
    assert_eq!(fd.poll(POLLIN), POLLIN);
    assert_eq!(child.wait(), Exit::Signal(SIGKILL));
    assert_eq!(fd.poll(POLLIN) & POLLIN, POLLIN);
}

fn signal_goes_to_the_process_of_the_pidfd() {
    record(SIGUSR1, 0);
    let fd = pidfd(std::process::id() as i32, 0);
    ok!(SYS_pidfd_send_signal, fd.0, SIGUSR1, 0, 0);
    assert_eq!(caught()[0].code, SI_USER);
    ok!(SYS_pidfd_send_signal, fd.0, 0, 0, 0);
    fails!(EINVAL, SYS_pidfd_send_signal, fd.0, 65, 0, 0);
    fails!(EBADF, SYS_pidfd_send_signal, 999, SIGUSR1, 0, 0);
}

fn signal_to_a_process_that_is_gone_is_esrch() {
    let child = fork(|| {});
    let fd = pidfd(child.pid(), 0);
    assert_eq!(child.wait(), Exit::Code(0));
    fails!(ESRCH, SYS_pidfd_send_signal, fd.0, 0, 0, 0);
}

fn pidfd_of_no_process_is_esrch() {
    fails!(ESRCH, SYS_pidfd_open, 1 << 29, 0);
    fails!(EINVAL, SYS_pidfd_open, 0, 0);
    fails!(EINVAL, SYS_pidfd_open, -1, 0);
}

fn pidfd_with_unknown_flags_is_einval() {
    fails!(EINVAL, SYS_pidfd_open, std::process::id(), 1);
}

fn pidfd_of_a_thread_is_refused() {
    let refused = crate::frame::thread::spawn(|| {
        let tid = ok!(SYS_gettid);
        call!(SYS_pidfd_open, tid, 0).is_err()
    });
    assert!(refused.join());
}

fn pidfd_is_closed_at_exec() {
    let fd = pidfd(std::process::id() as i32, 0);
    assert_eq!(ok!(SYS_fcntl, fd.0, F_GETFD), FD_CLOEXEC as usize);
}

fn waitid_takes_a_pidfd() {
    let mut child = fork(|| exit(5));
    let fd = pidfd(child.pid(), 0);
    let mut info: siginfo_t = zeroed();
    ok!(SYS_waitid, P_PIDFD, fd.0, &mut info, WEXITED, 0);
    child.forget();
    // SAFETY: a SIGCHLD has these fields.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    assert_eq!((pid, status), (child.pid(), 5));
}

fn waitid_of_a_nonblocking_pidfd_is_eagain() {
    let child = sleeper();
    let fd = pidfd(child.pid(), O_NONBLOCK);
    fails!(EAGAIN, SYS_waitid, P_PIDFD, fd.0, 0, WEXITED, 0);
}

fn waitid_of_another_descriptor_is_ebadf() {
    let (reader, _writer) = crate::frame::descriptor::pipe(0);
    fails!(EBADF, SYS_waitid, P_PIDFD, reader.0, 0, WEXITED, 0);
}

fn clone_gives_a_pidfd() {
    let mut fd = -1i32;
    let flags = CLONE_PIDFD | SIGCHLD;
    match ok!(SYS_clone, flags, 0, &mut fd, 0, 0) {
        0 => exit(3),
        pid => {
            let child = Child::from_pid(pid as i32);
            let fd = Fd(fd);
            wait_until(child.pid(), 'Z');
            assert_eq!(fd.poll(POLLIN), POLLIN);
            assert_eq!(child.wait(), Exit::Code(3));
        }
    }
    let both = CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD;
    fails!(EINVAL, SYS_clone, both, 0, &mut fd, 0, 0);
}

fn clone3_gives_a_pidfd() {
    let mut fd = -1i32;
    let mut arguments = [0u64; 11];
    arguments[0] = CLONE_PIDFD as u64;
    arguments[1] = &raw mut fd as u64;
    arguments[4] = SIGCHLD as u64;
    match ok!(SYS_clone3, &arguments, size_of_val(&arguments)) {
        0 => exit(0),
        pid => {
            let child = Child::from_pid(pid as i32);
            let fd = Fd(fd);
            ok!(SYS_pidfd_send_signal, fd.0, 0, 0, 0);
            assert_eq!(child.wait(), Exit::Code(0));
        }
    }
}

fn descriptor_of_another_process_can_be_had() {
    let (reader, writer) = crate::frame::descriptor::pipe(0);
    let child = sleeper();
    let fd = pidfd(child.pid(), 0);
    let number = writer.0;
    drop(writer);
    let theirs = Fd::new(ok!(SYS_pidfd_getfd, fd.0, number, 0));
    theirs.write("x").unwrap();
    assert_eq!(reader.read(1).unwrap(), b"x");
    fails!(EBADF, SYS_pidfd_getfd, fd.0, 999, 0);
    fails!(EINVAL, SYS_pidfd_getfd, fd.0, number, 1);
}

fn poll_sleeps_until_the_process_ends() {
    let child = sleeper();
    let pid = child.pid();
    let killer = fork(move || {
        crate::frame::state::wait_until_asleep(pid);
        ok!(SYS_kill, pid, SIGKILL);
    });
    let fd = pidfd(pid, 0);
    let mut poll = pollfd {
        fd: fd.0,
        events: POLLIN,
        revents: 0,
    };
    assert_eq!(ok!(SYS_poll, &mut poll, 1, 10_000), 1);
    assert_eq!(killer.wait(), Exit::Code(0));
}
