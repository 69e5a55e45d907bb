//! gnomon in a pipeline: statuses, standard streams, their ends.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gnomon_tests::gnomon::{self, End, Gnomon, finish, patience};
use gnomon_tests::in_every_mode;
use gnomon_tests::mode::Mode;
use gnomon_tests::random::Random;

const MIB: usize = 1 << 20;
const LARGE: usize = 100 * MIB;

/// Far more than 100 MiB take.
const LONG: Duration = Duration::from_secs(300);

in_every_mode!(
    status_is_the_programs,
    signal_gives_128_and_its_number,
    streams_stay_apart,
    input_without_a_program_is_the_shells,
    empty_input_is_at_its_end,
    every_byte_passes_unchanged,
    large_input_arrives,
    large_output_arrives,
    large_input_comes_back,
    input_that_nobody_reads_does_not_hold_the_end,
    reader_that_goes_ends_the_run,
    slow_reader_loses_nothing,
    late_input_is_waited_for,
);

fn status_is_the_programs(mode: Mode) {
    for status in [7, 0, 255] {
        let script = format!("exit {status}");
        let finished = Gnomon::new(mode).shell(&script).run();
        finished.assert_status(status).assert_output("");
        assert_eq!(finished.errors(), "");
    }
}

fn signal_gives_128_and_its_number(mode: Mode) {
    Gnomon::new(mode)
        .shell("kill -9 $$")
        .run()
        .assert_status(137);
    Gnomon::new(mode)
        .shell("kill -15 $$")
        .run()
        .assert_status(143);
}

fn streams_stay_apart(mode: Mode) {
    let finished = Gnomon::new(mode)
        .shell("echo out; echo err >&2; echo out")
        .run();
    finished.assert_status(0).assert_output("out\nout\n");
    assert_eq!(finished.errors(), "err\n");
}

fn input_without_a_program_is_the_shells(mode: Mode) {
    Gnomon::new(mode)
        .input(b"echo one\necho two | tr a-z A-Z\nexit 3\n")
        .run()
        .assert_status(3)
        .assert_output("one\nTWO\n");
}

fn empty_input_is_at_its_end(mode: Mode) {
    let script = "cat; echo $?; cat; echo $?";
    Gnomon::new(mode)
        .shell(script)
        .run()
        .assert_status(0)
        .assert_output("0\n0\n");
}

fn every_byte_passes_unchanged(mode: Mode) {
    let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let finished = Gnomon::new(mode).program(["cat"]).input(&all).run();
    finished.assert_status(0);
    assert_eq!(finished.stdout, all);
}

fn large_input_arrives(mode: Mode) {
    let bytes = Random::new(1).bytes(LARGE);
    let host = finish(Command::new("md5sum"), &bytes, LONG).unwrap();
    Gnomon::new(mode)
        .program(["md5sum"])
        .input(&bytes)
        .timeout(LONG)
        .run()
        .assert_status(0)
        .assert_output(&host.text());
}

fn large_output_arrives(mode: Mode) {
    let finished = Gnomon::new(mode)
        .shell(&format!("cat /dev/zero | head -c {LARGE}"))
        .timeout(LONG)
        .run();
    finished.assert_status(0);
    assert_eq!(finished.stdout.len(), LARGE);
    assert!(finished.stdout.iter().all(|&byte| byte == 0));
}

fn large_input_comes_back(mode: Mode) {
    let bytes = Random::new(2).bytes(16 * MIB + 123);
    let finished = Gnomon::new(mode)
        .program(["cat"])
        .input(&bytes)
        .timeout(LONG)
        .run();
    finished.assert_status(0);
    assert!(
        finished.stdout == bytes,
        "{} bytes came back",
        finished.stdout.len()
    );
}

fn input_that_nobody_reads_does_not_hold_the_end(mode: Mode) {
    let bytes = vec![b'x'; 4 * MIB];
    Gnomon::new(mode)
        .shell("exit 5")
        .input(&bytes)
        .run()
        .assert_status(5);
}

/// As with `yes | head`: when nobody reads any more, it ends like a program killed by SIGPIPE.
fn reader_that_goes_ends_the_run(mode: Mode) {
    let mut command = Gnomon::new(mode).program(["yes"]).command();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 4];
    stdout.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"y\ny\n");
    drop(stdout);
    let status = wait(&mut child);
    assert!(
        matches!(status, End::Status(141) | End::Signal(libc::SIGPIPE)),
        "{status:?}"
    );
}

fn slow_reader_loses_nothing(mode: Mode) {
    let mut command = Gnomon::new(mode).program(["seq", "1", "100000"]).command();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(wait(&mut child), End::Status(0));
    let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(
        text == expected,
        "{} bytes of {}",
        text.len(),
        expected.len()
    );
}

fn late_input_is_waited_for(mode: Mode) {
    let mut command = Gnomon::new(mode).program(["cat"]).command();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    for word in ["first\n", "second\n"] {
        std::thread::sleep(Duration::from_millis(300));
        stdin.write_all(word.as_bytes()).unwrap();
        let mut back = vec![0; word.len()];
        stdout.read_exact(&mut back).unwrap();
        assert_eq!(back, word.as_bytes());
    }
    drop(stdin);
    assert_eq!(wait(&mut child), End::Status(0));
}

/// Wait for the end, but not for ever.
fn wait(child: &mut Child) -> End {
    gnomon::wait(child, patience(LONG)).unwrap()
}
