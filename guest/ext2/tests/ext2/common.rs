//! What the tests share: image files, e2fsprogs, a device that remembers its writes.

use gnomon_ext2::{
    Access, BlockDevice, Error, Ext2, FileKind, InodeNumber, MemoryDevice, MkfsOptions, NewInode,
    OutOfRange, Timestamp,
};
use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    process::{Command, Output},
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering},
};

pub type Fs = Ext2<MemoryDevice>;
pub type FsError = Error<OutOfRange>;

pub const NOW: Timestamp = Timestamp {
    sec: 1_780_000_000,
    nsec: 123_456_789,
};
pub const ROOT: InodeNumber = InodeNumber::ROOT;

/// An image file that goes away with the value.
pub struct Image(pub PathBuf);

impl Image {
    pub fn new(bytes: &[u8]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "{}-{}.img",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, bytes).unwrap();
        Image(path)
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.0).unwrap()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Run one of e2fsprogs, which may lie in a directory that is not in every user's PATH.
pub fn tool(program: &str, args: &[&str], image: &Image) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new(program)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .args(args)
        .arg(&image.0)
        .output()
        .unwrap_or_else(|error| panic!("{program} (package e2fsprogs): {error}"))
}

pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// `e2fsck -fn` must find nothing.
pub fn assert_clean(bytes: &[u8]) {
    let image = Image::new(bytes);
    let output = tool("e2fsck", &["-fn"], &image);
    if output.status.code() != Some(0) {
        let kept = image.0.with_extension("kept");
        std::fs::copy(&image.0, &kept).unwrap();
        panic!("{}\nimage kept as {}", text(&output), kept.display());
    }
}

/// A new file system in memory.
pub fn mkfs(size: usize, options: &MkfsOptions) -> Fs {
    let options = MkfsOptions {
        now: NOW,
        ..*options
    };
    Ext2::mkfs(MemoryDevice::new(size), &options).unwrap()
}

pub fn unmount(mut fs: Fs) -> Vec<u8> {
    fs.unmount(NOW).unwrap();
    fs.into_device().bytes
}

pub fn mount(bytes: Vec<u8>) -> Result<Fs, FsError> {
    Ext2::mount(MemoryDevice { bytes }, Access::ReadWrite, NOW)
}

/// The inode at an absolute path.
pub fn walk<D: BlockDevice>(fs: &mut Ext2<D>, path: &str) -> Result<InodeNumber, Error<D::Error>> {
    let mut at = ROOT;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        at = fs.lookup(at, name.as_bytes())?;
    }
    Ok(at)
}

/// All contents of a file.
pub fn read<D: BlockDevice>(
    fs: &mut Ext2<D>,
    ino: InodeNumber,
) -> Result<Vec<u8>, Error<D::Error>> {
    let size = fs.inode(ino)?.size;
    let mut bytes = vec![0; size as usize];
    let len = fs.read_at(ino, 0, &mut bytes)?;
    assert_eq!(len, bytes.len());
    Ok(bytes)
}

/// A regular file with contents.
pub fn put<D: BlockDevice>(
    fs: &mut Ext2<D>,
    dir: InodeNumber,
    name: &str,
    contents: &[u8],
) -> Result<InodeNumber, Error<D::Error>> {
    let ino = fs.create(dir, name.as_bytes(), &NewInode::file(0o644), NOW)?;
    fs.write_at(ino, 0, contents, NOW)?;
    Ok(ino)
}

/// An entry: name, inode, kind.
pub type Listed = (String, InodeNumber, Option<FileKind>);

/// Names and inodes in a directory, without `.` and `..`, in order of names.
pub fn list<D: BlockDevice>(
    fs: &mut Ext2<D>,
    dir: InodeNumber,
) -> Result<Vec<Listed>, Error<D::Error>> {
    let mut names = Vec::new();
    fs.readdir(dir, 0, |entry| {
        if entry.name != b"." && entry.name != b".." {
            names.push((
                String::from_utf8_lossy(entry.name).into_owned(),
                entry.inode,
                entry.kind,
            ));
        }
        true
    })?;
    names.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(names)
}

/// Bytes that differ from file to file.
pub fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// A write that went to a device.
#[derive(Clone)]
pub struct Write {
    pub offset: u64,
    pub data: Vec<u8>,
}

/// A memory device that remembers its writes, in order; shared between its clones.
#[derive(Clone)]
pub struct LogDevice {
    pub bytes: Rc<RefCell<Vec<u8>>>,
    pub log: Rc<RefCell<Vec<Write>>>,
}

impl LogDevice {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes: Rc::new(RefCell::new(bytes)),
            log: Rc::default(),
        }
    }
}

impl BlockDevice for LogDevice {
    type Error = OutOfRange;

    fn size(&self) -> u64 {
        self.bytes.borrow().len() as u64
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), OutOfRange> {
        let start = offset as usize;
        buffer.copy_from_slice(&self.bytes.borrow()[start..start + buffer.len()]);
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), OutOfRange> {
        let start = offset as usize;
        self.bytes.borrow_mut()[start..start + data.len()].copy_from_slice(data);
        self.log.borrow_mut().push(Write {
            offset,
            data: data.to_vec(),
        });
        Ok(())
    }

    fn flush(&mut self) -> Result<(), OutOfRange> {
        Ok(())
    }
}
