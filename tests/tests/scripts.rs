//! Scripts for another author's shell and tools: busybox as the host has it. Each file in
//! `tests/scripts` must write the same bytes and end with the same status in the guest as on the
//! host's Linux.
//!
//! Many scripts share a boot. `GNOMON_TEST_SCRIPTS` picks those whose names contain one of its
//! words, which have commas between.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gnomon_tests::gnomon::{Gnomon, finish};
use gnomon_tests::image::Image;
use gnomon_tests::mode::Mode;
use gnomon_tests::scratch::Scratch;
use gnomon_tests::{busybox, in_every_mode};

/// How many boots the scripts are spread over.
const CHUNKS: usize = 4;

/// Longest part of a difference that is shown, in lines.
const SHOWN: usize = 12;

/// Far more than a chunk takes.
const LONG: Duration = Duration::from_secs(400);

/// What a script did: what it wrote, and its status; no status if it has not ended.
type Outcome = (String, Option<i32>);

in_every_mode!(first_chunk, second_chunk, third_chunk, fourth_chunk);

fn first_chunk(mode: Mode) {
    assert_same_as_on_host(mode, 0);
}

fn second_chunk(mode: Mode) {
    assert_same_as_on_host(mode, 1);
}

fn third_chunk(mode: Mode) {
    assert_same_as_on_host(mode, 2);
}

fn fourth_chunk(mode: Mode) {
    assert_same_as_on_host(mode, 3);
}

#[test]
fn there_are_at_least_sixty() {
    assert!(fs::read_dir(source("scripts")).unwrap().count() >= 60);
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The scripts of a chunk, in order.
fn names(chunk: usize) -> Vec<String> {
    let wanted = std::env::var("GNOMON_TEST_SCRIPTS").unwrap_or_default();
    let mut names: Vec<_> = fs::read_dir(source("scripts"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| wanted.split(',').any(|word| name.contains(word)))
        .collect();
    names.sort();
    names.into_iter().skip(chunk).step_by(CHUNKS).collect()
}

/// A directory with busybox under all of its names, the scripts and their driver.
fn make_top(top: &Path) {
    let bin = top.join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::copy(busybox::path(), bin.join("busybox")).unwrap();
    let list = Command::new(busybox::path())
        .arg("--list")
        .output()
        .unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    for name in list.lines().filter(|&name| name != "busybox") {
        symlink("busybox", bin.join(name)).unwrap();
    }
    fs::create_dir(top.join("scripts")).unwrap();
    for entry in fs::read_dir(source("scripts")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), top.join("scripts").join(entry.file_name())).unwrap();
    }
    fs::copy(source("driver.sh"), top.join("driver.sh")).unwrap();
}

/// The driver's command line for the directory made by [`make_top`] at `top`.
fn driver(top: &str, work: &str, names: &[String]) -> Vec<String> {
    let words = [&format!("{top}/bin/busybox"), "ash"].map(str::to_owned);
    let rest = [format!("{top}/driver.sh"), top.into(), work.into()];
    words
        .into_iter()
        .chain(rest)
        .chain(names.iter().cloned())
        .collect()
}

/// Take the driver's frames apart; the outcome of each script that was begun.
fn outcomes(framed: &[u8]) -> BTreeMap<String, Outcome> {
    let text = String::from_utf8_lossy(framed);
    let mut outcomes = BTreeMap::new();
    for part in text.split("== begin ").skip(1) {
        let (name, rest) = part.split_once('\n').unwrap_or((part, ""));
        let end = format!("== end {name} ");
        let outcome = match rest.rsplit_once(&end) {
            Some((output, status)) => (output.to_owned(), status.trim().parse().ok()),
            None => (rest.to_owned(), None),
        };
        outcomes.insert(name.to_owned(), outcome);
    }
    outcomes
}

fn assert_same_as_on_host(mode: Mode, chunk: usize) {
    let names = names(chunk);
    let files = Scratch::new().unwrap();
    let top = files.path("top");
    make_top(&top);
    let work = files.path("work");
    let words = driver(top.to_str().unwrap(), work.to_str().unwrap(), &names);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    let host = finish(command, b"", LONG).unwrap();
    let expected = outcomes(&host.stdout);
    assert_eq!(
        expected.len(),
        names.len(),
        "on the host: {}",
        host.errors()
    );

    // The guest's own files, with the scripts' beside them.
    let builtin = Image::builtin(&files.path("builtin")).unwrap();
    let root = files.path("root");
    builtin.extract("/", &root).unwrap();
    fs::rename(&top, root.join("top")).unwrap();
    let image = Image::mke2fs(&files.path("image"), 4096, 256, &root).unwrap();
    let guest = Gnomon::new(mode)
        .root(image.path())
        .program(driver("/top", "/work", &names))
        .timeout(LONG)
        .run();
    let got = outcomes(&guest.stdout);

    let different: Vec<_> = names
        .iter()
        .filter(|name| got.get(*name) != expected.get(*name))
        .map(|name| format!("{name}: {}", difference(&expected[name], got.get(name))))
        .collect();
    assert!(
        different.is_empty(),
        "{} of {} scripts differ from the host ({:?})\n{}\n--- stderr\n{}",
        different.len(),
        names.len(),
        guest.end,
        different.join("\n"),
        guest.errors(),
    );
    guest.assert_status(0);
    image.assert_clean();
}

/// What is different, in a few lines.
fn difference(expected: &Outcome, got: Option<&Outcome>) -> String {
    let Some(got) = got else {
        return "was not begun".into();
    };
    let mut text = format!("status {:?}, not {:?}", got.1, expected.1);
    let (mut theirs, mut ours) = (expected.0.lines(), got.0.lines());
    let mut shown = 0;
    loop {
        let (host, guest) = (theirs.next(), ours.next());
        if (host.is_none() && guest.is_none()) || shown == SHOWN {
            return text;
        }
        if host != guest {
            text += &format!(
                "\n    host  | {}\n    guest | {}",
                host.unwrap_or("(end)"),
                guest.unwrap_or("(end)")
            );
            shown += 1;
        }
    }
}
