//! Processes: fork, exit, zombies, orphans, vfork.

use crate::frame::child::{Child, Exit, fork, in_child, isolated};
use crate::frame::descriptor::Fd;
use crate::frame::gate::Gate;
use crate::frame::mapping::Mapping;
use crate::frame::report::exit;
use crate::frame::scratch::Scratch;
use crate::frame::state::{of_process, wait_until};
use crate::frame::thread::clone;
use libc::*;
use std::sync::atomic::Ordering::SeqCst;

tests!(
    fork_gives_both_sides_each_others_number,
    exit_status_is_eight_bits,
    process_stays_a_zombie_until_waited_for,
    orphan_goes_to_the_subreaper,
    orphan_goes_to_init,
    parent_death_signal_is_sent,
    child_shares_the_offset_of_an_open_file,
    child_has_descriptors_of_its_own,
    child_inherits_directory_and_umask,
    child_inherits_neither_alarm_nor_pending_signals,
    child_inherits_mask_and_dispositions,
    vfork_parent_waits_for_exit,
    vfork_parent_waits_for_exec,
    vfork_child_shares_memory,
    vfork_parent_can_be_killed_while_it_waits,
    clone_with_parent_makes_a_sibling,
    clone_with_settid_stores_the_number,
    clone_of_files_shares_descriptors,
    clone_of_fs_shares_the_directory,
    clone_with_invalid_flags_is_einval,
    name_is_set_and_read,
    many_children_run_at_once,
    cpu_time_of_children_is_added_when_waited_for,
    nice_value_is_inherited_and_only_root_lowers_it,
    uname_names_the_system,
);

