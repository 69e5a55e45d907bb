//! The kernel's random numbers: ChaCha20 (RFC 8439) keyed by everything unpredictable at hand,
//! with the key replaced after each request, so that what was given out cannot be found again.

use crate::sync::SpinLock;

struct Generator {
    key: [u32; 8],
    counter: u64,
    seeded: bool,
    /// Bytes made in advance, from `used` on; those before have been given out and erased.
    pool: [u8; POOL],
    used: usize,
}

/// Bytes made at once: most requests want 16, and the key is replaced only once for all of them.
const POOL: usize = 8 * 64 - 32;

static GENERATOR: SpinLock<Generator> = SpinLock::new(Generator {
    key: [0; 8],
    counter: 0,
    seeded: false,
    pool: [0; POOL],
    used: POOL,
});

/// Fill `out` with random bytes.
pub fn fill(out: &mut [u8]) {
    let mut generator = GENERATOR.lock();
    if !generator.seeded {
        generator.seeded = true;
        generator.mix(&crate::arch::rand::seed());
        if let Some(seed) = super::rng::seed() {
            generator.mix(&seed);
        }
    }
    let mut out = out;
    while !out.is_empty() {
        if generator.used == POOL {
            generator.refill();
        }
        let from = generator.used;
        let len = out.len().min(POOL - from);
        let (now, rest) = out.split_at_mut(len);
        let pool = &mut generator.pool[from..from + len];
        now.copy_from_slice(pool);
        pool.fill(0);
        generator.used += len;
        out = rest;
    }
}

/// Stir `data` into the state (writes to `/dev/urandom`).
pub fn mix(data: &[u8]) {
    let mut generator = GENERATOR.lock();
    for chunk in data.chunks(32) {
        let mut seed = [0; 32];
        seed[..chunk.len()].copy_from_slice(chunk);
        generator.mix(&seed);
    }
}

fn words(bytes: &[u8; 64]) -> [u32; 8] {
    let mut key = [0; 8];
    for (word, four) in key.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    }
    key
}

impl Generator {
    fn mix(&mut self, seed: &[u8; 32]) {
        for (word, four) in self.key.iter_mut().zip(seed.chunks_exact(4)) {
            *word ^= u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        }
        let block = self.next_block();
        self.key = words(&block);
        self.used = POOL;
    }

    /// Makes a new pool, and a new key with it.
    fn refill(&mut self) {
        let first = self.next_block();
        self.pool[..32].copy_from_slice(&first[32..]);
        for at in (32..POOL).step_by(64) {
            let block = self.next_block();
            self.pool[at..at + 64].copy_from_slice(&block);
        }
        self.key = words(&first);
        self.used = 0;
    }

    fn next_block(&mut self) -> [u8; 64] {
        let block = chacha20(&self.key, self.counter);
        self.counter += 1;
        block
    }
}

fn chacha20(key: &[u32; 8], counter: u64) -> [u8; 64] {
    let mut start = [0u32; 16];
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    start[4..12].copy_from_slice(key);
    start[12] = counter as u32;
    start[13] = (counter >> 32) as u32;
    let mut s = start;
    for _ in 0..10 {
        quarter(&mut s, 0, 4, 8, 12);
        quarter(&mut s, 1, 5, 9, 13);
        quarter(&mut s, 2, 6, 10, 14);
        quarter(&mut s, 3, 7, 11, 15);
        quarter(&mut s, 0, 5, 10, 15);
        quarter(&mut s, 1, 6, 11, 12);
        quarter(&mut s, 2, 7, 8, 13);
        quarter(&mut s, 3, 4, 9, 14);
    }
    let mut out = [0; 64];
    for ((four, word), first) in out.chunks_exact_mut(4).zip(s).zip(start) {
        four.copy_from_slice(&word.wrapping_add(first).to_le_bytes());
    }
    out
}

fn quarter(s: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(16);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(12);
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(8);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(7);
}
