//! Who a process acts for (`credentials(7)`).

use alloc::sync::Arc;

/// Highest capability (`CAP_LAST_CAP`, `capabilities(7)`).
pub const CAP_LAST: u32 = 40;

/// User and group ids of a process. Root (effective uid 0) stands for all capabilities.
#[derive(Clone, Debug)]
pub struct Creds {
    /// Real user id.
    pub uid: u32,
    /// Effective user id: what permission checks go by.
    pub euid: u32,
    /// Saved set-user id.
    pub suid: u32,
    /// User id for file access; follows `euid`.
    pub fsuid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Saved set-group id.
    pub sgid: u32,
    /// Group id for file access; follows `egid`.
    pub fsgid: u32,
    /// Supplementary groups.
    pub groups: Arc<[u32]>,
}

impl Creds {
    /// Root's, without supplementary groups.
    pub fn root() -> Self {
        Self {
            uid: 0,
            euid: 0,
            suid: 0,
            fsuid: 0,
            gid: 0,
            egid: 0,
            sgid: 0,
            fsgid: 0,
            groups: Arc::new([]),
        }
    }

    /// Whether the process may do what only root may.
    #[inline]
    pub fn is_privileged(&self) -> bool {
        self.euid == 0
    }

    /// The capabilities that go with the user, one bit each (`capabilities(7)`): all, or none.
    pub fn capabilities(&self) -> u64 {
        const ALL: u64 = (1 << (CAP_LAST + 1)) - 1;
        if self.is_privileged() { ALL } else { 0 }
    }
}
