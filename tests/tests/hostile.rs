//! Programs that do what no program may. They end with an error or by a signal, as on Linux; the
//! shell that started them goes on, and the machine ends in order with a clean file system.
//!
//! What Linux does with them is written down here, and held against the host's Linux where that
//! harms nobody.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::time::Duration;

use gnomon_tests::gnomon::{End, Finished, Gnomon, finish};
use gnomon_tests::image::Image;
use gnomon_tests::in_every_mode;
use gnomon_tests::mode::Mode;
use gnomon_tests::program::{self, IN_GUEST};
use gnomon_tests::scratch::Scratch;

/// Addresses of all kinds that no program owns: null, the program's top page and beyond, the gap,
/// the kernel's memory and image.
const ADDRESSES: [&str; 9] = [
    "0",
    "1000",
    "7ffffffff000",
    "800000000000",
    "8000000000000000",
    "ffff800000000000",
    "ffff888000200000",
    "ffffffff80200000",
    "fffffffffffff000",
];

/// Instructions that are the kernel's alone.
const INSTRUCTIONS: [&str; 15] = [
    "hlt", "cli", "in", "out", "mov-cr3", "wrmsr", "lgdt", "lidt", "ltr", "swapgs", "sysret",
    "iret", "invlpg", "clts", "mov-ss",
];

/// Lies in a signal frame, but for a trap flag.
const LIES: [&str; 8] = [
    "zero",
    "ones",
    "kernel-rip",
    "wild-rip",
    "selectors",
    "null-selectors",
    "mxcsr",
    "fpstate",
];

/// Statuses of processes that signals have killed, as the shell tells them (signal(7)).
const SIGILL: i32 = 128 + 4;
const SIGTRAP: i32 = 128 + 5;
const SIGFPE: i32 = 128 + 8;
const SIGSEGV: i32 = 128 + 11;

