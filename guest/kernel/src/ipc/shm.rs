//! System V shared memory (`shmop(2)`, `shmctl(2)`).
//!
//! A segment is an inode that is mapped like a file. How often it is attached is not counted, but
//! seen in the address spaces when somebody asks; a segment that is to be destroyed goes with the
//! last address space that maps it, because nothing else holds it any more.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::fmt::Write as _;

use super::perm::{EXECUTE, READ, WRITE};
use super::table::{Object, Table};
use super::{Perm, PermRecord, me, now};
use crate::errno::{Errno, KResult};
use crate::fs::tmpfs::TmpFs;
use crate::fs::{FileType, Inode, Metadata};
use crate::mm::frame::{self, Frame};
use crate::mm::layout::PAGE;
use crate::mm::user::Pod;
use crate::mm::{AddressSpace, Backing, Fixed, MapKind, Prot};
use crate::sync::SpinLock;
use crate::task;

/// Most segments.
pub const MOST: usize = 4096;
/// Largest segment in bytes, and most pages of all: as good as unlimited.
pub const LARGEST: u64 = u64::MAX - (1 << 24);

/// Flag in the mode: it goes with its last user.
const DESTROYED: u32 = 0o1000;
/// Flag in the mode: not to be swapped out.
const LOCKED: u32 = 0o2000;

const RDONLY: usize = 0o10000;
const ROUND: usize = 0o20000;
const REMAP: usize = 0o40000;
const EXEC: usize = 0o100000;

struct State {
    perm: Perm,
    attached: i64,
    detached: i64,
    changed: i64,
    last_pid: u32,
}

/// A segment.
pub struct Segment {
    size: usize,
    maker: u32,
    state: SpinLock<State>,
    pages: Arc<dyn Inode>,
}

/// A segment as address spaces map it.
struct Mapping {
    segment: Arc<Segment>,
}

/// The segments that have a number.
static SEGMENTS: Table<Entry> = Table::new(MOST);

/// What the table holds: the segment, until it is to be destroyed; then only those who map it do.
pub struct Entry {
    segment: SpinLock<Result<Arc<Mapping>, Weak<Mapping>>>,
}

impl Entry {
    fn mapping(&self) -> KResult<Arc<Mapping>> {
        match &*self.segment.lock() {
            Ok(mapping) => Ok(mapping.clone()),
            Err(weak) => weak.upgrade().ok_or(Errno::EINVAL),
        }
    }
}

impl Object for Entry {
    fn perm(&self) -> Perm {
        match self.mapping() {
            Ok(mapping) => mapping.segment.state.lock().perm,
            Err(_) => Perm::new(0, 0),
        }
    }

