//! What /proc tells of processes and of the machine.

use crate::frame::child::{Exit, fork, sleeper};
use crate::frame::descriptor::{Fd, pipe};
use crate::frame::mapping::{Mapping, PAGE};
use crate::frame::report::need_root;
use crate::frame::scratch::Scratch;
use crate::frame::signals::{block, dispose, record};
use crate::frame::state::{wait_until, wait_until_asleep};
use crate::frame::thread;
use crate::frame::time::milliseconds;
use libc::*;
use std::fs::{read, read_link, read_to_string};

tests!(
    stat_names_the_process_and_its_family,
    stat_of_a_stopped_and_of_a_dead_child_says_so,
    cmdline_holds_the_arguments_with_nuls,
    exe_and_cwd_lead_to_the_files,
    fd_lists_the_open_descriptors,
    status_tells_users_and_groups,
    status_tells_the_signals,
    status_counts_the_threads,
    limits_show_a_limit_that_was_set,
    maps_show_a_mapping_of_a_file,
    maps_name_the_mapped_files,
    interrupts_name_the_timer,
    every_file_of_the_machine_says_something,
    task_lists_the_threads,
    syscall_of_a_sleeper_is_its_call,
    self_is_the_reader,
    process_that_is_gone_has_no_directory,
    uptime_and_loadavg_are_numbers,
    stat_counts_time_forks_and_switches,
    mounts_name_the_root,
    file_systems_are_listed,
    cpuinfo_has_a_processor,
    user_time_grows_where_a_program_computes,
    children_times_are_told_after_the_wait,
    comm_can_be_changed,
    what_is_not_to_be_written_opens_for_root_and_fails_then;
    guest: wchan_of_a_sleeper_is_a_function_of_the_kernel,
    system_time_grows_where_a_program_calls,
    line_written_to_kmsg_is_read_back,
    log_is_read_by_syslog,
    unknown_call_is_logged_once,
);

/// The fields of /proc/PID/stat behind the name; the state is number 0.
fn stat(pid: u32) -> Vec<String> {
    let text = read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest = text.rsplit_once(") ").unwrap().1;
    rest.split_whitespace().map(str::to_owned).collect()
}

/// A line of /proc/PID/status, without its name.
fn status(pid: u32, name: &str) -> String {
    let text = read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.expect(name).trim_start_matches(':').trim().to_owned()
}

fn me() -> u32 {
    std::process::id()
}

fn stat_names_the_process_and_its_family() {
    let fields = stat(me());
    assert_eq!(fields[0], "R");
    assert_eq!(fields[1], ok!(SYS_getppid).to_string());
    assert_eq!(fields[2], ok!(SYS_getpgrp).to_string());
    assert_eq!(fields[3], ok!(SYS_getsid, 0).to_string());
    assert!(fields.len() >= 50, "{}", fields.len());
}

fn stat_of_a_stopped_and_of_a_dead_child_says_so() {
    let mut child = sleeper();
    let pid = child.pid() as u32;
    child.kill(SIGSTOP);
    wait_until(child.pid(), 'T');
    child.kill(SIGKILL);
    wait_until(child.pid(), 'Z');
    assert_eq!(read(format!("/proc/{pid}/cmdline")).unwrap(), b"");
    assert_eq!(child.wait_with(0), Some(Exit::Signal(SIGKILL)));
}

fn cmdline_holds_the_arguments_with_nuls() {
    let text = read("/proc/self/cmdline").unwrap();
    let expected = b"proc::cmdline_holds_the_arguments_with_nuls\0";
    assert!(text.ends_with(expected), "{text:?}");
    assert_eq!(text.iter().filter(|&&byte| byte == 0).count(), 2);
}

fn exe_and_cwd_lead_to_the_files() {
    let scratch = Scratch::new();
    ok!(SYS_chdir, scratch.c("").as_ptr());
    assert_eq!(read_link("/proc/self/cwd").unwrap(), scratch.path());
    assert_eq!(
        read_link("/proc/self/exe").unwrap(),
        std::env::current_exe().unwrap()
    );
}

