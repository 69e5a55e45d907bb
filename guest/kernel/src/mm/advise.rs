//! What programs say about the use of their memory (`madvise(2)`).

use super::area::{Area, OnFork, Source};
use super::map::check_range;
use super::space::AddressSpace;
use crate::errno::{Errno, KResult};

impl AddressSpace {
    /// `madvise`. `DONTNEED` and `FREE` drop private pages, `DONTFORK` and `WIPEONFORK` say what fork
    /// does, and `DOFORK` and `KEEPONFORK` that it copies; other known advice is accepted.
    /// `ENOMEM`: part of the range is not mapped. `EINVAL`: unknown advice, not aligned, or not
    /// private anonymous memory (`WIPEONFORK`).
    pub fn advise(&self, address: usize, len: usize, advice: usize) -> KResult<()> {
        const DONTNEED: usize = 4;
        const FREE: usize = 8;
        const DONTFORK: usize = 10;
        const DOFORK: usize = 11;
        const WIPEONFORK: usize = 18;
        const KEEPONFORK: usize = 19;
        let end = check_range(address, len).map_err(|_| Errno::EINVAL)?;
        match advice {
            DONTFORK | DOFORK | WIPEONFORK | KEEPONFORK => {
                let on_fork = match advice {
                    DONTFORK => OnFork::Omit,
                    WIPEONFORK => OnFork::Wipe,
                    _ => OnFork::Copy,
                };
                let mut inner = self.inner.lock();
                let private = |area: &Area| matches!(area.source, Source::Anonymous);
                if on_fork == OnFork::Wipe && !inner.overlapping(address, end).all(private) {
                    return Err(Errno::EINVAL);
                }
                inner.mark(address, end, |area| area.on_fork = on_fork)
            }
            // NORMAL … WILLNEED, MERGEABLE … DODUMP, COLD, PAGEOUT: hints.
            0..=3 | 10..=21 => self.inner.lock().require_mapped(address, end),
            DONTNEED | FREE => self.inner.lock().discard(address, end),
            _ => Err(Errno::EINVAL),
        }
    }
}
