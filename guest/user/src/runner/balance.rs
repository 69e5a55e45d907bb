//! What the kernel has given out, counted exactly: before and after a test it must be the same.
//!
//! Caches do not count: pages of files that could be read again are as good as free, and frames that
//! the kernel's heap holds are counted by the objects in them, so that a heap in pieces is no loss.
//! Objects that serve as caches (names, inodes) cannot be told from others; where a count differs, it
//! is taken again after all caches have been dropped (`/proc/sys/vm/drop_caches`).

use crate::sys;

/// The largest of the files that are read.
const ROOM: usize = 8192;

/// Object sizes of the kernel's heap that are told apart.
const SIZES: usize = 32;

/// A count of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Frames free, in the heap, or with pages of files; less what is on the swap device.
    pages: i64,
    /// Open file descriptions.
    files: i64,
    /// Threads of all processes.
    tasks: i64,
    /// Objects in the kernel's heap: size in bytes (0: none), how many are in use.
    objects: [(u32, i64); SIZES],
}

/// Something that was not given back: how many, of what.
pub type Loss = (u64, String);

impl Balance {
    /// Counts. None: this kernel does not tell.
    pub fn take() -> Option<Self> {
        let mut buffer = [0; ROOM];
        let mut balance = Self::default();
        balance.add_memory(read("/proc/meminfo", &mut buffer)?)?;
        balance.add_heap(read("/proc/slabinfo", &mut buffer)?);
        balance.files = first_number(read("/proc/sys/fs/file-nr", &mut buffer)?)?;
        balance.tasks = tasks(read("/proc/loadavg", &mut buffer)?)?;
        Some(balance)
    }

    fn add_memory(&mut self, meminfo: &str) -> Option<()> {
        const KIB: i64 = 4;
        let value = |name: &str| {
            meminfo
                .lines()
                .find_map(|line| first_number(line.strip_prefix(name)?.strip_prefix(':')?))
        };
        let swapped = value("SwapTotal")? - value("SwapFree")?;
        let files = value("Cached")? - value("Shmem")?;
        self.pages += (value("MemFree")? + files - swapped) / KIB;
        Some(())
    }

    fn add_heap(&mut self, slabinfo: &str) {
        let mut slots = self.objects.iter_mut();
        for line in slabinfo.lines() {
            let mut words = line.split_ascii_whitespace().skip(1).map(str::parse::<i64>);
            let mut next = || words.next()?.ok();
            let (Some(used), Some(all), Some(size), Some(per_slab), Some(frames)) =
                (next(), next(), next(), next(), next())
            else {
                continue;
            };
            self.pages += all / per_slab.max(1) * frames;
            if let Some(slot) = slots.next() {
                *slot = (size as u32, used);
            }
        }
    }

    /// What `self`, taken after `before`, lacks.
    pub fn losses(&self, before: &Self) -> Vec<Loss> {
        let mut losses = Vec::new();
        let mut note = |lost: i64, what: String| {
            if lost > 0 {
                losses.push((lost as u64, what));
            }
        };
        note(before.pages - self.pages, "pages".into());
        note(self.files - before.files, "files".into());
        note(self.tasks - before.tasks, "tasks".into());
        for ((size, now), (_, then)) in self.objects.iter().zip(&before.objects) {
            note(now - then, format!("objects-{size}"));
        }
        losses
    }
}

/// Losses that both of two runs have had, with the smaller number.
pub fn in_both(first: &[Loss], second: &[Loss]) -> Vec<Loss> {
    first
        .iter()
        .filter_map(|(count, what)| {
            let (other, _) = second.iter().find(|(_, known)| known == what)?;
            Some((*count.min(other), what.clone()))
        })
        .collect()
}

/// Have the kernel write back and let go of all that it can read again.
pub fn drop_caches() {
    if let Ok(fd) = sys::open(b"/proc/sys/vm/drop_caches", libc::O_WRONLY, 0) {
        // A kernel that refuses counts its caches: nothing is hidden by that.
        let _ = sys::write_all(fd, b"3\n");
        sys::close(fd);
    }
}

/// A whole file into `buffer`, as far as it fits.
fn read<'b>(path: &str, buffer: &'b mut [u8]) -> Option<&'b str> {
    let fd = sys::open(path.as_bytes(), libc::O_RDONLY, 0).ok()?;
    let mut len = 0;
    while let Ok(count @ 1..) = sys::read(fd, &mut buffer[len..]) {
        len += count;
    }
    sys::close(fd);
    std::str::from_utf8(&buffer[..len]).ok()
}

fn first_number(text: &str) -> Option<i64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// The number of all threads, in the fourth word of `/proc/loadavg`.
fn tasks(loadavg: &str) -> Option<i64> {
    let word = loadavg.split_ascii_whitespace().nth(3)?;
    word.split_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:  1000 kB\nMemFree:    400 kB\nCached: 28 kB\n\
        Shmem: 8 kB\nSwapTotal: 80 kB\nSwapFree: 40 kB\n";
    const SLABINFO: &str = "slabinfo - version: 2.1\n# name <active_objs> <num_objs>\n\
        kmalloc-16 3 256 16 256 1\nkmalloc-64 10 128 64 64 1\n";

    fn balance() -> Balance {
        let mut balance = Balance::default();
        balance.add_memory(MEMINFO).unwrap();
        balance.add_heap(SLABINFO);
        balance
    }

    #[test]
    fn pages_are_free_and_heap_and_files_less_swapped() {
        assert_eq!(balance().pages, 100 + 7 - 2 - 10 + 1 + 2);
    }

    #[test]
    fn objects_are_counted_by_size() {
        assert_eq!(balance().objects[..3], [(16, 3), (64, 10), (0, 0)]);
    }

    #[test]
    fn same_balance_is_no_loss() {
        assert_eq!(balance().losses(&balance()), []);
    }

    #[test]
    fn loss_is_named() {
        let (before, mut after) = (balance(), balance());
        after.pages -= 3;
        after.files += 1;
        after.objects[1].1 += 2;
        let losses = after.losses(&before);
        assert_eq!(
            losses,
            [
                (3, "pages".to_owned()),
                (1, "files".to_owned()),
                (2, "objects-64".to_owned())
            ]
        );
    }

    #[test]
    fn gain_is_no_loss() {
        let (mut before, after) = (balance(), balance());
        before.pages -= 3;
        assert_eq!(after.losses(&before), []);
    }

    #[test]
    fn only_what_repeats_is_lost() {
        let loss = |count, what: &str| (count, what.to_owned());
        let first = [loss(9, "pages"), loss(1, "files")];
        assert_eq!(in_both(&first, &[loss(2, "pages")]), [loss(2, "pages")]);
    }

    #[test]
    fn tasks_follow_the_slash() {
        assert_eq!(tasks("0.00 0.01 0.05 1/23 456\n"), Some(23));
    }
}
