//! The guest kernel's log: a port whose bytes go out to gnomon's user, and are kept for the report
//! should the kernel die.
//!
//! A string write (`rep outsb`) leaves the virtual machine once for a whole line, where a serial
//! port leaves it for each byte. Some hosts cut it into bytes all the same, so what goes out is
//! gathered into lines: a log that shares a terminal with others stays readable.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use crate::bus::PioDevice;
use crate::lock;

/// The longest line that is kept; the rest of a longer one is passed on but forgotten.
const LINE_MAX: usize = 512;

/// An unfinished line of so many bytes is passed on as it is.
const PENDING_MAX: usize = 4096;

/// Where log messages go: line by line to a writer, and the last lines into a ring.
pub struct LogSink {
    inner: Mutex<Inner>,
}

struct Inner {
    out: Box<dyn Write + Send>,
    /// Bytes of an unfinished line, not yet passed on.
    pending: Vec<u8>,
    /// Whole lines, oldest first, without their line feeds.
    lines: VecDeque<Vec<u8>>,
    keep: usize,
    /// The line being written.
    partial: Vec<u8>,
}

impl LogSink {
    /// A sink that writes to `out` and keeps the last `keep` lines. Errors of `out` are ignored:
    /// a guest does not stop because nobody reads its log.
    pub fn new(out: Box<dyn Write + Send>, keep: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                out,
                pending: Vec::new(),
                lines: VecDeque::with_capacity(keep),
                keep,
                partial: Vec::new(),
            }),
        })
    }

    /// Remember `bytes`, and pass on the lines that they end.
    pub fn log(&self, bytes: &[u8]) {
        let mut inner = lock(&self.inner);
        let ended = bytes.iter().rposition(|byte| *byte == b'\n');
        let (lines, rest) = bytes.split_at(ended.map_or(0, |at| at + 1));
        if !lines.is_empty() {
            inner.pass_on(lines);
        }
        inner.pending.extend_from_slice(rest);
        if inner.pending.len() >= PENDING_MAX {
            inner.pass_on(&[]);
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let room = LINE_MAX - inner.partial.len();
            inner
                .partial
                .extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                inner.end_line();
            }
        }
    }

    /// Pass on an unfinished line: nothing more is going to come.
    pub fn flush(&self) {
        let mut inner = lock(&self.inner);
        if !inner.pending.is_empty() {
            inner.pass_on(&[]);
        }
    }

    /// The last lines, oldest first, an unfinished one included.
    pub fn last_lines(&self) -> Vec<String> {
        let inner = lock(&self.inner);
        let partial = Some(&inner.partial).filter(|line| !line.is_empty());
        inner
            .lines
            .iter()
            .chain(partial)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect()
    }
}

impl Drop for LogSink {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Inner {
    /// Pass on what is pending and `bytes`, in one write.
    fn pass_on(&mut self, bytes: &[u8]) {
        let all = if self.pending.is_empty() {
            bytes
        } else {
            self.pending.extend_from_slice(bytes);
            &self.pending
        };
        let _ = self.out.write_all(all).and_then(|()| self.out.flush());
        self.pending.clear();
    }

    fn end_line(&mut self) {
        if self.keep == 0 {
            self.partial.clear();
            return;
        }
        // The oldest line's buffer becomes the new line's: no allocation in the long run.
        let next = if self.lines.len() == self.keep {
            self.lines.pop_front().unwrap_or_default()
        } else {
            Vec::new()
        };
        let mut line = std::mem::replace(&mut self.partial, next);
        self.partial.clear();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        self.lines.push_back(line);
    }
}

/// [`LogSink`] as a writer, for a serial port whose output is the kernel's log.
#[derive(Clone)]
pub struct LogWriter(pub Arc<LogSink>);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.log(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log port (`gnomon_abi::ports::LOG`), one port wide. It reads as all ones.
pub struct LogPort {
    sink: Arc<LogSink>,
}

impl LogPort {
    /// A port whose bytes go to `sink`.
    pub fn new(sink: Arc<LogSink>) -> Self {
        Self { sink }
    }
}

impl PioDevice for LogPort {
    fn read(&mut self, _offset: u16, _data: &mut [u8]) {}

    fn write(&mut self, _offset: u16, data: &[u8]) {
        self.sink.log(data);
    }

    fn write_string(&mut self, _offset: u16, _width: usize, data: &[u8]) {
        self.sink.log(data);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Channel(mpsc::Sender<Vec<u8>>);

    impl Write for Channel {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn port() -> (LogPort, mpsc::Receiver<Vec<u8>>) {
        let (sender, receiver) = mpsc::channel();
        let port = LogPort::new(LogSink::new(Box::new(Channel(sender)), 4));
        (port, receiver)
    }

    #[test]
    fn string_write_is_passed_on_whole() {
        let (mut port, receiver) = port();
        port.write_string(0, 1, b"hello\nworld\n");
        assert_eq!(receiver.try_recv().unwrap(), b"hello\nworld\n");
    }

    #[test]
    fn bytes_are_gathered_into_lines() {
        let (mut port, receiver) = port();
        for byte in b"hello\nworld" {
            port.write(0, &[*byte]);
        }
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [b"hello\n"]);
    }

    #[test]
    fn unfinished_line_is_passed_on_at_the_end() {
        let (mut port, receiver) = port();
        port.write_string(0, 1, b"hel");
        port.write_string(0, 1, b"lo");
        drop(port);
        assert_eq!(receiver.try_recv().unwrap(), b"hello");
    }

    #[test]
    fn long_unfinished_line_is_passed_on() {
        let (mut port, receiver) = port();
        port.write_string(0, 1, &[b'x'; PENDING_MAX]);
        assert_eq!(receiver.try_recv().unwrap().len(), PENDING_MAX);
    }

    #[test]
    fn ring_keeps_the_last_lines() {
        let sink = LogSink::new(Box::new(io::sink()), 2);
        sink.log(b"one\ntwo\r\nth");
        sink.log(b"ree\nfour");
        assert_eq!(sink.last_lines(), ["two", "three", "four"]);
    }

    #[test]
    fn long_line_is_cut_in_the_ring() {
        let sink = LogSink::new(Box::new(io::sink()), 2);
        sink.log(&[b'x'; 2 * LINE_MAX]);
        sink.log(b"y\nz\n");
        assert_eq!(sink.last_lines(), ["x".repeat(LINE_MAX), "z".to_owned()]);
    }

    #[test]
    fn sink_without_memory_keeps_nothing() {
        let sink = LogSink::new(Box::new(io::sink()), 0);
        sink.log(b"one\ntwo\n");
        assert!(sink.last_lines().is_empty());
    }

    #[test]
    fn broken_writer_is_ignored() {
        let (sender, _) = mpsc::channel();
        let sink = LogSink::new(Box::new(Channel(sender)), 2);
        sink.log(b"one\n");
        assert_eq!(sink.last_lines(), ["one"]);
    }
}
