//! What must be as it was when a run is over: processes, open files, free memory.

use std::collections::BTreeSet;
use std::fs;

use crate::sys;

/// The machine's state.
pub struct Facts {
    /// Frames that are free, hold the kernel's small objects, this process's own memory, or pages of
    /// files on the disk: those of running programs stay when all caches are dropped.
    pub frames: i64,
    /// Bytes of the kernel's small objects.
    pub objects: i64,
    /// Open files, if the kernel says.
    pub files: Option<i64>,
    /// All that the kernel says of its memory, for a report.
    pub memory: String,
}

impl Facts {
    /// Drops what the kernel merely caches, and looks.
    pub fn take() -> Self {
        sys::sync();
        // A kernel that cannot drop its caches shows them as used.
        let _ = fs::write("/proc/sys/vm/drop_caches", "3");
        let first = |path: &str, word: usize| -> Option<i64> {
            let text = fs::read_to_string(path).ok()?;
            text.split_whitespace().nth(word)?.parse().ok()
        };
        let (slabs, objects) = small_objects();
        let files = first("/proc/sys/fs/file-nr", 0);
        let vmstat = fs::read_to_string("/proc/vmstat").unwrap_or_default();
        let free = vmstat
            .lines()
            .find_map(|l| l.strip_prefix("nr_free_pages "));
        let free: i64 = free.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
        Facts {
            frames: free + slabs + file_pages() + own_pages(),
            objects,
            files,
            memory: ["/proc/meminfo", "/proc/self/status"]
                .map(|name| fs::read_to_string(name).unwrap_or_default())
                .concat(),
        }
    }

    /// What the kernel says of its memory and is not as it was in `before`.
    pub fn difference(&self, before: &Facts) -> String {
        let changed = self
            .memory
            .lines()
            .zip(before.memory.lines())
            .filter(|(now, then)| now != then);
        let value = |line: &str| line.split_whitespace().nth(1).unwrap_or("?").to_owned();
        changed
            .map(|(now, then)| {
                let name = then.split(':').next().unwrap_or_default();
                format!("; {name} {} then {}", value(then), value(now))
            })
            .collect()
    }
}

/// Frames with pages of files on the disk.
fn file_pages() -> i64 {
    const PAGE_KIB: i64 = 4;
    let table = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |name: &str| -> i64 {
        let line = table.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        number.unwrap_or(0)
    };
    (kib("Cached:") - kib("Shmem:")) / PAGE_KIB
}

/// Frames of this process's own memory, which may grow as it goes.
fn own_pages() -> i64 {
    const PAGE_KIB: i64 = 4;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok());
    kib.unwrap_or(0) / PAGE_KIB
}

/// Frames of the slabs, and bytes of the objects in use there.
fn small_objects() -> (i64, i64) {
    const PAGE: i64 = 4096;
    let table = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    let (mut frames, mut bytes) = (0, 0);
    for line in table.lines().filter(|line| line.starts_with("kmalloc")) {
        let numbers: Vec<i64> = line
            .split_whitespace()
            .skip(1)
            .filter_map(|word| word.parse().ok())
            .collect();
        if let [active, all, size, per_slab, pages, ..] = numbers[..]
            && per_slab > 0
        {
            frames += all / per_slab * pages.max(size / PAGE);
            bytes += active * size;
        }
    }
    (frames, bytes)
}

/// The numbers of all processes.
pub fn processes() -> BTreeSet<i32> {
    let names = crate::tools::names::entries(b"/proc").unwrap_or_default();
    names
        .iter()
        .filter_map(|name| crate::cli::number(name))
        .collect()
}

/// The parent of a process.
pub fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat).into_owned();
    let rest = stat.rsplit_once(')')?.1;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// What the kernel says of a process, for a report.
pub fn describe(pid: i32) -> String {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let text = |name: &str| String::from_utf8_lossy(&read(name)).trim().to_owned();
    format!(
        "stat {}; wchan {}; syscall {}",
        text("stat"),
        text("wchan"),
        text("syscall")
    )
}
