//! Tests of the disk in memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use vm_memory::GuestAddress;

use super::*;
use crate::virtio::testing::{BUFFERS, memory};

/// 10 KiB and a little, not a whole number of blocks or sectors.
static IMAGE: [u8; 10_300] = {
    let mut image = [0; 10_300];
    let mut index = 0;
    while index < image.len() {
        image[index] = (index / 3) as u8 | 1;
        index += 1;
    }
    image
};

const SIZE: u64 = 32 << 10;

fn segment(len: usize) -> [Segment; 1] {
    let (addr, len) = (GuestAddress(BUFFERS), len as u32);
    [Segment { addr, len }]
}

#[test]
fn image_is_followed_by_zeros() {
    let (mut disk, mem) = (Overlay::new(&IMAGE, SIZE), memory());
    disk.read(&mem, &segment(SIZE as usize), 0).unwrap();
    let mut bytes = vec![0xff; SIZE as usize];
    mem.read_slice(&mut bytes, GuestAddress(BUFFERS)).unwrap();
    assert!(bytes[..IMAGE.len()] == IMAGE);
    assert!(bytes[IMAGE.len()..].iter().all(|byte| *byte == 0));
}

#[test]
fn size_is_rounded_up() {
    assert_eq!(Overlay::new(&IMAGE, 0).size(), 10_752);
    assert_eq!(Overlay::new(&[], 513).size(), 1024);
    assert_eq!(Overlay::new(&[], u64::MAX).size() % SECTOR, 0);
}

#[test]
fn impossible_size_fails_at_the_first_write() {
    let (mut disk, mem) = (Overlay::new(&IMAGE, u64::MAX), memory());
    disk.read(&mem, &segment(512), 1 << 60).unwrap();
    assert!(disk.write(&mem, &segment(512), 0).is_err());
}

#[test]
fn memory_of_an_image_that_is_read_is_given_back() {
    static GIVEN_BACK: AtomicUsize = AtomicUsize::new(0);
    let let_go = || {
        GIVEN_BACK.fetch_add(1, Ordering::Relaxed);
    };
    let (disk, mem) = (Overlay::new(&IMAGE, SIZE), memory());
    let mut disk = disk.letting_go(let_go);
    let segment = segment(BLOCK as usize);
    for _ in 0..LET_GO_AFTER / BLOCK as usize {
        // What follows the image costs nothing.
        disk.read(&mem, &segment, SIZE - BLOCK).unwrap();
    }
    assert_eq!(GIVEN_BACK.load(Ordering::Relaxed), 0);
    for _ in 0..2 * LET_GO_AFTER / BLOCK as usize {
        disk.read(&mem, &segment, 0).unwrap();
    }
    assert_eq!(GIVEN_BACK.load(Ordering::Relaxed), 2);
}

proptest! {
    #[test]
    fn overlay_is_an_array_that_begins_with_the_image(
        requests in prop::collection::vec((any::<bool>(), 0_u64..64, 0_u64..24, any::<u8>()), 1..30)
    ) {
        let (mut disk, mem) = (Overlay::new(&IMAGE, SIZE), memory());
        let mut model = vec![0; SIZE as usize];
        model[..IMAGE.len()].copy_from_slice(&IMAGE);
        for (write, sector, count, fill) in requests {
            let offset = sector * SECTOR;
            let len = (count * SECTOR).min(SIZE - offset) as usize;
            let range = offset as usize..offset as usize + len;
            if write {
                mem.write_slice(&vec![fill; len], GuestAddress(BUFFERS)).unwrap();
                disk.write(&mem, &segment(len), offset).unwrap();
                model[range].fill(fill);
            } else {
                disk.read(&mem, &segment(len), offset).unwrap();
                let mut bytes = vec![0; len];
                mem.read_slice(&mut bytes, GuestAddress(BUFFERS)).unwrap();
                prop_assert!(bytes == model[range]);
            }
        }
    }
}
