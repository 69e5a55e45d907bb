//! Pseudo-terminals: both sides, the session on them, their end.

use crate::frame::child::{Child, Exit, fork, isolated};
use crate::frame::descriptor::Fd;
use crate::frame::gate::Gate;
use crate::frame::plain::zeroed;
use crate::frame::signals::{block, caught_signals, record};
use crate::frame::state::wait_until_asleep;
use crate::frame::time::milliseconds;
use libc::*;
use std::ffi::CString;

tests!(
    master_names_its_terminal,
    terminal_is_locked_at_first,
    peer_is_opened_without_a_name,
    line_is_read_and_echoed,
    end_of_file_character_ends_a_line,
    erased_characters_are_not_read,
    output_is_processed_unless_raw,
    master_sets_and_sees_the_settings,
    raw_read_waits_for_the_least_number_of_bytes,
    full_output_makes_writers_wait,
    full_input_makes_the_master_wait,
    flushed_input_is_gone,
    unread_bytes_are_counted,
    first_terminal_of_a_session_controls_it,
    noctty_leaves_a_session_without_a_terminal,
    interrupt_character_signals_the_foreground_group,
    suspend_character_stops_it,
    background_read_is_sigttin,
    master_signals_the_foreground_group,
    new_window_size_is_sigwinch,
    unused_terminal_is_eio_to_its_master,
    closed_master_hangs_the_terminal_up,
    closed_master_is_sighup,
    reader_learns_of_the_closed_master,
    terminal_outlives_its_session,
    name_is_gone_with_the_master,
    edge_of_output_is_reported_by_epoll,
);

const TIOCGPTN: u32 = 0x8004_5430;
const TIOCSPTLCK: u32 = 0x4004_5431;
const TIOCGPTPEER: u32 = 0x5441;
const TIOCSIG: u32 = 0x4004_5436;
const TIOCSCTTY: u32 = 0x540e;
const TIOCGPGRP: u32 = 0x540f;
const TIOCSPGRP: u32 = 0x5410;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
const TIOCGSID: u32 = 0x5429;
const TCGETS: u32 = 0x5401;
const TCSETS: u32 = 0x5402;
const TCFLSH: u32 = 0x540b;
const FIONREAD: u32 = 0x541b;

/// `struct termios` of the kernel: four words of flags, the discipline, the characters.
type Settings = [u8; 36];

