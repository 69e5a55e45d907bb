//! `/dev/kmsg`: the kernel's log, a line a read. What is written becomes a line of it.

use alloc::boxed::Box;
use core::any::Any;

use crate::errno::{Errno, KResult};
use crate::fs::{File, FileOps, PollEvents, PollTable, ReadBuf, WriteBuf};
use crate::log::{self, ring};
use crate::time;

/// The open device; its file's position is the number of the line that is read next.
struct Kmsg;

/// Open it.
pub fn open() -> Box<dyn FileOps> {
    Box::new(Kmsg)
}

/// Nobody wakes who waits for a new line, as lines are written where nothing may be woken: a reader
/// looks from time to time.
const PAUSE: u64 = 100_000_000;

impl FileOps for Kmsg {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        loop {
            let mut position = file.lock_offset();
            if let Some(record) = ring::lines(*position, 1).pop() {
                let text = ring::as_message(&record);
                if buf.remaining() < text.len() {
                    return Err(Errno::EINVAL);
                }
                let n = buf.put(text.as_bytes())?;
                *position = record.number + 1;
                return Ok(n);
            }
            drop(position);
            if file.nonblocking() {
                return Err(Errno::EAGAIN);
            }
            time::sleep_until(time::now_ns() + PAUSE)?;
        }
    }

    fn write(&self, _file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        const LONGEST: usize = 976;
        let mut line = [0u8; LONGEST + 1];
        let total = buf.remaining();
        if total > LONGEST {
            return Err(Errno::EINVAL);
        }
        let n = buf.take(&mut line[..LONGEST])?;
        let text = line[..n].trim_ascii_end();
        // A priority in front is the sender's affair.
        let text = match text
            .strip_prefix(b"<")
            .map(|rest| rest.split_at(rest.len().min(4)))
        {
            Some((head, _)) if head.contains(&b'>') => {
                let skip = head.iter().position(|&b| b == b'>').unwrap_or(0) + 2;
                &text[skip..]
            }
            _ => text,
        };
        let mut ended = [0u8; LONGEST + 1];
        ended[..text.len()].copy_from_slice(text);
        ended[text.len()] = b'\n';
        log::from_program(&ended[..=text.len()]);
        Ok(n)
    }

    fn seek_end(&self, _file: &File) -> KResult<u64> {
        Ok(ring::range().1)
    }

    fn poll(&self, file: &File, _table: Option<&mut PollTable>) -> PollEvents {
        let unread = *file.lock_offset() < ring::range().1;
        match unread {
            true => PollEvents::ALWAYS,
            false => PollEvents::WRITABLE,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
