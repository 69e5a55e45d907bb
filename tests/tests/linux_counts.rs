//! Instructions that operations take in the guest, beside Linux's: the same static program under the
//! same QEMU, whose time stamp counter counts instructions. Ours may fall, not rise.
//!
//! `tests/counts/linux.icount.txt` keeps both. `GNOMON_KEEP_COUNTS=1` writes what was measured there: ours,
//! and Linux's by the test that is ignored otherwise.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use gnomon_tests::counts::{self, Table};
use gnomon_tests::image::Image;
use gnomon_tests::linux::Linux;
use gnomon_tests::qemu::Qemu;
use gnomon_tests::scratch::Scratch;

const GNOMON: &str = "gnomon";
const LINUX: &str = "Linux 6.1";

/// Far more than anything here takes, on a busy machine too.
const LONG: Duration = Duration::from_secs(600);
/// How far above its table a count may be: instructions, and as a factor. Interrupts by the clock come
/// after a number of instructions, so that another kernel or program moves them.
const SLACK: f64 = 2.0;
const TOLERANCE: f64 = 1.02;

fn table() -> PathBuf {
    counts::path("linux.icount.txt")
}

/// What `bench --ticks` has printed, with the other column from the table.
fn measured(output: &str, column: &str) -> Table {
    let mut table = counts::read(&table()).unwrap_or_default();
    for line in output.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, count] = words[..] else {
            panic!("not a count: {line:?}");
        };
        let row = table
            .entry(name.to_owned())
            .or_insert_with(|| BTreeMap::from([(GNOMON.to_owned(), 0.0), (LINUX.to_owned(), 0.0)]));
        row.insert(column.to_owned(), count.parse().expect("a number"));
    }
    table
}

fn keep(measured: &Table) {
    counts::keep(&table(), &[GNOMON, LINUX], measured);
}

#[test]
fn instructions_under_qemu_do_not_rise() {
    let files = Scratch::new().expect("a temporary directory");
    let kernel = files.file("kernel", gnomon_images::KERNEL).expect("room");
    let root = Image::builtin(&files.path("root")).expect("room");
    let qemu = Qemu::new(&kernel, root.path()).expect("room").counting();
    // As Linux runs: where mappings lie decides how many tables they have.
    let qemu = qemu.cmdline("norandmaps");
    let finished = qemu
        .run(b"bench --ticks; exit $?\n", LONG)
        .expect("QEMU runs");
    let output = String::from_utf8_lossy(&finished.stdout);
    assert_eq!(
        finished.status,
        Some(0),
        "{output}{}{}",
        String::from_utf8_lossy(&finished.stderr),
        finished.log
    );
    let measured = measured(&output, GNOMON);
    if counts::is_kept() {
        return keep(&measured);
    }
    counts::hold(&table(), &[GNOMON], &measured, |_, _, old| {
        old * TOLERANCE + SLACK
    });
}

/// Not a test: what Linux takes is Linux's business.
#[test]
#[ignore = "measures Linux anew"]
fn keep_linuxs_instructions() {
    let files = Scratch::new().expect("a temporary directory");
    let root = Image::builtin(&files.path("root")).expect("room");
    let program = root.file("/bin/bench").expect("the program");
    let linux = Linux::new(&program, "--ticks").expect("Debian's kernel");
    let output = linux.count(LONG).expect("counts");
    println!("{}\n{output}", linux.version());
    keep(&measured(&output, LINUX));
}