fn master() -> Fd {
    let master = Fd::open(c"/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    ok!(SYS_ioctl, master.0, TIOCSPTLCK, &0i32);
    master
}

fn number(master: &Fd) -> u32 {
    let mut number = 0u32;
    ok!(SYS_ioctl, master.0, TIOCGPTN, &mut number);
    number
}

fn path(master: &Fd) -> CString {
    CString::new(format!("/dev/pts/{}", number(master))).unwrap()
}

fn terminal(master: &Fd) -> Fd {
    Fd::open(&path(master), O_RDWR | O_NOCTTY | O_CLOEXEC)
}

fn pair() -> (Fd, Fd) {
    let master = master();
    let terminal = terminal(&master);
    (master, terminal)
}

fn change(fd: &Fd, work: impl FnOnce(&mut [u32; 4], &mut [u8])) {
    let mut settings: Settings = [0; 36];
    ok!(SYS_ioctl, fd.0, TCGETS, &mut settings);
    let mut flags = [0u32; 4];
    for (flag, bytes) in flags.iter_mut().zip(settings.chunks(4)) {
        *flag = u32::from_ne_bytes(bytes.try_into().unwrap());
    }
    work(&mut flags, &mut settings[17..]);
    for (flag, bytes) in flags.iter().zip(settings.chunks_mut(4)) {
        bytes.copy_from_slice(&flag.to_ne_bytes());
    }
    ok!(SYS_ioctl, fd.0, TCSETS, &settings);
}

fn make_raw(fd: &Fd) {
    change(fd, |[input, output, _, local], _| {
        *input &= !(ICRNL | IXON);
        *output &= !OPOST;
        *local &= !(ICANON | ECHO | ISIG | IEXTEN);
    });
}

/// Read as many bytes as are expected, in however many steps.
fn expect(fd: &Fd, text: &str) {
    let mut got = Vec::new();
    while got.len() < text.len() {
        got.extend(fd.read(text.len() - got.len()).unwrap());
    }
    assert_eq!(String::from_utf8_lossy(&got), text);
}

/// Write without waiting until nothing is taken any more, not even a little later; gives the count.
fn fill(fd: &Fd) -> usize {
    let mut written = 0;
    let mut refused = 0;
    while refused < 5 {
        match fd.write([b'x'; 1000]) {
            Ok(count) => {
                written += count;
                refused = 0;
            }
            Err(error) => {
                assert_eq!(error.0, EAGAIN);
                refused += 1;
                ok!(SYS_nanosleep, &milliseconds(5), 0);
            }
        }
    }
    written
}

/// A child that leads a session on the terminal, and then runs `body`.
fn session(master: &Fd, body: impl FnOnce()) -> Child {
    let ready = Gate::new();
    let child = fork(|| {
        ok!(SYS_setsid);
        let terminal = Fd::open(&path(master), O_RDWR);
        ok!(SYS_close, master.0);
        for fd in 0..3 {
            ok!(SYS_dup2, terminal.0, fd);
        }
        drop(terminal);
        ready.open();
        body();
    });
    ready.pass();
    child
}

fn pause() {
    loop {
        let _ = call!(SYS_pause);
    }
}

fn master_names_its_terminal() {
    let (master, terminal) = pair();
    let mut facts: stat64 = zeroed();
    ok!(SYS_fstat, terminal.0, &mut facts);
    assert_eq!(facts.st_mode & S_IFMT, S_IFCHR);
    assert_eq!(facts.st_rdev, makedev(136, number(&master)));
    let link = std::fs::read_link(format!("/proc/self/fd/{}", terminal.0)).unwrap();
    assert_eq!(
        link.as_os_str().as_encoded_bytes(),
        path(&master).as_bytes()
    );
    let mut kind: statfs64 = zeroed();
    ok!(SYS_statfs, c"/dev/pts", &mut kind);
    assert_eq!(kind.f_type, 0x1cd1);
    let listed = std::fs::read_dir("/dev/pts")
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_str() == Some(&number(&master).to_string()));
    assert!(listed);
}

fn terminal_is_locked_at_first() {
    let master = Fd::open(c"/dev/ptmx", O_RDWR | O_NOCTTY);
    fails!(EIO, SYS_open, &*path(&master), O_RDWR | O_NOCTTY);
    ok!(SYS_ioctl, master.0, TIOCSPTLCK, &0i32);
    drop(terminal(&master));
}

fn peer_is_opened_without_a_name() {
    let master = master();
    let terminal = Fd::new(ok!(SYS_ioctl, master.0, TIOCGPTPEER, O_RDWR | O_NOCTTY));
    assert_eq!(terminal.write("x"), Ok(1));
    expect(&master, "x");
    let mut facts: stat64 = zeroed();
    ok!(SYS_fstat, terminal.0, &mut facts);
    assert_eq!(facts.st_rdev, makedev(136, number(&master)));
}

fn line_is_read_and_echoed() {
    let (master, terminal) = pair();
    master.write("hello").unwrap();
    assert_eq!(terminal.poll(POLLIN), 0);
    master.write("\r").unwrap();
    assert_eq!(terminal.poll(POLLIN), POLLIN);
    assert_eq!(terminal.read(100).unwrap(), b"hello\n");
    expect(&master, "hello\r\n");
    assert_eq!(master.poll(POLLIN | POLLOUT), POLLOUT);
}

fn end_of_file_character_ends_a_line() {
    let (master, terminal) = pair();
    master.write("ab\x04\x04").unwrap();
    assert_eq!(terminal.read(100).unwrap(), b"ab");
    assert_eq!(terminal.read(100).unwrap(), b"");
}

fn erased_characters_are_not_read() {
    let (master, terminal) = pair();
    master.write("abx\x7fc\x15de\n").unwrap();
    assert_eq!(terminal.read(100).unwrap(), b"de\n");
    expect(&master, "abx\x08 \x08c\x08 \x08\x08 \x08\x08 \x08de\r\n");
}

