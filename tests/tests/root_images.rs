//! Root file systems and disks of the user's own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use gnomon_tests::gnomon::{End, Finished, Gnomon};
use gnomon_tests::image::Image;
use gnomon_tests::in_every_mode;
use gnomon_tests::mode::Mode;
use gnomon_tests::random::Random;
use gnomon_tests::scratch::Scratch;

/// Damaged images that are booted.
const DAMAGED: u64 = 12;

in_every_mode!(
    directory_is_the_root,
    image_with_1_kib_blocks,
    image_with_2_kib_blocks,
    image_with_4_kib_blocks,
    files_are_put_into_an_image,
    builtin_root_forgets,
    further_disk_is_read_and_written,
    read_only_disk_is_not_written,
    second_file_system_is_mounted,
    image_in_use_is_refused,
    wrong_superblock_is_refused,
    damaged_image_panics_nobody,
);

/// A directory with the guest's own files.
fn root_dir(files: &Scratch) -> std::path::PathBuf {
    let image = Image::builtin(&files.path("builtin")).unwrap();
    let root = files.path("root");
    image.extract("/", &root).unwrap();
    let _ = fs::remove_dir(root.join("lost+found"));
    root
}

fn directory_is_the_root(mode: Mode) {
    let files = Scratch::new().unwrap();
    let root = root_dir(&files);
    fs::write(root.join("letter"), "dear guest\n").unwrap();
    std::os::unix::fs::symlink("letter", root.join("link")).unwrap();
    let script = "cat /link; echo changed >/letter; rm /link; cat /letter";
    let finished = Gnomon::new(mode).root(&root).shell(script).run();
    finished
        .assert_status(0)
        .assert_output("dear guest\nchanged\n");
    // The directory itself is not the guest's.
    assert_eq!(
        fs::read_to_string(root.join("link")).unwrap(),
        "dear guest\n"
    );
}

fn image_with_1_kib_blocks(mode: Mode) {
    assert_image_works(mode, 1024);
}

fn image_with_2_kib_blocks(mode: Mode) {
    assert_image_works(mode, 2048);
}

fn image_with_4_kib_blocks(mode: Mode) {
    assert_image_works(mode, 4096);
}

/// What one run writes, the next one and the host read.
#[track_caller]
fn assert_image_works(mode: Mode, block: u32) {
    let files = Scratch::new().unwrap();
    let root = root_dir(&files);
    let large: Vec<u8> = Random::new(block.into()).bytes(3_000_000);
    fs::write(root.join("large"), &large).unwrap();
    let image = Image::mke2fs(&files.path("image"), block, 128, &root).unwrap();
    let script = "cp /large /copy; mkdir -p /a/b; i=0\n\
                  while [ $i -lt 100 ]; do echo $i >/a/b/a-file-with-a-longer-name-$i; i=$((i + 1)); done\n\
                  mv /a/b /c; echo first >/note";
    let first = Gnomon::new(mode).root(image.path()).shell(script).run();
    first.assert_status(0);
    image.assert_clean();
    let script = "cat /note; cmp /large /copy && echo same; ls /c | wc -l; rm -r /c /large";
    let second = Gnomon::new(mode).root(image.path()).shell(script).run();
    second.assert_status(0).assert_output("first\nsame\n100\n");
    image.assert_clean();
    assert!(image.file("/copy").unwrap() == large);
}

fn files_are_put_into_an_image(mode: Mode) {
    let files = Scratch::new().unwrap();
    let image = Image::builtin(&files.path("image")).unwrap();
    let note = files.file("note", b"put in\n").unwrap();
    let finished = Gnomon::new(mode)
        .root(image.path())
        .file(&note, "/new/place/note")
        .file(&note, "/etc/passwd")
        .shell("cat /new/place/note /etc/passwd")
        .run();
    finished.assert_status(0).assert_output("put in\nput in\n");
    image.assert_clean();
}

fn builtin_root_forgets(mode: Mode) {
    let first = Gnomon::new(mode)
        .shell("echo x >/new; sync; cat /new")
        .run();
    first.assert_status(0).assert_output("x\n");
    let second = Gnomon::new(mode)
        .shell("[ -e /new ] || echo forgotten")
        .run();
    second.assert_status(0).assert_output("forgotten\n");
}

/// A disk of `bytes` beside the root, as vdb.
fn with_disk(mode: Mode, disk: &Path, option: &str, script: &str) -> Finished {
    let spec = format!("{}{option}", disk.display());
    Gnomon::new(mode)
        .options(["--disk".to_owned(), spec])
        .shell(script)
        .run()
}

fn further_disk_is_read_and_written(mode: Mode) {
    let files = Scratch::new().unwrap();
    let mut bytes = Random::new(5).bytes(1 << 20);
    let disk = files.file("disk", &bytes).unwrap();
    let script = "cat /dev/vdb | wc -c; printf written | dd of=/dev/vdb bs=1 seek=70000 2>/dev/null; echo $?";
    with_disk(mode, &disk, "", script)
        .assert_status(0)
        .assert_output("1048576\n0\n");
    bytes[70_000..70_007].copy_from_slice(b"written");
    assert!(fs::read(&disk).unwrap() == bytes);
}

