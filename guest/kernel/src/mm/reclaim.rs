//! Making room when memory is short.
//!
//! Pages of files that nobody maps and that are clean go first: they cost nothing. Then files in memory
//! (tmpfs) that were not used of late go to swap space, and a replacement policy (`gnomon-replacement`) chooses among the pages that programs map. While memory
//! is plentiful nothing is recorded; the first shortage admits all pages that are there to the
//! policy, and from then on page faults admit theirs, until memory is plentiful again. Pages that go
//! for another reason are not taken out: a page that is chosen is checked, and forgotten if it is
//! not what it was.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicBool, Ordering};

use gnomon_replacement::{Policy, Slot};

use super::area::Source;
use super::areas::Inner;
use super::rmap::{self, Outcome, View};
use super::space::AddressSpace;
use super::swap::{self, Arriving, Leaving, SwapSlot};
use super::table::{ADDRESS, SWAPPED};
use super::{frame, stat};
use crate::arch::rand;
use crate::errno::{Errno, KResult};
use crate::fs::tmpfs;
use crate::sync::SpinLock;
use crate::task;

/// Pages that leave memory at a time.
const BATCH: usize = 64;
/// Pages found to have no room in swap space before it is given up.
const REFUSALS: usize = 16;

/// Times that no frame is gained, since pages of files are dirty, before it is given up.
const FRUITLESS: usize = 8;

/// With more than one in so many of the frames free that programs may have, memory is plentiful.
const PLENTY: usize = 4;

/// The policy if nothing else is asked for.
const DEFAULT: &str = "clock";

static POLICY: SpinLock<Option<Box<dyn Policy>>> = SpinLock::new(None);
/// Page faults tell the policy of new pages.
static TRACKING: AtomicBool = AtomicBool::new(false);

/// The policies that a kernel can run, by name. Exact LRU is not among them: no hardware tells of
/// every use.
pub fn policies() -> impl Iterator<Item = &'static str> {
    gnomon_replacement::NAMES
        .into_iter()
        .filter(|&name| name != "lru")
}

/// The name of the policy in use.
pub fn policy() -> &'static str {
    POLICY
        .lock()
        .as_ref()
        .map_or(DEFAULT, |policy| policy.name())
}

/// Changes the policy. `EINVAL`: no such name. `ENOMEM`.
pub fn choose(name: &str) -> KResult<()> {
    if !policies().any(|known| known == name) {
        return Err(Errno::EINVAL);
    }
    let seed = u64::from_le_bytes(*rand::seed().first_chunk().ok_or(Errno::EINVAL)?);
    let mut new = gnomon_replacement::by_name(name, seed).ok_or(Errno::EINVAL)?;
    if swap::total_pages() > 0 {
        new.reserve(frame::map().frames() as usize)
            .map_err(|_| Errno::ENOMEM)?;
    }
    // It gets to know the pages when it is asked for the first and has none.
    let old = POLICY.lock().replace(new);
    drop(old);
    Ok(())
}

/// Takes `replacement=NAME` from the command line.
pub fn init(command_line: &str) {
    let name = command_line
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("replacement="))
        .next_back();
    if let Some(name) = name
        && choose(name).is_err()
    {
        let mut known = String::new();
        for policy in policies() {
            known.push(' ');
            known.push_str(policy);
        }
        klog!("replacement={name}: no such policy; there are{known}");
    }
}

/// Before the first swap space comes into use: the policy's tables, so that nothing has to be
/// allocated when memory is short. `ENOMEM`.
pub(super) fn prepare() -> KResult<()> {
    if POLICY.lock().is_none() {
        choose(DEFAULT)?;
    }
    let mut policy = POLICY.lock();
    match policy.as_deref_mut() {
        Some(policy) => policy
            .reserve(frame::map().frames() as usize)
            .map_err(|_| Errno::ENOMEM),
        None => Err(Errno::ENOMEM),
    }
}

/// Whether the policy wants to know of new pages.
#[inline(always)]
pub(super) fn is_tracking() -> bool {
    TRACKING.load(Ordering::Relaxed)
}

/// A page fault has mapped the page in an entry.
#[cold]
pub(super) fn admit(entry: u64, root: u64, address: usize) {
    let reserve = frame::reserve();
    if super::free_frames() > reserve + (super::total_frames() - reserve) / PLENTY {
        // The shortage is over; the next one looks at all pages again.
        TRACKING.store(false, Ordering::Relaxed);
    }
    let gpa = entry & ADDRESS;
    rmap::note(gpa, root, address);
    if let Some(policy) = POLICY.lock().as_deref_mut() {
        let slot = (gpa >> 12) as Slot;
        // The policy may still know the frame for what it held before.
        policy.remove(slot);
        policy.admit(slot);
    }
}

/// Pages that memory and swap space can hold.
pub fn backed_pages() -> usize {
    super::total_frames() + swap::total_pages()
}

/// Makes room for `target` frames if it can; gives how many frames it gained. May sleep. The caller
/// holds no spin lock, and the lock of no address space unless it is content with pages of files.
pub fn make_room(target: usize) -> usize {
    make(target, &DIRECT)
}

/// The same, by the thread that does nothing else.
pub(super) fn make_room_in_background(target: usize) -> usize {
    make(target, &BACKGROUND)
}

/// Who makes room: what is counted.
struct Reclaimer {
    stalls: Option<&'static stat::Counter>,
    scanned: &'static stat::Counter,
    stolen: &'static stat::Counter,
}

const DIRECT: Reclaimer = Reclaimer {
    stalls: Some(&stat::STALLS),
    scanned: &stat::SCANNED,
    stolen: &stat::STOLEN,
};

