//! `md5sum [-c] [FILE…]`: message digests after RFC 1321, or a check of a list of them.

use std::io;

use super::input::{self, Input};
use crate::cli::{self, Options, Out};

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "cbtsw") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let mut out = Out::stdout();
    let mut failures = 0;
    let status = input::each(&options.operands, |name, input| {
        if !options.has(b'c') {
            out.put(digest(input)?.as_bytes());
            out.line(&[b"  ", name].concat());
            return Ok(());
        }
        let mut line = Vec::new();
        while input.line(&mut line)? {
            let text = input::chomp(&line);
            let Some((sum, rest)) = text.split_at_checked(32) else {
                continue;
            };
            let Some(file) = rest.strip_prefix(b"  ").or(rest.strip_prefix(b" *")) else {
                continue;
            };
            let result = Input::open(file).and_then(|mut input| digest(&mut input));
            let verdict = match result {
                Ok(digest) if digest.as_bytes().eq_ignore_ascii_case(sum) => "OK",
                Ok(_) => "FAILED",
                Err(error) => {
                    cli::warn_error(file, &error);
                    "FAILED open or read"
                }
            };
            failures += u32::from(verdict != "OK");
            if !options.has(b's') {
                out.line(&[file, b": ", verdict.as_bytes()].concat());
            }
        }
        Ok(())
    });
    if failures > 0 {
        cli::warn(format_args!("{failures} of the files did not match"));
    }
    status | out.finish() | i32::from(failures > 0)
}

fn digest(input: &mut Input) -> io::Result<String> {
    let mut md5 = Md5::new();
    loop {
        let block = input.block()?;
        if block.is_empty() {
            return Ok(md5.finish());
        }
        md5.update(block);
    }
}

/// The digest of what has been seen so far.
struct Md5 {
    state: [u32; 4],
    length: u64,
    /// What does not fill a block yet.
    pending: Vec<u8>,
}

const BLOCK: usize = 64;

/// Rotations, four to a round (RFC 1321, section 3.4).
const ROTATIONS: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];

/// Floor of 2^32 times |sin(i + 1)| (RFC 1321, section 3.4).
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
];

impl Md5 {
    fn new() -> Self {
        Md5 {
            state: [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476],
            length: 0,
            pending: Vec::new(),
        }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        self.length = self.length.wrapping_add(bytes.len() as u64);
        if !self.pending.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK - self.pending.len()));
            self.pending.extend_from_slice(head);
            bytes = rest;
            if self.pending.len() == BLOCK {
                let block = std::mem::take(&mut self.pending);
                self.blocks(&block);
            }
        }
        let whole = bytes.len() - bytes.len() % BLOCK;
        self.blocks(&bytes[..whole]);
        self.pending.extend_from_slice(&bytes[whole..]);
    }

    fn blocks(&mut self, bytes: &[u8]) {
        for block in bytes.chunks_exact(BLOCK) {
            let mut words = [0; 16];
            for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
                *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
            let [mut a, mut b, mut c, mut d] = self.state;
            for i in 0..64 {
                let (mixed, word) = match i / 16 {
                    0 => (b & c | !b & d, i),
                    1 => (d & b | !d & c, (5 * i + 1) % 16),
                    2 => (b ^ c ^ d, (3 * i + 5) % 16),
                    _ => (c ^ (b | !d), 7 * i % 16),
                };
                let sum = a
                    .wrapping_add(mixed)
                    .wrapping_add(SINES[i])
                    .wrapping_add(words[word]);
                a = d;
                d = c;
                c = b;
                b = b.wrapping_add(sum.rotate_left(ROTATIONS[i / 16][i % 4]));
            }
            for (state, value) in self.state.iter_mut().zip([a, b, c, d]) {
                *state = state.wrapping_add(value);
            }
        }
    }

    fn finish(mut self) -> String {
        let bits = self.length.wrapping_mul(8);
        let zeros = (BLOCK + 55 - self.pending.len()) % BLOCK;
        let mut padding = vec![0; zeros + 1];
        padding[0] = 0x80;
        padding.extend(bits.to_le_bytes());
        self.update(&padding);
        let bytes = self.state.iter().flat_map(|word| word.to_le_bytes());
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_rfc() {
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            for piece in [1, 7, 64, 100] {
                let mut md5 = Md5::new();
                text.as_bytes()
                    .chunks(piece)
                    .for_each(|bytes| md5.update(bytes));
                assert_eq!(md5.finish(), digest, "{text} by {piece}");
            }
        }
    }
}
