//! Images that this crate makes are read by e2fsprogs, and the reverse.

use crate::common::*;
use gnomon_ext2::{Access, Error, Ext2, FileKind, MkfsOptions, NewInode, SetAttr, Timestamp};

const MIB: usize = 1 << 20;

fn options(block_size: u32) -> MkfsOptions {
    MkfsOptions {
        block_size,
        ..MkfsOptions::default()
    }
}

#[test]
fn new_file_systems_are_clean() {
    for block_size in [1024, 2048, 4096] {
        for inode_size in [128, 256] {
            // The odd sizes leave a last group that is short, or too short.
            for size in [MIB, 8 * MIB + 3000, 130 * MIB, 128 * MIB + 40 * 4096] {
                let options = MkfsOptions {
                    inode_size,
                    ..options(block_size)
                };
                assert_clean(&unmount(mkfs(size, &options)));
            }
        }
    }
}

#[test]
fn everything_that_was_made_passes_e2fsck() {
    for block_size in [1024, 2048, 4096] {
        let mut fs = mkfs(40 * MIB, &options(block_size));
        let dir = fs
            .mkdir(ROOT, b"dir", &NewInode::directory(0o755), NOW)
            .unwrap();
        for n in 0..500 {
            put(
                &mut fs,
                dir,
                &format!("a file with number {n}"),
                &pattern(n, n as usize * 7),
            )
            .unwrap();
        }
        fs.symlink(dir, b"fast", b"a file", &NewInode::file(0), NOW)
            .unwrap();
        fs.symlink(dir, b"slow", &[b'x'; 300], &NewInode::file(0), NOW)
            .unwrap();
        for (name, kind, rdev) in [
            (&b"null"[..], FileKind::CharDevice, (1, 3)),
            (b"disk", FileKind::BlockDevice, (259, 1000)),
            (b"fifo", FileKind::Fifo, (0, 0)),
            (b"socket", FileKind::Socket, (0, 0)),
        ] {
            let new = NewInode {
                kind,
                rdev,
                ..NewInode::file(0o600)
            };
            let ino = fs.create(dir, name, &new, NOW).unwrap();
            assert_eq!(fs.inode(ino).unwrap().rdev, rdev);
        }
        let big = put(&mut fs, ROOT, "big", &pattern(1, 9 * MIB)).unwrap();
        fs.link(dir, b"also big", big, NOW).unwrap();
        // Through all levels of indirection, with holes between.
        let sparse = put(&mut fs, ROOT, "sparse", b"start").unwrap();
        let mut at = 1 << 14;
        while at < 1u64 << 33 {
            fs.write_at(sparse, at, b"island", NOW).unwrap();
            at *= 2;
        }
        let bytes = unmount(fs);
        assert_clean(&bytes);
        let mut fs = mount(bytes).unwrap();
        assert!(fs.was_clean());
        assert_eq!(list(&mut fs, dir).unwrap().len(), 507);
        assert_eq!(read(&mut fs, big).unwrap(), pattern(1, 9 * MIB));
        let mut island = [0; 8];
        fs.read_at(sparse, (1 << 32) - 1, &mut island).unwrap();
        assert_eq!(&island, b"\0island\0");
        fs.resize(sparse, 20, NOW).unwrap();
        let link = walk(&mut fs, "/dir/slow").unwrap();
        assert_eq!(fs.readlink(link).unwrap(), [b'x'; 300]);
        assert_clean(&unmount(fs));
    }
}

