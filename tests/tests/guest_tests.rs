//! `gnomon test`: what it makes of tests that pass, fail, hang, lose something or bring the guest
//! down. The tests are a shell script, which the guest and the host run alike.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gnomon_tests::gnomon::{End, Finished, binary, finish, patience};
use gnomon_tests::in_every_mode;
use gnomon_tests::mode::Mode;
use gnomon_tests::scratch::Scratch;

in_every_mode!(
    tests_have_a_line_each_and_a_sum,
    results_that_cannot_be_written_are_refused_first,
    hanging_test_is_killed_with_its_descendants,
    what_a_test_leaves_is_found,
    panic_names_the_test_and_the_rest_continue,
    guest_that_says_nothing_more_is_stopped,
    host_judges_the_guest,
    guests_own_tests_pass,
);

/// Tests of all kinds. `$$` differs between runs, so what is left in memory adds up.
const TESTS: &str = r#"#!/bin/sh
case $1 in
--list)
    for name in good::passes good::says_a_lot good::also_passes odd::is_skipped bad::fails \
        bad::is_killed bad::hangs bad::leaves_a_file bad::leaves_a_process bad::sleeps \
        odd::wants_linux odd::expects_the_guest
    do
        echo $name
    done
    printf '%s\tguest\n' guest::crashes_the_kernel guest::knows_the_console
    ;;
good::*) test "$(ls)" = "" && echo in its own directory >here ;;
odd::is_skipped) echo not today >&2; exit 77 ;;
bad::fails) echo out; echo '<why> & "how"' >&2; exit 3 ;;
bad::is_killed) kill -SEGV $$ ;;
bad::hangs) (sleep 1000 & sleep 1000) & sleep 1000 ;;
bad::leaves_a_file) echo lost >/dev/shm/lost-$$ ;;
bad::leaves_a_process) sleep 1000 & ;;
guest::crashes_the_kernel) echo c >/proc/sysrq-trigger ;;
bad::sleeps) sleep 30 ;;
odd::wants_linux) test -d /sys/module ;;
odd::expects_the_guest | guest::knows_the_console) test -c /dev/hvc2 ;;
esac
"#;

struct Program {
    files: Scratch,
    path: PathBuf,
}

impl Program {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let files = Scratch::new().unwrap();
        let path = files.file("tests", TESTS.as_bytes()).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Self { files, path }
    }

    fn command(&self, mode: Mode, words: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(["test", "--mmu", mode.name(), "--program"])
            .arg(&self.path)
            .args(words);
        command
    }

    fn run(&self, mode: Mode, words: &[&str]) -> Finished {
        let limit = patience(Duration::from_secs(120));
        finish(self.command(mode, words), b"", limit).unwrap()
    }
}

/// The lines of standard output for tests: without their times.
fn lines(finished: &Finished) -> Vec<String> {
    finished
        .text()
        .lines()
        .map(|line| match (line.split_once('['), line.split_once(']')) {
            (Some((before, _)), Some((_, after))) => format!("{}{after}", before.trim()),
            _ => line.trim().to_owned(),
        })
        .collect()
}

fn assert_line(finished: &Finished, line: &str) {
    let lines = lines(finished);
    assert!(
        lines.iter().any(|found| found == line),
        "no {line:?} in {lines:#?}\n{}",
        finished.errors()
    );
}

fn tests_have_a_line_each_and_a_sum(mode: Mode) {
    let program = Program::new();
    let junit = program.files.path("junit.xml");
    let words = [
        "--junit",
        junit.to_str().unwrap(),
        "passes",
        "skipped",
        "fails",
        "killed",
        "knows",
    ];
    let finished = program.run(mode, &words);
    assert_eq!(finished.end, End::Status(1), "{}", finished.errors());
    assert_line(&finished, &format!("Starting 6 tests in {mode}"));
    for line in [
        "PASS {} good::passes",
        "PASS {} good::also_passes",
        "PASS {} guest::knows_the_console",
        "SKIP {} odd::is_skipped",
        "FAIL {} bad::fails",
        "KILLED {} bad::is_killed",
    ] {
        assert_line(&finished, &line.replace("{}", mode.name()));
    }
    assert_line(&finished, "| out");
    assert_line(&finished, "| <why> & \"how\"");
    assert_line(&finished, "Summary 3 passed, 2 failed, 1 skipped");
    assert_well_formed(&junit);
}

fn results_that_cannot_be_written_are_refused_first(mode: Mode) {
    let finished = Program::new().run(mode, &["--junit", "/no/such/directory/file", "passes"]);
    assert_eq!(finished.end, End::Status(125));
    assert!(finished.errors().contains("cannot write /no/such"));
    assert_eq!(finished.text(), "", "tests have run");
}

/// Judged by a parser that is not ours.
fn assert_well_formed(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains("&lt;why&gt; &amp; &quot;how&quot;"), "{text}");
    assert!(
        text.contains("tests=\"6\" failures=\"2\" skipped=\"1\""),
        "{text}"
    );
    let parser = Command::new("python3")
        .args([
            "-c",
            "import sys, xml.dom.minidom as d; d.parse(sys.argv[1])",
        ])
        .arg(path)
        .output();
    match parser {
        Ok(output) => assert!(output.status.success(), "{output:?}\n{text}"),
        Err(error) => eprintln!("skipped: python3: {error}"),
    }
}

