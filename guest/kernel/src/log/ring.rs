//! The last lines of the kernel's log, for `/dev/kmsg`, `/proc/kmsg` and `syslog(2)`.
//!
//! ```text
//! ring of bytes:  … | time u64 | len u16 | text | time u64 | len u16 | text | …
//!                   ▲ oldest                                             ▲ next
//! ```

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::sync::SpinLock;

/// Bytes that are kept.
pub const SIZE: usize = 16 * 1024;
/// Longest text that is kept of a line.
const LONGEST: usize = 255;
/// Bytes before each text: time and length.
const HEAD: usize = 10;
/// All lines are of the kind `kern.info`.
const PRIORITY: u32 = 6;

struct Ring {
    bytes: [u8; SIZE],
    /// Where the oldest record begins, and the bytes of all records.
    start: usize,
    len: usize,
    /// Number of the oldest record, and of the next one.
    first: u64,
    next: u64,
    /// The oldest record that `SYSLOG_ACTION_CLEAR` has left.
    cleared: u64,
}

static RING: SpinLock<Ring> = SpinLock::new(Ring {
    bytes: [0; SIZE],
    start: 0,
    len: 0,
    first: 0,
    next: 0,
    cleared: 0,
});

/// A line of the log.
pub struct Record {
    /// Its number; they count up from 0.
    pub number: u64,
    /// When it was written: nanoseconds since boot.
    pub time: u64,
    /// Its text, without a line feed.
    pub text: Vec<u8>,
}

impl Ring {
    fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let at = (self.start + self.len) % SIZE;
            self.bytes[at] = *byte;
            self.len += 1;
        }
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes[(self.start + at) % SIZE]
    }

    fn text_len(&self, at: usize) -> usize {
        usize::from(u16::from_le_bytes([self.byte(at + 8), self.byte(at + 9)]))
    }

    fn drop_oldest(&mut self) {
        let whole = HEAD + self.text_len(0);
        self.start = (self.start + whole) % SIZE;
        self.len -= whole;
        self.first += 1;
    }

    /// The record at byte `at`.
    fn record(&self, number: u64, at: usize) -> Record {
        let mut time = [0; 8];
        for (n, byte) in time.iter_mut().enumerate() {
            *byte = self.byte(at + n);
        }
        let len = self.text_len(at);
        Record {
            number,
            time: u64::from_le_bytes(time),
            text: (0..len).map(|n| self.byte(at + HEAD + n)).collect(),
        }
    }
}

/// Keep a line. Does not allocate, and rather loses the line than waits: the log is written to
/// wherever something has gone wrong.
pub fn keep(time: u64, text: &[u8]) {
    let Some(mut ring) = RING.try_lock() else {
        return;
    };
    let text = &text[..text.len().min(LONGEST)];
    while SIZE - ring.len < HEAD + text.len() {
        ring.drop_oldest();
    }
    ring.put(&time.to_le_bytes());
    ring.put(&(text.len() as u16).to_le_bytes());
    ring.put(text);
    ring.next += 1;
}

/// Number of the oldest line that is kept, and of the next one.
pub fn range() -> (u64, u64) {
    let ring = RING.lock();
    (ring.first, ring.next)
}

/// The lines from number `from` on (or the oldest that is left), at most `most`.
pub fn lines(from: u64, most: usize) -> Vec<Record> {
    let ring = RING.lock();
    let mut found = Vec::new();
    let (mut at, mut number) = (0, ring.first);
    while number < ring.next && found.len() < most {
        if number >= from {
            found.push(ring.record(number, at));
        }
        at += HEAD + ring.text_len(at);
        number += 1;
    }
    found
}

/// What `dmesg` shows from now on begins here.
pub fn clear() {
    let mut ring = RING.lock();
    ring.cleared = ring.next;
}

/// The lines since the last [`clear`] as `syslog(2)` gives them.
pub fn text() -> String {
    let cleared = RING.lock().cleared;
    let mut text = String::new();
    for record in lines(cleared, usize::MAX) {
        let (seconds, rest) = (record.time / 1_000_000_000, record.time % 1_000_000_000);
        let line = String::from_utf8_lossy(&record.text);
        text += &format!("<{PRIORITY}>[{seconds:>5}.{:06}] {line}\n", rest / 1000);
    }
    text
}

/// A line as `/dev/kmsg` gives it.
pub fn as_message(record: &Record) -> String {
    let line = String::from_utf8_lossy(&record.text);
    format!(
        "{PRIORITY},{},{},-;{line}\n",
        record.number,
        record.time / 1000
    )
}
