//! Cutting files: what is cut off is gone for those who map it, too.

use alloc::sync::Arc;

use super::Inode;
use super::cache::PAGE;
use crate::errno::KResult;
use crate::mm;

/// Set the length of a file. Whoever maps pages beyond it gets SIGBUS there from now on, or fresh
/// pages if the file grows again. The errors of [`Inode::truncate`].
pub fn truncate(inode: &Arc<dyn Inode>, size: u64) -> KResult<()> {
    let first = size.div_ceil(PAGE as u64);
    let end = inode.size().div_ceil(PAGE as u64);
    let mut mapped = false;
    if first < end {
        inode.cached_pages(first, end, &mut |_, frame| mapped |= frame.refcount() > 1);
    }
    inode.truncate(size)?;
    if mapped {
        mm::unmap_cut(inode, first);
    }
    Ok(())
}