fn output_is_processed_unless_raw() {
    let (master, terminal) = pair();
    terminal.write("a\nb\n").unwrap();
    expect(&master, "a\r\nb\r\n");
    make_raw(&terminal);
    terminal.write("a\nb\n").unwrap();
    expect(&master, "a\nb\n");
    master.write("\x03\x04\r").unwrap();
    assert_eq!(terminal.read(100).unwrap(), b"\x03\x04\r");
    assert_eq!(master.poll(POLLIN), 0);
}

fn master_sets_and_sees_the_settings() {
    let (master, terminal) = pair();
    change(&master, |[_, _, _, local], _| *local &= !ECHO);
    change(&terminal, |[_, _, _, local], _| {
        assert_eq!(*local & ECHO, 0)
    });
    master.write("quiet\n").unwrap();
    assert_eq!(master.poll(POLLIN), 0);
    ok!(SYS_ioctl, master.0, TIOCSWINSZ, &[40u16, 100, 0, 0]);
    let mut size = [0u16; 4];
    ok!(SYS_ioctl, terminal.0, TIOCGWINSZ, &mut size);
    assert_eq!(size, [40, 100, 0, 0]);
}

fn raw_read_waits_for_the_least_number_of_bytes() {
    let (master, terminal) = pair();
    make_raw(&terminal);
    change(&terminal, |_, characters| characters[VMIN] = 5);
    let child = fork(|| assert_eq!(terminal.read(100).unwrap(), b"12345"));
    master.write("123").unwrap();
    wait_until_asleep(child.pid());
    assert_eq!(terminal.poll(POLLIN), 0);
    master.write("45").unwrap();
    assert_eq!(child.wait(), Exit::Code(0));
    change(&terminal, |_, characters| characters[VMIN] = 0);
    assert_eq!(terminal.read(100).unwrap(), b"");
}

fn full_output_makes_writers_wait() {
    let (master, terminal) = pair();
    make_raw(&terminal);
    terminal.set_flags(O_NONBLOCK);
    let written = fill(&terminal);
    assert!(written >= 4096);
    assert_eq!(terminal.poll(POLLOUT), 0);
    terminal.set_flags(0);
    let child = fork(|| assert_eq!(terminal.write("end"), Ok(3)));
    wait_until_asleep(child.pid());
    for _ in 0..written {
        assert_eq!(master.read(1).unwrap(), b"x");
    }
    assert_eq!(child.wait(), Exit::Code(0));
    expect(&master, "end");
}

fn full_input_makes_the_master_wait() {
    let (master, terminal) = pair();
    make_raw(&terminal);
    master.set_flags(O_NONBLOCK);
    let written = fill(&master);
    assert!(written >= 4095);
    master.set_flags(0);
    let child = fork(|| assert_eq!(master.write("end"), Ok(3)));
    wait_until_asleep(child.pid());
    let mut read = Vec::new();
    while read.len() < written + 3 {
        read.extend(terminal.read(512).unwrap());
    }
    assert!(read.ends_with(b"xend"));
    assert_eq!(child.wait(), Exit::Code(0));
}

fn flushed_input_is_gone() {
    let (master, terminal) = pair();
    master.write("one\n").unwrap();
    assert_eq!(terminal.poll(POLLIN), POLLIN);
    ok!(SYS_ioctl, terminal.0, TCFLSH, TCIFLUSH);
    assert_eq!(terminal.poll(POLLIN), 0);
    fails!(EINVAL, SYS_ioctl, terminal.0, TCFLSH, 9);
}

fn unread_bytes_are_counted() {
    let (master, terminal) = pair();
    make_raw(&terminal);
    let count = |fd: &Fd| {
        let mut count = 0u32;
        ok!(SYS_ioctl, fd.0, FIONREAD, &mut count);
        count
    };
    master.write("12345").unwrap();
    assert_eq!(terminal.poll(POLLIN), POLLIN);
    assert_eq!(count(&terminal), 5);
    terminal.write("123").unwrap();
    assert_eq!(master.poll(POLLIN), POLLIN);
    assert_eq!(count(&master), 3);
}