const BACKGROUND: Reclaimer = Reclaimer {
    stalls: None,
    scanned: &stat::SCANNED_BACKGROUND,
    stolen: &stat::STOLEN_BACKGROUND,
};

fn make(target: usize, who: &Reclaimer) -> usize {
    let mut gained = crate::fs::reclaim(target);
    let mut fruitless = 0;
    if gained < target && swap::total_pages() > 0 {
        gained += tmpfs::swap_out(target - gained, false);
    }
    while gained < target && fruitless < FRUITLESS && swap::total_pages() > 0 {
        let Some(more) = replace((target - gained).clamp(BATCH / 2, BATCH), who) else {
            break;
        };
        fruitless += usize::from(more == 0);
        gained += more;
    }
    if gained == 0 && swap::total_pages() > 0 {
        gained = tmpfs::swap_out(target, true);
    }
    gained
}

/// A block of 2^order frames, with room made for it where free memory is in pieces.
pub fn alloc_block(order: usize) -> Option<u64> {
    const TRIES: usize = 8;
    for _ in 0..TRIES {
        if let Some(gpa) = frame::alloc_pages(order) {
            return Some(gpa);
        }
        if make_room(BATCH) == 0 {
            break;
        }
    }
    None
}

/// Lets up to `target` pages that programs map leave memory; gives how many frames that gained. None:
/// no page can leave.
fn replace(target: usize, who: &Reclaimer) -> Option<usize> {
    // In the middle of a page fault: its own process's pages must have their turn, too, so the
    // fault makes room when it has let go of them.
    let busy = task::current_space().is_some_and(|space| space.inner.try_lock().is_none());
    if busy {
        return None;
    }
    let spaces = rmap::all_spaces();
    let mut leaving = Leaving::new(target).ok()?;
    let mut view = View::new(&spaces, target).ok()?;
    if let Some(stalls) = who.stalls {
        stalls.add_one();
    }
    let (mut gone, unmapped) = {
        let mut policy = POLICY.lock();
        let policy = policy.as_deref_mut()?;
        if !TRACKING.swap(true, Ordering::Relaxed) {
            view.admit_all(policy);
        }
        choose_pages(policy, &mut view, &mut leaving, target)
    };
    who.scanned.add(view.scanned);
    view.finish();
    drop(spaces);
    leaving.write();
    if unmapped > 0 {
        gone += crate::fs::reclaim(unmapped);
        gone += tmpfs::swap_out(unmapped, false);
    }
    who.stolen.add(gone as u64);
    (gone > 0 || unmapped > 0).then_some(gone)
}

/// Lets the policy choose until `target` pages are gone. Gives their number, and that of pages of
/// files that nobody maps any more.
fn choose_pages(
    policy: &mut dyn Policy,
    view: &mut View<'_>,
    leaving: &mut Leaving,
    target: usize,
) -> (usize, usize) {
    let (mut gone, mut unmapped) = (0, 0);
    let mut refused = 0;
    let mut searched = false;
    let mut chosen = Vec::new();
    if chosen.try_reserve_exact(target).is_err() {
        return (0, 0);
    }
    while gone + unmapped < target && refused < REFUSALS {
        chosen.clear();
        policy.evict_many(view, target - gone - unmapped, &mut chosen);
        if chosen.is_empty() {
            // Pages that it was not told of, and those that could not leave when they were chosen.
            if searched {
                break;
            }
            searched = true;
            view.admit_all(policy);
        }
        for &frame in &chosen {
            let Some(number) = NonZeroU32::new(frame) else {
                continue;
            };
            // Without room in swap space there are at most a few that can leave, and each try costs.
            let outcome = if refused < REFUSALS {
                view.take_out(number, leaving)
            } else {
                Outcome::Full
            };
            match outcome {
                Outcome::Gone => gone += 1,
                Outcome::Unmapped => unmapped += 1,
                Outcome::Stays => {}
                Outcome::Full => {
                    refused += 1;
                    policy.admit(frame);
                }
            }
        }
    }
    (gone, unmapped)
}

/// Brings pages back from swap space until `left` says that none is left of what is to be emptied.
/// `ENOMEM`: there is no room for all of them. `EIO`.
pub(super) fn bring_back(pages: usize, left: &mut dyn FnMut() -> usize) -> KResult<()> {
    /// A process may just be between two address spaces.
    const ROUNDS: usize = 8;
    if pages + BATCH > super::free_frames() + crate::fs::cache::cached_pages() + swap::free_pages()
    {
        return Err(Errno::ENOMEM);
    }
    for _ in 0..ROUNDS {
        for space in rmap::all_spaces() {
            space.bring_back()?;
        }
        tmpfs::bring_back()?;
        if left() == 0 {
            return Ok(());
        }
    }
    Err(Errno::EBUSY)
}

impl AddressSpace {
    /// Brings all pages back from swap spaces that are to be emptied.
    fn bring_back(&self) -> KResult<()> {
        loop {
            let result = self.inner.lock().bring_back();
            match result {
                Err(Errno::ENOMEM) if make_room(BATCH) > 0 => {}
                other => return other,
            }
        }
    }
}

impl Inner {
    fn bring_back(&mut self) -> KResult<()> {
        let Inner {
            areas,
            tables,
            resident,
            swapped,
            ..
        } = self;
        for area in &*areas {
            if let Source::Shared(pages) = &area.source {
                pages.bring_back()?;
                continue;
            }
            let bits = area.prot.entry_bits();
            tables.visit(area.start, area.end, &mut |_, entry| {
                let slot = SwapSlot::of_entry(*entry);
                if *entry & SWAPPED != 0 && swap::is_unwanted(slot) {
                    for frame in Arriving::fetch(slot, 1)?.take() {
                        *entry = frame.into_raw() | bits;
                        *resident += 1;
                        *swapped -= 1;
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}