#[test]
fn debugfs_reads_what_was_written() {
    let mut fs = mkfs(8 * MIB, &options(4096));
    let contents = pattern(5, 300_000);
    let ino = put(&mut fs, ROOT, "file", &contents).unwrap();
    fs.set_attr(
        ino,
        &SetAttr {
            permissions: Some(0o4711),
            uid: Some(70_000),
            gid: Some(5),
            mtime: Some(Timestamp {
                sec: 1 << 33,
                nsec: 7,
            }),
            ..SetAttr::default()
        },
    )
    .unwrap();
    let image = Image::new(&unmount(fs));
    let output = tool("debugfs", &["-R", "cat /file"], &image);
    assert_eq!(output.stdout, contents);
    let stat = text(&tool("debugfs", &["-R", "stat /file"], &image));
    assert!(stat.contains("Mode:  04711"), "{stat}");
    assert!(stat.contains("User: 70000   Group:     5"), "{stat}");
    // debugfs prints the time as hexadecimal low word and extra word.
    assert!(stat.contains("mtime: 0x00000000:0000001e"), "{stat}");
}

#[test]
fn images_of_mke2fs_are_read_and_changed() {
    for extra in [
        &["-b", "1024"][..],
        &["-b", "4096"],
        &["-b", "2048", "-I", "128"],
        &["-O", "none"],
    ] {
        let image = Image::new(&vec![0; 32 * MIB]);
        let mut args = vec!["-t", "ext2", "-q", "-F"];
        args.extend_from_slice(extra);
        let output = tool("mke2fs", &args, &image);
        assert!(output.status.success(), "{}", text(&output));
        let source = Image::new(&pattern(3, 123_456));
        let source_path = source.0.display();
        for request in [
            "mkdir /sub".to_owned(),
            format!("write {source_path} /sub/file"),
            "symlink /sub/link file".to_owned(),
        ] {
            tool("debugfs", &["-w", "-R", &request], &image);
        }
        let mut fs = mount(image.bytes()).unwrap();
        let file = walk(&mut fs, "/sub/file").unwrap();
        assert_eq!(read(&mut fs, file).unwrap(), pattern(3, 123_456));
        let link = walk(&mut fs, "/sub/link").unwrap();
        assert_eq!(fs.readlink(link).unwrap(), b"file");
        let sub = walk(&mut fs, "/sub").unwrap();
        for n in 0..200 {
            put(&mut fs, sub, &format!("more-{n}"), &pattern(n, 5000)).unwrap();
        }
        fs.unlink(sub, b"file", NOW).unwrap();
        fs.release(file, NOW).unwrap();
        assert_clean(&unmount(fs));
    }
}

#[test]
fn hash_index_is_given_up_when_its_directory_changes() {
    let image = Image::new(&vec![0; 32 * MIB]);
    tool(
        "mke2fs",
        &["-t", "ext2", "-q", "-F", "-b", "1024", "-O", "dir_index"],
        &image,
    );
    let mut fs = mount(image.bytes()).unwrap();
    let sub = fs
        .mkdir(ROOT, b"sub", &NewInode::directory(0o755), NOW)
        .unwrap();
    for n in 0..300 {
        put(&mut fs, sub, &format!("number {n}"), b"").unwrap();
    }
    let image = Image::new(&unmount(fs));
    // e2fsck builds indexes when asked to optimise directories.
    let output = tool("e2fsck", &["-fyD"], &image);
    assert!(output.status.code().unwrap() <= 1, "{}", text(&output));
    let mut fs = mount(image.bytes()).unwrap();
    assert_ne!(fs.inode(sub).unwrap().flags & 0x1000, 0);
    assert_eq!(list(&mut fs, sub).unwrap().len(), 300);
    for n in (0..300).step_by(2) {
        let name = format!("number {n}");
        let gone = fs.unlink(sub, name.as_bytes(), NOW).unwrap();
        fs.release(gone.inode, NOW).unwrap();
        put(&mut fs, sub, &format!("new {n}"), b"new").unwrap();
    }
    assert_eq!(fs.inode(sub).unwrap().flags & 0x1000, 0);
    assert_clean(&unmount(fs));
}

