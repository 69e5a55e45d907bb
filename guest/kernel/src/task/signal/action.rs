//! What a process does when a signal arrives (`sigaction(2)`).

use super::set::{self, COUNT, SigSet};

/// Handler: the default action.
pub const SIG_DFL: usize = 0;
/// Handler: ignore.
pub const SIG_IGN: usize = 1;

/// No SIGCHLD when a child stops.
pub const SA_NOCLDSTOP: u64 = 1;
/// Children leave no zombies.
pub const SA_NOCLDWAIT: u64 = 2;
/// `restorer` is set (x86-64 demands it).
pub const SA_RESTORER: u64 = 0x0400_0000;
/// Run on the alternate stack.
pub const SA_ONSTACK: u64 = 0x0800_0000;
/// Restart interrupted system calls.
pub const SA_RESTART: u64 = 0x1000_0000;
/// Do not block the signal itself while its handler runs.
pub const SA_NODEFER: u64 = 0x4000_0000;
/// Back to the default action as the handler starts.
pub const SA_RESETHAND: u64 = 0x8000_0000;

/// `struct kernel_sigaction` of x86-64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SigAction {
    /// Address of the handler, [`SIG_DFL`] or [`SIG_IGN`].
    pub handler: usize,
    /// `SA_…`.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: usize,
    /// Signals blocked while the handler runs.
    pub mask: SigSet,
}

// SAFETY: integers without padding; any bit pattern is valid.
unsafe impl crate::mm::user::Pod for SigAction {}

impl SigAction {
    /// The default action.
    pub const DEFAULT: Self = Self {
        handler: SIG_DFL,
        flags: 0,
        restorer: 0,
        mask: 0,
    };

    /// Whether `signo` does nothing at all under this action.
    pub fn ignores(&self, signo: u32) -> bool {
        match self.handler {
            SIG_IGN => true,
            SIG_DFL => set::default_action(signo) == set::Default::Ignore,
            _ => false,
        }
    }

    /// Whether a handler is set.
    pub fn has_handler(&self) -> bool {
        self.handler > SIG_IGN
    }
}

/// The actions of a process for all signals.
#[derive(Clone)]
pub struct Actions([SigAction; COUNT as usize]);

impl Actions {
    /// All defaults.
    pub const fn new() -> Self {
        Self([SigAction::DEFAULT; COUNT as usize])
    }

    /// The action for a signal (1 to 64).
    #[inline]
    pub fn get(&self, signo: u32) -> &SigAction {
        &self.0[(signo - 1) as usize]
    }

    /// The action for a signal (1 to 64), to be changed.
    #[inline]
    pub fn get_mut(&mut self, signo: u32) -> &mut SigAction {
        &mut self.0[(signo - 1) as usize]
    }

    /// exec(2), and `CLONE_CLEAR_SIGHAND`: handlers belong to the old program; what is ignored stays
    /// ignored.
    pub fn reset_handlers(&mut self) {
        for action in &mut self.0 {
            *action = match action.handler {
                SIG_IGN => SigAction {
                    handler: SIG_IGN,
                    ..SigAction::DEFAULT
                },
                _ => SigAction::DEFAULT,
            };
        }
    }
}
