//! The ELF file of a core image.
//!
//! ```text
//! ELF header │ program headers: PT_NOTE, one PT_LOAD an area │ notes │ (page) │ memory
//! ```
//!
//! What of an area is in the file follows Linux's default filter (`core(5)`, coredump_filter 0x33):
//! anonymous memory, private or shared; file mappings that the program has written to, whole; of
//! others only the first page, if that is an ELF header. Pages that were never touched are holes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::notes::Notes;
use crate::errno::{Errno, KResult};
use crate::fs::{Inode, WriteBuf};
use crate::mm::AddressSpace;
use crate::mm::Prot;
use crate::mm::area::AreaInfo;
use crate::mm::layout::PAGE;
use crate::task::signal::SigInfo;
use crate::task::{Task, current_process};

/// Bytes of the ELF header and of a program header.
const EHDR: usize = 64;
const PHDR: usize = 56;
const ET_CORE: u16 = 4;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// More program headers than 16 bits count (`PN_XNUM`).
const MAX_HEADERS: usize = 0xffff;

/// A program header.
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

impl Segment {
    fn append(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.kind.to_le_bytes());
        bytes.extend_from_slice(&self.flags.to_le_bytes());
        for word in [
            self.offset,
            self.address,
            0,
            self.file_size,
            self.memory_size,
            self.align,
        ] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
}

fn header(count: usize) -> [u8; EHDR] {
    let mut bytes = [0; EHDR];
    bytes[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
    let mut put16 = |at: usize, value: u16| bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    put16(16, ET_CORE);
    put16(18, EM_X86_64);
    // e_version, e_phoff.
    put16(20, 1);
    put16(32, EHDR as u16);
    put16(52, EHDR as u16);
    put16(54, PHDR as u16);
    put16(56, count as u16);
    bytes
}

/// Where an image is written to, up to a limit.
struct Sink<'a> {
    inode: &'a dyn Inode,
    limit: u64,
}

impl Sink<'_> {
    fn write(&self, offset: u64, mut bytes: &[u8]) -> KResult<()> {
        let room = self.limit.saturating_sub(offset);
        let whole = bytes.len() as u64 <= room;
        if !whole {
            bytes = &bytes[..room as usize];
        }
        let mut buffer = WriteBuf::kernel(bytes);
        let mut at = offset;
        while buffer.remaining() > 0 {
            match self.inode.write_at(at, &mut buffer)? {
                0 => return Err(Errno::ENOSPC),
                done => at += done as u64,
            }
        }
        if whole { Ok(()) } else { Err(Errno::EFBIG) }
    }
}

/// Bytes of an area that are in the file.
fn dumped(space: &AddressSpace, area: &AreaInfo) -> usize {
    const MAGIC: &[u8] = b"\x7fELF";
    if area.inode.is_none() || (area.private_pages && !area.shared) {
        return area.end - area.start;
    }
    let mut start = [0; MAGIC.len()];
    let is_header = !area.shared
        && area.offset == 0
        && area.prot.contains(Prot::READ)
        && space.read_remote(area.start, &mut start, false) == start.len()
        && start == MAGIC;
    if is_header { PAGE } else { 0 }
}

/// Write the image of the running process to an empty file, up to `limit` bytes.
///
/// # Errors
/// ENOMEM: memory is short. EFBIG: the limit was reached. ENOSPC, EIO: the file's.
pub fn write(inode: &dyn Inode, info: &SigInfo, others: &[Arc<Task>], limit: u64) -> KResult<()> {
    let process = current_process();
    let space = process.own_space().ok_or(Errno::EINVAL)?;
    let areas = space.areas();
    if areas.len() + 1 >= MAX_HEADERS {
        return Err(Errno::EFBIG);
    }
    let notes = Notes::collect(info, others, &areas)?;
    let count = areas.len() + 1;
    let notes_at = EHDR + count * PHDR;
    let mut offset = (notes_at + notes.bytes.len()).next_multiple_of(PAGE) as u64;
    let mut start = Vec::new();
    start
        .try_reserve_exact(notes_at)
        .map_err(|_| Errno::ENOMEM)?;
    start.extend_from_slice(&header(count));
    Segment {
        kind: PT_NOTE,
        flags: 0,
        offset: notes_at as u64,
        address: 0,
        file_size: notes.bytes.len() as u64,
        memory_size: 0,
        align: 4,
    }
    .append(&mut start);
    let mut parts = Vec::new();
    parts
        .try_reserve_exact(areas.len())
        .map_err(|_| Errno::ENOMEM)?;
    for area in &areas {
        let size = dumped(space, area);
        let flag = |prot, bit: u32| if area.prot.contains(prot) { bit } else { 0 };
        Segment {
            kind: PT_LOAD,
            flags: flag(Prot::READ, 4) | flag(Prot::WRITE, 2) | flag(Prot::EXEC, 1),
            offset,
            address: area.start as u64,
            file_size: size as u64,
            memory_size: (area.end - area.start) as u64,
            align: PAGE as u64,
        }
        .append(&mut start);
        parts.push((area, offset, size));
        offset += size as u64;
    }
    let sink = Sink { inode, limit };
    sink.write(0, &start)?;
    sink.write(notes_at as u64, &notes.bytes)?;
    let mut page = [0; PAGE];
    for (area, at, size) in parts {
        for step in (0..size).step_by(PAGE) {
            if space.read_touched(area.start + step, &mut page) && page.iter().any(|&b| b != 0) {
                sink.write(at + step as u64, &page)?;
            }
        }
    }
    // What comes last may have been a hole.
    inode.truncate(offset.min(limit))
}