fn hanging_test_is_killed_with_its_descendants(mode: Mode) {
    let program = Program::new();
    let finished = program.run(mode, &["--timeout", "10", "hangs", "also_passes"]);
    assert_eq!(finished.end, End::Status(1), "{}", finished.errors());
    assert_line(&finished, &format!("TIMEOUT {mode} bad::hangs"));
    assert_line(&finished, &format!("PASS {mode} good::also_passes"));
    assert_line(&finished, "Summary 1 passed, 1 failed, 0 skipped");
}

fn what_a_test_leaves_is_found(mode: Mode) {
    let finished = Program::new().run(mode, &["leaves", "also_passes"]);
    assert_eq!(finished.end, End::Status(1), "{}", finished.errors());
    assert_line(&finished, &format!("LOST {mode} bad::leaves_a_file"));
    assert_line(&finished, &format!("LOST {mode} bad::leaves_a_process"));
    let text = finished.text();
    assert!(
        text.contains("lost 1 page") && text.contains("lost 1 process\n"),
        "{text}"
    );
    assert_line(&finished, &format!("PASS {mode} good::also_passes"));
}

fn panic_names_the_test_and_the_rest_continue(mode: Mode) {
    let finished = Program::new().run(mode, &["passes", "crashes"]);
    assert_eq!(finished.end, End::Status(1), "{}", finished.errors());
    assert_line(&finished, &format!("DIED {mode} guest::crashes_the_kernel"));
    assert_line(
        &finished,
        "the guest ended while it ran: the guest kernel panicked",
    );
    assert!(
        finished.text().contains("| kernel: panic at "),
        "{}",
        finished.text()
    );
    // One before, in the first boot, and one after, in the second.
    assert_line(&finished, "Summary 2 passed, 1 failed, 0 skipped");
}

/// A guest that stands still is told from one that works: here its process is stopped from outside.
fn guest_that_says_nothing_more_is_stopped(mode: Mode) {
    let program = Program::new();
    let mut gnomon = program
        .command(mode, &["--timeout", "10", "passes", "sleeps"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(gnomon.stdout.take().unwrap()).lines();
    let mut text = String::new();
    for line in lines.by_ref() {
        text += &line.unwrap();
        text.push('\n');
        if text.contains("good::also_passes") {
            break;
        }
    }
    // The next one begins at once, and sleeps for as long as it may; so does its guest.
    std::thread::sleep(Duration::from_secs(3));
    for guest in children_of(gnomon.id()) {
        // SAFETY: a process of this test's own.
        unsafe { libc::kill(guest, libc::SIGSTOP) };
    }
    for line in lines {
        text += &line.unwrap();
        text.push('\n');
    }
    assert_eq!(gnomon.wait().unwrap().code(), Some(1), "{text}");
    assert!(text.contains(&format!("{mode} bad::sleeps")), "{text}");
    assert!(text.contains("HUNG"), "{text}");
}

/// The children of all threads of a process.
fn children_of(pid: u32) -> Vec<i32> {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .flat_map(|task| {
            let list = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap();
            list.split_whitespace()
                .map(|word| word.parse().unwrap())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn host_judges_the_guest(mode: Mode) {
    let words = ["--oracle", "passes", "wants", "expects", "knows"];
    let finished = Program::new().run(mode, &words);
    assert_eq!(finished.end, End::Status(1), "{}", finished.errors());
    assert_line(&finished, "PASS host good::passes");
    assert_line(
        &finished,
        "Compared with this Linux: 2 results agree, 2 differ",
    );
    let text = finished.text();
    for line in [
        format!("odd::wants_linux: passes on this Linux, but under {mode}: failed with status 1"),
        "odd::expects_the_guest: failed with status 1 on this Linux".into(),
    ] {
        assert!(text.contains(&line), "no {line:?} in {text}");
    }
    // What only the guest has is not asked of the host.
    assert!(!text.contains("host guest::"), "{text}");
}

fn guests_own_tests_pass(mode: Mode) {
    let limit = patience(Duration::from_secs(300));
    let mut command = Command::new(binary());
    command.args(["test", "--oracle", "--mmu", mode.name(), "pipe::"]);
    let finished = finish(command, b"", limit).unwrap();
    assert_eq!(finished.end, End::Status(0), "{}", finished.text());
    assert!(finished.text().contains(" 0 differ"), "{}", finished.text());
}

#[test]
fn list_names_what_the_filter_matches() {
    let output = Command::new(binary())
        .args(["test", "--list", "memory::"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() > 5, "{text}");
    assert!(text.lines().all(|line| line.contains("memory::")), "{text}");
}

#[test]
fn filter_that_matches_nothing_is_a_mistake() {
    let output = Command::new(binary())
        .args(["test", "no_such_test"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("gnomon: no test matches"), "{text}");
}
