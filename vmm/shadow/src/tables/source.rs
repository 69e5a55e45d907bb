//! The guest entries that a table page was made from, kept where there are any.

/// Entries kept together.
pub(super) const PART: usize = 64;

/// Of a part that is not kept.
static NOTHING: [u64; PART] = [0; PART];

/// 512 guest entries, all 0 at first. Most tables use few, close to each other.
#[derive(Default)]
pub(super) struct Source([Option<Box<[u64; PART]>>; 512 / PART]);

impl Source {
    pub(super) fn get(&self, index: usize) -> u64 {
        self.part(index / PART)[index % PART]
    }

    pub(super) fn set(&mut self, index: usize, entry: u64) {
        let part = &mut self.0[index / PART];
        if part.is_some() || entry != 0 {
            part.get_or_insert_with(|| Box::new(NOTHING))[index % PART] = entry;
        }
    }

    /// The entries from `part * PART` on.
    pub(super) fn part(&self, part: usize) -> &[u64; PART] {
        self.0[part].as_deref().unwrap_or(&NOTHING)
    }
}
