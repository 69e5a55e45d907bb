//! Copies between the kernel and the running program. All of them check the addresses and give
//! `EFAULT` for a bad one; nothing is assumed about what a program passes.
//!
//! They may sleep (file pages). No lock that a page fault takes may be held: address space, page
//! cache, file system.

use alloc::vec::Vec;
use core::mem::MaybeUninit;

use super::layout::{PAGE, USER_END};
use super::user_copy::{
    user_cmpxchg_u32, user_copy_bytes, user_load_u32, user_scan_string, user_zero_bytes,
};
use crate::errno::{Errno, KResult};

/// Types that any bytes make a valid value of, without padding that would leak the kernel's data.
///
/// # Safety
/// Exactly that.
pub unsafe trait Pod: Copy {}

macro_rules! pod {
    ($($t:ty),*) => { $(
        // SAFETY: an integer.
        unsafe impl Pod for $t {}
    )* };
}
pod!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);
// SAFETY: an array of such types has no padding.
unsafe impl<T: Pod, const N: usize> Pod for [T; N] {}

/// `EFAULT` unless the range lies in the program's half.
#[inline]
fn check(address: usize, len: usize) -> KResult<()> {
    match address.checked_add(len) {
        Some(end) if end <= USER_END => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

#[inline]
fn done(left: usize) -> KResult<()> {
    if left == 0 {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

/// Copies from the program.
#[inline]
pub fn copy_from_user(to: &mut [u8], from: usize) -> KResult<()> {
    check(from, to.len())?;
    // SAFETY: the target is ours; faults on the source are caught.
    done(unsafe { user_copy_bytes(to.as_mut_ptr(), from as *const u8, to.len()) })
}

/// Copies to the program.
#[inline]
pub fn copy_to_user(to: usize, from: &[u8]) -> KResult<()> {
    check(to, from.len())?;
    // SAFETY: the target is in the program's half; faults are caught.
    done(unsafe { user_copy_bytes(to as *mut u8, from.as_ptr(), from.len()) })
}

/// Fills the program's memory with zeros.
pub fn zero_user(to: usize, len: usize) -> KResult<()> {
    check(to, len)?;
    // SAFETY: as in `copy_to_user`.
    done(unsafe { user_zero_bytes(to as *mut u8, len) })
}

/// Reads a value; no alignment is needed.
#[inline]
pub fn read_user<T: Pod>(from: usize) -> KResult<T> {
    check(from, size_of::<T>())?;
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: as in `copy_from_user`.
    done(unsafe { user_copy_bytes(value.as_mut_ptr().cast(), from as *const u8, size_of::<T>()) })?;
    // SAFETY: all bytes were written, and any bytes will do for a Pod.
    Ok(unsafe { value.assume_init() })
}

/// Writes a value; no alignment is needed.
#[inline]
pub fn write_user<T: Pod>(to: usize, value: &T) -> KResult<()> {
    check(to, size_of::<T>())?;
    // SAFETY: as in `copy_to_user`; a Pod has no padding.
    done(unsafe {
        user_copy_bytes(
            to as *mut u8,
            core::ptr::from_ref(value).cast(),
            size_of::<T>(),
        )
    })
}

/// Reads a string up to its NUL, which is not part of the result. `ENAMETOOLONG`: no NUL within
/// `max` bytes.
pub fn read_user_string(from: usize, max: usize) -> KResult<Vec<u8>> {
    let room = USER_END.checked_sub(from).ok_or(Errno::EFAULT)?.min(max);
    let mut len = 0;
    // Page by page: a string may end just before an address that faults.
    loop {
        let at = from + len;
        let limit = (PAGE - at % PAGE).min(room - len);
        if limit == 0 {
            return Err(if room == max {
                Errno::ENAMETOOLONG
            } else {
                Errno::EFAULT
            });
        }
        // SAFETY: reads in the program's half; faults are caught.
        let part = unsafe { user_scan_string(at as *const u8, limit) };
        if part == usize::MAX {
            return Err(Errno::EFAULT);
        }
        len += part;
        if part < limit {
            break;
        }
    }
    let mut string = Vec::new();
    string.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    // SAFETY: the room was reserved; another thread may have changed the bytes meanwhile, but
    // not their number.
    unsafe {
        done(user_copy_bytes(string.as_mut_ptr(), from as *const u8, len))?;
        string.set_len(len);
    }
    Ok(string)
}

/// `EFAULT` unless a 32-bit word at the address could be the program's, `EINVAL` if unaligned.
fn check_word(at: usize) -> KResult<()> {
    if !at.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    check(at, 4)
}

/// Atomically replaces the word at `at` by `new` if it is `expected`; the value found.
pub fn cmpxchg_user_u32(at: usize, expected: u32, new: u32) -> KResult<u32> {
    check_word(at)?;
    // SAFETY: an aligned word in the program's half; faults are caught.
    let found = unsafe { user_cmpxchg_u32(at as *mut u32, expected, new) };
    u32::try_from(found).map_err(|_| Errno::EFAULT)
}

/// Atomically replaces the word at `at` by a function of it; the old value.
pub fn update_user_u32(at: usize, update: impl Fn(u32) -> u32) -> KResult<u32> {
    check_word(at)?;
    // SAFETY: as in `cmpxchg_user_u32`.
    let mut old =
        u32::try_from(unsafe { user_load_u32(at as *const u32) }).map_err(|_| Errno::EFAULT)?;
    loop {
        let found = cmpxchg_user_u32(at, old, update(old))?;
        if found == old {
            return Ok(old);
        }
        old = found;
    }
}
