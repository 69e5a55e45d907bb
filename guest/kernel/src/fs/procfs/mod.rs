//! `/proc`.

use alloc::sync::Arc;

use super::FileSystem;
use super::tmpfs::TmpFs;

/// A `/proc`.
pub fn new() -> Arc<dyn FileSystem> {
    TmpFs::new(0o555)
}
