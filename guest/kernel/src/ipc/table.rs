//! The objects of one kind: by key and by number.
//!
//! A number is an index and, above it, a count that changes each time the index is used anew, so
//! that the number of an object that has gone is not taken for its successor's.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::perm::Perm;
use super::{CREATE, EXCLUSIVE};
use crate::errno::{Errno, KResult};
use crate::sync::SpinLock;

/// Bits of the index in a number.
pub const INDEX_BITS: u32 = 15;
/// The count above it wraps so that numbers stay positive.
const MAX_SEQUENCE: u32 = 1 << (31 - INDEX_BITS);

/// An object in a table.
pub trait Object: Send + Sync {
    /// Owners and permissions, now.
    fn perm(&self) -> Perm;
    /// Whether it serves a request for `size`. EINVAL.
    fn check_size(&self, size: usize) -> KResult<()>;
}

struct Slot<T> {
    sequence: u32,
    object: Option<Arc<T>>,
}

/// Objects of one kind.
pub struct Table<T> {
    slots: SpinLock<Vec<Slot<T>>>,
    most: usize,
}

impl<T: Object> Table<T> {
    /// An empty table for at most `most` objects.
    pub const fn new(most: usize) -> Self {
        Self {
            slots: SpinLock::new(Vec::new()),
            most,
        }
    }

    /// The number of the object with `key` (0: a new one), made by `make` if it does not exist and
    /// `flags` say so.
    ///
    /// # Errors
    /// EEXIST, ENOENT, EACCES, EINVAL: too small. ENOSPC: no room. Those of `make`.
    pub fn get(
        &self,
        key: i32,
        size: usize,
        flags: usize,
        make: impl FnOnce(Perm) -> KResult<T>,
    ) -> KResult<usize> {
        if key != 0
            && let Some((id, object)) = self.find_key(key)
        {
            if flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE {
                return Err(Errno::EEXIST);
            }
            object.perm().check(flags as u32 & 0o777)?;
            object.check_size(size)?;
            return Ok(id as usize);
        }
        if key != 0 && flags & CREATE == 0 {
            return Err(Errno::ENOENT);
        }
        let object = Arc::new(make(Perm::new(key, flags as u32))?);
        let mut slots = self.slots.lock();
        let index = match slots.iter().position(|slot| slot.object.is_none()) {
            Some(index) => index,
            None if slots.len() >= self.most => return Err(Errno::ENOSPC),
            None => {
                slots.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                slots.push(Slot {
                    sequence: 0,
                    object: None,
                });
                slots.len() - 1
            }
        };
        slots[index].object = Some(object);
        Ok((slots[index].sequence << INDEX_BITS) as usize | index)
    }

    fn find_key(&self, key: i32) -> Option<(u32, Arc<T>)> {
        self.all()
            .into_iter()
            .find(|(_, object)| object.perm().key == key)
    }

    /// The object with number `id`. EINVAL.
    pub fn find(&self, id: usize) -> KResult<Arc<T>> {
        let id = u32::try_from(id as i32).map_err(|_| Errno::EINVAL)?;
        let slots = self.slots.lock();
        let slot = slots.get((id & ((1 << INDEX_BITS) - 1)) as usize);
        slot.filter(|slot| slot.sequence == id >> INDEX_BITS)
            .and_then(|slot| slot.object.clone())
            .ok_or(Errno::EINVAL)
    }

    /// The object at an index, with its number (`SHM_STAT` and its kind). EINVAL.
    pub fn at(&self, index: usize) -> KResult<(u32, Arc<T>)> {
        let slots = self.slots.lock();
        let slot = slots.get(index).ok_or(Errno::EINVAL)?;
        let object = slot.object.clone().ok_or(Errno::EINVAL)?;
        Ok((slot.sequence << INDEX_BITS | index as u32, object))
    }

    /// Take an object out; false: somebody else was quicker.
    pub fn remove(&self, object: &Arc<T>) -> bool {
        let mut slots = self.slots.lock();
        let found = slots.iter_mut().find(|slot| {
            let known = slot.object.as_ref();
            known.is_some_and(|known| Arc::ptr_eq(known, object))
        });
        let Some(slot) = found else {
            return false;
        };
        slot.sequence = (slot.sequence + 1) % MAX_SEQUENCE;
        let taken = slot.object.take();
        drop(slots);
        drop(taken);
        true
    }

    /// All objects with their numbers.
    pub fn all(&self) -> Vec<(u32, Arc<T>)> {
        let slots = self.slots.lock();
        let each = slots.iter().enumerate();
        each.filter_map(|(index, slot)| {
            let object = slot.object.clone()?;
            Some((slot.sequence << INDEX_BITS | index as u32, object))
        })
        .collect()
    }

    /// The highest index in use, 0 if there is none (what `IPC_INFO` gives).
    pub fn highest(&self) -> usize {
        let slots = self.slots.lock();
        slots
            .iter()
            .rposition(|slot| slot.object.is_some())
            .unwrap_or(0)
    }
}
