//! A crash leaves a prefix of the writes on the device; `e2fsck -p` must mend that without a
//! question, and lose nothing that was committed.

use crate::{
    common::*,
    ops::{Op, Pair, op},
};
use gnomon_ext2::{Access, Ext2, MkfsOptions, NewInode};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Files that no operation touches: path and contents.
type Kept = BTreeMap<String, Vec<u8>>;

/// `e2fsck -p` must accept the image; then the files that were there must still be.
fn check(bytes: &[u8], kept: &Kept, what: &str) {
    let image = Image::new(bytes);
    let output = tool("e2fsck", &["-p"], &image);
    if !matches!(output.status.code(), Some(0 | 1)) {
        let saved = image.0.with_extension("kept");
        std::fs::write(&saved, bytes).unwrap();
        panic!(
            "{what}: {}\nimage kept as {}",
            text(&output),
            saved.display()
        );
    }
    let bytes = image.bytes();
    assert_clean(&bytes);
    let mut fs = mount(bytes).unwrap();
    for (path, contents) in kept {
        let ino = walk(&mut fs, path).unwrap_or_else(|e| panic!("{what}: {path}: {e}"));
        assert!(&read(&mut fs, ino).unwrap() == contents, "{what}: {path}");
    }
}

/// Run `ops`, then try `crashes` (fractions of the log) and the last write of all.
fn crash(ops: &[Op], block_size: u32, crashes: &[u16]) {
    let options = MkfsOptions {
        block_size,
        ..MkfsOptions::default()
    };
    let before = unmount(mkfs(8 << 20, &options));
    let device = LogDevice::new(before.clone());
    let fs = Ext2::mount(device.clone(), Access::ReadWrite, NOW).unwrap();
    let mut pair = Pair::new(fs);
    // What is committed at which length of the log.
    let mut commits: Vec<(usize, Kept)> = Vec::new();
    let mut kept = Kept::new();
    for (n, op) in ops.iter().enumerate() {
        pair.apply(op);
        if matches!(op, Op::Commit) {
            let name = format!("kept-{n}");
            let contents = pattern(n as u64, n * 211);
            put(&mut pair.fs, ROOT, &name, &contents).unwrap();
            pair.fs.commit().unwrap();
            kept.insert(name, contents);
            commits.push((device.log.borrow().len(), kept.clone()));
        }
    }
    pair.fs.commit().unwrap();
    let log = device.log.borrow();
    for &fraction in crashes {
        let len = usize::from(fraction) * log.len() / usize::from(u16::MAX);
        let mut bytes = before.clone();
        for write in &log[..len] {
            let start = write.offset as usize;
            bytes[start..start + write.data.len()].copy_from_slice(&write.data);
        }
        let kept = commits
            .iter()
            .rev()
            .find(|(at, _)| *at <= len)
            .map(|(_, kept)| kept.clone())
            .unwrap_or_default();
        check(&bytes, &kept, &format!("{len} of {} writes", log.len()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_prefix_of_the_writes_is_repaired(
        ops in prop::collection::vec(op(), 1..120),
        block_size in prop_oneof![Just(1024u32), Just(4096)],
        crashes in prop::collection::vec(any::<u16>(), 12),
    ) {
        crash(&ops, block_size, &crashes);
    }
}

/// Run `change` on a committed file system, and look at it after every prefix of the writes.
fn each_prefix(
    block_size: u32,
    prepare: impl Fn(&mut Ext2<LogDevice>),
    change: impl Fn(&mut Ext2<LogDevice>),
    look: impl Fn(&mut Fs),
) {
    let options = MkfsOptions {
        block_size,
        ..MkfsOptions::default()
    };
    let device = LogDevice::new(unmount(mkfs(4 << 20, &options)));
    let mut fs = Ext2::mount(device.clone(), Access::ReadWrite, NOW).unwrap();
    prepare(&mut fs);
    fs.commit().unwrap();
    let mut bytes = device.bytes.borrow().clone();
    device.log.borrow_mut().clear();
    change(&mut fs);
    fs.commit().unwrap();
    let log = device.log.borrow();
    for len in 0..=log.len() {
        check(
            &bytes,
            &Kept::new(),
            &format!("{len} of {} writes", log.len()),
        );
        let image = Image::new(&bytes);
        tool("e2fsck", &["-p"], &image);
        look(&mut mount(image.bytes()).unwrap());
        if let Some(write) = log.get(len) {
            let start = write.offset as usize;
            bytes[start..start + write.data.len()].copy_from_slice(&write.data);
        }
    }
}

#[test]
fn replaced_file_is_the_old_or_the_new_one_at_any_moment() {
    for (block_size, filler) in [(4096, 0), (1024, 12), (1024, 60)] {
        each_prefix(
            block_size,
            |fs| {
                let dir = fs
                    .mkdir(ROOT, b"dir", &NewInode::directory(0o755), NOW)
                    .unwrap();
                put(fs, dir, "target", &pattern(1, 9000)).unwrap();
                // With some, target and source lie in different blocks, full or not.
                for n in 0..filler {
                    put(
                        fs,
                        dir,
                        &format!("filler with a rather long name {n:08}"),
                        b"",
                    )
                    .unwrap();
                }
                put(fs, dir, "temporary", &pattern(2, 20_000)).unwrap();
                put(fs, ROOT, "elsewhere", &pattern(3, 5000)).unwrap();
            },
            |fs| {
                let dir = walk(fs, "/dir").unwrap();
                for (from, name) in [(dir, "temporary"), (ROOT, "elsewhere")] {
                    let done = fs
                        .rename(from, name.as_bytes(), dir, b"target", NOW)
                        .unwrap();
                    fs.release(done.replaced.unwrap().inode, NOW).unwrap();
                }
            },
            |fs| {
                let target = walk(fs, "/dir/target").unwrap();
                let contents = read(fs, target).unwrap();
                let versions = [pattern(1, 9000), pattern(2, 20_000), pattern(3, 5000)];
                assert!(versions.contains(&contents));
            },
        );
    }
}

#[test]
fn moved_directory_is_in_one_place_at_any_moment() {
    for block_size in [1024, 4096] {
        each_prefix(
            block_size,
            |fs| {
                let dir = NewInode::directory(0o755);
                let a = fs.mkdir(ROOT, b"a", &dir, NOW).unwrap();
                fs.mkdir(ROOT, b"b", &dir, NOW).unwrap();
                let moved = fs.mkdir(a, b"moved", &dir, NOW).unwrap();
                fs.mkdir(moved, b"below", &dir, NOW).unwrap();
                put(fs, moved, "file", &pattern(4, 7000)).unwrap();
            },
            |fs| {
                let (a, b) = (walk(fs, "/a").unwrap(), walk(fs, "/b").unwrap());
                fs.rename(a, b"moved", b, b"new", NOW).unwrap();
                let long = [b'l'; 250];
                fs.rename(b, b"new", b, &long, NOW).unwrap();
                fs.rename(b, &long, ROOT, b"up", NOW).unwrap();
            },
            |fs| {
                let long = format!("/b/{}", "l".repeat(250));
                let places: Vec<_> = ["/a/moved", "/b/new", &long, "/up"]
                    .into_iter()
                    .filter_map(|path| walk(fs, path).ok())
                    .collect();
                assert_eq!(places.len(), 1);
                let file = fs.lookup(places[0], b"file").unwrap();
                assert_eq!(read(fs, file).unwrap(), pattern(4, 7000));
            },
        );
    }
}

#[test]
fn trees_come_and_go_safely() {
    each_prefix(
        1024,
        |fs| {
            // What is removed below: directories within directories.
            let mut dir = ROOT;
            for n in 0..8 {
                dir = fs
                    .mkdir(
                        dir,
                        format!("old-{n}").as_bytes(),
                        &NewInode::directory(0o755),
                        NOW,
                    )
                    .unwrap();
                put(fs, dir, "file", &pattern(n, 3000)).unwrap();
            }
        },
        |fs| {
            let mut dir = ROOT;
            for n in 0..8 {
                dir = fs
                    .mkdir(
                        dir,
                        format!("new-{n}").as_bytes(),
                        &NewInode::directory(0o755),
                        NOW,
                    )
                    .unwrap();
                for file in 0..20 {
                    put(fs, dir, &format!("a file of the new tree {file}"), b"x").unwrap();
                }
            }
            let mut path = vec![ROOT];
            for n in 0..8 {
                let next = fs.lookup(*path.last().unwrap(), format!("old-{n}").as_bytes());
                path.push(next.unwrap());
            }
            // One file is moved to the new tree, the others go away.
            fs.rename(path[8], b"file", dir, b"saved", NOW).unwrap();
            for n in (0..8).rev() {
                if let Ok(gone) = fs.unlink(path[n + 1], b"file", NOW) {
                    fs.release(gone.inode, NOW).unwrap();
                }
                let gone = fs
                    .rmdir(path[n], format!("old-{n}").as_bytes(), NOW)
                    .unwrap();
                fs.release(gone.inode, NOW).unwrap();
            }
        },
        |fs| {
            let name = |kind, file: &str| {
                let path: Vec<String> = (0..8).map(|n| format!("{kind}-{n}")).collect();
                format!("{}/{file}", path.join("/"))
            };
            let saved = walk(fs, &name("new", "saved")).or_else(|_| walk(fs, &name("old", "file")));
            assert_eq!(read(fs, saved.unwrap()).unwrap(), pattern(7, 3000));
        },
    );
}
