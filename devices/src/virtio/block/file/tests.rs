//! Tests of disks in files.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;

use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::virtio::testing::{BUFFERS, HIGH_START, memory};

/// A file that is removed at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let name = format!("gnomon-disk-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, bytes).unwrap();
        Self(path)
    }

    fn open(&self) -> DiskFile {
        DiskFile::open(&self.0, false).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn segments(parts: &[(u64, u32)]) -> Vec<Segment> {
    let segment = |&(addr, len)| Segment {
        addr: GuestAddress(addr),
        len,
    };
    parts.iter().map(segment).collect()
}

#[test]
fn written_bytes_are_in_the_file_at_once() {
    let file = Scratch::new("write", &[1; 4096]);
    let (mut disk, mem) = (file.open(), memory());
    mem.write_slice(&[2; 512], GuestAddress(BUFFERS)).unwrap();
    mem.write_slice(&[3; 512], GuestAddress(HIGH_START))
        .unwrap();
    disk.write(&mem, &segments(&[(BUFFERS, 512), (HIGH_START, 512)]), 1024)
        .unwrap();
    // The disk is still open, and nothing was flushed.
    let bytes = fs::read(&file.0).unwrap();
    assert!(bytes[..1024] == [1; 1024] && bytes[2048..] == [1; 2048]);
    assert!(bytes[1024..1536] == [2; 512] && bytes[1536..2048] == [3; 512]);
}

#[test]
fn bytes_are_read_into_many_segments() {
    let bytes: Vec<u8> = (0..100 * 512).map(|i| (i / 5) as u8).collect();
    let file = Scratch::new("read", &bytes);
    let (mut disk, mem) = (file.open(), memory());
    let parts: Vec<(u64, u32)> = (0..200).map(|i| (BUFFERS + 512 * i, 256)).collect();
    disk.read(&mem, &segments(&parts), 0).unwrap();
    let mut read = vec![0; bytes.len()];
    for (piece, (addr, _)) in read.chunks_mut(256).zip(parts) {
        mem.read_slice(piece, GuestAddress(addr)).unwrap();
    }
    assert!(read == bytes);
}

#[test]
fn flush_succeeds() {
    let file = Scratch::new("flush", &[0; 512]);
    file.open().flush().unwrap();
}

#[test]
fn file_that_has_become_shorter_is_an_error() {
    let file = Scratch::new("shrunk", &[0; 4096]);
    let (mut disk, mem) = (file.open(), memory());
    fs::OpenOptions::new()
        .write(true)
        .open(&file.0)
        .unwrap()
        .set_len(512)
        .unwrap();
    let error = disk
        .read(&mem, &segments(&[(BUFFERS, 1024)]), 0)
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn segment_outside_memory_is_an_error() {
    let file = Scratch::new("outside", &[0; 4096]);
    let mut disk = file.open();
    let result = disk.read(&memory(), &segments(&[(HIGH_START - 512, 1024)]), 0);
    assert!(result.is_err());
}

#[test]
fn missing_file_is_named() {
    let error = DiskFile::open(Path::new("/nowhere/disk.img"), false).unwrap_err();
    assert!(error.to_string().contains("/nowhere/disk.img"));
}

#[test]
fn directory_is_refused() {
    let error = DiskFile::open(Path::new("/"), true).unwrap_err();
    assert!(matches!(error, DiskError::Kind(_)));
}

#[test]
fn character_device_is_refused() {
    let error = DiskFile::open(Path::new("/dev/null"), false).unwrap_err();
    assert!(matches!(error, DiskError::Kind(_)));
}

#[test]
fn empty_file_is_refused() {
    let file = Scratch::new("empty", &[]);
    let error = DiskFile::open(&file.0, false).unwrap_err();
    assert!(matches!(error, DiskError::Empty(_)));
}

#[test]
fn truncated_file_is_refused() {
    let file = Scratch::new("truncated", &[0; 1000]);
    let error = DiskFile::open(&file.0, false).unwrap_err();
    assert!(matches!(error, DiskError::Sectors { size: 1000, .. }));
}

#[test]
fn disk_in_use_is_refused() {
    let file = Scratch::new("locked", &[0; 512]);
    let _first = file.open();
    for read_only in [false, true] {
        let error = DiskFile::open(&file.0, read_only).unwrap_err();
        assert!(matches!(error, DiskError::Locked(_)));
    }
}

#[test]
fn read_only_disk_is_shared() {
    let file = Scratch::new("shared", &[0; 512]);
    let _first = DiskFile::open(&file.0, true).unwrap();
    assert!(DiskFile::open(&file.0, true).unwrap().read_only());
}

#[test]
fn errors_take_one_line() {
    let file = Scratch::new("line", b"short");
    let message = DiskFile::open(&file.0, false).unwrap_err().to_string();
    assert_eq!(message.lines().count(), 1);
}

#[test]
fn write_past_a_hole_leaves_a_sparse_file_readable() {
    let file = Scratch::new("sparse", &[]);
    let handle = fs::OpenOptions::new().write(true).open(&file.0).unwrap();
    handle.set_len(1 << 30).unwrap();
    handle.write_all_at(b"x", (1 << 30) - 1).unwrap();
    (&handle).flush().unwrap();
    let (mut disk, mem) = (file.open(), memory());
    disk.read(&mem, &segments(&[(BUFFERS, 512)]), (1 << 30) - 512)
        .unwrap();
    let last: u8 = mem.read_obj(GuestAddress(BUFFERS + 511)).unwrap();
    assert_eq!(last, b'x');
}

#[test]
fn transfer_goes_on_where_the_host_stopped() {
    let mut batch = Batch::new();
    for piece in &mut batch.pieces[..3] {
        piece.iov_len = 10;
    }
    batch.len = 3;
    let mut state = |done| {
        batch.advance(done);
        let piece = batch.pieces[batch.first];
        (batch.first, piece.iov_base as usize, piece.iov_len)
    };
    assert_eq!(state(4), (0, 4, 6));
    assert_eq!(state(6), (1, 0, 10));
    assert_eq!(state(13), (2, 3, 7));
    assert_eq!(state(7).0, 3);
}
