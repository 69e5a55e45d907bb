//! Sending and receiving.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::inbox::Message;
use super::{Address, BUFFER, Kind, Peer, Role, Socket, garbage, wait};
use crate::errno::{Errno, KResult};
use crate::fs::{File, ReadBuf, WriteBuf};

/// Longest message of a stream: longer writes go in pieces.
const PIECE: usize = 16 * 1024;

/// What was received.
pub struct Received {
    /// Bytes stored.
    pub len: usize,
    /// Bytes that the message had: more than `len` if it was cut.
    pub full_len: usize,
    /// Descriptors that came with it.
    pub files: Vec<Arc<File>>,
    /// Who sent it, if that socket has a name.
    pub from: Address,
    /// The process that sent it.
    pub sender: Peer,
}

impl Socket {
    /// Send `buf` with `files` to `to` or the peer. EPIPE if nobody can read (the caller sends
    /// SIGPIPE), ENOTCONN, EMSGSIZE, EAGAIN, ERESTARTSYS.
    pub fn send(
        &self,
        buf: &mut WriteBuf<'_>,
        mut files: Vec<Arc<File>>,
        to: Option<&Arc<Self>>,
        nonblock: bool,
    ) -> KResult<usize> {
        let (inbox, from) = {
            let state = self.state.lock();
            let inbox = match to {
                Some(target) => Some(target.inbox.clone()),
                None => state.peer.clone(),
            };
            (inbox.ok_or(Errno::ENOTCONN)?, state.address.clone())
        };
        garbage::note(&files)?;
        let sender = Peer::current();
        let whole = self.kind != Kind::Stream;
        if whole && buf.remaining() > BUFFER {
            return Err(Errno::EMSGSIZE);
        }
        let mut sent = 0;
        loop {
            let left = buf.remaining();
            if left == 0 && (sent > 0 || !whole) {
                return Ok(sent);
            }
            if !inbox.has_room() {
                if nonblock {
                    return if sent > 0 {
                        Ok(sent)
                    } else {
                        Err(Errno::EAGAIN)
                    };
                }
                let room = || inbox.has_room().then_some(());
                if let Err(e) = wait(&inbox.writable, &self.send_timeout, room) {
                    return if sent > 0 { Ok(sent) } else { Err(e) };
                }
            }
            let len = if whole { left } else { left.min(PIECE) };
            let mut data = Vec::new();
            data.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
            data.resize(len, 0);
            let taken = buf.take(&mut data)?;
            if taken < len && whole {
                return Err(Errno::EFAULT);
            }
            data.truncate(taken);
            let closed = {
                let mut queue = inbox.queue.lock();
                if queue.closed || (queue.ended && self.kind != Kind::Datagram) {
                    true
                } else {
                    queue.bytes += taken;
                    queue.messages.push_back(Message {
                        data,
                        at: 0,
                        files: core::mem::take(&mut files),
                        from: from.clone(),
                        sender,
                    });
                    false
                }
            };
            if closed {
                return match (sent, self.kind) {
                    (0, Kind::Datagram) => Err(Errno::ECONNREFUSED),
                    (0, _) => Err(Errno::EPIPE),
                    _ => Ok(sent),
                };
            }
            inbox.readable.wake_all();
            sent += taken;
            if whole || taken == 0 {
                return Ok(sent);
            }
        }
    }

    /// Receive into `buf`; at the end of a connection 0 bytes. EAGAIN, EINVAL if it is
    /// not connected, ERESTARTSYS.
    pub fn receive(&self, buf: &mut ReadBuf<'_>, nonblock: bool, peek: bool) -> KResult<Received> {
        if self.kind != Kind::Datagram && !matches!(self.state.lock().role, Role::Connected) {
            return Err(Errno::EINVAL);
        }
        let inbox = &self.inbox;
        loop {
            {
                let _reader = inbox.reader.lock();
                if let Some(received) = self.receive_ready(buf, peek)? {
                    return Ok(received);
                }
                let queue = inbox.queue.lock();
                if queue.ended || queue.closed {
                    return Ok(Received {
                        len: 0,
                        full_len: 0,
                        files: Vec::new(),
                        from: Address::new(),
                        sender: Peer::default(),
                    });
                }
            }
            if nonblock {
                return Err(Errno::EAGAIN);
            }
            wait(&inbox.readable, &self.receive_timeout, || {
                let queue = inbox.queue.lock();
                (!queue.messages.is_empty() || queue.ended || queue.closed).then_some(())
            })?;
        }
    }

    /// Take what is there; the reader's lock is held.
    fn receive_ready(&self, buf: &mut ReadBuf<'_>, peek: bool) -> KResult<Option<Received>> {
        let mut result: Option<Received> = None;
        let mut seen = Vec::new();
        let outcome = loop {
            let next = {
                let mut queue = self.inbox.queue.lock();
                // Descriptors begin a new read, and end the one they come with.
                let joins = result.is_none()
                    || queue
                        .messages
                        .front()
                        .is_some_and(|message| message.files.is_empty());
                if joins {
                    queue.messages.pop_front()
                } else {
                    None
                }
            };
            let Some(mut message) = next else {
                break Ok(());
            };
            let rest = message.data.len() - message.at;
            let stored = match buf.put(&message.data[message.at..]) {
                Ok(stored) => stored,
                Err(e) => {
                    self.inbox.queue.lock().messages.push_front(message);
                    break Err(e);
                }
            };
            let entry = result.get_or_insert_with(|| Received {
                len: 0,
                full_len: 0,
                files: Vec::new(),
                from: message.from.clone(),
                sender: message.sender,
            });
            entry.len += stored;
            entry.full_len += rest;
            if peek {
                entry.files.extend(message.files.iter().cloned());
                seen.push(message);
            } else {
                entry.files.append(&mut message.files);
                let whole = self.kind != Kind::Stream || stored == rest;
                let mut queue = self.inbox.queue.lock();
                queue.bytes -= if whole { rest } else { stored };
                if !whole {
                    message.at += stored;
                    queue.messages.push_front(message);
                }
            }
            let border = !entry.files.is_empty();
            if self.kind != Kind::Stream || buf.remaining() == 0 || stored < rest || border {
                break Ok(());
            }
        };
        {
            let mut queue = self.inbox.queue.lock();
            for message in seen.into_iter().rev() {
                queue.messages.push_front(message);
            }
        }
        if result.is_some() && !peek {
            self.inbox.writable.wake_all();
        }
        match (result, outcome) {
            (None, Err(e)) => Err(e),
            (result, _) => Ok(result),
        }
    }
}
