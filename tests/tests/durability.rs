//! What has reached the disk stays there, whatever becomes of gnomon.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use gnomon_tests::gnomon::{Gnomon, patience};
use gnomon_tests::image::Image;
use gnomon_tests::in_every_mode;
use gnomon_tests::mode::Mode;
use gnomon_tests::program::{self, IN_GUEST};
use gnomon_tests::random::Random;
use gnomon_tests::scratch::Scratch;

/// Runs that are killed; `GNOMON_TEST_KILLS` changes it.
const KILLS: u32 = 50;

/// Longest time that a run goes on after its first promise.
const LONGEST_MS: u64 = 400;

in_every_mode!(
    fsynced_files_survive_kills_at_random_moments,
    file_system_is_clean_after_work,
    file_system_is_clean_after_a_kill_inside,
    ends_without_sync_lose_nothing,
);

/// The N-th contents, as the program in the guest makes them.
fn contents(number: u64) -> Vec<u8> {
    let size = (number * 7919) % 30_000;
    let line = format!("contents number {number}\n");
    line.bytes().cycle().take(size as usize + 1).collect()
}

/// What the guest has promised so far.
#[derive(Debug, Default)]
struct Promises {
    /// Whether the file N is there, for each that was made; one whose removal had begun may be
    /// either.
    files: BTreeMap<u64, bool>,
    /// `current` holds these contents or later ones.
    current: Option<u64>,
}

impl Promises {
    fn hear(&mut self, line: &str) {
        let (what, number) = line.split_once(' ').expect("a promise");
        let number = number.parse().expect("a number");
        match what {
            "made" => drop(self.files.insert(number, true)),
            "removed" => drop(self.files.insert(number, false)),
            "replaced" => self.current = Some(number),
            _ => panic!("unknown promise {line:?}"),
        }
    }

    /// Compare with the files below `directory`; the promises that were broken. What had come to
    /// pass without word of it is known from now on.
    fn broken(&mut self, directory: &Path) -> Vec<String> {
        let read = |name: &str| fs::read(directory.join(name)).ok();
        let last = self.files.keys().next_back().copied();
        let mut broken = Vec::new();
        for (&number, there) in &mut self.files {
            let found = read(&number.to_string());
            let may_be_gone = !*there || (number % 3 == 0 && Some(number) == last);
            let kept = match &found {
                Some(bytes) => *there && *bytes == contents(number),
                None => may_be_gone,
            };
            if !kept {
                let what = difference(found.as_deref(), number);
                broken.push(format!("file {number} (there: {there}): {what}"));
            }
            *there = found.is_some();
        }
        if let Some(least) = self.current {
            let found = read("current").unwrap_or_default();
            // A later one, with or without word of it: the console gathers output for a while, and
            // what it held when gnomon was killed is lost.
            let latest = last.unwrap_or(least) + UNTOLD;
            match (least..=latest).find(|&n| found == contents(n)) {
                Some(number) => self.current = Some(number),
                None => {
                    let range = least..=last.unwrap_or(least) + 1;
                    let like = range.clone().find(|&n| found.len() == contents(n).len());
                    let what = difference(Some(&found), like.unwrap_or(least));
                    broken.push(format!("current is none of {range:?}: {what}"));
                }
            }
        }
        broken
    }
}

/// More files than can be made while the console gathers output.
const UNTOLD: u64 = 100;

/// How `found` differs from the N-th contents.
fn difference(found: Option<&[u8]>, number: u64) -> String {
    let Some(found) = found else {
        return "missing".into();
    };
    let expected = contents(number);
    let at = found.iter().zip(&expected).position(|(a, b)| a != b);
    let at = at.unwrap_or(found.len().min(expected.len()));
    let there = String::from_utf8_lossy(&found[at..found.len().min(at + 40)]);
    let (len, wanted) = (found.len(), expected.len());
    format!("{len} bytes, not the {wanted} of number {number}; at {at}: {there:?}")
}

