//! More memory than the machine has: pages of programs leave for a disk and come back as they were.

use std::path::PathBuf;
use std::time::Duration;

use gnomon_tests::gnomon::{End, Finished, Gnomon};
use gnomon_tests::image::Image;
use gnomon_tests::in_every_mode;
use gnomon_tests::mode::Mode;
use gnomon_tests::program::{self, IN_GUEST};
use gnomon_tests::scratch::Scratch;

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(600);
/// Memory of the machine, in MiB.
const MEMORY: u32 = 8;

in_every_mode!(
    program_with_twice_the_memory_is_right,
    fork_shares_pages_in_swap_space,
    shared_memory_goes_to_swap_space,
    mapped_file_is_written_back_and_right,
    every_policy_keeps_pages_right,
    file_in_memory_goes_to_swap_space,
    swapoff_brings_everything_back,
    swapoff_brings_files_in_memory_back,
    pages_of_files_that_come_back_are_counted,
    thrashing_shows_in_the_counters,
    memory_and_swap_full_kill_the_largest,
);

/// A disk of `mebibytes` of zeros, which gnomon's guest makes swap space.
fn blank(files: &Scratch, mebibytes: u64) -> PathBuf {
    files.zeros("swap", mebibytes << 20).unwrap()
}

/// Run `script` in a small machine with swap space of `mebibytes`, on a root that must be clean
/// afterwards.
fn run(mode: Mode, mebibytes: u64, cmdline: &str, script: &str) -> Finished {
    let files = Scratch::new().unwrap();
    let image = Image::builtin(&files.path("root")).unwrap();
    let disk = blank(&files, mebibytes);
    let finished = Gnomon::new(mode)
        .memory(MEMORY)
        .root(image.path())
        .file(program::path(), IN_GUEST)
        .options(["--disk", disk.to_str().unwrap(), "--cmdline", cmdline])
        .shell(script)
        .timeout(LONG)
        .run();
    image.assert_clean();
    finished
}

/// Run `script`, which uses Debian's busybox, in a small machine with a blank disk of 32 MiB; it must
/// end with 0.
fn run_with_busybox(mode: Mode, cmdline: &str, script: &str) -> Finished {
    let files = Scratch::new().unwrap();
    let disk = blank(&files, 32);
    let finished = Gnomon::new(mode)
        .memory(MEMORY)
        .file(program::path(), IN_GUEST)
        .file(&gnomon_tests::busybox::path(), "/busybox")
        .options(["--disk", disk.to_str().unwrap(), "--cmdline", cmdline])
        .shell(script)
        .timeout(LONG)
        .run();
    finished.assert_status(0);
    finished
}

/// The value of `name` in `text`, lines of a name and a number.
#[track_caller]
fn counter(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| {
        let (found, value) = line.split_once(' ')?;
        (found == name).then(|| value.trim().trim_end_matches(" kB").parse())
    });
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .unwrap()
}

fn program_with_twice_the_memory_is_right(mode: Mode) {
    let script = format!("{IN_GUEST} swap alone 16; cat /proc/vmstat");
    let finished = run(mode, 64, "swap=/dev/vdb", &script);
    finished.assert_status(0);
    let text = finished.text();
    assert!(text.starts_with("alone: 4096 pages are right\n"), "{text}");
    // At least what does not fit has left.
    assert!(counter(&text, "pswpout") > 2048, "{text}");
    assert!(counter(&text, "pswpin") > 2048, "{text}");
    // Most of it before anybody had to wait for it.
    let background = counter(&text, "pgsteal_kswapd");
    assert!(background > counter(&text, "pgsteal_direct"), "{text}");
}

fn fork_shares_pages_in_swap_space(mode: Mode) {
    let script = format!("{IN_GUEST} swap forked 3");
    run(mode, 64, "swap=/dev/vdb", &script)
        .assert_status(0)
        .assert_output("forked: 768 pages are right\n");
}

fn shared_memory_goes_to_swap_space(mode: Mode) {
    let script = format!("{IN_GUEST} swap shared 4; cat /proc/vmstat");
    let finished = run(mode, 64, "swap=/dev/vdb", &script);
    finished.assert_status(0);
    let text = finished.text();
    assert!(text.starts_with("shared: 1024 pages are right\n"), "{text}");
    assert!(counter(&text, "pswpin") > 500, "{text}");
}

fn mapped_file_is_written_back_and_right(mode: Mode) {
    let script = format!("{IN_GUEST} swap file 4 /file; rm /file");
    run(mode, 64, "swap=/dev/vdb", &script)
        .assert_status(0)
        .assert_output("file: 1024 pages are right\n");
}

