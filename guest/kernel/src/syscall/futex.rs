//! Futexes, and the lists of those that a thread holds.

use core::sync::atomic::Ordering;

use super::types::TimeSpec;
use crate::errno::{Errno, KResult};
use crate::mm::user::{read_user, write_user};
use crate::task::futex::{self, MATCH_ANY};
use crate::task::signal::may_signal;
use crate::task::{self, RestartBlock, find_task, futex_pi};
use crate::time;

const FUTEX_WAIT: usize = 0;
const FUTEX_WAKE: usize = 1;
const FUTEX_REQUEUE: usize = 3;
const FUTEX_CMP_REQUEUE: usize = 4;
const FUTEX_WAKE_OP: usize = 5;
const FUTEX_LOCK_PI: usize = 6;
const FUTEX_UNLOCK_PI: usize = 7;
const FUTEX_TRYLOCK_PI: usize = 8;
const FUTEX_WAIT_BITSET: usize = 9;
const FUTEX_WAKE_BITSET: usize = 10;
const FUTEX_WAIT_REQUEUE_PI: usize = 11;
const FUTEX_CMP_REQUEUE_PI: usize = 12;
const FUTEX_LOCK_PI2: usize = 13;
/// Only threads of the process use the word.
const FUTEX_PRIVATE_FLAG: usize = 128;
/// A deadline is of the wall clock.
const FUTEX_CLOCK_REALTIME: usize = 256;

/// `futex(2)`
pub fn sys_futex(
    address: usize,
    op: usize,
    value: usize,
    timeout: usize,
    second: usize,
    value3: usize,
) -> KResult<usize> {
    let wall = op & FUTEX_CLOCK_REALTIME != 0;
    let command = op & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    let clocks = matches!(
        command,
        FUTEX_WAIT | FUTEX_WAIT_BITSET | FUTEX_WAIT_REQUEUE_PI | FUTEX_LOCK_PI2
    );
    if wall && !clocks {
        return Err(Errno::ENOSYS);
    }
    let count = |number: usize| (number as i32).max(0) as usize;
    // An absolute time, of the wall clock or of the monotonic one.
    let deadline = |wall: bool| {
        let given = TimeSpec::read_optional(timeout)?;
        KResult::Ok(given.map(|ns| match wall {
            true => ns.saturating_sub(time::wall_offset()),
            false => ns,
        }))
    };
    match command {
        FUTEX_WAIT => {
            let deadline =
                TimeSpec::read_optional(timeout)?.map(|ns| time::now_ns().saturating_add(ns));
            wait_relative(address, value as u32, deadline)
        }
        FUTEX_WAIT_BITSET => {
            futex::wait(address, value as u32, value3 as u32, deadline(wall)?)?;
            Ok(0)
        }
        FUTEX_LOCK_PI | FUTEX_LOCK_PI2 => {
            let wall = wall || command == FUTEX_LOCK_PI;
            futex_pi::lock(address, deadline(wall)?)?;
            Ok(0)
        }
        FUTEX_TRYLOCK_PI => futex_pi::try_lock(address).map(|()| 0),
        FUTEX_UNLOCK_PI => futex_pi::unlock(address).map(|()| 0),
        FUTEX_WAIT_REQUEUE_PI => {
            futex::wait_to_lock(address, value as u32, second, deadline(wall)?)?;
            Ok(0)
        }
        FUTEX_CMP_REQUEUE_PI => {
            if value as i32 != 1 || (timeout as i32) < 0 {
                return Err(Errno::EINVAL);
            }
            futex::requeue_to_lock(address, second, 1 + count(timeout), value3 as u32)
        }
        // Linux wakes one for a count of 0.
        FUTEX_WAKE => {
            let woken = futex::wake(address, count(value).max(1), MATCH_ANY)?;
            if woken == 0 && op & FUTEX_PRIVATE_FLAG == 0 {
                // What is shared is looked up by the memory behind it, which must be there.
                read_user::<u32>(address)?;
            }
            Ok(woken)
        }
        FUTEX_WAKE_BITSET => futex::wake(address, count(value).max(1), value3 as u32),
        FUTEX_REQUEUE => {
            if (value as i32) < 0 || (timeout as i32) < 0 {
                return Err(Errno::EINVAL);
            }
            futex::requeue(address, second, count(value), count(timeout), None)
        }
        FUTEX_CMP_REQUEUE => {
            if (value as i32) < 0 || (timeout as i32) < 0 {
                return Err(Errno::EINVAL);
            }
            read_user::<u32>(address)?;
            futex::requeue(
                address,
                second,
                count(value),
                count(timeout),
                Some(value3 as u32),
            )
        }
        FUTEX_WAKE_OP => futex::wake_op(
            address,
            second,
            count(value).max(1),
            count(timeout).max(1),
            value3 as u32,
        ),
        _ => Err(Errno::ENOSYS),
    }
}

/// FUTEX_WAIT with a time to wait: interrupted, it goes on with what is left of it.
fn wait_relative(address: usize, value: u32, deadline: Option<u64>) -> KResult<usize> {
    match futex::wait(address, value, MATCH_ANY, deadline) {
        Ok(()) => Ok(0),
        Err(Errno::ERESTARTSYS) if deadline.is_some() => {
            task::current().set_restart(RestartBlock {
                call: |args| wait_relative(args[0], args[1] as u32, Some(args[2] as u64)),
                args: [address, value as usize, deadline.unwrap_or(0) as usize, 0],
            });
            Err(Errno::ERESTART_RESTARTBLOCK)
        }
        Err(e) => Err(e),
    }
}

/// `set_robust_list(2)`
pub fn sys_set_robust_list(head: usize, len: usize) -> KResult<usize> {
    if len != task::ROBUST_HEAD_SIZE {
        return Err(Errno::EINVAL);
    }
    task::current().robust_list.store(head, Ordering::Relaxed);
    Ok(0)
}

/// `get_robust_list(2)`
pub fn sys_get_robust_list(tid: usize, head: usize, len: usize) -> KResult<usize> {
    let value = if tid as u32 == 0 {
        task::current().robust_list.load(Ordering::Relaxed)
    } else {
        let task = find_task(tid as u32).ok_or(Errno::ESRCH)?;
        if !may_signal(&task.process, 0) {
            return Err(Errno::EPERM);
        }
        task.robust_list.load(Ordering::Relaxed)
    };
    write_user(len, &task::ROBUST_HEAD_SIZE)?;
    write_user(head, &value)?;
    Ok(0)
}