fn fd_lists_the_open_descriptors() {
    let (reader, _writer) = pipe(0);
    let link = read_link(format!("/proc/self/fd/{}", reader.0)).unwrap();
    assert!(link.to_str().unwrap().starts_with("pipe:["), "{link:?}");
    let number = reader.0;
    drop(reader);
    assert!(read_link(format!("/proc/self/fd/{number}")).is_err());
}

fn status_tells_users_and_groups() {
    need_root();
    let child = fork(|| {
        ok!(SYS_setgroups, 1, &7u32);
        ok!(SYS_setresgid, 10, 11, 12);
        ok!(SYS_setresuid, 20, 21, 22);
        assert_eq!(status(me(), "Uid"), "20\t21\t22\t21");
        assert_eq!(status(me(), "Gid"), "10\t11\t12\t11");
        assert_eq!(status(me(), "Groups"), "7");
    });
    assert_eq!(child.wait(), Exit::Code(0));
}

fn status_tells_the_signals() {
    let set = |name: &str| u64::from_str_radix(&status(me(), name), 16).unwrap();
    let bit = |signal: i32| 1u64 << (signal - 1);
    record(SIGUSR1, 0);
    dispose(SIGUSR2, SIG_IGN);
    block(&[SIGUSR1]);
    ok!(SYS_kill, me(), SIGUSR1);
    assert_eq!(set("SigBlk") & bit(SIGUSR1), bit(SIGUSR1));
    assert_eq!(set("SigCgt") & bit(SIGUSR1), bit(SIGUSR1));
    assert_eq!(set("SigIgn") & bit(SIGUSR2), bit(SIGUSR2));
    assert_eq!(set("ShdPnd") & bit(SIGUSR1), bit(SIGUSR1));
}

fn status_counts_the_threads() {
    assert_eq!(status(me(), "Threads"), "1");
    let thread = thread::spawn(|| status(me(), "Threads"));
    assert_eq!(thread.join(), "2");
}

fn limits_show_a_limit_that_was_set() {
    let limit = [100u64, 200];
    ok!(SYS_setrlimit, RLIMIT_NOFILE, &limit);
    let text = read_to_string("/proc/self/limits").unwrap();
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    let words: Vec<_> = line.unwrap().split_whitespace().collect();
    assert_eq!(words[3..], ["100", "200", "files"]);
}

fn maps_show_a_mapping_of_a_file() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("mapped", [0; 8192]), O_RDONLY);
    let at = ok!(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE, file.0, 4096);
    let text = read_to_string("/proc/self/maps").unwrap();
    let start = format!("{at:x}-");
    let line = text.lines().find(|line| line.starts_with(&start)).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[1..3], ["r--p", "00001000"]);
}

fn maps_name_the_mapped_files() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("mapped", [1; PAGE]), O_RDONLY);
    let memory = Mapping::new(PAGE, PROT_READ, MAP_PRIVATE, file.0, 0).unwrap();
    // Whether it is still open or not.
    let expected = format!("{:x}-{:x} r--p", memory.at, memory.at + PAGE);
    let path = scratch.path().join("mapped");
    for fd in [Some(file), None] {
        let text = read_to_string("/proc/self/maps").unwrap();
        let line = text.lines().find(|line| line.starts_with(&expected));
        assert!(line.expect("the area").ends_with(path.to_str().unwrap()));
        drop(fd);
    }
}

fn interrupts_name_the_timer() {
    let count = || -> u64 {
        let text = read_to_string("/proc/interrupts").unwrap();
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("LOC:"));
        let numbers = line.expect("the local timer").split_whitespace();
        numbers.map_while(|word| word.parse::<u64>().ok()).sum()
    };
    let before = count();
    // Long enough that a slow machine, too, is asleep when it ends.
    ok!(SYS_nanosleep, &milliseconds(100), 0);
    assert!(count() > before);
}

fn every_file_of_the_machine_says_something() {
    let names = [
        "meminfo",
        "vmstat",
        "stat",
        "uptime",
        "loadavg",
        "mounts",
        "filesystems",
    ];
    for name in names.iter().chain(&["interrupts", "buddyinfo", "cpuinfo"]) {
        let text = read_to_string(format!("/proc/{name}")).unwrap();
        assert!(text.ends_with('\n'), "{name}: {text:?}");
    }
    let text = read_to_string("/proc/buddyinfo").unwrap();
    let blocks = text.split_whitespace().skip(4);
    assert!(blocks.filter_map(|word| word.parse::<u32>().ok()).count() >= 11);
}

