//! Reads over 256 MiB of memory, mapped with small or with large pages.

use crate::machine::{self, LARGE, PRESENT, Page, WRITE};

const BYTES: u64 = 256 << 20;
const SMALL: u64 = 4096;
const TABLES: usize = (BYTES >> 21) as usize;
/// Where the memory lies: above this image.
const GPA: u64 = 32 << 20;
/// Where it is mapped: the third GiB.
const GVA: u64 = 2 << 30;

static DIRECTORY: Page = Page::zeroed();
static LEAVES: [Page; TABLES] = [const { Page::zeroed() }; TABLES];

/// Map the memory with 4 KiB pages.
pub fn map_small() {
    for (table, leaves) in LEAVES.iter().enumerate() {
        for entry in 0..512 {
            let gpa = GPA + ((table as u64) << 21) + entry as u64 * SMALL;
            leaves.set(entry, gpa | PRESENT | WRITE);
        }
        DIRECTORY.set(table, leaves.gpa() | PRESENT | WRITE);
    }
    machine::set_directory(2, &DIRECTORY);
}

/// Map the memory with 2 MiB pages.
pub fn map_large() {
    for table in 0..TABLES {
        DIRECTORY.set(
            table,
            (GPA + ((table as u64) << 21)) | PRESENT | WRITE | LARGE,
        );
    }
    machine::set_directory(2, &DIRECTORY);
}

/// [`map_small`], with every page touched.
pub fn map_small_and_touch() {
    map_small();
    in_order(BYTES / SMALL);
}

/// [`map_large`], with every page touched.
pub fn map_large_and_touch() {
    map_large();
    in_order(BYTES / SMALL);
}

/// Read one word in each 4 KiB, one after the other, `count` times.
pub fn in_order(count: u64) {
    for n in 0..count {
        read(n * SMALL % BYTES);
    }
}

/// Read a word anywhere, `count` times. Each address depends on the read before, so that their
/// misses cannot overlap.
pub fn at_random(count: u64) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..count {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // The memory is zero: the sum changes nothing but makes the next address wait.
        state = state.wrapping_add(read((state % BYTES) & !7));
    }
}

fn read(offset: u64) -> u64 {
    // SAFETY: the benchmark has mapped these addresses to memory that nothing else uses.
    unsafe { ((GVA + offset) as *const u64).read_volatile() }
}
