//! What a true table page stands for, and the rights that its entries give.

use super::entry::{A, ADDRESS, D, NX, P, PS, U, W};
use super::walk::Mode;

/// Which of the guest's translations a table page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Class {
    /// Only what user mode may use. Shared by both views: the guest kernel uses them too, below
    /// the slots of its root whose PML4 entry is a user one.
    User,
    /// Everything; `user`: the levels above allow user mode (what SMEP depends on).
    Kernel {
        /// Accumulated U/S of the levels above.
        user: bool,
    },
    /// A large guest page in smaller pieces; `table` is the first frame of what it maps.
    Split {
        /// For a page of class `Kernel`.
        kernel: bool,
    },
}

impl Class {
    /// Whether only the kernel's view uses it.
    pub(super) fn is_kernel(self) -> bool {
        matches!(self, Class::Kernel { .. } | Class::Split { kernel: true })
    }

    /// Whether it is a large page in pieces.
    pub(super) fn is_split(self) -> bool {
        matches!(self, Class::Split { .. })
    }
}

/// The name of a table page: there is at most one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Role {
    /// gpa of the guest table that it shadows.
    pub(super) table: u64,
    /// 1: page table … 4: root.
    pub(super) level: u8,
    pub(super) class: Class,
}

impl Role {
    /// The role that the root of a view has.
    pub(super) fn root(cr3: u64, user_view: bool) -> Self {
        let class = if user_view {
            Class::User
        } else {
            Class::Kernel { user: true }
        };
        Role {
            table: cr3 & ADDRESS,
            level: 4,
            class,
        }
    }
}

/// The rights bits of a true entry made from the guest's `entry` in a table of `class`; `None`
/// where that class must not map it. `leaf`: the entry maps a page.
///
/// True entries are always accessed and dirty, so that neither the processor nor KVM ever writes
/// to them; a page that the guest's entry calls clean is mapped read-only until it is written.
pub(super) fn rights(mode: &Mode, class: Class, entry: u64, leaf: bool) -> Option<u64> {
    if entry & (P | A) != P | A {
        return None;
    }
    let (mut writable, no_execute) = match class {
        Class::User if entry & U == 0 => return None,
        Class::User => (entry & W != 0, entry & NX != 0),
        Class::Kernel { user } => (
            entry & W != 0 || !mode.wp,
            entry & NX != 0 || (leaf && mode.smep && user && entry & U != 0),
        ),
        Class::Split { .. } => (true, false),
    };
    let mut bits = P | U | A;
    if leaf {
        writable &= entry & D != 0;
        bits |= D;
    }
    if writable {
        bits |= W;
    }
    if no_execute {
        bits |= NX;
    }
    Some(bits)
}

/// The table that a link in a page of `role` leads to, and the link's bits without its address.
/// `private`: a root's slot that must not share the user's tables.
pub(super) fn child(mode: &Mode, role: Role, private: bool, entry: u64) -> Option<(Role, u64)> {
    let mut bits = rights(mode, role.class, entry, false)?;
    let class = match role.class {
        Class::Kernel { user } => {
            let user = user && entry & U != 0;
            if role.level == 4 && user && mode.wp && !private {
                // Everything below is for user mode, and unscanned: the kernel does not fetch from it.
                bits |= NX;
                Class::User
            } else {
                Class::Kernel { user }
            }
        }
        class => class,
    };
    Some((
        Role {
            table: entry & ADDRESS,
            level: role.level - 1,
            class,
        },
        bits,
    ))
}

/// Whether a true entry in a table of `level` points to another table.
pub(super) fn is_link(level: u8, value: u64) -> bool {
    value & P != 0 && level > 1 && value & PS == 0
}
