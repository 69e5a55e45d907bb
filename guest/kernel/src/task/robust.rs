//! Robust futexes (`get_robust_list(2)`): locks that a thread holds when it ends are marked, and
//! somebody who waits is woken.
//!
//! The list is the program's own, in its memory; nothing in it is believed.
//! ```text
//! head:  0 first entry   8 offset of the word from an entry (signed)   16 entry being added or taken
//! entry: 0 next entry (the head ends the list); bit 0 marks a priority-inheritance lock
//! ```

use core::sync::atomic::Ordering;

use super::futex;
use super::thread::Task;
use crate::errno::KResult;
use crate::mm::user;

/// Bytes of the head (`struct robust_list_head`).
pub const HEAD_SIZE: usize = 24;
/// Entries that are followed at most, in case the list is a circle.
const LIMIT: usize = 2048;
/// The word: somebody waits.
const FUTEX_WAITERS: u32 = 1 << 31;
/// The word: its owner ended.
const FUTEX_OWNER_DIED: u32 = 1 << 30;
/// The word: number of its owner.
const FUTEX_TID_MASK: u32 = (1 << 30) - 1;

/// Give up the robust futexes of a task that ends or runs another program.
pub fn release(task: &Task) {
    let head = task.robust_list.swap(0, Ordering::Relaxed);
    if head != 0 && task.process.own_space().is_some() {
        // A list that cannot be read ends where it cannot be read.
        let _ = walk(task, head);
    }
}

fn walk(task: &Task, head: usize) -> KResult<()> {
    let [first, offset, pending]: [usize; 3] = user::read_user(head)?;
    let mut entry = first & !1;
    for _ in 0..LIMIT {
        if entry == head {
            break;
        }
        // The next one first: a lock that is given up may be freed by its next owner.
        let next = user::read_user::<usize>(entry);
        if entry != pending & !1 {
            give_up(task, entry.wrapping_add(offset), false)?;
        }
        entry = next? & !1;
    }
    if pending & !1 != 0 {
        give_up(task, (pending & !1).wrapping_add(offset), true)?;
    }
    Ok(())
}

fn give_up(task: &Task, word: usize, pending: bool) -> KResult<()> {
    let mut value: u32 = user::read_user(word)?;
    loop {
        if pending && value == 0 {
            // Unlocked, but its owner ended before it could wake the next one.
            let _ = futex::wake(word, 1, futex::MATCH_ANY);
            return Ok(());
        }
        if value & FUTEX_TID_MASK != task.tid() {
            return Ok(());
        }
        let found = user::cmpxchg_user_u32(word, value, value & FUTEX_WAITERS | FUTEX_OWNER_DIED)?;
        if found == value {
            break;
        }
        value = found;
    }
    if value & FUTEX_WAITERS != 0 {
        let _ = futex::wake(word, 1, futex::MATCH_ANY);
    }
    Ok(())
}
