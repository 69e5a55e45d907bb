//! What is built in must be usable.

use crate::*;
use gnomon_abi::symbols;
use gnomon_ext2::{Access, BlockDevice, Ext2, InodeNumber, Timestamp};
use std::{path::PathBuf, process::Command};

/// A scratch directory that goes away with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("gnomon-images-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn assert_clean(device: ImageDevice, scratch: &Scratch) {
    let size = device.size();
    let path = scratch.0.join("check.img");
    std::fs::write(&path, device.into_bytes()).unwrap();
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(size)
        .unwrap();
    let output = Command::new("e2fsck")
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .arg("-fn")
        .arg(&path)
        .output()
        .expect("e2fsck (package e2fsprogs)");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
}

fn read<D: BlockDevice>(fs: &mut Ext2<D>, path: &str) -> (u16, Vec<u8>)
where
    D::Error: std::fmt::Debug,
{
    let mut at = InodeNumber::ROOT;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        at = fs.lookup(at, name.as_bytes()).unwrap();
    }
    let inode = fs.inode(at).unwrap();
    let mut bytes = vec![0; inode.size as usize];
    fs.read_at(at, 0, &mut bytes).unwrap();
    (inode.mode, bytes)
}

fn mount(device: ImageDevice) -> Ext2<ImageDevice> {
    Ext2::mount(device, Access::ReadOnly, Timestamp::default()).unwrap()
}

#[test]
fn images_can_be_read_again_after_their_memory_is_given_back() {
    let before = [KERNEL.to_vec(), NANO.to_vec(), ROOT.bytes.to_vec()];
    let_go();
    assert!([KERNEL, NANO, ROOT.bytes].map(<[u8]>::to_vec) == before);
}

#[test]
fn root_is_clean_and_has_the_userland() {
    let scratch = Scratch::new("root");
    assert_clean(ROOT.to_device(), &scratch);
    let mut fs = mount(ROOT.to_device());
    let (mode, init) = read(&mut fs, "/sbin/init");
    assert_eq!(mode, 0o100755);
    assert_eq!(&init[..4], b"\x7fELF");
    assert_eq!(read(&mut fs, "/bin/sh").1, init);
    assert!(read(&mut fs, "/etc/passwd").1.starts_with(b"root:"));
    assert!(fs.statfs().free_blocks * 4096 > 100 << 20);
}

#[test]
fn kernels_are_page_aligned_elves() {
    for bytes in [KERNEL, NANO, ROOT.bytes] {
        assert_eq!(bytes.as_ptr() as usize % 4096, 0);
    }
    assert_eq!(&KERNEL[..4], b"\x7fELF");
    assert_eq!(&NANO[..4], b"\x7fELF");
}

#[test]
fn kernel_knows_its_functions() {
    let magic = symbols::MAGIC.to_le_bytes();
    // The code that reads the table contains the magic number too.
    let tables = KERNEL
        .windows(4)
        .enumerate()
        .filter(|(_, word)| *word == magic);
    let names: Vec<&str> = tables
        .filter_map(|(at, _)| symbols::lookup(&KERNEL[at..], symbols::IMAGE_BASE + 0x10000))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names.len(), 1);
    assert!(names[0].contains("::"), "{names:?}");
}

#[test]
fn added_files_are_in_the_image() {
    let scratch = Scratch::new("add");
    let host = scratch.0.join("program");
    std::fs::write(&host, vec![7; 100_000]).unwrap();
    std::fs::set_permissions(&host, std::os::unix::fs::PermissionsExt::from_mode(0o750)).unwrap();
    let mut device = ROOT.to_device();
    add_file(&mut device, &host, "/bin/busybox").unwrap();
    add_file(&mut device, &host, "/a/new/dir/").unwrap();
    add_file(&mut device, &host, "/tmp").unwrap();
    add_file(&mut device, &host, "/bin/sh").unwrap();
    assert_clean(device.clone(), &scratch);
    let mut fs = mount(device);
    for path in [
        "/bin/busybox",
        "/a/new/dir/program",
        "/tmp/program",
        "/bin/sh",
    ] {
        assert_eq!(read(&mut fs, path), (0o100750, vec![7; 100_000]));
    }
    assert_eq!(&read(&mut fs, "/bin/ls").1[..4], b"\x7fELF");
}

#[test]
fn errors_are_one_line_that_names_the_file() {
    let scratch = Scratch::new("errors");
    let missing = scratch.0.join("missing");
    let error = add_file(ROOT.to_device(), &missing, "/x").unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    let big = scratch.0.join("big");
    std::fs::File::create(&big)
        .unwrap()
        .set_len(200 << 20)
        .unwrap();
    let mut device = ROOT.to_device();
    let error = add_file(&mut device, &big, "/x").unwrap_err();
    assert!(matches!(error, ImageError::Full(_)), "{error}");
    assert!(!error.to_string().contains('\n'));
    assert_clean(device, &scratch);
    let blank = ImageDevice::new(Vec::new(), 1 << 20);
    let error = add_file(blank, &big, "/x").unwrap_err();
    assert!(matches!(error, ImageError::Mount(_)), "{error}");
    let error = add_file(ROOT.to_device(), &scratch.0, "/x").unwrap_err();
    assert!(matches!(error, ImageError::NotAFile { .. }), "{error}");
}

#[test]
fn directory_becomes_an_image() {
    let scratch = Scratch::new("dir");
    let top = scratch.0.join("top");
    std::fs::create_dir_all(top.join("sub/deep")).unwrap();
    std::fs::write(top.join("sub/file"), b"contents").unwrap();
    std::fs::hard_link(top.join("sub/file"), top.join("sub/deep/again")).unwrap();
    std::os::unix::fs::symlink("sub/file", top.join("link")).unwrap();
    for n in 0..300 {
        std::fs::write(top.join(format!("sub/deep/{n}")), vec![1; n * 50]).unwrap();
    }
    let device = root_from_dir(&top).unwrap();
    assert_clean(device.clone(), &scratch);
    let mut fs = mount(device);
    assert_eq!(read(&mut fs, "/sub/deep/again").1, b"contents");
    assert_eq!(read(&mut fs, "/sub/deep/299").1, vec![1; 299 * 50]);
    let link = fs.lookup(InodeNumber::ROOT, b"link").unwrap();
    assert_eq!(fs.readlink(link).unwrap(), b"sub/file");
    let error = root_from_dir(&scratch.0.join("none")).unwrap_err();
    assert!(error.to_string().contains("none"));
}
