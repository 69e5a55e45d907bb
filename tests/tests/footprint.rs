//! What the kernel takes of the guest's memory.

use gnomon_tests::gnomon::{End, Gnomon};
use gnomon_tests::in_every_mode;
use gnomon_tests::mode::Mode;

/// KiB that `/proc/meminfo` shows as `name`.
fn kib(meminfo: &str, name: &str) -> u64 {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {meminfo}"))
}

/// All that is neither free nor pages of files: image, tables, stacks and objects of the kernel, the
/// loader's structures, and the memory of the two programs that run.
fn kernel_takes_at_most_4_of_128_mib(mode: Mode) {
    let run = Gnomon::new(mode)
        .memory(128)
        .program(["cat", "/proc/meminfo"])
        .run();
    assert_eq!(run.end, End::Status(0));
    let meminfo = String::from_utf8_lossy(&run.stdout);
    let taken = (128 << 10) - kib(&meminfo, "MemFree") - kib(&meminfo, "Cached");
    assert!(taken <= 4 << 10, "{taken} KiB are taken\n{meminfo}");
}

in_every_mode!(kernel_takes_at_most_4_of_128_mib);