    fn check_size(&self, size: usize) -> KResult<()> {
        if size > self.mapping()?.segment.size {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

impl Inode for Mapping {
    fn metadata(&self) -> Metadata {
        self.segment.pages.metadata()
    }

    fn kind(&self) -> FileType {
        FileType::Regular
    }

    fn size(&self) -> u64 {
        self.segment.pages.size()
    }

    fn page(&self, index: u64) -> KResult<Option<Frame>> {
        self.segment.pages.page(index)
    }

    fn cached_pages(&self, first: u64, end: u64, each: &mut dyn FnMut(u64, &Frame)) {
        self.segment.pages.cached_pages(first, end, each);
    }

    fn mark_dirty(&self, index: u64) {
        self.segment.pages.mark_dirty(index);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Forget segments that went with their last user. Under no lock.
fn sweep() {
    for (_, entry) in SEGMENTS.all() {
        if entry.mapping().is_err() {
            SEGMENTS.remove(&entry);
        }
    }
}

/// `shmget(2)`
pub fn get(key: i32, size: usize, flags: usize) -> KResult<usize> {
    sweep();
    SEGMENTS.get(key, size, flags, |perm| {
        if size == 0 || size as u64 > LARGEST {
            return Err(Errno::EINVAL);
        }
        let len = size.checked_next_multiple_of(PAGE).ok_or(Errno::EINVAL)?;
        // More than the machine could ever back.
        if len / PAGE > frame::total_frames() {
            return Err(Errno::ENOMEM);
        }
        let pages = TmpFs::nameless(0o777, (perm.uid, perm.gid), false);
        pages.truncate(len as u64)?;
        let segment = Arc::new(Segment {
            size,
            maker: me(),
            state: SpinLock::new(State {
                perm,
                attached: 0,
                detached: 0,
                changed: now(),
                last_pid: 0,
            }),
            pages,
        });
        Ok(Entry {
            segment: SpinLock::new(Ok(Arc::new(Mapping { segment }))),
        })
    })
}

/// `shmat(2)`; the address.
pub fn attach(id: usize, address: usize, flags: usize) -> KResult<usize> {
    let mapping = SEGMENTS.find(id)?.mapping()?;
    let mut want = READ;
    let mut prot = Prot::READ;
    if flags & RDONLY == 0 {
        want |= WRITE;
        prot = prot | Prot::WRITE;
    }
    if flags & EXEC != 0 {
        want |= EXECUTE;
        prot = prot | Prot::EXEC;
    }
    let (place, fixed) = if address == 0 {
        if flags & REMAP != 0 {
            return Err(Errno::EINVAL);
        }
        (None, Fixed::No)
    } else {
        let rounded = address & !(PAGE - 1);
        if rounded != address && flags & ROUND == 0 {
            return Err(Errno::EINVAL);
        }
        let fixed = match flags & REMAP {
            0 => Fixed::NoReplace,
            _ => Fixed::Yes,
        };
        (Some(rounded), fixed)
    };
    mapping.segment.state.lock().perm.check(want)?;
    let space = task::current_space().ok_or(Errno::ENOMEM)?;
    let kind = MapKind {
        shared: true,
        backing: Backing::File {
            inode: mapping.clone(),
            offset: 0,
            writable: flags & RDONLY == 0,
        },
    };
    let at = space
        .map(place, fixed, mapping.segment.size, prot, kind)
        .map_err(|e| match e {
            Errno::EEXIST => Errno::EINVAL,
            other => other,
        })?;
    let mut state = mapping.segment.state.lock();
    state.attached = now();
    state.last_pid = me();
    Ok(at)
}

/// The segment that an inode stands for.
fn segment_of(inode: &Option<Arc<dyn Inode>>) -> Option<&Arc<Segment>> {
    let mapping: &Mapping = inode.as_ref()?.as_any().downcast_ref()?;
    Some(&mapping.segment)
}

/// `shmdt(2)`. EINVAL: nothing is attached there.
pub fn detach(address: usize) -> KResult<()> {
    if !address.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let space = task::current_space().ok_or(Errno::EINVAL)?;
    let areas = space.areas();
    // The part that is left of the attachment at that address, and its further parts.
    let first = areas.iter().find(|area| {
        segment_of(&area.inode).is_some()
            && area.start.checked_sub(area.offset as usize) == Some(address)
    });
    let segment = first
        .and_then(|area| segment_of(&area.inode))
        .ok_or(Errno::EINVAL)?
        .clone();
    for area in &areas {
        let same = segment_of(&area.inode).is_some_and(|other| Arc::ptr_eq(other, &segment));
        if same && area.start.checked_sub(area.offset as usize) == Some(address) {
            space.unmap(area.start, area.end - area.start)?;
        }
    }
    let mut state = segment.state.lock();
    state.detached = now();
    state.last_pid = me();
    Ok(())
}

/// How often a segment is attached, in all processes.
fn attachments(segment: &Arc<Segment>) -> u64 {
    let mut spaces: Vec<Arc<AddressSpace>> = Vec::new();
    for space in task::all_processes().iter().filter_map(|p| p.space()) {
        if !spaces.iter().any(|known| Arc::ptr_eq(known, &space)) {
            spaces.push(space);
        }
    }
    let mut count = 0;
    for space in spaces {
        let mut places = BTreeSet::new();
        for area in space.areas() {
            if segment_of(&area.inode).is_some_and(|other| Arc::ptr_eq(other, segment)) {
                places.insert(area.start.wrapping_sub(area.offset as usize));
            }
        }
        count += places.len() as u64;
    }
    count
}

/// `struct shmid64_ds`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Record {
    /// Owners and permissions.
    pub perm: PermRecord,
    size: u64,
    attached: i64,
    detached: i64,
    changed: i64,
    maker: u32,
    last_pid: u32,
    attachments: u64,
    unused: [u64; 2],
}

// SAFETY: integers without implicit padding; any bit pattern is valid.
unsafe impl Pod for Record {}

const _: () = assert!(size_of::<Record>() == 112);

fn record(id: u32, segment: &Arc<Segment>) -> Record {
    let attachments = attachments(segment);
    let state = segment.state.lock();
    Record {
        perm: state.perm.record(id),
        size: segment.size as u64,
        attached: state.attached,
        detached: state.detached,
        changed: state.changed,
        maker: segment.maker,
        last_pid: state.last_pid,
        attachments,
        unused: [0; 2],
    }
}

/// `IPC_STAT` of number `id`. EACCES, EINVAL.
pub fn stat(id: usize) -> KResult<Record> {
    let mapping = SEGMENTS.find(id)?.mapping()?;
    mapping.segment.state.lock().perm.check(READ)?;
    Ok(record(id as u32, &mapping.segment))
}

/// `SHM_STAT` (`any`: `SHM_STAT_ANY`) of an index: number and facts.
pub fn stat_index(index: usize, any: bool) -> KResult<(usize, Record)> {
    sweep();
    let (id, entry) = SEGMENTS.at(index)?;
    let mapping = entry.mapping()?;
    if !any {
        mapping.segment.state.lock().perm.check(READ)?;
    }
    Ok((id as usize, record(id, &mapping.segment)))
}

/// `IPC_SET`. EPERM, EINVAL.
pub fn set(id: usize, from: &PermRecord) -> KResult<()> {
    let mapping = SEGMENTS.find(id)?.mapping()?;
    let perm = mapping.segment.state.lock().perm;
    perm.check_owner()?;
    let mut state = mapping.segment.state.lock();
    state.perm.set(from);
    state.changed = now();
    Ok(())
}

/// `IPC_RMID`: it goes now, or with its last attachment. EPERM, EINVAL.
pub fn remove(id: usize) -> KResult<()> {
    let entry = SEGMENTS.find(id)?;
    let mapping = entry.mapping()?;
    let perm = mapping.segment.state.lock().perm;
    perm.check_owner()?;
    {
        let mut state = mapping.segment.state.lock();
        state.perm.key = 0;
        state.perm.mode |= DESTROYED;
    }
    let kept = core::mem::replace(&mut *entry.segment.lock(), Err(Arc::downgrade(&mapping)));
    drop(kept);
    drop(mapping);
    sweep();
    Ok(())
}

/// `SHM_LOCK`, `SHM_UNLOCK`. EPERM, EINVAL.
pub fn lock(id: usize, locked: bool) -> KResult<()> {
    let mapping = SEGMENTS.find(id)?.mapping()?;
    let perm = mapping.segment.state.lock().perm;
    perm.check_owner()?;
    let mut state = mapping.segment.state.lock();
    match locked {
        true => state.perm.mode |= LOCKED,
        false => state.perm.mode &= !LOCKED,
    }
    Ok(())
}

/// Number of segments, their pages, the pages that are resident (`SHM_INFO`); and the highest index.
pub fn sums() -> (u32, u64, u64, usize) {
    sweep();
    let (mut count, mut pages, mut resident) = (0, 0, 0);
    for (_, entry) in SEGMENTS.all() {
        if let Ok(mapping) = entry.mapping() {
            count += 1;
            pages += mapping.segment.size.div_ceil(PAGE) as u64;
            resident += mapping.metadata().blocks * 512 / PAGE as u64;
        }
    }
    (count, pages, resident, SEGMENTS.highest())
}

/// The text of `/proc/sysvipc/shm`.
pub fn describe() -> String {
    sweep();
    let mut text = String::from(
        "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid  \
         \x20   atime      dtime      ctime                   rss                  swap\n",
    );
    for (id, entry) in SEGMENTS.all() {
        let Ok(mapping) = entry.mapping() else {
            continue;
        };
        let facts = record(id, &mapping.segment);
        let perm = mapping.segment.state.lock().perm;
        let resident = mapping.metadata().blocks * 512;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:>10} {id:>10}  {:>4} {:>21} {:>5} {:>5}  {:>5} {:>5} {:>5} {:>5} {:>5} {:>10} {:>10} {:>10} \
             {resident:>21} {:>21}",
            perm.key,
            format!("{:o}", perm.mode),
            facts.size,
            facts.maker,
            facts.last_pid,
            facts.attachments,
            perm.uid,
            perm.gid,
            perm.cuid,
            perm.cgid,
            facts.attached,
            facts.detached,
            facts.changed,
            0,
        );
    }
    text
}
