//! Which memory a user address is, whoever maps it: what futexes go by.

use alloc::sync::Arc;

use super::area::Source;
use super::space::AddressSpace;

impl AddressSpace {
    /// An object and an offset in it that name the word at `address`: the same in every address space
    /// that maps the same shared memory there, different for everything else.
    pub fn word_key(&self, address: usize) -> (usize, usize) {
        let mut inner = self.inner.lock();
        let area = inner.find(address).map(|index| &inner.areas[index]);
        match area {
            Some(area) if area.shared && area.start <= address => {
                let offset = area.offset as usize + (address - area.start);
                match &area.source {
                    Source::Shared(pages) => (Arc::as_ptr(pages) as usize, offset),
                    Source::File(inode) => (Arc::as_ptr(inode).cast::<()>() as usize, offset),
                    Source::Anonymous => (core::ptr::from_ref(self) as usize, address),
                }
            }
            _ => (core::ptr::from_ref(self) as usize, address),
        }
    }
}