fn task_lists_the_threads() {
    let thread = thread::spawn(|| ok!(SYS_gettid).to_string());
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir("/proc/self/task").unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert!(names().contains(&me().to_string()));
    let tid = thread.join();
    assert!(!names().contains(&tid));
}

fn syscall_of_a_sleeper_is_its_call() {
    let child = sleeper();
    wait_until_asleep(child.pid());
    let text = read_to_string(format!("/proc/{}/syscall", child.pid())).unwrap();
    let words: Vec<_> = text.split_whitespace().collect();
    assert_eq!((words[0], words.len()), ("34", 9));
}

fn self_is_the_reader() {
    assert_eq!(
        read_link("/proc/self").unwrap().to_str().unwrap(),
        me().to_string()
    );
    let link = read_link("/proc/thread-self").unwrap();
    assert_eq!(link.to_str().unwrap(), format!("{0}/task/{0}", me()));
}

fn process_that_is_gone_has_no_directory() {
    let child = fork(|| {});
    let pid = child.pid();
    assert_eq!(child.wait(), Exit::Code(0));
    assert!(read_to_string(format!("/proc/{pid}/stat")).is_err());
}

fn uptime_and_loadavg_are_numbers() {
    let text = read_to_string("/proc/uptime").unwrap();
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    assert!(numbers.len() == 2 && numbers[0] > 0.0);
    let text = read_to_string("/proc/loadavg").unwrap();
    let words: Vec<_> = text.split_whitespace().collect();
    assert_eq!(words.len(), 5);
    assert!(words[..3].iter().all(|word| word.parse::<f64>().is_ok()));
    let (running, all) = words[3].split_once('/').unwrap();
    assert!(running.parse::<u32>().unwrap() <= all.parse().unwrap());
}

/// A number of /proc/stat.
fn machine(name: &str) -> u64 {
    let text = read_to_string("/proc/stat").unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

fn stat_counts_time_forks_and_switches() {
    let (forks, switches) = (machine("processes"), machine("ctxt"));
    assert_eq!(fork(|| {}).wait(), Exit::Code(0));
    assert!(machine("processes") > forks);
    assert!(machine("ctxt") > switches);
    assert!(machine("btime") > 1_000_000_000);
    assert!(machine("procs_running") >= 1);
}

fn mounts_name_the_root() {
    let text = read_to_string("/proc/mounts").unwrap();
    let root = text
        .lines()
        .find(|line| line.split(' ').nth(1) == Some("/"));
    assert_eq!(root.unwrap().split(' ').count(), 6);
    assert_eq!(text, read_to_string("/proc/self/mounts").unwrap());
}

fn file_systems_are_listed() {
    let text = read_to_string("/proc/filesystems").unwrap();
    assert!(text.lines().any(|line| line == "nodev\ttmpfs"));
    assert!(text.lines().any(|line| line == "nodev\tproc"));
}

fn cpuinfo_has_a_processor() {
    let text = read_to_string("/proc/cpuinfo").unwrap();
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(key, _)| key.trim() == name);
        found.expect(name).1.trim().to_owned()
    };
    assert_eq!(value("processor"), "0");
    assert!(value("flags").split(' ').any(|flag| flag == "fpu"));
}

/// User and system time of this process in ticks.
fn times() -> (u64, u64) {
    let fields = stat(me());
    (fields[11].parse().unwrap(), fields[12].parse().unwrap())
}

fn user_time_grows_where_a_program_computes() {
    // What it has taken to start does not count.
    let start = times();
    let mut sum = 1u64;
    while times().0 < start.0 + 10 {
        // Far more than it takes to look at the times, also where the kernel is emulated.
        for n in 0..200_000_000 {
            sum = std::hint::black_box(sum.wrapping_mul(31) + n);
        }
    }
    let (user, system) = (times().0 - start.0, times().1 - start.1);
    assert!(user > system, "{user} {system}");
}