fn fork_gives_both_sides_each_others_number() {
    let gate = Gate::new();
    let parent = ok!(SYS_getpid);
    let child = fork(|| {
        assert_eq!(ok!(SYS_getppid), parent);
        gate.send(ok!(SYS_getpid) as u64);
    });
    assert_eq!(gate.receive(), child.pid() as u64);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn exit_status_is_eight_bits() {
    assert_eq!(in_child(|| exit(0x1234)), Exit::Code(0x34));
    assert_eq!(in_child(|| exit(-1)), Exit::Code(255));
}

fn process_stays_a_zombie_until_waited_for() {
    let child = fork(|| {});
    let pid = child.pid();
    wait_until(pid, 'Z');
    ok!(SYS_kill, pid, 0);
    child.wait();
    fails!(ESRCH, SYS_kill, pid, 0);
    assert_eq!(of_process(pid), None);
}

/// Leaves an orphan behind that reports its parent's number through `gate`.
fn leave_orphan(gate: &Gate) {
    let middle = fork(|| {
        let middle = ok!(SYS_getpid);
        fork(|| {
            while ok!(SYS_getppid) == middle {
                ok!(SYS_sched_yield);
            }
            gate.send(ok!(SYS_getppid) as u64);
        })
        .forget();
    });
    assert_eq!(middle.wait(), Exit::Code(0));
}

fn orphan_goes_to_the_subreaper() {
    isolated(|| {
        ok!(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1);
        let gate = Gate::new();
        leave_orphan(&gate);
        assert_eq!(gate.receive(), ok!(SYS_getpid) as u64);
        let mut status = 0;
        ok!(SYS_wait4, -1, &mut status, 0, 0);
        assert_eq!(Exit::from_status(status), Exit::Code(0));
    });
}

fn orphan_goes_to_init() {
    let gate = Gate::new();
    leave_orphan(&gate);
    let parent = gate.receive() as i32;
    assert!(parent == 1 || parent < std::process::id() as i32);
    fails!(ECHILD, SYS_wait4, -1, 0, WNOHANG, 0);
}

fn parent_death_signal_is_sent() {
    let ready = Gate::new();
    let (reader, writer) = crate::frame::descriptor::pipe(0);
    let middle = fork(|| {
        fork(|| {
            ok!(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
            ready.open();
            loop {
                let _ = call!(SYS_pause);
            }
        })
        .forget();
        ready.pass();
    });
    assert_eq!(middle.wait(), Exit::Code(0));
    drop(writer);
    // The end of the pipe: nobody holds the other end any more.
    assert!(reader.read_to_end().is_empty());
}

fn child_shares_the_offset_of_an_open_file() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", "abcdef"), O_RDONLY);
    isolated(|| assert_eq!(file.read(2).unwrap(), b"ab"));
    assert_eq!(file.read(2).unwrap(), b"cd");
}

fn child_has_descriptors_of_its_own() {
    let file = Fd::open(c"/", O_RDONLY);
    isolated(|| drop(ok!(SYS_close, file.0)));
    ok!(SYS_fcntl, file.0, F_GETFD);
}

fn child_inherits_directory_and_umask() {
    isolated(|| {
        ok!(SYS_chdir, c"/proc");
        ok!(SYS_umask, 0o27);
        isolated(|| {
            assert_eq!(std::env::current_dir().unwrap().to_str(), Some("/proc"));
            assert_eq!(ok!(SYS_umask, 0), 0o27);
        });
        assert_eq!(ok!(SYS_umask, 0o22), 0o27);
    });
}

fn child_inherits_neither_alarm_nor_pending_signals() {
    use crate::frame::signals::{block, pending, raise, set};
    block(&[SIGUSR1]);
    raise(SIGUSR1);
    ok!(SYS_alarm, 100);
    isolated(|| {
        assert_eq!(pending(), 0);
        assert_eq!(ok!(SYS_alarm, 0), 0);
    });
    assert_eq!(pending(), set(&[SIGUSR1]));
    assert!(ok!(SYS_alarm, 0) > 0);
}

fn child_inherits_mask_and_dispositions() {
    use crate::frame::signals::{block, caught_signals, dispose, mask, raise, record, set};
    block(&[SIGUSR2]);
    dispose(SIGTERM, SIG_IGN);
    record(SIGUSR1, 0);
    isolated(|| {
        assert_eq!(mask(), set(&[SIGUSR2]));
        raise(SIGTERM);
        raise(SIGUSR1);
        assert_eq!(caught_signals(), [SIGUSR1]);
    });
    assert_eq!(caught_signals(), []);
}

const VFORK: i32 = CLONE_VM | CLONE_VFORK | SIGCHLD;

fn vfork_parent_waits_for_exit() {
    let memory = Mapping::shared(1);
    let at = memory.at;
    let pid = clone(VFORK, move || {
        (0..10).for_each(|_| drop(ok!(SYS_sched_yield)));
        crate::frame::mapping::poke(at, 1);
    });
    assert_eq!(memory.get(0), 1);
    assert_eq!(Child::from_pid(pid).wait(), Exit::Code(0));
}

fn vfork_parent_waits_for_exec() {
    let argv = [
        c"guest-tests".as_ptr() as usize,
        c"--list".as_ptr() as usize,
        0,
    ];
    let pid = clone(VFORK, move || {
        let null = call!(SYS_open, c"/dev/null", O_WRONLY).unwrap_or(0);
        let _ = call!(SYS_dup2, null, 1);
        let _ = call!(SYS_execve, c"/proc/self/exe", &argv, 0);
    });
    // The new program has a memory of its own: this one goes on.
    assert_eq!(Child::from_pid(pid).wait(), Exit::Code(0));
}

fn vfork_parent_can_be_killed_while_it_waits() {
    let shared = crate::frame::mapping::Mapping::shared(1);
    let number = shared.word(0);
    let parent = fork(|| {
        // SAFETY: the word lies in a mapping that both processes keep.
        let number: &'static std::sync::atomic::AtomicU32 =
            unsafe { &*std::ptr::from_ref(shared.word(0)) };
        crate::frame::thread::clone(CLONE_VM | CLONE_VFORK | SIGCHLD, move || {
            number.store(ok!(SYS_getpid) as u32, std::sync::atomic::Ordering::SeqCst);
            loop {
                let _ = call!(SYS_pause);
            }
        });
    });
    let child = loop {
        match number.load(std::sync::atomic::Ordering::SeqCst) {
            0 => ok!(SYS_sched_yield),
            pid => break pid,
        };
    };
    parent.kill(SIGKILL);
    assert_eq!(parent.wait(), Exit::Signal(SIGKILL));
    ok!(SYS_kill, child, SIGKILL);
}

fn vfork_child_shares_memory() {
    let memory = Mapping::anonymous(1);
    let at = memory.at;
    let pid = clone(VFORK, move || crate::frame::mapping::poke(at, 9));
    assert_eq!(memory.get(0), 9);
    assert_eq!(Child::from_pid(pid).wait(), Exit::Code(0));
}

fn clone_with_parent_makes_a_sibling() {
    let parent = ok!(SYS_getpid);
    let gate = Gate::new();
    isolated(|| {
        let pid = clone(CLONE_PARENT | SIGCHLD, move || {
            assert_eq!(ok!(SYS_getppid), parent);
        });
        gate.send(pid as u64);
        fails!(ECHILD, SYS_wait4, -1, 0, 0, 0);
    });
    assert_eq!(Child::from_pid(gate.receive() as i32).wait(), Exit::Code(0));
}

fn clone_with_settid_stores_the_number() {
    let memory = Mapping::shared(1);
    let flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD;
    let (parent, child) = (memory.word(0), memory.word(4));
    let pid = ok!(SYS_clone, flags, 0, parent.as_ptr(), child.as_ptr(), 0);
    if pid == 0 {
        exit((child.load(SeqCst) as usize != ok!(SYS_getpid)).into());
    }
    assert_eq!(parent.load(SeqCst) as usize, pid);
    assert_eq!(Child::from_pid(pid as i32).wait(), Exit::Code(0));
}

fn clone_of_files_shares_descriptors() {
    let file = Fd::open(c"/", O_RDONLY);
    let number = file.0;
    let pid = clone(CLONE_FILES | SIGCHLD, move || drop(ok!(SYS_close, number)));
    assert_eq!(Child::from_pid(pid).wait(), Exit::Code(0));
    fails!(EBADF, SYS_fcntl, number, F_GETFD);
}

fn clone_of_fs_shares_the_directory() {
    let pid = clone(CLONE_FS | SIGCHLD, || drop(ok!(SYS_chdir, c"/proc")));
    assert_eq!(Child::from_pid(pid).wait(), Exit::Code(0));
    assert_eq!(std::env::current_dir().unwrap().to_str(), Some("/proc"));
}

fn clone_with_invalid_flags_is_einval() {
    fails!(EINVAL, SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0);
    fails!(EINVAL, SYS_clone, CLONE_THREAD | CLONE_SIGHAND, 0, 0, 0, 0);
}

fn name_is_set_and_read() {
    isolated(|| {
        let mut name = [0u8; 16];
        ok!(SYS_prctl, PR_SET_NAME, c"a-name-longer-than-fifteen");
        ok!(SYS_prctl, PR_GET_NAME, &mut name);
        assert_eq!(&name, b"a-name-longer-t\0");
        assert_eq!(
            std::fs::read("/proc/self/comm").unwrap(),
            b"a-name-longer-t\n"
        );
    });
}

fn many_children_run_at_once() {
    let (reader, writer) = crate::frame::descriptor::pipe(0);
    let children: Vec<Child> = (0..50)
        .map(|i| {
            fork(|| {
                assert_eq!(reader.read(1).unwrap(), b"g");
                exit(i)
            })
        })
        .collect();
    assert_eq!(writer.write([b'g'; 50]), Ok(50));
    for (i, child) in children.into_iter().enumerate() {
        assert_eq!(child.wait(), Exit::Code(i as i32));
    }
}

fn cpu_time_of_children_is_added_when_waited_for() {
    let time = |who| {
        let mut usage: rusage = crate::frame::plain::zeroed();
        ok!(SYS_getrusage, who, &mut usage);
        usage.ru_utime.tv_sec * 1_000_000 + usage.ru_utime.tv_usec
    };
    let before = time(RUSAGE_CHILDREN);
    isolated(|| {
        while time(RUSAGE_SELF) < 20_000 {
            std::hint::black_box((0..100_000u64).sum::<u64>());
        }
    });
    assert!(time(RUSAGE_CHILDREN) - before >= 20_000);
}

fn nice_value_is_inherited_and_only_root_lowers_it() {
    isolated(|| {
        ok!(SYS_setpriority, PRIO_PROCESS, 0, 5);
        // The call gives 20 minus the value.
        isolated(|| assert_eq!(ok!(SYS_getpriority, PRIO_PROCESS, 0), 15));
        let _ = call!(SYS_setuid, 65534);
        fails!(EACCES, SYS_setpriority, PRIO_PROCESS, 0, 0);
        ok!(SYS_setpriority, PRIO_PROCESS, 0, 100);
        assert_eq!(ok!(SYS_getpriority, PRIO_PROCESS, 0), 1);
        fails!(ESRCH, SYS_getpriority, PRIO_PROCESS, 0x3fff_ffff);
        fails!(EINVAL, SYS_getpriority, 3, 0);
    });
}

fn uname_names_the_system() {
    let mut names: utsname = crate::frame::plain::zeroed();
    ok!(SYS_uname, &mut names);
    let bytes = |field: &[c_char]| -> Vec<u8> {
        field
            .iter()
            .take_while(|c| **c != 0)
            .map(|c| *c as u8)
            .collect()
    };
    assert_eq!(bytes(&names.machine), b"x86_64");
    assert!(!bytes(&names.sysname).is_empty() && !bytes(&names.release).is_empty());
}