#[test]
fn unknown_features_refuse_the_mount_or_make_it_read_only() {
    let make = |args: &[&str]| {
        let image = Image::new(&vec![0; 16 * MIB]);
        let mut all = vec!["-q", "-F"];
        all.extend_from_slice(args);
        assert!(tool("mke2fs", &all, &image).status.success());
        image.bytes()
    };
    let ext4 = mount(make(&["-t", "ext4"]));
    assert!(matches!(ext4, Err(Error::Unsupported(_))));
    let mut fs = mount(make(&["-t", "ext2", "-O", "huge_file"])).unwrap();
    assert!(fs.read_only());
    let result = fs.mkdir(ROOT, b"dir", &NewInode::directory(0o755), NOW);
    assert_eq!(result, Err(Error::ReadOnly));
    assert!(matches!(mount(vec![0; MIB]), Err(Error::Unsupported(_))));
    assert!(matches!(mount(vec![0; 100]), Err(Error::Unsupported(_))));
    let mut short = make(&["-t", "ext2"]);
    short.truncate(8 * MIB);
    assert!(matches!(mount(short), Err(Error::Corrupt(_))));
}

#[test]
fn mount_alone_writes_nothing_and_use_marks_the_superblock() {
    let bytes = unmount(mkfs(4 * MIB, &options(4096)));
    let device = LogDevice::new(bytes);
    let mut fs = Ext2::mount(device.clone(), Access::ReadWrite, NOW).unwrap();
    list(&mut fs, ROOT).unwrap();
    fs.commit().unwrap();
    fs.unmount(NOW).unwrap();
    assert!(device.log.borrow().is_empty());
    put(&mut fs, ROOT, "file", b"contents").unwrap();
    assert_eq!(device.log.borrow()[0].offset, 1024);
    let mut other = Ext2::mount(device.clone(), Access::ReadOnly, NOW).unwrap();
    assert!(!other.was_clean());
    fs.unmount(NOW).unwrap();
    other = Ext2::mount(device.clone(), Access::ReadOnly, NOW).unwrap();
    assert!(other.was_clean());
    assert_clean(&device.bytes.borrow());
}

#[test]
fn full_file_system_says_so_and_recovers() {
    let mut fs = mkfs(2 * MIB, &options(1024));
    let free = fs.statfs().free_blocks;
    let file = put(&mut fs, ROOT, "file", b"").unwrap();
    let chunk = pattern(1, 64 * 1024);
    let mut at = 0;
    let error = loop {
        match fs.write_at(file, at, &chunk, NOW) {
            Ok(()) => at += chunk.len() as u64,
            Err(error) => break error,
        }
    };
    assert_eq!(error, Error::NoSpace);
    assert_eq!(fs.statfs().free_blocks, 0);
    let dir = fs.mkdir(ROOT, b"dir", &NewInode::directory(0o755), NOW);
    assert_eq!(dir, Err(Error::NoSpace));
    fs.unlink(ROOT, b"file", NOW).unwrap();
    fs.release(file, NOW).unwrap();
    assert_eq!(fs.statfs().free_blocks, free);
    put(&mut fs, ROOT, "again", &pattern(2, MIB)).unwrap();
    let mut n = 0;
    while put(&mut fs, ROOT, &format!("empty-{n}"), b"").is_ok() {
        n += 1;
    }
    assert_eq!(fs.statfs().free_inodes, 0);
    assert_clean(&unmount(fs));
}

#[test]
fn unlinked_file_lives_until_it_is_released() {
    let mut fs = mkfs(4 * MIB, &options(4096));
    let file = put(&mut fs, ROOT, "file", b"contents").unwrap();
    assert_eq!(fs.unlink(ROOT, b"file", NOW).unwrap().links, 0);
    assert_eq!(fs.lookup(ROOT, b"file"), Err(Error::NotFound));
    fs.commit().unwrap();
    assert_eq!(read(&mut fs, file).unwrap(), b"contents");
    assert_eq!(fs.link(ROOT, b"back", file, NOW), Err(Error::NotFound));
    fs.release(file, NOW).unwrap();
    assert_eq!(fs.inode(file), Err(Error::Stale));
    put(&mut fs, ROOT, "open", b"until the end").unwrap();
    fs.unlink(ROOT, b"open", NOW).unwrap();
    assert_clean(&unmount(fs));
}

