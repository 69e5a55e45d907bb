//! System V objects.

use libc::*;

/// Make an object for this user.
pub const CREATE: i32 = IPC_CREAT | 0o600;

/// A System V object, removed when dropped.
pub struct Object {
    /// Its number.
    pub id: usize,
    /// Removes it.
    pub remove: fn(usize),
}

impl Drop for Object {
    fn drop(&mut self) {
        (self.remove)(self.id);
    }
}

/// A key that no other test uses.
pub fn key() -> i32 {
    0x6767_0000 | std::process::id() as i32 & 0xffff
}
