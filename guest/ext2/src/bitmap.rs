//! Searching bitmaps, 64 bits at a time.

/// The first clear bit in `start..end`.
pub(crate) fn find_clear(bits: &[u8], start: usize, end: usize) -> Option<usize> {
    let mut at = start;
    while at < end {
        let clear = !word(bits, at / 64) >> (at % 64);
        if clear != 0 {
            let found = at + clear.trailing_zeros() as usize;
            return (found < end).then_some(found);
        }
        at = (at / 64 + 1) * 64;
    }
    None
}

/// The first run of `len` clear bits in `start..end`.
pub(crate) fn find_clear_run(bits: &[u8], start: usize, end: usize, len: usize) -> Option<usize> {
    let mut from = start;
    loop {
        let begin = find_clear(bits, from, end)?;
        let stop = (begin + len).min(end);
        match (begin..stop).find(|&bit| get(bits, bit)) {
            Some(taken) => from = taken + 1,
            None if stop - begin == len => return Some(begin),
            None => return None,
        }
    }
}

fn word(bits: &[u8], index: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&bits[8 * index..8 * index + 8]);
    u64::from_le_bytes(bytes)
}

pub(crate) fn get(bits: &[u8], bit: usize) -> bool {
    bits[bit / 8] & 1 << (bit % 8) != 0
}

pub(crate) fn set(bits: &mut [u8], bit: usize) {
    bits[bit / 8] |= 1 << (bit % 8);
}

pub(crate) fn clear(bits: &mut [u8], bit: usize) {
    bits[bit / 8] &= !(1 << (bit % 8));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_clear_bit_is_found_across_words() {
        let mut bits = [0xff; 16];
        assert_eq!(find_clear(&bits, 0, 128), None);
        clear(&mut bits, 77);
        assert_eq!(find_clear(&bits, 3, 128), Some(77));
        assert_eq!(find_clear(&bits, 77, 128), Some(77));
        assert_eq!(find_clear(&bits, 78, 128), None);
        assert_eq!(find_clear(&bits, 0, 77), None);
    }

    #[test]
    fn run_is_found_behind_a_shorter_one() {
        let mut bits = [0xff; 16];
        for bit in [10, 11, 60, 61, 62, 63, 64, 127] {
            clear(&mut bits, bit);
        }
        assert_eq!(find_clear_run(&bits, 0, 128, 3), Some(60));
        assert_eq!(find_clear_run(&bits, 0, 128, 5), Some(60));
        assert_eq!(find_clear_run(&bits, 0, 128, 6), None);
        assert_eq!(find_clear_run(&bits, 65, 128, 2), None);
    }
}