fn read_only_disk_is_not_written(mode: Mode) {
    let files = Scratch::new().unwrap();
    let bytes = Random::new(6).bytes(1 << 20);
    let disk = files.file("disk", &bytes).unwrap();
    let script = "cat /dev/vdb | wc -c\n\
                  dd if=/dev/zero of=/dev/vdb bs=4096 count=1 2>/dev/null && sync && echo written; echo alive";
    with_disk(mode, &disk, ",ro", script)
        .assert_status(0)
        .assert_output("1048576\nalive\n");
    assert!(fs::read(&disk).unwrap() == bytes);
}

fn second_file_system_is_mounted(mode: Mode) {
    let files = Scratch::new().unwrap();
    let content = files.path("content");
    fs::create_dir(&content).unwrap();
    fs::write(content.join("inside"), "found\n").unwrap();
    let image = Image::mke2fs(&files.path("disk"), 1024, 16, &content).unwrap();
    let script = "mkdir /mnt 2>/dev/null; mount -t ext2 /dev/vdb /mnt && cat /mnt/inside && echo new >/mnt/new\n\
                  umount /mnt; echo $?; ls /mnt";
    with_disk(mode, image.path(), "", script)
        .assert_status(0)
        .assert_output("found\n0\n");
    image.assert_clean();
    assert_eq!(image.file("/new").unwrap(), b"new\n");
}

/// Two machines on one file system would ruin it.
fn image_in_use_is_refused(mode: Mode) {
    let files = Scratch::new().unwrap();
    let image = Image::builtin(&files.path("image")).unwrap();
    let mut command = Gnomon::new(mode)
        .root(image.path())
        .program(["cat"])
        .command();
    let mut first = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // It runs when it has answered.
    let mut stdin = first.stdin.take().unwrap();
    let mut stdout = first.stdout.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"?").unwrap();
    std::io::Read::read_exact(&mut stdout, &mut [0]).unwrap();
    let second = Gnomon::new(mode).root(image.path()).shell("echo no").run();
    assert_eq!(second.end, End::Status(125));
    assert!(second.errors().contains("image"), "{}", second.errors());
    drop(stdin);
    assert!(first.wait().unwrap().success());
    image.assert_clean();
}

/// Offsets in the superblock (`struct ext2_super_block`), and what to write there.
const LIES: [(u64, [u8; 4]); 12] = [
    (0, [0; 4]),           // s_inodes_count
    (0, [0xff; 4]),        // s_inodes_count
    (4, [0; 4]),           // s_blocks_count
    (4, [0xff; 4]),        // s_blocks_count
    (20, [0xff; 4]),       // s_first_data_block
    (24, [0xff; 4]),       // s_log_block_size
    (32, [0; 4]),          // s_blocks_per_group
    (40, [0; 4]),          // s_inodes_per_group
    (40, [0xff; 4]),       // s_inodes_per_group
    (56, [0; 4]),          // s_magic, s_state
    (88, [1, 0, 0, 0]),    // s_inode_size
    (96, [0, 0, 0, 0x80]), // s_feature_incompat
];

fn wrong_superblock_is_refused(mode: Mode) {
    let files = Scratch::new().unwrap();
    for (offset, bytes) in LIES {
        let _ = fs::remove_file(files.path("image"));
        let image = Image::builtin(&files.path("image")).unwrap();
        image.write_at(1024 + offset, &bytes).unwrap();
        let finished = Gnomon::new(mode)
            .root(image.path())
            .shell("echo runs")
            .run();
        let errors = finished.errors();
        let refused = finished.end == End::Status(125) && errors.contains("root file system");
        assert!(
            refused && !errors.contains("panicked"),
            "{bytes:x?} at {offset}: {:?} {errors}",
            finished.end
        );
    }
}

/// Random bytes over the metadata: whatever comes of it, the kernel does not panic and gnomon ends.
fn damaged_image_panics_nobody(mode: Mode) {
    let files = Scratch::new().unwrap();
    // Of the metadata at the beginning, and of the inodes and directories behind it.
    let metadata = gnomon_images::ROOT.bytes.len() as u64;
    let script = "ls -lR /bin /etc /root /var >/dev/null 2>&1; cat /etc/* /bin/ls >/dev/null 2>&1\n\
                  mkdir /new 2>/dev/null; echo x >/new/x 2>/dev/null; rm -r /bin /new 2>/dev/null; sync";
    for seed in 0..DAMAGED {
        let mut random = Random::new(seed);
        let _ = fs::remove_file(files.path("image"));
        let image = Image::builtin(&files.path("image")).unwrap();
        for _ in 0..1 + random.below(40) {
            let reach = if random.below(2) == 0 {
                128 << 10
            } else {
                metadata
            };
            let len = 1 + random.below(8) as usize;
            let bytes = random.bytes(len);
            // The superblock's first fields have a test of their own.
            let offset = 2048 + random.below(reach.min(metadata) - 2056);
            image.write_at(offset, &bytes).unwrap();
        }
        let finished = Gnomon::new(mode)
            .root(image.path())
            .shell(script)
            .timeout(Duration::from_secs(120))
            .run();
        let errors = finished.errors();
        assert!(
            matches!(finished.end, End::Status(_)) && !errors.contains("panicked"),
            "seed {seed}: {:?} {errors}",
            finished.end
        );
    }
}
