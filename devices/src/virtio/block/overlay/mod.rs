//! A disk in memory: an image that is never changed, and what the guest has written over it.

use std::io;

use vm_memory::{Bytes, GuestMemoryBackend, MmapRegion, VolatileMemory, VolatileSlice};

use super::{BlockBackend, SECTOR};
use crate::GuestMemory;
use crate::virtio::queue::Segment;

/// The unit in which the overlay takes the image's place, in bytes.
const BLOCK: u64 = 4096;

/// Bytes of the image that are read before its memory is given back. The host maps 16 pages around
/// each one that is touched, so that few bytes make many resident.
const LET_GO_AFTER: usize = 32 << 10;

/// What follows the image.
static ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];

/// A copy-on-write disk. The image is a prefix of the disk; what follows it reads as zeros.
///
/// Writes cost memory only for the blocks written; they are gone when the disk is dropped.
pub struct Overlay {
    image: &'static [u8],
    size: u64,
    /// Reserved at the first write.
    written: Option<Written>,
    /// How the image's memory is given back.
    let_go: Option<fn()>,
    /// Bytes of the image read since then.
    read: usize,
}

/// The blocks written.
struct Written {
    /// Each at its own offset; backed by memory only where touched.
    region: MmapRegion,
    /// Bit n: block n is in `region`.
    map: Vec<u64>,
}

impl Overlay {
    /// A disk of `size` bytes that begins with `image`: the size is rounded up to whole sectors,
    /// and to the image's length where it is less.
    pub fn new(image: &'static [u8], size: u64) -> Self {
        let size = size.max(image.len() as u64);
        Self {
            image,
            size: size
                .checked_next_multiple_of(SECTOR)
                .unwrap_or(size / SECTOR * SECTOR),
            written: None,
            let_go: None,
            read: 0,
        }
    }

    /// The image can be had again from where it comes from: `let_go` gives its memory back to the
    /// host, and is called now and then.
    pub fn letting_go(mut self, let_go: fn()) -> Self {
        self.let_go = Some(let_go);
        self
    }
}

impl Written {
    fn reserve(size: u64) -> io::Result<Self> {
        let len = size
            .checked_next_multiple_of(BLOCK)
            .and_then(|len| usize::try_from(len).ok())
            .ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            region: MmapRegion::new(len).map_err(io::Error::other)?,
            map: vec![0; len.div_ceil(64 * BLOCK as usize)],
        })
    }

    fn has(&self, block: u64) -> bool {
        self.map[(block / 64) as usize] & 1 << (block % 64) != 0
    }

    /// The `len` bytes at `offset` on the disk; within it, and within one block.
    fn at(&self, offset: u64, len: usize) -> io::Result<VolatileSlice<'_>> {
        self.region
            .get_slice(offset as usize, len)
            .map_err(io::Error::other)
    }

    /// Take over the block at `offset` from `image`, unless that has been done.
    fn take_over(&mut self, image: &[u8], offset: u64) -> io::Result<()> {
        let block = offset / BLOCK;
        if !self.has(block) {
            let start = block * BLOCK;
            let old = image_at(image, start, BLOCK as usize);
            self.at(start, old.len())?.copy_from(old);
            self.map[(block / 64) as usize] |= 1 << (block % 64);
        }
        Ok(())
    }
}

/// The part of the image at `offset`, at most `len` bytes; empty past its end.
fn image_at(image: &[u8], offset: u64, len: usize) -> &[u8] {
    let rest = usize::try_from(offset)
        .ok()
        .and_then(|offset| image.get(offset..))
        .unwrap_or_default();
    &rest[..rest.len().min(len)]
}

/// Call `each` for the pieces of `segments` that lie within one block of the disk from `offset`
/// on: where in guest memory, and where on the disk.
fn pieces<'m>(
    mem: &'m GuestMemory,
    segments: &[Segment],
    mut offset: u64,
    mut each: impl FnMut(VolatileSlice<'m>, u64) -> io::Result<()>,
) -> io::Result<()> {
    for segment in segments {
        for slice in mem.get_slices(segment.addr, segment.len as usize) {
            let mut rest = slice.map_err(io::Error::other)?;
            while !rest.is_empty() {
                let len = rest.len().min((BLOCK - offset % BLOCK) as usize);
                let (piece, tail) = rest.split_at(len).map_err(io::Error::other)?;
                each(piece, offset)?;
                rest = tail;
                offset += len as u64;
            }
        }
    }
    Ok(())
}

impl BlockBackend for Overlay {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&mut self, mem: &GuestMemory, segments: &[Segment], offset: u64) -> io::Result<()> {
        let mut read = 0;
        pieces(mem, segments, offset, |piece, offset| match &self.written {
            Some(written) if written.has(offset / BLOCK) => {
                written
                    .at(offset, piece.len())?
                    .copy_to_volatile_slice(piece);
                Ok(())
            }
            _ => {
                let old = image_at(self.image, offset, piece.len());
                read += old.len();
                piece
                    .write_slice(old, 0)
                    .and_then(|()| piece.write_slice(&ZEROS[old.len()..piece.len()], old.len()))
                    .map_err(io::Error::other)
            }
        })?;
        self.read += read;
        if let Some(let_go) = self.let_go.filter(|_| self.read >= LET_GO_AFTER) {
            let_go();
            self.read = 0;
        }
        Ok(())
    }

    fn write(&mut self, mem: &GuestMemory, segments: &[Segment], offset: u64) -> io::Result<()> {
        let written = match &mut self.written {
            Some(written) => written,
            none => none.insert(Written::reserve(self.size)?),
        };
        pieces(mem, segments, offset, |piece, offset| {
            written.take_over(self.image, offset)?;
            piece.copy_to_volatile_slice(written.at(offset, piece.len())?);
            Ok(())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
