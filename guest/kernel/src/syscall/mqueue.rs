//! POSIX message queues: `mq_open(3)` and its family.

use alloc::vec::Vec;

use super::file::get_open;
use super::types::TimeSpec;
use crate::errno::{Errno, KResult};
use crate::fs::OpenFlags;
use crate::ipc::mqueue::{PRIORITIES, Shape, queue_of};
use crate::ipc::mqueue_fs;
use crate::mm::user::{self, Pod, read_user, read_user_string, write_user};
use crate::{task, time};

/// `struct mq_attr`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Attributes {
    flags: i64,
    messages: i64,
    length: i64,
    now: i64,
    reserved: [i64; 4],
}

// SAFETY: integers without padding; any bit pattern is valid.
unsafe impl Pod for Attributes {}

/// The head of `struct sigevent`.
#[derive(Clone, Copy)]
#[repr(C)]
struct SigEvent {
    value: u64,
    signo: i32,
    notify: i32,
}

// SAFETY: as above.
unsafe impl Pod for SigEvent {}

/// Longest name, with its NUL.
const NAME: usize = 4096;

/// `mq_open(3)`: the name comes without its slash.
pub fn sys_mq_open(name: usize, flags: usize, mode: usize, attributes: usize) -> KResult<usize> {
    let shape = match attributes {
        0 => None,
        at => {
            let given: Attributes = read_user(at)?;
            Some(Shape {
                messages: given.messages.max(0) as u64,
                length: given.length.max(0) as u64,
            })
        }
    };
    let name = read_user_string(name, NAME)?;
    let flags = OpenFlags(flags as u32);
    let file = mqueue_fs::instance().open(&name, flags, mode as u32, shape)?;
    task::current_process().install_file(file, true)
}

/// `mq_unlink(3)`
pub fn sys_mq_unlink(name: usize) -> KResult<usize> {
    let name = read_user_string(name, NAME)?;
    mqueue_fs::instance().remove(&name)?;
    Ok(0)
}

/// A deadline of the wall clock, as one of the monotonic clock.
fn deadline(at: usize) -> KResult<Option<u64>> {
    let wall = TimeSpec::read_optional(at)?;
    Ok(wall.map(|ns| ns.saturating_sub(time::wall_offset())))
}

/// `mq_timedsend(3)`
pub fn sys_mq_timedsend(
    fd: usize,
    text: usize,
    len: usize,
    priority: usize,
    timeout: usize,
) -> KResult<usize> {
    let deadline = deadline(timeout)?;
    let priority = priority as u32;
    if priority >= PRIORITIES {
        return Err(Errno::EINVAL);
    }
    let file = get_open(fd)?;
    let queue = queue_of(&file)?;
    if !file.flags().writable() {
        return Err(Errno::EBADF);
    }
    if len as u64 > queue.shape().0.length {
        return Err(Errno::EMSGSIZE);
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(len, 0);
    user::copy_from_user(&mut bytes, text)?;
    queue.send(bytes, priority, file.nonblocking(), deadline)?;
    Ok(0)
}

/// `mq_timedreceive(3)`
pub fn sys_mq_timedreceive(
    fd: usize,
    text: usize,
    len: usize,
    priority: usize,
    timeout: usize,
) -> KResult<usize> {
    let deadline = deadline(timeout)?;
    let file = get_open(fd)?;
    let queue = queue_of(&file)?;
    if !file.flags().readable() {
        return Err(Errno::EBADF);
    }
    let (bytes, of) = queue.receive(len, file.nonblocking(), deadline)?;
    user::copy_to_user(text, &bytes)?;
    if priority != 0 {
        write_user(priority, &of)?;
    }
    Ok(bytes.len())
}

/// `mq_notify(3)`
pub fn sys_mq_notify(fd: usize, event: usize) -> KResult<usize> {
    const SIGNAL: i32 = 0;
    const NONE: i32 = 1;
    const MAX_SIGNAL: i32 = 64;
    let event = match event {
        0 => None,
        at => Some(read_user::<SigEvent>(at)?),
    };
    let signo = match event {
        Some(event) if event.notify == NONE => 0,
        Some(event) if event.notify != SIGNAL || !(1..=MAX_SIGNAL).contains(&event.signo) => {
            return Err(Errno::EINVAL);
        }
        Some(event) => event.signo as u32,
        None => 0,
    };
    let file = get_open(fd)?;
    let queue = queue_of(&file)?;
    match event {
        Some(event) => queue.notify(signo, event.value)?,
        None => queue.stop_notifying(),
    }
    Ok(0)
}

/// `mq_getattr(3)`, `mq_setattr(3)`: only `O_NONBLOCK` can be changed.
pub fn sys_mq_getsetattr(fd: usize, new: usize, old: usize) -> KResult<usize> {
    let nonblock = i64::from(OpenFlags::NONBLOCK.0);
    let new = match new {
        0 => None,
        at => Some(read_user::<Attributes>(at)?),
    };
    if new.is_some_and(|new| new.flags & !nonblock != 0) {
        return Err(Errno::EINVAL);
    }
    let file = get_open(fd)?;
    let (shape, now) = queue_of(&file)?.shape();
    if old != 0 {
        let attributes = Attributes {
            flags: i64::from(file.flags().0) & nonblock,
            messages: shape.messages as i64,
            length: shape.length as i64,
            now: now as i64,
            reserved: [0; 4],
        };
        write_user(old, &attributes)?;
    }
    if let Some(new) = new {
        let others = file.flags().0 & !OpenFlags::NONBLOCK.0;
        file.set_flags(OpenFlags(others | new.flags as u32));
    }
    Ok(0)
}
