//! A process's file descriptors.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::File;
use crate::errno::{Errno, KResult};

#[derive(Clone)]
struct Slot {
    file: Arc<File>,
    cloexec: bool,
}

/// Descriptors of a process; shared with `CLONE_FILES`.
///
/// Removed files are handed to the caller, to be dropped *after* the table's lock has been
/// released: the last reference to a file may have to write to a device.
#[derive(Default)]
pub struct FdTable {
    slots: Vec<Option<Slot>>,
    /// No descriptor below this one is free.
    lowest_free: usize,
}

/// More descriptors than this no table holds, whatever RLIMIT_NOFILE says (`fs.nr_open`).
pub const MAX_FDS: usize = 1 << 16;

impl FdTable {
    /// An empty table.
    pub const fn new() -> Self {
        Self {
            slots: Vec::new(),
            lowest_free: 0,
        }
    }

    /// The file of `fd`. EBADF.
    #[inline]
    pub fn get(&self, fd: usize) -> KResult<Arc<File>> {
        match self.slots.get(fd) {
            Some(Some(slot)) => Ok(slot.file.clone()),
            _ => Err(Errno::EBADF),
        }
    }

    /// Give `file` the lowest free descriptor that is at least `min` and below `limit`
    /// (RLIMIT_NOFILE). EMFILE.
    pub fn install(
        &mut self,
        file: Arc<File>,
        cloexec: bool,
        min: usize,
        limit: usize,
    ) -> KResult<usize> {
        let mut fd = min.max(self.lowest_free);
        while self.slots.get(fd).is_some_and(Option::is_some) {
            fd += 1;
        }
        if fd >= limit.min(MAX_FDS) {
            return Err(Errno::EMFILE);
        }
        self.grow(fd)?;
        self.slots[fd] = Some(Slot { file, cloexec });
        if min <= self.lowest_free {
            self.lowest_free = fd + 1;
        }
        Ok(fd)
    }

    fn grow(&mut self, fd: usize) -> KResult<()> {
        if fd >= self.slots.len() {
            let more = (fd + 1).next_multiple_of(16) - self.slots.len();
            self.slots
                .try_reserve_exact(more)
                .map_err(|_| Errno::ENOMEM)?;
            self.slots.resize(self.slots.len() + more, None);
        }
        Ok(())
    }

    /// Make `fd` name `file` (`dup2`); gives the file it named before. EBADF if `fd` is not below
    /// `limit`.
    pub fn replace(
        &mut self,
        fd: usize,
        file: Arc<File>,
        cloexec: bool,
        limit: usize,
    ) -> KResult<Option<Arc<File>>> {
        if fd >= limit.min(MAX_FDS) {
            return Err(Errno::EBADF);
        }
        self.grow(fd)?;
        let old = self.slots[fd].replace(Slot { file, cloexec });
        if fd == self.lowest_free {
            self.lowest_free = fd + 1;
        }
        Ok(old.map(|slot| slot.file))
    }

    /// Close `fd`; the file is handed out. EBADF.
    pub fn remove(&mut self, fd: usize) -> KResult<Arc<File>> {
        let slot = self
            .slots
            .get_mut(fd)
            .and_then(Option::take)
            .ok_or(Errno::EBADF)?;
        self.lowest_free = self.lowest_free.min(fd);
        Ok(slot.file)
    }

    /// The close-on-exec flag. EBADF.
    pub fn cloexec(&self, fd: usize) -> KResult<bool> {
        match self.slots.get(fd) {
            Some(Some(slot)) => Ok(slot.cloexec),
            _ => Err(Errno::EBADF),
        }
    }

    /// Set the close-on-exec flag. EBADF.
    pub fn set_cloexec(&mut self, fd: usize, cloexec: bool) -> KResult<()> {
        match self.slots.get_mut(fd) {
            Some(Some(slot)) => {
                slot.cloexec = cloexec;
                Ok(())
            }
            _ => Err(Errno::EBADF),
        }
    }

    /// A copy for a forked child: the same descriptions under the same numbers. ENOMEM.
    pub fn fork(&self) -> KResult<Self> {
        let mut slots = Vec::new();
        slots
            .try_reserve_exact(self.slots.len())
            .map_err(|_| Errno::ENOMEM)?;
        slots.extend(self.slots.iter().cloned());
        Ok(Self {
            slots,
            lowest_free: self.lowest_free,
        })
    }

    /// Close what is marked close-on-exec; the files are handed out.
    #[must_use = "drop the files after the table's lock has been released"]
    pub fn close_on_exec(&mut self) -> Vec<Arc<File>> {
        self.take_if(|_, slot| slot.cloexec)
    }

    /// Close every descriptor (exit); the files are handed out.
    #[must_use = "drop the files after the table's lock has been released"]
    pub fn close_all(&mut self) -> Vec<Arc<File>> {
        self.take_if(|_, _| true)
    }

    /// Close the descriptors `first..=last` (`close_range(2)`); the files are handed out.
    #[must_use = "drop the files after the table's lock has been released"]
    pub fn close_range(&mut self, first: usize, last: usize) -> Vec<Arc<File>> {
        self.take_if(|fd, _| (first..=last).contains(&fd))
    }

    fn take_if(&mut self, pred: impl Fn(usize, &Slot) -> bool) -> Vec<Arc<File>> {
        let mut taken = Vec::new();
        for fd in 0..self.slots.len() {
            if self.slots[fd].as_ref().is_some_and(|slot| pred(fd, slot))
                && let Some(slot) = self.slots[fd].take()
            {
                self.lowest_free = self.lowest_free.min(fd);
                taken.push(slot.file);
            }
        }
        taken
    }

    /// The open descriptors with their files, in order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Arc<File>)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(fd, slot)| Some((fd, &slot.as_ref()?.file)))
    }

    /// Number of slots in use or kept for use: the size of the table (`FDSize` in
    /// `/proc/[pid]/status`).
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }
}
