//! Sockets as inodes and open files.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use super::{Socket, garbage};
use crate::errno::{Errno, KResult};
use crate::fs::{
    FIONREAD, File, FileOps, FileType, Inode, Metadata, PollEvents, PollTable, ReadBuf, WriteBuf,
    pipe,
};
use crate::mm::user::write_user;

/// The socket that an open file is. ENOTSOCK.
pub fn of_file(file: &File) -> KResult<&Arc<Socket>> {
    let socket = file.ops_as::<SocketFile>().ok_or(Errno::ENOTSOCK)?;
    Ok(&socket.0)
}

impl Inode for Socket {
    fn metadata(&self) -> Metadata {
        Metadata::synthetic(0, self.ino, FileType::Socket, 0o777)
    }

    fn kind(&self) -> FileType {
        FileType::Socket
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An open socket; dropping it closes the connection.
pub(super) struct SocketFile(pub(super) Arc<Socket>);

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.0.close();
        garbage::collect();
    }
}

impl FileOps for SocketFile {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        // Descriptors that nobody asks for are closed.
        Ok(self.0.receive(buf, file.nonblocking(), false)?.len)
    }

    fn write(&self, file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let sent = self.0.send(buf, Vec::new(), None, file.nonblocking());
        if sent == Err(Errno::EPIPE) {
            pipe::broken();
        }
        sent
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        self.0.readiness(table)
    }

    fn ioctl(&self, _file: &File, cmd: u32, arg: usize) -> KResult<usize> {
        match cmd {
            FIONREAD => {
                let count = self.0.inbox.queue.lock().bytes as u32;
                write_user(arg, &count)?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
