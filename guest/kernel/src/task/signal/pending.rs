//! Signals that have been sent and not yet delivered.

use alloc::collections::VecDeque;

use super::info::SigInfo;
use super::set::{SIGRTMIN, SYNCHRONOUS, SigSet, bit};

/// A set of pending signals with what they tell. A standard signal is pending at most once; a
/// real-time signal as often as it was sent, delivered in the order of sending.
#[derive(Default)]
pub struct Pending {
    set: SigSet,
    queue: VecDeque<SigInfo>,
}

impl Pending {
    /// Nothing pending.
    pub const fn new() -> Self {
        Self {
            set: 0,
            queue: VecDeque::new(),
        }
    }

    /// The set of pending signals.
    #[inline]
    pub fn set(&self) -> SigSet {
        self.set
    }

    /// Add a signal. False: a real-time signal for which there is no room, as there are `limit`
    /// queued ones. A standard signal without room is pending all the same, and tells nothing; so
    /// is a real-time one that comes by `kill(2)`.
    pub fn push(&mut self, info: SigInfo, limit: usize) -> bool {
        let bit = bit(info.signo);
        if info.signo < SIGRTMIN && self.set & bit != 0 {
            return true;
        }
        let room = self.queue.len() < limit
            && (info.signo < SIGRTMIN || crate::mm::above_reserve())
            && self.queue.try_reserve(1).is_ok();
        if room {
            self.queue.push_back(info);
        } else if info.signo >= SIGRTMIN && info.code != super::info::SI_USER {
            return false;
        }
        self.set |= bit;
        true
    }

    /// The next signal that is in `set`: those of the receiver's own doing first, then the lowest
    /// number.
    pub fn peek(&self, set: SigSet) -> Option<u32> {
        let ready = self.set & set;
        if ready == 0 {
            return None;
        }
        let first = if ready & SYNCHRONOUS != 0 {
            ready & SYNCHRONOUS
        } else {
            ready
        };
        Some(first.trailing_zeros() + 1)
    }

    /// Take the next signal that is in `set`.
    pub fn take(&mut self, set: SigSet) -> Option<SigInfo> {
        let signo = self.peek(set)?;
        let info = match self.queue.iter().position(|info| info.signo == signo) {
            Some(at) => self.queue.remove(at),
            None => None,
        };
        if !self.queue.iter().any(|info| info.signo == signo) {
            self.set &= !bit(signo);
        }
        Some(info.unwrap_or(SigInfo::new(signo, super::info::SI_USER, [0; 4])))
    }

    /// Forget all signals in `set`.
    pub fn discard(&mut self, set: SigSet) {
        if self.set & set != 0 {
            self.queue.retain(|info| bit(info.signo) & set == 0);
            self.set &= !set;
        }
    }
}
