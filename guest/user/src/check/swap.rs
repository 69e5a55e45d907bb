//! Swap space, and what /proc tells of memory. Tests that need a disk are whole-system tests.

use crate::frame::child::isolated;
use crate::frame::mapping::{Mapping, PAGE, RW};
use crate::frame::report::need_root;
use libc::*;
use std::fs;

tests!(
    swapon_of_a_missing_path_is_enoent,
    swapon_of_a_device_that_is_no_disk_is_einval,
    swapon_with_unknown_flags_is_einval,
    swapoff_of_what_is_not_in_use_is_einval,
    swapon_and_swapoff_need_a_privilege,
    proc_swaps_has_its_heading,
    vmstat_counts_page_faults,
    rusage_counts_page_faults,
    smaps_tells_private_from_shared_pages,
    locked_memory_shows_in_status;
    guest:
    replacement_policy_can_be_changed,
    unknown_replacement_policy_is_einval,
    vmstat_counts_copies_on_write,
    the_kernel_takes_at_most_four_mebibytes,
);

const POLICY: &str = "/proc/sys/vm/replacement";

/// The number behind `name` in a file of names and numbers.
#[track_caller]
fn number(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap();
    let line = text
        .lines()
        .find(|line| line.split([':', ' ']).next() == Some(name))
        .unwrap_or_else(|| panic!("no {name} in {file}"));
    let mut words = line.split_ascii_whitespace();
    words.nth(1).unwrap().parse().unwrap()
}

fn swapon_of_a_missing_path_is_enoent() {
    need_root();
    fails!(ENOENT, SYS_swapon, c"/nowhere/at/all", 0);
    fails!(ENOENT, SYS_swapoff, c"/nowhere/at/all");
}

fn swapon_of_a_device_that_is_no_disk_is_einval() {
    need_root();
    fails!(EINVAL, SYS_swapon, c"/dev/null", 0);
}

fn swapon_with_unknown_flags_is_einval() {
    need_root();
    fails!(EINVAL, SYS_swapon, c"/dev/null", 1 << 30);
}

fn swapoff_of_what_is_not_in_use_is_einval() {
    need_root();
    fails!(EINVAL, SYS_swapoff, c"/dev/null");
}

fn swapon_and_swapoff_need_a_privilege() {
    isolated(|| {
        if ok!(SYS_geteuid) == 0 {
            ok!(SYS_setresuid, 1234, 1234, 1234);
        }
        fails!(EPERM, SYS_swapon, c"/dev/null", 0);
        fails!(EPERM, SYS_swapoff, c"/dev/null");
    });
}

fn proc_swaps_has_its_heading() {
    let text = fs::read_to_string("/proc/swaps").unwrap();
    let words: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(words, ["Filename", "Type", "Size", "Used", "Priority"]);
}

fn vmstat_counts_page_faults() {
    let memory = Mapping::anonymous(100);
    let before = number("/proc/vmstat", "pgfault");
    (0..100).for_each(|page| memory.set(page * PAGE, 1));
    assert!(number("/proc/vmstat", "pgfault") >= before + 100);
}

fn rusage_counts_page_faults() {
    let minor = || {
        // SAFETY: integers, for which zero is valid.
        let mut usage: rusage = unsafe { std::mem::zeroed() };
        ok!(SYS_getrusage, RUSAGE_SELF, &mut usage);
        usage.ru_minflt
    };
    let memory = Mapping::anonymous(100);
    let before = minor();
    (0..100).for_each(|page| memory.set(page * PAGE, 1));
    assert!(minor() >= before + 100);
}

/// A line of the area at `start` in /proc/self/smaps, in kB.
#[track_caller]
fn smaps(start: usize, name: &str) -> usize {
    let text = fs::read_to_string("/proc/self/smaps").unwrap();
    let heading = format!("{start:x}-");
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&heading));
    lines.next().expect("the area");
    let line = lines
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .expect("the line");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn smaps_tells_private_from_shared_pages() {
    // Unlike its neighbours, so that it stays an area of its own.
    let memory = Mapping::new(
        16 * PAGE,
        RW | PROT_EXEC,
        MAP_PRIVATE | MAP_ANONYMOUS,
        -1,
        0,
    );
    let memory = memory.unwrap();
    let start = std::ptr::from_ref(memory.word(0)) as usize;
    (0..8).for_each(|page| memory.set(page * PAGE, 1));
    assert_eq!(smaps(start, "Size"), 64);
    assert_eq!(smaps(start, "Rss"), 32);
    assert_eq!(smaps(start, "Private_Dirty"), 32);
    assert_eq!(smaps(start, "Swap"), 0);
    isolated(|| {
        assert_eq!(smaps(start, "Shared_Dirty"), 32);
        assert_eq!(smaps(start, "Pss"), 16);
        memory.set(0, 2);
        assert_eq!(smaps(start, "Private_Dirty"), 4);
    });
}

fn locked_memory_shows_in_status() {
    let memory = Mapping::anonymous(16);
    let start = std::ptr::from_ref(memory.word(0)) as usize;
    assert_eq!(number("/proc/self/status", "VmLck"), 0);
    ok!(SYS_mlock, start, 4 * PAGE);
    assert_eq!(number("/proc/self/status", "VmLck"), 16);
    ok!(SYS_munlock, start, 2 * PAGE);
    assert_eq!(number("/proc/self/status", "VmLck"), 8);
    isolated(|| assert_eq!(number("/proc/self/status", "VmLck"), 0));
    ok!(SYS_munlock, start, 4 * PAGE);
}

/// The names, and the one in use.
fn policies() -> (Vec<String>, String) {
    let text = fs::read_to_string(POLICY).unwrap();
    let bare = |word: &str| word.trim_matches(['[', ']']).to_owned();
    let current = text.split_whitespace().find(|word| word.starts_with('['));
    (
        text.split_whitespace().map(bare).collect(),
        bare(current.expect("one in use")),
    )
}

fn replacement_policy_can_be_changed() {
    let (names, before) = policies();
    for name in [
        "fifo",
        "clock",
        "second-chance",
        "aging",
        "wsclock",
        "random",
    ] {
        assert!(names.iter().any(|known| known == name), "{name}");
    }
    for name in &names {
        fs::write(POLICY, name).unwrap();
        assert_eq!(&policies().1, name);
    }
    fs::write(POLICY, before).unwrap();
}

fn unknown_replacement_policy_is_einval() {
    for name in ["lru", "optimal", ""] {
        let error = fs::write(POLICY, format!("{name}\n")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(EINVAL), "{name}");
    }
}

fn vmstat_counts_copies_on_write() {
    let memory = Mapping::anonymous(100);
    (0..100).for_each(|page| memory.set(page * PAGE, 1));
    let before = number("/proc/vmstat", "pgcopy");
    isolated(|| (0..100).for_each(|page| memory.set(page * PAGE, 2)));
    assert!(number("/proc/vmstat", "pgcopy") >= before + 100);
}

fn the_kernel_takes_at_most_four_mebibytes() {
    if number("/proc/meminfo", "MemTotal") > 128 << 10 {
        // Its tables grow with the machine.
        return;
    }
    let parts = ["KernelStatic", "Slab", "KernelStack"];
    let taken: u64 = parts.iter().map(|name| number("/proc/meminfo", name)).sum();
    assert!(taken <= 4 << 10, "{taken} KiB");
}
