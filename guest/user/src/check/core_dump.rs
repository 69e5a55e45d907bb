//! Core images.

use crate::frame::child::{Exit, fork, in_child};
use crate::frame::descriptor::Fd;
use crate::frame::mapping::{Mapping, PAGE};
use crate::frame::report::{exit, need_root};
use crate::frame::scratch::Scratch;
use libc::*;

tests!(
    signal_without_a_limit_leaves_no_image,
    undumpable_process_leaves_no_image;
    guest:
    image_is_an_elf_file_of_the_process,
    image_names_the_mapped_files,
    image_holds_every_thread,
    image_holds_what_the_process_wrote,
    image_is_readable_by_its_user_alone,
    process_that_changed_its_user_leaves_no_image,
    pattern_names_the_image,
);

/// Raise the limit of core images, and leave them in `scratch`.
fn want_images(scratch: &Scratch) {
    let unlimited = [u64::MAX; 2];
    ok!(SYS_setrlimit, RLIMIT_CORE, &unlimited);
    ok!(SYS_chdir, scratch.c(".").as_c_str());
}

/// End by a signal that leaves an image.
fn die() -> ! {
    ok!(SYS_kill, std::process::id(), SIGQUIT);
    exit(1)
}

/// The image of a child that runs `body` and ends by SIGQUIT.
fn image_of(scratch: &Scratch, body: impl FnOnce()) -> Vec<u8> {
    let end = in_child(|| {
        want_images(scratch);
        body();
        die();
    });
    assert_eq!(end, Exit::Core(SIGQUIT));
    scratch.read("core")
}

fn signal_without_a_limit_leaves_no_image() {
    let end = in_child(|| {
        ok!(SYS_setrlimit, RLIMIT_CORE, &[0u64; 2]);
        die();
    });
    assert_eq!(end, Exit::Signal(SIGQUIT));
}

fn undumpable_process_leaves_no_image() {
    let scratch = Scratch::new();
    let end = in_child(|| {
        want_images(&scratch);
        ok!(SYS_prctl, PR_SET_DUMPABLE, 0);
        die();
    });
    assert_eq!(end, Exit::Signal(SIGQUIT));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

/// A number of `len` bytes at `at`.
fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len]
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A program header: type, offset, address, bytes in the file.
fn headers(image: &[u8]) -> Vec<(u64, usize, u64, usize)> {
    let count = number(image, 56, 2) as usize;
    (0..count)
        .map(|index| {
            let at = 64 + index * 56;
            (
                number(image, at, 4),
                number(image, at + 8, 8) as usize,
                number(image, at + 16, 8),
                number(image, at + 32, 8) as usize,
            )
        })
        .collect()
}

/// The notes: type, contents.
fn notes(image: &[u8]) -> Vec<(u64, &[u8])> {
    const PT_NOTE: u64 = 4;
    let all = headers(image);
    let (_, mut at, _, size) = *all.iter().find(|header| header.0 == PT_NOTE).unwrap();
    let end = at + size;
    let mut notes = Vec::new();
    while at < end {
        let name = (number(image, at, 4) as usize).next_multiple_of(4);
        let size = number(image, at + 4, 4) as usize;
        let contents = at + 12 + name;
        notes.push((number(image, at + 8, 4), &image[contents..contents + size]));
        at = contents + size.next_multiple_of(4);
    }
    notes
}

const NT_PRSTATUS: u64 = 1;

fn image_is_an_elf_file_of_the_process() {
    const ET_CORE: u64 = 4;
    let scratch = Scratch::new();
    let child = fork(|| {
        want_images(&scratch);
        die();
    });
    let pid = child.pid();
    assert_eq!(child.wait(), Exit::Core(SIGQUIT));
    let image = scratch.read("core");
    assert!(image.starts_with(b"\x7fELF\x02\x01\x01"));
    assert_eq!(number(&image, 16, 2), ET_CORE);
    let notes = notes(&image);
    let (kind, status) = notes[0];
    assert_eq!(kind, NT_PRSTATUS);
    assert_eq!(number(status, 0, 4), SIGQUIT as u64);
    assert_eq!(number(status, 32, 4), pid as u64);
    for kind in [2, 3, 6, 0x5349_4749, 0x4649_4c45] {
        assert!(notes.iter().any(|note| note.0 == kind), "note {kind:#x}");
    }
}

fn image_names_the_mapped_files() {
    const NT_FILE: u64 = 0x4649_4c45;
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("mapped", [1; PAGE]), O_RDONLY);
    let memory = Mapping::new(PAGE, PROT_READ, MAP_PRIVATE, file.0, 0).unwrap();
    let image = image_of(&scratch, || {});
    let notes = notes(&image);
    let (_, files) = *notes.iter().find(|note| note.0 == NT_FILE).unwrap();
    let count = number(files, 0, 8) as usize;
    let names = files[16 + 24 * count..].split(|&byte| byte == 0);
    let mut found = (0..count).zip(names).filter(|&(n, name)| {
        let start = number(files, 16 + 24 * n, 8);
        start == memory.at as u64 && name.ends_with(b"/mapped")
    });
    assert!(found.next().is_some());
}

fn image_holds_every_thread() {
    let scratch = Scratch::new();
    let image = image_of(&scratch, || {
        for _ in 0..3 {
            std::thread::spawn(|| {
                loop {
                    let _ = call!(SYS_pause);
                }
            });
        }
    });
    let notes = notes(&image);
    let mut tids: Vec<u64> = notes
        .iter()
        .filter(|note| note.0 == NT_PRSTATUS)
        .map(|note| number(note.1, 32, 4))
        .collect();
    tids.sort_unstable();
    tids.dedup();
    assert_eq!(tids.len(), 4);
}

fn image_holds_what_the_process_wrote() {
    const MARK: u64 = 0x0123_4567_89ab_cdef;
    let scratch = Scratch::new();
    let mut cell = Box::new(0u64);
    let at = &raw mut *cell as u64;
    let image = image_of(&scratch, || {
        *std::hint::black_box(&mut *cell) = MARK;
    });
    let (_, offset, start, _) = headers(&image)
        .into_iter()
        .find(|&(kind, _, start, size)| kind == 1 && start <= at && at < start + size as u64)
        .expect("a segment with the cell");
    assert_eq!(number(&image, offset + (at - start) as usize, 8), MARK);
}

fn image_is_readable_by_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    image_of(&scratch, || {
        ok!(SYS_umask, 0);
    });
    let metadata = std::fs::metadata(scratch.path().join("core")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

fn process_that_changed_its_user_leaves_no_image() {
    need_root();
    let scratch = Scratch::new();
    let end = in_child(|| {
        want_images(&scratch);
        ok!(SYS_chmod, scratch.c(".").as_c_str(), 0o777);
        ok!(SYS_setresuid, 1234, 1234, 1234);
        die();
    });
    assert_eq!(end, Exit::Signal(SIGQUIT));
}

fn pattern_names_the_image() {
    need_root();
    const PATTERN: &str = "/proc/sys/kernel/core_pattern";
    let old = std::fs::read_to_string(PATTERN).unwrap();
    std::fs::write(PATTERN, "%e%%.%p.%s\n").unwrap();
    let scratch = Scratch::new();
    let child = fork(|| {
        want_images(&scratch);
        ok!(SYS_prctl, PR_SET_NAME, c"a/b");
        die();
    });
    let pid = child.pid();
    let end = child.wait();
    std::fs::write(PATTERN, old).unwrap();
    assert_eq!(end, Exit::Core(SIGQUIT));
    scratch.read(&format!("a!b%.{pid}.{SIGQUIT}"));
}
