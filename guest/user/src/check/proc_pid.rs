//! Files of /proc/PID that are written, or that sum up: comm, fdinfo, mountinfo, oom_score, status.

use crate::frame::child::{isolated, sleeper};
use crate::frame::descriptor::Fd;
use crate::frame::mapping::{Mapping, PAGE};
use crate::frame::scratch::Scratch;
use libc::*;
use std::ffi::CString;
use std::fs::{read_to_string, write};
use std::os::unix::fs::MetadataExt as _;

tests!(
    comm_can_be_written_for_the_own_threads,
    fdinfo_tells_position_and_flags,
    mountinfo_is_a_tree_of_the_mounts,
    oom_adjustment_is_inherited_and_adds_to_the_score,
    rollup_is_the_sum_of_the_areas,
    status_tells_capabilities,
);

/// A line of /proc/self/status, without its name.
fn status(name: &str) -> String {
    let text = read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim_start_matches(':').trim().to_owned()
}

fn comm_can_be_written_for_the_own_threads() {
    write("/proc/self/comm", "renamed-by-file-too-long").unwrap();
    assert_eq!(
        read_to_string("/proc/self/comm").unwrap(),
        "renamed-by-file\n"
    );
    let child = sleeper();
    let file = Fd::open(
        &CString::new(format!("/proc/{}/comm", child.pid())).unwrap(),
        O_WRONLY,
    );
    fails!(EINVAL, SYS_write, file.0, c"other", 5);
}

fn mountinfo_is_a_tree_of_the_mounts() {
    let text = read_to_string("/proc/self/mountinfo").unwrap();
    let mounts: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let of = |place: &str| mounts.iter().rfind(|mount| mount[4] == place).unwrap();
    let (root, proc) = (of("/"), of("/proc"));
    assert_eq!(proc[1], root[0]);
    let kind = proc.iter().position(|word| *word == "-").unwrap() + 1;
    assert_eq!(proc[kind], "proc");
    let device = std::fs::metadata("/proc").unwrap().dev();
    assert_eq!(proc[2], format!("{}:{}", major(device), minor(device)));
}

fn fdinfo_tells_position_and_flags() {
    let scratch = Scratch::new();
    let file = Fd::open(
        &scratch.file("f", "0123456789"),
        O_RDWR | O_APPEND | O_CLOEXEC,
    );
    file.read(4).unwrap();
    let text = read_to_string(format!("/proc/self/fdinfo/{}", file.0)).unwrap();
    let line = |name: &str| -> &str {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim()
    };
    assert_eq!(line("pos:"), "4");
    let flags = i32::from_str_radix(line("flags:"), 8).unwrap();
    let wanted = O_RDWR | O_APPEND | O_CLOEXEC;
    assert_eq!(flags & (wanted | O_NONBLOCK), wanted);
    let closed = format!("/proc/self/fdinfo/{}", file.0);
    drop(file);
    assert!(read_to_string(closed).is_err());
}

fn oom_adjustment_is_inherited_and_adds_to_the_score() {
    isolated(|| {
        let score = || -> i32 {
            let text = read_to_string("/proc/self/oom_score").unwrap();
            text.trim().parse().unwrap()
        };
        write("/proc/self/oom_score_adj", "0").unwrap();
        let before = score();
        write("/proc/self/oom_score_adj", "300").unwrap();
        assert!((190..=210).contains(&(score() - before)));
        isolated(|| {
            let text = read_to_string("/proc/self/oom_score_adj").unwrap();
            assert_eq!(text, "300\n");
            assert!(write("/proc/self/oom_score_adj", "1001").is_err());
            let _ = call!(SYS_setresuid, 65534, 65534, 65534);
        });
    });
}

fn status_tells_capabilities() {
    isolated(|| {
        let effective = || u64::from_str_radix(&status("CapEff"), 16).unwrap();
        if ok!(SYS_geteuid) == 0 {
            assert_ne!(effective(), 0);
            ok!(SYS_setresuid, 65534, 65534, 65534);
        }
        assert_eq!(effective(), 0);
        assert_eq!(status("NoNewPrivs"), "0");
        ok!(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        assert_eq!(status("NoNewPrivs"), "1");
    });
}

fn rollup_is_the_sum_of_the_areas() {
    let sum = |file: &str| -> usize {
        let text = read_to_string(format!("/proc/self/{file}")).unwrap();
        let amounts = text.lines().filter_map(|line| line.strip_prefix("Rss:"));
        amounts
            .map(|amount| {
                amount
                    .trim()
                    .trim_end_matches(" kB")
                    .parse::<usize>()
                    .unwrap()
            })
            .sum()
    };
    // So much that what the reading itself takes does not count.
    let memory = Mapping::anonymous(2048);
    (0..2048).for_each(|page| memory.set(page * PAGE, 1));
    let (rollup, areas) = (sum("smaps_rollup"), sum("smaps"));
    assert!(
        rollup >= 8192 && areas.abs_diff(rollup) <= 1024,
        "{rollup} {areas}"
    );
}
