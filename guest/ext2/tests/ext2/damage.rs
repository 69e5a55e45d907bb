//! A damaged image leads to errors: never to a panic, an endless loop, or much time.

use crate::{
    common::*,
    ops::{Op, Pair, op},
};
use gnomon_ext2::{Ext2, InodeNumber, MemoryDevice, MkfsOptions, NewInode};
use proptest::prelude::*;
use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// An image with something of everything, small enough to be hit.
fn sample(block_size: u32) -> Vec<u8> {
    static SMALL: OnceLock<Vec<u8>> = OnceLock::new();
    static LARGE: OnceLock<Vec<u8>> = OnceLock::new();
    let made = if block_size == 1024 { &SMALL } else { &LARGE };
    made.get_or_init(|| make_sample(block_size)).clone()
}

fn make_sample(block_size: u32) -> Vec<u8> {
    let options = MkfsOptions {
        block_size,
        ..MkfsOptions::default()
    };
    let mut fs = mkfs(2 << 20, &options);
    let dir = fs
        .mkdir(ROOT, b"dir", &NewInode::directory(0o755), NOW)
        .unwrap();
    let sub = fs
        .mkdir(dir, b"sub", &NewInode::directory(0o755), NOW)
        .unwrap();
    for n in 0..40 {
        put(
            &mut fs,
            sub,
            &format!("file-{n}"),
            &pattern(n, n as usize * 1500),
        )
        .unwrap();
    }
    put(&mut fs, ROOT, "big", &pattern(1, 500_000)).unwrap();
    fs.symlink(ROOT, b"slow", &[b's'; 200], &NewInode::file(0), NOW)
        .unwrap();
    unmount(fs)
}

/// Use everything that can be reached; errors are welcome.
fn exercise(fs: &mut Fs) {
    let mut todo = vec![ROOT];
    let mut seen = 0;
    while let Some(dir) = todo.pop() {
        seen += 1;
        if seen > 200 {
            break;
        }
        for (name, ino, _) in list(fs, dir).unwrap_or_default() {
            let _ = fs.lookup(dir, name.as_bytes());
            if let Ok(inode) = fs.inode(ino) {
                let mut buffer = vec![0; 4096];
                for at in [0, inode.size / 2, inode.size.saturating_sub(5), 1 << 40] {
                    let _ = fs.read_at(ino, at, &mut buffer);
                }
            }
            let _ = fs.readlink(ino);
            todo.push(ino);
        }
    }
    change(fs, ROOT);
}

/// Change what can be changed.
fn change(fs: &mut Fs, dir: InodeNumber) {
    let _ = put(fs, dir, "new", &pattern(9, 30_000));
    let _ = fs.mkdir(dir, b"new dir", &NewInode::directory(0o755), NOW);
    for path in ["/big", "/dir/sub/file-39", "/slow"] {
        if let Ok(ino) = walk(fs, path) {
            let _ = fs.write_at(ino, 100_000, b"more", NOW);
            let _ = fs.resize(ino, 70_000, NOW);
        }
    }
    let _ = fs.rename(dir, b"dir", dir, b"moved", NOW);
    let _ = fs.rename(dir, b"big", dir, b"slow", NOW);
    if let Ok(sub) = walk(fs, "/moved/sub") {
        let _ = fs.rename(dir, b"new dir", sub, b"deep", NOW);
        for (name, _, _) in list(fs, sub).unwrap_or_default() {
            if let Ok(gone) = fs.unlink(sub, name.as_bytes(), NOW) {
                let _ = fs.release(gone.inode, NOW);
            }
        }
    }
    let _ = fs.commit();
    let _ = fs.unmount(NOW);
}

fn survives(bytes: Vec<u8>) {
    let start = Instant::now();
    if let Ok(mut fs) = mount(bytes) {
        exercise(&mut fs);
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(20), "took {took:?}");
}

/// Where to strike: structures more often than contents.
fn place() -> impl Strategy<Value = usize> {
    prop_oneof![
        1024..1200usize,
        2048..2112usize,
        4096..4160usize,
        8 * 1024..64 * 1024usize,
        0..2usize << 20,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_do_no_harm(
        block_size in prop_oneof![Just(1024u32), Just(4096)],
        hits in prop::collection::vec((place(), any::<u8>()), 1..40),
    ) {
        let mut bytes = sample(block_size);
        for (at, value) in hits {
            bytes[at] = value;
        }
        survives(bytes);
    }

    #[test]
    fn random_block_numbers_do_no_harm(
        hits in prop::collection::vec((8 * 1024..120 * 1024usize, 0..2200u32), 1..200),
    ) {
        let mut bytes = sample(1024);
        for (at, value) in hits {
            let at = at / 4 * 4;
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        survives(bytes);
    }

    #[test]
    fn truncated_images_do_no_harm(len in 0..2usize << 20) {
        let mut bytes = sample(4096);
        bytes.truncate(len);
        prop_assert!(mount(bytes).is_err());
    }

    #[test]
    fn operations_after_damage_do_no_harm(
        at in 8 * 1024..200 * 1024usize,
        value in any::<u8>(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let fs = mkfs(2 << 20, &MkfsOptions { block_size: 1024, ..MkfsOptions::default() });
        let mut pair = Pair::new(fs);
        for op in &ops[..ops.len() / 2] {
            pair.apply(op);
        }
        pair.apply(&Op::Commit);
        let mut bytes = pair.fs.into_device().bytes;
        bytes[at] ^= value;
        survives(bytes);
    }
}

#[test]
fn pointers_that_form_a_loop_end_in_an_error() {
    let mut fs = mkfs(
        8 << 20,
        &MkfsOptions {
            block_size: 1024,
            ..MkfsOptions::default()
        },
    );
    let file = put(&mut fs, ROOT, "file", b"").unwrap();
    // One block below the triple indirect pointer.
    let far = (12 + 256 + 256 * 256) * 1024u64;
    fs.write_at(file, far, b"far", NOW).unwrap();
    let bytes = unmount(fs);
    // The pointer block of the highest level is the one whose first entry leads on.
    let table: Vec<usize> = (0..bytes.len() / 1024).collect();
    for block in table {
        let at = block * 1024;
        let words: Vec<u32> = bytes[at..at + 1024]
            .chunks(4)
            .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
            .collect();
        let leads = words[0] > 100 && words[1..].iter().all(|&word| word == 0);
        if !leads {
            continue;
        }
        let mut damaged = bytes.clone();
        for word in damaged[at..at + 1024].chunks_mut(4) {
            word.copy_from_slice(&(block as u32).to_le_bytes());
        }
        let start = Instant::now();
        let mut fs: Ext2<MemoryDevice> = mount(damaged).unwrap();
        let mut buffer = vec![0; 1 << 20];
        let _ = fs.read_at(file, far, &mut buffer);
        let _ = fs.truncate(file, far + 5000, NOW);
        let _ = fs.truncate(file, 0, NOW);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
