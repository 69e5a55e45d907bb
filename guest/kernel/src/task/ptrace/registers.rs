//! The registers of a stopped thread, as a tracer and a core image see them.
//!
//! `struct user_regs_struct`: the trap frame (`struct pt_regs`), then FS and GS base, DS, ES, FS, GS.

use alloc::vec::Vec;

use crate::arch::TrapFrame;
use crate::arch::gdt::{USER_CS, USER_DS};
use crate::errno::{Errno, KResult};
use crate::mm::layout::USER_END;
use crate::sched;
use crate::task::Task;
use core::sync::atomic::Ordering;

/// 64-bit words of `struct user_regs_struct`.
pub const COUNT: usize = 27;
/// Bytes of `struct user_regs_struct`.
pub const SIZE: usize = COUNT * 8;
/// Bytes of `struct user_fpregs_struct`, the FXSAVE image.
pub const FP_SIZE: usize = 512;

/// RFLAGS that a tracer may change: CF PF AF ZF SF TF DF OF NT RF AC.
const FLAGS: u64 = 0x5_4dd5;

/// Indices of words.
const ORIG_RAX: usize = 15;
const RIP: usize = 16;
const CS: usize = 17;
const RFLAGS: usize = 18;
const RSP: usize = 19;
const SS: usize = 20;
const FS_BASE: usize = 21;
const GS_BASE: usize = 22;

/// A pointer to a word of the trap frame.
fn word(frame: *mut TrapFrame, index: usize) -> *mut u64 {
    frame.cast::<u64>().wrapping_add(index)
}

/// All registers of a thread whose frame is `frame`.
///
/// # Safety
/// The thread is stopped and has put its registers aside, and stays so meanwhile; or it is the
/// running one and has put them aside.
pub unsafe fn read(task: &Task, frame: *mut TrapFrame) -> [u64; COUNT] {
    let mut words = [0; COUNT];
    for (index, value) in words[..FS_BASE].iter_mut().enumerate() {
        // SAFETY: the frame has 21 words; by the caller's promise it lies still.
        *value = unsafe { word(frame, index).read() };
    }
    words[FS_BASE] = task.fs_base.load(Ordering::Relaxed) as u64;
    words[GS_BASE] = task.gs_base.load(Ordering::Relaxed) as u64;
    words
}

fn is_canonical(address: u64) -> bool {
    let high = (address as i64) >> 47;
    high == 0 || high == -1
}

/// Change one register.
///
/// # Errors
/// EIO: the kernel could not go back to the program with that value, or there is no such register.
///
/// # Safety
/// As [`read`].
pub unsafe fn write(
    task: &Task,
    frame: *mut TrapFrame,
    index: usize,
    mut value: u64,
) -> KResult<()> {
    match index {
        CS if value != u64::from(USER_CS) => return Err(Errno::EIO),
        SS if value != u64::from(USER_DS) => return Err(Errno::EIO),
        RIP | RSP if !is_canonical(value) => return Err(Errno::EIO),
        FS_BASE | GS_BASE if value >= USER_END as u64 => return Err(Errno::EIO),
        FS_BASE => task.fs_base.store(value as usize, Ordering::Relaxed),
        GS_BASE => task.gs_base.store(value as usize, Ordering::Relaxed),
        // DS, ES, FS and GS hold nothing in 64-bit programs.
        23..COUNT if value == 0 || value == u64::from(USER_DS) => {}
        RFLAGS => {
            // SAFETY: as in `read`.
            let old = unsafe { word(frame, RFLAGS).read() };
            value = old & !FLAGS | value & FLAGS;
            // SAFETY: as above.
            unsafe { word(frame, RFLAGS).write(value) };
        }
        0..=SS => {
            if index == ORIG_RAX && value as u32 == u32::MAX {
                // Debuggers write it as 32 bits.
                value = u64::MAX;
            }
            // SAFETY: as above; the frame has 21 words.
            unsafe { word(frame, index).write(value) };
        }
        _ => return Err(Errno::EIO),
    }
    Ok(())
}

/// The FXSAVE image of a thread.
///
/// # Safety
/// As [`read`].
pub unsafe fn read_fp(task: &Task) -> [u8; FP_SIZE] {
    // SAFETY: by the caller's promise.
    unsafe { sched::with_stopped_fpu(task, |fpu| fpu.legacy()) }
}

/// Change it.
///
/// # Errors
/// EINVAL: reserved bits of MXCSR.
///
/// # Safety
/// As [`read`].
pub unsafe fn write_fp(task: &Task, image: &[u8; FP_SIZE]) -> KResult<()> {
    // SAFETY: by the caller's promise.
    unsafe { sched::with_stopped_fpu(task, |fpu| fpu.set_legacy(image)) }
}

/// The XSAVE image of a thread, as Linux shows it (XCR0 at offset 464); None: this processor has
/// none.
///
/// # Errors
/// ENOMEM: memory is short.
///
/// # Safety
/// As [`read`].
pub unsafe fn read_xstate(task: &Task) -> KResult<Option<Vec<u8>>> {
    // SAFETY: by the caller's promise.
    unsafe { sched::with_stopped_fpu(task, |fpu| fpu.xstate()) }
}
