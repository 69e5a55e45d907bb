//! Block devices, whatever drives them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::errno::KResult;
use crate::sync::SpinLock;

/// Bytes of the unit in which block devices are addressed.
pub const SECTOR: usize = 512;

/// A device of numbered sectors of [`SECTOR`] bytes.
///
/// A request is carried out before the call returns. Buffers lie in the direct map (frames or
/// heap), and their lengths are multiples of [`SECTOR`].
pub trait BlockDevice: Send + Sync {
    /// Its name in `/dev`.
    fn name(&self) -> &str;

    /// Number of sectors.
    fn sectors(&self) -> u64;

    /// Whether writes fail.
    fn read_only(&self) -> bool;

    /// The most buffers that one request takes.
    fn max_segments(&self) -> usize;

    /// Fill `buffers`, one after the other, from `sector` on. EIO.
    fn read(&self, sector: u64, buffers: &mut [&mut [u8]]) -> KResult<()>;

    /// Store `buffers`, one after the other, from `sector` on. EIO, EROFS.
    fn write(&self, sector: u64, buffers: &[&[u8]]) -> KResult<()>;

    /// Return when everything written before is on stable storage. EIO.
    fn flush(&self) -> KResult<()>;
}

static DISKS: SpinLock<Vec<Arc<dyn BlockDevice>>> = SpinLock::new(Vec::new());

/// Make a device known.
pub(super) fn register(disk: Arc<dyn BlockDevice>) {
    DISKS.lock().push(disk);
}

/// How many devices are known.
pub fn count() -> usize {
    DISKS.lock().len()
}

/// The devices, in the order of the command line: the first is the root disk.
pub fn all() -> Vec<Arc<dyn BlockDevice>> {
    DISKS.lock().clone()
}

/// The device called `name` (`vda`).
pub fn by_name(name: &str) -> Option<Arc<dyn BlockDevice>> {
    DISKS
        .lock()
        .iter()
        .find(|disk| disk.name() == name)
        .cloned()
}