fn every_policy_keeps_pages_right(mode: Mode) {
    let script = format!(
        "for policy in fifo second-chance aging wsclock random; do
            echo $policy >/proc/sys/vm/replacement; {IN_GUEST} swap alone 4
        done; cat /proc/sys/vm/replacement"
    );
    let finished = run(mode, 64, "swap=/dev/vdb", &script);
    finished.assert_status(0);
    let right = "alone: 1024 pages are right\n".repeat(5);
    assert_eq!(
        finished.text(),
        right + "fifo clock second-chance aging wsclock [random]\n"
    );
}

fn file_in_memory_goes_to_swap_space(mode: Mode) {
    let script = format!(
        "yes abcdefghi | head -c 6000000 >/tmp/file; md5sum </tmp/file
        {IN_GUEST} swap file 2 /tmp/mapped; md5sum </tmp/file; rm /tmp/file /tmp/mapped
        cat /proc/vmstat"
    );
    let finished = run(mode, 64, "swap=/dev/vdb", &script);
    finished.assert_status(0);
    let text = finished.text();
    let sum = "082d4062acf6276ae636be8bb36e6f34  -\n";
    let right = format!("{sum}file: 512 pages are right\n{sum}");
    assert!(text.starts_with(&right), "{text}");
    assert!(counter(&text, "pswpout") > 700, "{text}");
}

fn swapoff_brings_files_in_memory_back(mode: Mode) {
    let script = format!(
        "seq 1 200000 >/tmp/file; a=$(md5sum </tmp/file | cut -c 1-32); {IN_GUEST} swap alone 4
        grep -c ^pswpout.0$ /proc/vmstat
        /busybox swapoff /dev/vdb; echo $?; b=$(md5sum </tmp/file | cut -c 1-32); [ $a = $b ]; echo $?
        cat /proc/swaps"
    );
    let finished = run_with_busybox(mode, "swap=/dev/vdb", &script);
    assert_eq!(
        finished.text(),
        "alone: 1024 pages are right\n0\n0\n0\nFilename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    );
}

fn pages_of_files_that_come_back_are_counted(mode: Mode) {
    let script = "head -c 8000000 /dev/zero >/file; cat /proc/vmstat
        cat /file >/dev/null; cat /file >/dev/null; cat /proc/vmstat; rm /file";
    let finished = run(mode, 64, "", script);
    finished.assert_status(0);
    let text = finished.text();
    let name = "workingset_refault_file";
    let before = counter(&text, name);
    let (_, after) = text.rsplit_once("nr_free_pages").unwrap();
    let came = counter(after, name) - before;
    assert!(came > 1000, "{came}");
}

fn swapoff_brings_everything_back(mode: Mode) {
    let script = format!(
        "/busybox mkswap /dev/vdb >&2; /busybox swapon /dev/vdb
        {IN_GUEST} swap off 5 /dev/vdb; cat /proc/swaps"
    );
    let finished = run_with_busybox(mode, "", &script);
    assert_eq!(
        finished.text(),
        "off: 1280 pages are right\nFilename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    );
}

fn thrashing_shows_in_the_counters(mode: Mode) {
    let passes = |mebibytes: u32| {
        let script = format!("{IN_GUEST} swap working-set {mebibytes}; cat /proc/vmstat");
        let finished = run(mode, 64, "swap=/dev/vdb", &script);
        finished.assert_status(0);
        counter(&finished.text(), "workingset_refault_anon")
    };
    // A working set that fits comes in once; one that does not comes in at each pass.
    let (fits, thrashes) = (passes(2), passes(4));
    assert!(fits < 512, "{fits} refaults of 512 pages");
    assert!(thrashes > 2 * 1024, "{thrashes} refaults of 1024 pages");
}

fn memory_and_swap_full_kill_the_largest(mode: Mode) {
    // More than there is of both is refused at once; what is taken bit by bit is taken back.
    let script = format!(
        "{IN_GUEST} swap alone 24 2>/dev/null; echo $?; {IN_GUEST} exhaust memory; echo $?
        cat /proc/vmstat"
    );
    let finished = run(mode, 4, "swap=/dev/vdb", &script);
    assert_eq!(finished.end, End::Status(0));
    let (text, errors) = (finished.text(), finished.errors());
    assert!(text.starts_with("101\n137\n"), "{text}{errors}");
    assert_eq!(counter(&text, "oom_kill"), 1);
    assert!(
        errors.contains("is killed") && errors.contains("in swap"),
        "{errors}"
    );
}