fn first_terminal_of_a_session_controls_it() {
    let master = master();
    let me = Gate::new();
    let child = session(&master, || {
        let pid = ok!(SYS_getpid) as u64;
        let mut got = [0u32; 2];
        ok!(SYS_ioctl, 0, TIOCGPGRP, &mut got[0]);
        ok!(SYS_ioctl, 0, TIOCGSID, &mut got[1]);
        assert_eq!(got.map(u64::from), [pid; 2]);
        let controlling = Fd::open(c"/dev/tty", O_RDWR);
        assert_eq!(controlling.write("here"), Ok(4));
        me.send(pid);
        pause();
    });
    assert_eq!(me.receive(), child.pid() as u64);
    expect(&master, "here");
    // Whoever plays the terminal may ask as well.
    let mut group = 0u32;
    ok!(SYS_ioctl, master.0, TIOCGPGRP, &mut group);
    assert_eq!(group, child.pid() as u32);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let device = makedev(136, number(&master));
    assert_eq!(fields[4], device.to_string());
    assert_eq!(fields[5], child.pid().to_string());
}

fn noctty_leaves_a_session_without_a_terminal() {
    let master = master();
    isolated(|| {
        ok!(SYS_setsid);
        let terminal = terminal(&master);
        fails!(ENXIO, SYS_open, c"/dev/tty", O_RDWR);
        fails!(ENOTTY, SYS_ioctl, terminal.0, TIOCGPGRP, &mut 0u32);
        ok!(SYS_ioctl, terminal.0, TIOCSCTTY, 0);
        drop(Fd::open(c"/dev/tty", O_RDWR));
    });
}

fn interrupt_character_signals_the_foreground_group() {
    let master = master();
    let child = session(&master, || {
        let job = fork(pause);
        ok!(SYS_setpgid, job.pid(), 0);
        block(&[SIGTTOU]);
        ok!(SYS_ioctl, 0, TIOCSPGRP, &job.pid());
        ok!(SYS_write, 1, c"ready", 5);
        assert_eq!(job.wait(), Exit::Signal(SIGINT));
    });
    expect(&master, "ready");
    master.write("\x03").unwrap();
    assert_eq!(child.wait(), Exit::Code(0));
    expect(&master, "^C");
}

fn suspend_character_stops_it() {
    let master = master();
    let child = session(&master, || {
        let mut job = fork(pause);
        ok!(SYS_setpgid, job.pid(), 0);
        block(&[SIGTTOU]);
        ok!(SYS_ioctl, 0, TIOCSPGRP, &job.pid());
        ok!(SYS_write, 1, c"ready", 5);
        assert_eq!(job.wait_with(WUNTRACED), Some(Exit::Stopped(SIGTSTP)));
    });
    expect(&master, "ready");
    master.write("\x1a").unwrap();
    assert_eq!(child.wait(), Exit::Code(0));
}

fn background_read_is_sigttin() {
    let master = master();
    let child = session(&master, || {
        let mut job = fork(|| {
            ok!(SYS_setpgid, 0, 0);
            assert_eq!(Fd(0).read(10).unwrap(), b"for me\n");
        });
        assert_eq!(job.wait_with(WUNTRACED), Some(Exit::Stopped(SIGTTIN)));
        block(&[SIGTTOU]);
        ok!(SYS_ioctl, 0, TIOCSPGRP, &job.pid());
        job.kill(SIGCONT);
        assert_eq!(job.wait(), Exit::Code(0));
    });
    master.write("for me\n").unwrap();
    assert_eq!(child.wait(), Exit::Code(0));
}

fn master_signals_the_foreground_group() {
    let master = master();
    let child = session(&master, pause);
    fails!(EINVAL, SYS_ioctl, master.0, TIOCSIG, SIGTERM);
    ok!(SYS_ioctl, master.0, TIOCSIG, SIGINT);
    assert_eq!(child.wait(), Exit::Signal(SIGINT));
}

