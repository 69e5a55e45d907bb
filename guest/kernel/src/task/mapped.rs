//! The names of files that a process has mapped, for `/proc` and core images.
//!
//! An area knows its inode, not the name by which it was opened: that would cost every mapping and
//! every fork. The name is looked for when somebody asks: that of the program, of a file that the
//! process has open, or one that was used not long ago.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Process;
use crate::fs::{self, Dentry, Inode};

/// The path of a mapped file, as far as it is known.
pub fn path(process: &Process, inode: &Arc<dyn Inode>) -> Option<Vec<u8>> {
    let same = |dentry: &Arc<Dentry>| dentry.inode().is_some_and(|i| Arc::ptr_eq(i, inode));
    let exe = process.exe.lock().clone();
    if let Some(exe) = exe.filter(same) {
        return Some(exe.display_path());
    }
    let open = process
        .files
        .lock()
        .iter()
        .find_map(|(_, file)| file.dentry().filter(|dentry| same(dentry)).cloned());
    let dentry = open.or_else(|| fs::recent_name(inode))?;
    Some(dentry.display_path())
}
