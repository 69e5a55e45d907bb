//! Copying between descriptors: `sendfile(2)`, `copy_file_range(2)`, `splice(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::file::{MAX_COUNT, check_offset, get_open};
use crate::errno::{Errno, KResult};
use crate::fs::pipe::PipeEnd;
use crate::fs::{File, FileType, OpenFlags, ReadBuf, WriteBuf};
use crate::mm::user::{read_user, write_user};

/// Bytes that the copying calls move at a time.
const COPY_CHUNK: usize = 32 * 1024;

fn copy_buffer(len: usize) -> KResult<Vec<u8>> {
    let len = len.min(COPY_CHUNK);
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    buffer.resize(len, 0);
    Ok(buffer)
}

/// Write all of `data`; gives how much went, an error only if nothing did.
fn write_all(file: &File, offset: Option<u64>, data: &[u8]) -> KResult<usize> {
    let mut done = 0;
    while done < data.len() {
        let mut buf = WriteBuf::kernel(&data[done..]);
        let step = match offset {
            Some(offset) => file.write_at(offset + done as u64, &mut buf),
            None => file.write(&mut buf),
        };
        match step {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// `sendfile(2)`
pub fn sys_sendfile(out_fd: usize, in_fd: usize, offset: usize, count: usize) -> KResult<usize> {
    let input = get_open(in_fd)?;
    let output = get_open(out_fd)?;
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::EBADF);
    }
    if !matches!(
        input.kind(),
        FileType::Regular | FileType::Block | FileType::Char
    ) {
        return Err(Errno::EINVAL);
    }
    if output.flags().has(OpenFlags::APPEND) {
        return Err(Errno::EINVAL);
    }
    let explicit = match offset {
        0 => None,
        at => Some(check_offset(read_user::<usize>(at)?)?),
    };
    let start = match explicit {
        Some(start) => start,
        // A device that is a stream has no position: it is read in order, whatever this says.
        None => input.seek(0, 1).unwrap_or(0),
    };
    let count = count.min(MAX_COUNT);
    let mut buffer = copy_buffer(count)?;
    let mut done = 0;
    while done < count {
        let want = (count - done).min(buffer.len());
        let read = input.read_at(
            start + done as u64,
            &mut ReadBuf::kernel(&mut buffer[..want]),
        );
        let read = match read {
            Ok(0) => break,
            Ok(n) => n,
            Err(Errno::ESPIPE) => return Err(Errno::EINVAL),
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
        };
        match write_all(&output, None, &buffer[..read]) {
            Ok(n) => {
                done += n;
                if n < read {
                    break;
                }
            }
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
        }
    }
    match offset {
        0 => {
            input.seek((start + done as u64) as i64, 0)?;
        }
        at => write_user(at, &(start + done as u64))?,
    }
    Ok(done)
}

/// `copy_file_range(2)`
pub fn sys_copy_file_range(
    in_fd: usize,
    in_offset: usize,
    out_fd: usize,
    out_offset: usize,
    count: usize,
    flags: usize,
) -> KResult<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let input = get_open(in_fd)?;
    let output = get_open(out_fd)?;
    for file in [&input, &output] {
        match file.kind() {
            FileType::Regular => {}
            FileType::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
    }
    if !input.flags().readable()
        || !output.flags().writable()
        || output.flags().has(OpenFlags::APPEND)
    {
        return Err(Errno::EBADF);
    }
    let position = |file: &File, at: usize| match at {
        0 => file.seek(0, 1),
        at => check_offset(read_user::<usize>(at)?),
    };
    let from = position(&input, in_offset)?;
    let to = position(&output, out_offset)?;
    let count = count.min(MAX_COUNT);
    if Arc::ptr_eq(input.inode(), output.inode())
        && from < to.saturating_add(count as u64)
        && to < from.saturating_add(count as u64)
    {
        return Err(Errno::EINVAL);
    }
    let mut buffer = copy_buffer(count)?;
    let mut done = 0;
    while done < count {
        let want = (count - done).min(buffer.len());
        let read = input.read_at(
            from + done as u64,
            &mut ReadBuf::kernel(&mut buffer[..want]),
        );
        let read = match read {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
        };
        match write_all(&output, Some(to + done as u64), &buffer[..read]) {
            Ok(n) => {
                done += n;
                if n < read {
                    break;
                }
            }
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
        }
    }
    for (file, at, start) in [(&input, in_offset, from), (&output, out_offset, to)] {
        match at {
            0 => {
                file.seek((start + done as u64) as i64, 0)?;
            }
            at => write_user(at, &(start + done as u64))?,
        }
    }
    Ok(done)
}

/// `splice(2)`: at least one side is a pipe.
pub fn sys_splice(
    in_fd: usize,
    in_offset: usize,
    out_fd: usize,
    out_offset: usize,
    count: usize,
    flags: usize,
) -> KResult<usize> {
    const SPLICE_F_NONBLOCK: usize = 2;
    if flags & !0xf != 0 {
        return Err(Errno::EINVAL);
    }
    let input = get_open(in_fd)?;
    let output = get_open(out_fd)?;
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::EBADF);
    }
    let in_pipe = input.ops_as::<PipeEnd>().map(PipeEnd::pipe);
    let out_pipe = output.ops_as::<PipeEnd>().map(PipeEnd::pipe);
    if (in_pipe.is_some() && in_offset != 0) || (out_pipe.is_some() && out_offset != 0) {
        return Err(Errno::ESPIPE);
    }
    match (in_pipe, out_pipe) {
        (None, None) => return Err(Errno::EINVAL),
        (Some(a), Some(b)) if Arc::ptr_eq(a, b) => return Err(Errno::EINVAL),
        _ => {}
    }
    if count == 0 {
        return Ok(0);
    }
    let nonblock = flags & SPLICE_F_NONBLOCK != 0;
    let explicit = |at: usize| match at {
        0 => Ok(None),
        at => check_offset(read_user::<usize>(at)?).map(Some),
    };
    let from = explicit(in_offset)?;
    let to = explicit(out_offset)?;
    let mut buffer = copy_buffer(count)?;
    // What does not fit would be lost: no more is taken than the pipe has room for.
    let want = match out_pipe {
        Some(pipe) if nonblock => {
            let room = pipe.capacity().saturating_sub(pipe.len());
            if room == 0 {
                return Err(Errno::EAGAIN);
            }
            buffer.len().min(room)
        }
        _ => buffer.len(),
    };
    let mut target = ReadBuf::kernel(&mut buffer[..want]);
    let read = match (in_pipe, from) {
        (Some(pipe), _) => pipe.read(&mut target, nonblock || input.nonblocking())?,
        (None, Some(from)) => input.read_at(from, &mut target)?,
        (None, None) => input.read(&mut target)?,
    };
    if read == 0 {
        return Ok(0);
    }
    let done = write_all(&output, to, &buffer[..read])?;
    if let Some(from) = from {
        write_user(in_offset, &(from + done as u64))?;
    }
    if let Some(to) = to {
        write_user(out_offset, &(to + done as u64))?;
    }
    Ok(done)
}
