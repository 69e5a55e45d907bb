//! The file system in memory, and its limit.

use crate::frame::descriptor::Fd;
use crate::frame::mapping::Mapping;
use crate::frame::plain::zeroed;
use crate::frame::scratch::Scratch;
use libc::*;

tests!(;
    guest: no_more_is_written_than_the_size_allows,
    what_was_written_before_the_end_of_room_is_kept,
    removal_and_truncation_give_room_back,
    store_into_a_mapping_without_room_is_sigbus,
    statfs_tells_the_size,
    unknown_option_is_einval,
    shared_memory_is_half_of_memory,
);

const PAGES: usize = 16;
const SIZE: usize = PAGES * 4096;

/// A tmpfs of [`PAGES`] pages, unmounted when dropped.
struct Mounted(Scratch);

impl Mounted {
    fn new() -> Self {
        let scratch = Scratch::new();
        let options = c"size=64k,mode=755";
        ok!(
            SYS_mount,
            c"none",
            scratch.c("").as_ptr(),
            c"tmpfs",
            0,
            options
        );
        Mounted(scratch)
    }

    fn file(&self, name: &str) -> Fd {
        Fd::open(&self.0.c(name), O_RDWR | O_CREAT)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = call!(SYS_umount2, self.0.c("").as_ptr(), 0);
    }
}

fn no_more_is_written_than_the_size_allows() {
    let mounted = Mounted::new();
    let file = mounted.file("f");
    assert_eq!(file.write(vec![7; SIZE + 100]), Ok(SIZE));
    fails!(ENOSPC, SYS_write, file.0, c"x", 1);
}

fn what_was_written_before_the_end_of_room_is_kept() {
    let mounted = Mounted::new();
    let file = mounted.file("f");
    file.write(vec![7; SIZE + 100]).unwrap();
    let other = mounted.file("other");
    fails!(ENOSPC, SYS_write, other.0, c"x", 1);
    file.seek(0, SEEK_SET).unwrap();
    assert!(file.read_to_end() == vec![7; SIZE]);
}

fn removal_and_truncation_give_room_back() {
    let mounted = Mounted::new();
    let file = mounted.file("f");
    file.write(vec![7; SIZE]).unwrap();
    ok!(SYS_ftruncate, file.0, 4096);
    let other = mounted.file("other");
    assert_eq!(other.write(vec![8; SIZE]), Ok(SIZE - 4096));
    ok!(SYS_unlink, mounted.0.c("other").as_ptr());
    drop(other);
    file.seek(0, SEEK_SET).unwrap();
    assert_eq!(file.write(vec![9; SIZE]), Ok(SIZE));
}

fn store_into_a_mapping_without_room_is_sigbus() {
    let mounted = Mounted::new();
    let (hole, full) = (mounted.file("hole"), mounted.file("full"));
    ok!(SYS_ftruncate, hole.0, 4096);
    full.write(vec![7; SIZE]).unwrap();
    let child = crate::frame::child::fork(|| {
        let rw = PROT_READ | PROT_WRITE;
        let mapping = Mapping::new(4096, rw, MAP_SHARED, hole.0, 0).unwrap();
        mapping.set(0, 1);
    });
    assert_eq!(child.wait().signal(), Some(SIGBUS));
}

fn statfs_tells_the_size() {
    let mounted = Mounted::new();
    let mut facts: statfs64 = zeroed();
    mounted.file("f").write(vec![7; 4096 * 3]).unwrap();
    ok!(SYS_statfs, mounted.0.c("").as_ptr(), &mut facts);
    assert_eq!(
        (facts.f_blocks as usize, facts.f_bfree as usize),
        (PAGES, PAGES - 3)
    );
}

fn unknown_option_is_einval() {
    let scratch = Scratch::new();
    fails!(
        EINVAL,
        SYS_mount,
        c"none",
        scratch.c("").as_ptr(),
        c"tmpfs",
        0,
        c"colour=red"
    );
}

fn shared_memory_is_half_of_memory() {
    let mut memory: sysinfo = zeroed();
    ok!(SYS_sysinfo, &mut memory);
    let mut facts: statfs64 = zeroed();
    ok!(SYS_statfs, c"/dev/shm", &mut facts);
    let (size, half) = (facts.f_blocks * 4096, memory.totalram / 2);
    assert!(size.abs_diff(half) <= 4096, "{size} {half}");
}