fn system_time_grows_where_a_program_calls() {
    let start = times();
    // Long enough for some samples.
    while times().1 < start.1 + 40 {
        for _ in 0..200 {
            ok!(SYS_getppid);
        }
    }
    let (user, system) = (times().0 - start.0, times().1 - start.1);
    assert!(system > user, "{user} {system}");
}

fn children_times_are_told_after_the_wait() {
    let child = fork(|| {
        let mut sum = 1u64;
        while times().0 < 5 {
            for n in 0..20_000_000 {
                sum = std::hint::black_box(sum.wrapping_mul(31) + n);
            }
        }
    });
    assert_eq!(child.wait(), Exit::Code(0));
    let children: u64 = stat(me())[13].parse().unwrap();
    assert!(children >= 5, "{children}");
}

fn comm_can_be_changed() {
    ok!(SYS_prctl, PR_SET_NAME, c"a name that is too long");
    assert_eq!(
        read_to_string("/proc/self/comm").unwrap(),
        "a name that is \n"
    );
    let text = read_to_string("/proc/self/stat").unwrap();
    assert!(text.contains("(a name that is )"));
}

fn what_is_not_to_be_written_opens_for_root_and_fails_then() {
    need_root();
    for (path, error) in [
        (c"/proc/version", EIO),
        (c"/proc/sysvipc/sem", EIO),
        (c"/proc/self/stat", EINVAL),
        (c"/proc/self/fdinfo/0", EINVAL),
    ] {
        let file = Fd::open(path, O_RDWR | O_TRUNC);
        fails!(error, SYS_write, file.0, c"x", 1);
        assert!(!file.read(1).unwrap().is_empty(), "{path:?}");
    }
    fails!(EACCES, SYS_open, c"/proc/sys/kernel/ostype", O_WRONLY);
    let child = fork(|| {
        ok!(SYS_setresuid, 65534, 65534, 65534);
        fails!(EACCES, SYS_open, c"/proc/version", O_WRONLY);
    });
    assert_eq!(child.wait(), Exit::Code(0));
}

fn wchan_of_a_sleeper_is_a_function_of_the_kernel() {
    let (reader, _writer) = pipe(0);
    let child = fork(|| drop(reader.read(1)));
    wait_until_asleep(child.pid());
    let name = read_to_string(format!("/proc/{}/wchan", child.pid())).unwrap();
    assert!(name.contains("pipe"), "{name}");
}

fn line_written_to_kmsg_is_read_back() {
    let log = Fd::open(c"/dev/kmsg", O_RDWR | O_NONBLOCK);
    log.seek(0, SEEK_END).unwrap();
    fails!(EAGAIN, SYS_read, log.0, &mut [0u8; 512], 512);
    log.write("<6>a line of the tests\n").unwrap();
    let line = String::from_utf8(log.read(512).unwrap()).unwrap();
    assert!(line.ends_with(",-;a line of the tests\n"), "{line}");
    assert_eq!(log.poll(POLLIN), 0);
}

fn log_is_read_by_syslog() {
    const READ_ALL: i32 = 3;
    const SIZE_BUFFER: i32 = 10;
    Fd::open(c"/dev/kmsg", O_WRONLY)
        .write("a line for syslog\n")
        .unwrap();
    let size = ok!(SYS_syslog, SIZE_BUFFER, 0, 0);
    let mut text = vec![0u8; 2 * size];
    let len = ok!(SYS_syslog, READ_ALL, &mut text[..], 2 * size);
    let text = String::from_utf8_lossy(&text[..len]).into_owned();
    assert!(text.ends_with("a line for syslog\n"), "{text}");
    fails!(EINVAL, SYS_syslog, 99, 0, 0);
}

fn unknown_call_is_logged_once() {
    // No other test makes this one.
    const NUMBER: i64 = 509;
    for _ in 0..3 {
        fails!(ENOSYS, NUMBER, 0, 0, 0);
    }
    let log = read_to_string("/proc/kmsg").unwrap();
    let line = format!("syscall {NUMBER} is not implemented");
    assert_eq!(log.matches(&line).count(), 1, "{log}");
}
