//! Owners and permissions of System V objects (`struct ipc64_perm`).

use crate::errno::{Errno, KResult};
use crate::mm::user::Pod;
use crate::task;

/// Read permission for anybody who has it.
pub const READ: u32 = 0o444;
/// Write permission.
pub const WRITE: u32 = 0o222;
/// Execute permission.
pub const EXECUTE: u32 = 0o111;

/// Who made an object, whose it is, who may use it.
#[derive(Clone, Copy, Debug)]
pub struct Perm {
    /// The key; 0: none.
    pub key: i32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Who made it.
    pub cuid: u32,
    /// The maker's group.
    pub cgid: u32,
    /// Permission bits, and for shared memory flags above them.
    pub mode: u32,
}

impl Perm {
    /// Of an object that the running process makes.
    pub fn new(key: i32, mode: u32) -> Self {
        let creds = task::current_process().creds.lock();
        Self {
            key,
            uid: creds.euid,
            gid: creds.egid,
            cuid: creds.euid,
            cgid: creds.egid,
            mode: mode & 0o777,
        }
    }

    /// Whether the running process may do what the bits of `want` say (in any of their places).
    /// EACCES.
    pub fn check(&self, want: u32) -> KResult<()> {
        let creds = task::current_process().creds.lock();
        let wanted = want >> 6 | want >> 3 | want;
        let in_group = |gid: u32| creds.egid == gid || creds.groups.contains(&gid);
        let granted = if creds.euid == self.cuid || creds.euid == self.uid {
            self.mode >> 6
        } else if in_group(self.cgid) || in_group(self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        if wanted & !granted & 7 != 0 && !creds.is_privileged() {
            return Err(Errno::EACCES);
        }
        Ok(())
    }

    /// Whether the running process may change or remove the object. EPERM.
    pub fn check_owner(&self) -> KResult<()> {
        let creds = task::current_process().creds.lock();
        if creds.euid == self.cuid || creds.euid == self.uid || creds.is_privileged() {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// Take owner and permission bits from what a program gave (`IPC_SET`).
    pub fn set(&mut self, from: &PermRecord) {
        self.uid = from.uid;
        self.gid = from.gid;
        self.mode = self.mode & !0o777 | from.mode & 0o777;
    }

    /// As programs see it.
    pub fn record(&self, id: u32) -> PermRecord {
        PermRecord {
            key: self.key,
            uid: self.uid,
            gid: self.gid,
            cuid: self.cuid,
            cgid: self.cgid,
            mode: self.mode,
            seq: (id >> super::table::INDEX_BITS) as u16,
            ..PermRecord::default()
        }
    }
}

/// `struct ipc64_perm`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct PermRecord {
    key: i32,
    uid: u32,
    gid: u32,
    cuid: u32,
    cgid: u32,
    mode: u32,
    seq: u16,
    pad: [u16; 3],
    unused: [u64; 2],
}

// SAFETY: integers without implicit padding; any bit pattern is valid.
unsafe impl Pod for PermRecord {}

const _: () = assert!(size_of::<PermRecord>() == 48);