#[test]
fn rename_replaces_moves_and_refuses() {
    let mut fs = mkfs(4 * MIB, &options(1024));
    let dir = NewInode::directory(0o755);
    let a = fs.mkdir(ROOT, b"a", &dir, NOW).unwrap();
    let b = fs.mkdir(a, b"b", &dir, NOW).unwrap();
    let c = fs.mkdir(b, b"c", &dir, NOW).unwrap();
    let one = put(&mut fs, a, "one", b"1").unwrap();
    let two = put(&mut fs, b, "two", b"2").unwrap();
    assert_eq!(fs.rename(ROOT, b"a", c, b"x", NOW), Err(Error::Invalid));
    assert_eq!(fs.rename(ROOT, b"a", ROOT, b"", NOW), Err(Error::Invalid));
    assert_eq!(
        fs.rename(a, b"one", ROOT, b"a", NOW),
        Err(Error::IsDirectory)
    );
    assert_eq!(fs.rename(a, b"b", a, b"one", NOW), Err(Error::NotDirectory));
    assert_eq!(fs.rename(b, b"c", a, b"b", NOW), Err(Error::NotEmpty));
    let done = fs.rename(a, b"one", b, b"two", NOW).unwrap();
    assert_eq!((done.inode, done.replaced.unwrap().inode), (one, two));
    fs.release(two, NOW).unwrap();
    assert_eq!(fs.lookup(a, b"one"), Err(Error::NotFound));
    assert_eq!(fs.lookup(b, b"two"), Ok(one));
    fs.rename(b, b"c", ROOT, b"moved", NOW).unwrap();
    assert_eq!(fs.lookup(c, b".."), Ok(ROOT));
    assert_eq!(fs.inode(ROOT).unwrap().links, 5);
    let empty = fs.mkdir(ROOT, b"empty", &dir, NOW).unwrap();
    let done = fs.rename(ROOT, b"moved", ROOT, b"empty", NOW).unwrap();
    assert_eq!(done.replaced.unwrap().inode, empty);
    fs.release(empty, NOW).unwrap();
    fs.rename(ROOT, b"empty", ROOT, b"a much longer name than before", NOW)
        .unwrap();
    assert_eq!(fs.inode(ROOT).unwrap().links, 5);
    assert_clean(&unmount(fs));
}

#[test]
fn readdir_goes_on_where_it_stopped() {
    let mut fs = mkfs(4 * MIB, &options(1024));
    for n in 0..100 {
        put(&mut fs, ROOT, &format!("file number {n:03}"), b"").unwrap();
    }
    let mut seen = Vec::new();
    let mut cookie = 0;
    loop {
        let before = seen.len();
        let mut room = 3;
        cookie = fs
            .readdir(ROOT, cookie, |entry| {
                if room == 0 {
                    return false;
                }
                room -= 1;
                seen.push(entry.name.to_vec());
                true
            })
            .unwrap();
        if seen.len() == before {
            break;
        }
    }
    assert_eq!(seen.len(), 103);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 103);
}

#[test]
fn extents_cover_runs_and_holes() {
    let mut fs = mkfs(16 * MIB, &options(1024));
    let file = put(&mut fs, ROOT, "file", &pattern(1, 100 * 1024)).unwrap();
    let (first, run) = fs.extent(file, 0, 100).unwrap();
    assert!(first.is_some());
    assert_eq!(run, 12);
    let (_, run) = fs.extent(file, 12, 100).unwrap();
    assert_eq!(run, 88);
    assert_eq!(fs.extent(file, 100, 5000).unwrap(), (None, 168));
    assert_eq!(fs.extent(file, 268, 5000).unwrap(), (None, 5000));
    assert_eq!(fs.extent(file, 268 + 65_536 - 3, 5000).unwrap(), (None, 3));
}
