//! `ioctl(2)`.

use super::file::get_open;
use crate::errno::{Errno, KResult};
use crate::fs::{FIONREAD, FileType, OpenFlags};
use crate::mm::user::{read_user, write_user};
use crate::task;

const FIONBIO: u32 = 0x5421;
const FIONCLEX: u32 = 0x5450;
const FIOCLEX: u32 = 0x5451;
const FIOASYNC: u32 = 0x5452;
const FIGETBSZ: u32 = 2;

/// `ioctl(2)`: what is the same for all files is done here, the rest by the object.
pub fn sys_ioctl(fd: usize, cmd: usize, arg: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    let cmd = cmd as u32;
    match cmd {
        FIOCLEX | FIONCLEX => {
            task::current_process()
                .files
                .lock()
                .set_cloexec(fd as u32 as usize, cmd == FIOCLEX)?;
            return Ok(0);
        }
        FIONBIO => {
            let on: u32 = read_user(arg)?;
            let flags = file.flags().0 & !OpenFlags::NONBLOCK.0;
            let new = if on != 0 {
                flags | OpenFlags::NONBLOCK.0
            } else {
                flags
            };
            file.set_flags(OpenFlags(new));
            return Ok(0);
        }
        FIOASYNC => return Ok(0),
        FIGETBSZ => {
            write_user(arg, &file.inode().metadata().blksize)?;
            return Ok(0);
        }
        _ => {}
    }
    if let Some(ops) = file.ops() {
        return ops.ioctl(&file, cmd, arg);
    }
    if cmd == FIONREAD && file.kind() == FileType::Regular {
        let at = file.seek(0, 1)?;
        let left = file.inode().size().saturating_sub(at);
        write_user(arg, &(left.min(i32::MAX as u64) as u32))?;
        return Ok(0);
    }
    Err(Errno::ENOTTY)
}
