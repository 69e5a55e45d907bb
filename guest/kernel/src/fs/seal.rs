//! Seals of files in memory (`fcntl(2)`, `F_ADD_SEALS`): what nobody may do to the file any more.

use core::sync::atomic::{AtomicU32, Ordering};

use alloc::sync::Arc;

use super::{File, Inode, WriteBuf};
use crate::errno::{Errno, KResult};
use crate::mm;

/// No more seals.
const SEAL: u32 = 1;
/// The file cannot become shorter.
const SHRINK: u32 = 2;
/// The file cannot become longer.
const GROW: u32 = 4;
/// The contents cannot change.
const WRITE: u32 = 8;
/// The contents can be changed by mappings that there are, and by nothing else.
const FUTURE_WRITE: u32 = 16;
const KNOWN: u32 = 31;

/// The seals of one file.
pub struct Seals(AtomicU32);

impl Seals {
    /// What files have that are no `memfd`: no seal can be added.
    pub const fn closed() -> Self {
        Self(AtomicU32::new(SEAL))
    }

    /// Let seals be added (`MFD_ALLOW_SEALING`).
    pub fn allow(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn has(&self, seals: u32) -> bool {
        self.0.load(Ordering::Relaxed) & seals != 0
    }

    /// Whether a mapping that could be written to is refused.
    pub fn forbid_mapping(&self) -> bool {
        self.has(WRITE | FUTURE_WRITE)
    }

    /// Check a write at `offset` to a file of `size` bytes, and cut it where it would let the file grow.
    /// EPERM.
    pub fn check_write(&self, offset: u64, size: u64, buf: &mut WriteBuf<'_>) -> KResult<()> {
        if !self.has(WRITE | FUTURE_WRITE | GROW) {
            return Ok(());
        }
        if self.has(WRITE | FUTURE_WRITE) || offset >= size {
            return Err(Errno::EPERM);
        }
        buf.limit(size - offset);
        Ok(())
    }

    /// Check a change of the file's length. EPERM.
    pub fn check_size(&self, old: u64, new: u64) -> KResult<()> {
        if (new < old && self.has(SHRINK)) || (new > old && self.has(GROW)) {
            return Err(Errno::EPERM);
        }
        Ok(())
    }
}

fn of(inode: &Arc<dyn Inode>) -> KResult<&Seals> {
    inode.seals().ok_or(Errno::EINVAL)
}

/// `F_GET_SEALS`. EINVAL: the file cannot have any.
pub fn get(file: &File) -> KResult<u32> {
    Ok(of(file.inode())?.0.load(Ordering::Relaxed))
}

/// `F_ADD_SEALS`. EINVAL, EPERM: the file is open for reading only, or has the last seal; EBUSY: it is
/// not to be written to, but somebody maps it so that it could be.
pub fn add(file: &File, seals: u32) -> KResult<()> {
    let own = of(file.inode())?;
    if !file.flags().writable() {
        return Err(Errno::EPERM);
    }
    if seals & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    if own.has(SEAL) {
        return Err(Errno::EPERM);
    }
    if seals & WRITE != 0 && !own.has(WRITE) && mm::is_mapped_writable(file.inode()) {
        return Err(Errno::EBUSY);
    }
    own.0.fetch_or(seals, Ordering::Relaxed);
    Ok(())
}