/// Words for the test program, and the status that Linux ends it with.
type Action = (Vec<&'static str>, i32);

/// Memory of a machine that programs exhaust, in MiB.
const SMALL: u32 = 32;

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(300);

in_every_mode!(
    wild_addresses_are_a_signal,
    privileged_instructions_are_a_signal,
    lies_in_a_signal_frame_are_a_signal,
    stack_overflow_is_a_signal,
    code_is_not_writable_and_data_not_executable,
    division_by_zero_is_a_signal,
    wild_pointers_in_system_calls_are_efault,
    fork_bomb_ends_with_an_error,
    fork_bomb_of_the_shell_is_survived,
    memory_eater_ends,
    memory_eaters_together_end,
    memory_that_system_calls_touch_is_had_or_the_largest_is_killed,
    memory_is_had_from_one_who_waits_for_the_callers_lock,
    thread_bomb_ends_with_an_error,
    descriptors_run_out_with_emfile,
    full_disk_is_enospc_and_harms_no_file,
);

fn wild_addresses() -> Vec<Action> {
    ["jump", "read", "write"]
        .into_iter()
        .flat_map(|how| ADDRESSES.map(|address| (vec![how, address], SIGSEGV)))
        .collect()
}

fn instructions() -> Vec<Action> {
    let mut actions = INSTRUCTIONS
        .map(|name| (vec!["instruction", name], SIGSEGV))
        .to_vec();
    actions.push((vec!["instruction", "ud2"], SIGILL));
    actions
}

fn lies() -> Vec<Action> {
    let mut actions = LIES.map(|lie| (vec!["sigreturn", lie], SIGSEGV)).to_vec();
    actions.push((vec!["sigreturn", "flags"], SIGTRAP));
    actions
}

fn stack_overflow() -> Vec<Action> {
    vec![(vec!["stack"], SIGSEGV)]
}

fn wrong_pages() -> Vec<Action> {
    vec![(vec!["write-code"], SIGSEGV), (vec!["run-data"], SIGSEGV)]
}

fn division() -> Vec<Action> {
    vec![(vec!["divide"], SIGFPE)]
}

/// What this file says of Linux is so.
#[test]
fn host_ends_them_likewise() {
    let actions = [
        wild_addresses(),
        instructions(),
        lies(),
        stack_overflow(),
        wrong_pages(),
        division(),
    ];
    for (words, expected) in actions.concat() {
        let mut command = Command::new(program::path());
        command.arg("hostile").args(&words);
        let status = match finish(command, b"", LONG).unwrap().end {
            End::Status(status) => status,
            End::Signal(signal) => 128 + signal,
            End::TimedOut => panic!("on the host: {words:?} has not ended"),
        };
        assert_eq!(status, expected, "on the host: {words:?}");
    }
}

/// Run `script` in the guest's shell, with the test program put in, on a disk that must be clean
/// afterwards.
fn run(mode: Mode, mebibytes: u32, script: &str) -> Finished {
    let files = Scratch::new().unwrap();
    let image = Image::builtin(&files.path("root")).unwrap();
    let finished = Gnomon::new(mode)
        .memory(mebibytes)
        .root(image.path())
        .file(program::path(), IN_GUEST)
        .shell(script)
        .timeout(LONG)
        .run();
    image.assert_clean();
    finished
}

/// Do `actions` one after the other from one shell; each must end as it should.
#[track_caller]
fn assert_ends(mode: Mode, actions: &[Action]) {
    let mut script = String::new();
    for (words, _) in actions {
        script += &format!(
            "{IN_GUEST} hostile {} >/dev/null 2>&1; echo $?\n",
            words.join(" ")
        );
    }
    let finished = run(mode, 128, &(script + "echo alive"));
    finished.assert_status(0);
    let text = finished.text();
    let mut lines = text.lines();
    let different: Vec<_> = actions
        .iter()
        .filter_map(|(words, expected)| {
            let got = lines.next().unwrap_or("nothing");
            let line = format!("{}: status {got}, not {expected}", words.join(" "));
            (got != expected.to_string()).then_some(line)
        })
        .collect();
    assert!(
        different.is_empty(),
        "{}\n{}",
        different.join("\n"),
        finished.errors()
    );
    assert_eq!(lines.next(), Some("alive"));
}

fn wild_addresses_are_a_signal(mode: Mode) {
    assert_ends(mode, &wild_addresses());
}

fn privileged_instructions_are_a_signal(mode: Mode) {
    assert_ends(mode, &instructions());
}

fn lies_in_a_signal_frame_are_a_signal(mode: Mode) {
    assert_ends(mode, &lies());
}

fn stack_overflow_is_a_signal(mode: Mode) {
    assert_ends(mode, &stack_overflow());
}

fn code_is_not_writable_and_data_not_executable(mode: Mode) {
    assert_ends(mode, &wrong_pages());
}

fn division_by_zero_is_a_signal(mode: Mode) {
    assert_ends(mode, &division());
}

fn wild_pointers_in_system_calls_are_efault(mode: Mode) {
    let script = format!("{IN_GUEST} hostile pointers; echo $?");
    run(mode, 128, &script)
        .assert_status(0)
        .assert_output("0 wrong\n0\n");
}

fn fork_bomb_ends_with_an_error(mode: Mode) {
    let script = format!("{IN_GUEST} exhaust processes; echo $?; seq 1 5 | wc -l; echo alive");
    let finished = run(mode, SMALL, &script);
    let text = finished.assert_status(0).text();
    assert!(
        ["ENOMEM", "EAGAIN"]
            .iter()
            .any(|error| text == format!("{error}\n0\n5\nalive\n")),
        "{text}\n{}",
        finished.errors()
    );
}

/// The classic one, in the shell's own language, bounded so that it ends by itself.
fn fork_bomb_of_the_shell_is_survived(mode: Mode) {
    let script = "bomb() { [ $1 = 0 ] || { bomb $(($1 - 1)) | bomb $(($1 - 1)) & }; }\n\
                  (bomb 8; wait) 2>/dev/null; echo done; seq 1 5 | wc -l";
    run(mode, SMALL, script)
        .assert_status(0)
        .assert_output("done\n5\n");
}

/// Its mapping fails, or it is killed: either is Linux's way.
fn memory_eater_ends(mode: Mode) {
    let script = format!(
        "{IN_GUEST} exhaust memory >/tmp/said 2>&1; s=$?\n\
         case $s in 0|135|137|139) echo ended;; *) echo $s; cat /tmp/said;; esac; ls / | grep bin"
    );
    run(mode, SMALL, &script)
        .assert_status(0)
        .assert_output("ended\nbin\nsbin\n");
}

fn memory_eaters_together_end(mode: Mode) {
    let script = format!(
        "for i in 1 2 3 4; do {IN_GUEST} exhaust memory >/dev/null 2>&1 & done; wait\n\
         for i in 1 2 3; do {IN_GUEST} child echo $i; done"
    );
    run(mode, SMALL, &script)
        .assert_status(0)
        .assert_output("[\"1\"]\n[\"2\"]\n[\"3\"]\n");
}

/// A system call never fails with EFAULT for want of memory: whoever has most is killed, be it the
/// caller itself, and the call goes on.
fn memory_that_system_calls_touch_is_had_or_the_largest_is_killed(mode: Mode) {
    let script = format!(
        "{IN_GUEST} exhaust memory-by-reads 2>&1; echo $?; {IN_GUEST} exhaust memory-beside 8; echo $?"
    );
    run(mode, 16, &script)
        .assert_status(0)
        .assert_output("137\nread: true, child killed: true\n0\n");
}

/// Whoever is killed cannot die before the call that needs its memory has ended.
fn memory_is_had_from_one_who_waits_for_the_callers_lock(mode: Mode) {
    let script = format!("{IN_GUEST} exhaust memory-behind-a-lock /var/tmp/file; echo $?");
    run(mode, 16, &script)
        .assert_status(0)
        .assert_output("read: true, killed: true\n0\n");
}

fn thread_bomb_ends_with_an_error(mode: Mode) {
    let script = format!("{IN_GUEST} exhaust threads; echo $?; echo alive");
    let finished = run(mode, SMALL, &script);
    let text = finished.assert_status(0).text();
    assert!(
        ["ENOMEM", "EAGAIN"]
            .iter()
            .any(|error| text == format!("{error}\n0\nalive\n")),
        "{text}\n{}",
        finished.errors()
    );
}

fn descriptors_run_out_with_emfile(mode: Mode) {
    let script = format!("{IN_GUEST} exhaust descriptors; echo $?");
    run(mode, SMALL, &script)
        .assert_status(0)
        .assert_output("EMFILE\n0\n");
}

fn full_disk_is_enospc_and_harms_no_file(mode: Mode) {
    let files = Scratch::new().unwrap();
    let empty = files.path("empty");
    fs::create_dir(&empty).unwrap();
    let disk = Image::mke2fs(&files.path("disk"), 4096, 8, &empty).unwrap();
    let script = format!(
        "mount -t ext2 /dev/vdb /mnt && cd /mnt && mkdir keep\n         seq 1 20000 >keep/file; a=$(md5sum <keep/file)\n         {IN_GUEST} exhaust disk big; echo $?; b=$(md5sum <keep/file)\n         [ \"$a\" = \"$b\" ] && echo same; echo room >keep/more; cat keep/more"
    );
    let finished = Gnomon::new(mode)
        .file(program::path(), IN_GUEST)
        .options([OsStr::new("--disk"), disk.path().as_os_str()])
        .shell(&script)
        .timeout(LONG)
        .run();
    finished
        .assert_status(0)
        .assert_output("ENOSPC\n0\nsame\nroom\n");
    disk.assert_clean();
}