fn new_window_size_is_sigwinch() {
    let master = master();
    let asleep = Gate::new();
    let child = session(&master, || {
        record(SIGWINCH, 0);
        asleep.open();
        while caught_signals().is_empty() {
            ok!(SYS_sched_yield);
        }
        let mut size = [0u16; 4];
        ok!(SYS_ioctl, 0, TIOCGWINSZ, &mut size);
        assert_eq!(size, [25, 80, 0, 0]);
    });
    asleep.pass();
    ok!(SYS_ioctl, master.0, TIOCSWINSZ, &[25u16, 80, 0, 0]);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn unused_terminal_is_eio_to_its_master() {
    let master = master();
    // Not so before it has been used.
    master.set_flags(O_NONBLOCK);
    fails!(EAGAIN, SYS_read, master.0, &mut [0u8; 10], 10);
    master.set_flags(0);
    let slave = terminal(&master);
    slave.write("bye").unwrap();
    drop(slave);
    expect(&master, "bye");
    fails!(EIO, SYS_read, master.0, &mut [0u8; 10], 10);
    assert_eq!(master.poll(POLLIN) & POLLHUP, POLLHUP);
    // It can be used again.
    let again = terminal(&master);
    again.write("back").unwrap();
    expect(&master, "back");
    let child = fork(|| {
        ok!(SYS_close, again.0);
        fails!(EIO, SYS_read, master.0, &mut [0u8; 10], 10);
    });
    wait_until_asleep(child.pid());
    drop(again);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn closed_master_hangs_the_terminal_up() {
    let (master, terminal) = pair();
    drop(master);
    assert_eq!(terminal.read(10).unwrap(), b"");
    fails!(EIO, SYS_write, terminal.0, c"x", 1);
    fails!(EIO, SYS_ioctl, terminal.0, TCGETS, &mut [0u8; 36]);
    assert_eq!(
        terminal.poll(POLLIN | POLLOUT),
        POLLIN | POLLOUT | POLLERR | POLLHUP
    );
}

fn closed_master_is_sighup() {
    let master = master();
    let child = session(&master, pause);
    drop(master);
    assert_eq!(child.wait(), Exit::Signal(SIGHUP));
}

fn reader_learns_of_the_closed_master() {
    let (master, terminal) = pair();
    let child = fork(|| {
        ok!(SYS_close, master.0);
        fails!(EIO, SYS_read, terminal.0, &mut [0u8; 10], 10);
        assert_eq!(terminal.read(10).unwrap(), b"");
    });
    wait_until_asleep(child.pid());
    drop(master);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn terminal_outlives_its_session() {
    let master = master();
    let (seen, told) = crate::frame::descriptor::pipe(0);
    let go = Gate::new();
    let child = session(&master, || {
        let mut left = fork(|| {
            go.pass();
            told.write(format!("{:?}", call!(SYS_write, 1, c"x", 1)))
                .unwrap();
        });
        ok!(SYS_setpgid, left.pid(), 0);
        left.forget();
    });
    assert_eq!(child.wait(), Exit::Code(0));
    drop(told);
    go.open();
    assert_eq!(String::from_utf8(seen.read_to_end()).unwrap(), "Ok(1)");
    expect(&master, "x");
    let mut session = 0u32;
    fails!(ENOTTY, SYS_ioctl, master.0, TIOCGSID, &mut session);
}

fn name_is_gone_with_the_master() {
    let (master, terminal) = pair();
    let name = path(&master);
    drop(master);
    fails!(ENOENT, SYS_open, &*name, O_RDWR | O_NOCTTY);
    drop(terminal);
}

fn edge_of_output_is_reported_by_epoll() {
    let (master, terminal) = pair();
    let poll = Fd::new(ok!(SYS_epoll_create1, 0));
    let mut event: epoll_event = zeroed();
    event.events = (EPOLLIN | EPOLLET) as u32;
    ok!(SYS_epoll_ctl, poll.0, EPOLL_CTL_ADD, master.0, &event);
    let mut got: epoll_event = zeroed();
    assert_eq!(ok!(SYS_epoll_wait, poll.0, &mut got, 1, 0), 0);
    terminal.write("x").unwrap();
    assert_eq!(ok!(SYS_epoll_wait, poll.0, &mut got, 1, 1000), 1);
    assert_eq!(ok!(SYS_epoll_wait, poll.0, &mut got, 1, 0), 0);
    terminal.write("y").unwrap();
    assert_eq!(ok!(SYS_epoll_wait, poll.0, &mut got, 1, 1000), 1);
    expect(&master, "xy");
}