fn fsynced_files_survive_kills_at_random_moments(mode: Mode) {
    let kills = std::env::var("GNOMON_TEST_KILLS").ok();
    let kills = kills.and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let mut random = Random::new(now.as_nanos() as u64);
    let files = Scratch::new().unwrap();
    let image = Image::builtin(&files.path("root")).unwrap();
    // Put in once: the disk is the same from run to run.
    let put_in = Gnomon::new(mode)
        .root(image.path())
        .file(program::path(), IN_GUEST)
        .program(["mkdir", "/durable"])
        .run();
    put_in.assert_status(0);
    image.assert_clean();

    let mut promises = Promises::default();
    for kill in 0..kills {
        let delay = Duration::from_millis(random.below(LONGEST_MS));
        run_and_kill(mode, &image, &mut promises, delay);
        let (status, said) = image.repair().unwrap();
        let kept = format!("kill {kill} after {delay:?}");
        assert!(status <= 1, "{kept}: e2fsck -p ended with {status}: {said}");
        let out = files.path("out");
        let _ = fs::remove_dir_all(&out);
        image.extract("/durable", &out).unwrap();
        let broken = promises.broken(&out.join("durable/files"));
        assert!(broken.is_empty(), "{kept}: {broken:?}; e2fsck said: {said}");
    }
    let made = promises.files.len();
    assert!(made > 0, "no run got as far as a promise");
    image.assert_clean();
    eprintln!("{kills} kills, {made} files promised");
}

/// Run the program that makes promises, and kill gnomon when `delay` has passed since the first.
fn run_and_kill(mode: Mode, image: &Image, promises: &mut Promises, delay: Duration) {
    let first = promises.files.keys().next_back().map_or(0, |last| last + 1);
    let mut child = Gnomon::new(mode)
        .root(image.path())
        .program([IN_GUEST, "durable", "/durable", &first.to_string()])
        .command()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        // Whole lines alone count: one that the kill has cut promises nothing.
        for line in stdout.lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                break;
            }
        }
    });
    let mut deadline = Instant::now() + patience(Duration::from_secs(60));
    let mut heard_one = false;
    loop {
        match told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                promises.hear(&line);
                if !std::mem::replace(&mut heard_one, true) {
                    deadline = Instant::now() + delay;
                }
            }
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => panic!("the program has ended by itself"),
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(heard_one, "no promise within a minute");
    // What was on its way when gnomon died.
    for line in told {
        promises.hear(&line);
    }
}

fn file_system_is_clean_after_work(mode: Mode) {
    let files = Scratch::new().unwrap();
    let image = Image::builtin(&files.path("root")).unwrap();
    let script = "mkdir -p /d/e/f; i=0\n\
                  while [ $i -lt 60 ]; do echo $i >/d/f$i; ln /d/f$i /d/e/h$i; i=$((i + 1)); done\n\
                  rm /d/f1*; mv /d/e /moved; ln -s /moved /link; seq 1 30000 >/link/large\n\
                  rm -r /moved/f; cp /moved/large /copy; echo x >>/copy; mkfifo /fifo; chmod 600 /copy";
    Gnomon::new(mode)
        .root(image.path())
        .shell(script)
        .run()
        .assert_status(0);
    image.assert_clean();
    let expected: String = (1..=30_000).map(|n| format!("{n}\n")).collect();
    assert!(image.file("/copy").unwrap() == (expected + "x\n").as_bytes());
}

/// A program that is killed while its file is open and has no name leaves nothing behind.
fn file_system_is_clean_after_a_kill_inside(mode: Mode) {
    let files = Scratch::new().unwrap();
    let image = Image::builtin(&files.path("root")).unwrap();
    let script = "exec 3>/nameless; rm /nameless; seq 1 5000 >&3; kill -9 $$";
    Gnomon::new(mode)
        .root(image.path())
        .shell(script)
        .run()
        .assert_status(137);
    image.assert_clean();
}

/// The end of the program is the end of the machine, and syncs.
fn ends_without_sync_lose_nothing(mode: Mode) {
    let files = Scratch::new().unwrap();
    let image = Image::builtin(&files.path("root")).unwrap();
    Gnomon::new(mode)
        .root(image.path())
        .shell("seq 1 10000 >/one; exit 9")
        .run()
        .assert_status(9);
    let script = "echo two >/two; cat /one | wc -l";
    let second = Gnomon::new(mode).root(image.path()).shell(script).run();
    second.assert_status(0).assert_output("10000\n");
    image.assert_clean();
    assert_eq!(image.file("/two").unwrap(), b"two\n");
}
