//! Memory mappings (`mmap(2)` and its family).

use crate::errno::{Errno, KResult};
use crate::fs::FileType;
use crate::fs::seal::Seals;
use crate::mm::layout::{PAGE, USER_END};
use crate::mm::user;
use crate::mm::{AddressSpace, Backing, Fixed, MapKind, Prot};
use crate::task;

const PROT_KNOWN: usize = 7;
/// The pages grow down with the area (`mprotect`): refused, as no area here would tell where it ends.
const PROT_GROWSDOWN: usize = 0x0100_0000;
const PROT_GROWSUP: usize = 0x0200_0000;

const MAP_SHARED: usize = 0x01;
const MAP_PRIVATE: usize = 0x02;
const MAP_SHARED_VALIDATE: usize = 0x03;
const MAP_TYPE: usize = 0x0f;
const MAP_FIXED: usize = 0x10;
const MAP_ANONYMOUS: usize = 0x20;
const MAP_GROWSDOWN: usize = 0x100;
const MAP_LOCKED: usize = 0x2000;
const MAP_POPULATE: usize = 0x8000;
const MAP_HUGETLB: usize = 0x40000;
const MAP_FIXED_NOREPLACE: usize = 0x100000;

fn space() -> KResult<&'static AddressSpace> {
    task::current_space().ok_or(Errno::ENOMEM)
}

/// `mmap(2)`
pub fn sys_mmap(
    addr: usize,
    len: usize,
    prot: usize,
    flags: usize,
    fd: usize,
    offset: usize,
) -> KResult<usize> {
    let shared = match flags & MAP_TYPE {
        MAP_SHARED | MAP_SHARED_VALIDATE => true,
        MAP_PRIVATE => false,
        _ => return Err(Errno::EINVAL),
    };
    if len == 0 || !offset.is_multiple_of(PAGE) || flags & MAP_HUGETLB != 0 {
        return Err(Errno::EINVAL);
    }
    // A length that no address space could have.
    if len > USER_END {
        return Err(Errno::ENOMEM);
    }
    if (offset as u64).checked_add(len as u64).is_none() {
        return Err(Errno::EOVERFLOW);
    }
    let fixed = if flags & MAP_FIXED_NOREPLACE != 0 {
        Fixed::NoReplace
    } else if flags & MAP_FIXED != 0 {
        Fixed::Yes
    } else {
        Fixed::No
    };
    let prot = Prot::from_bits(prot & PROT_KNOWN);
    let backing = if flags & MAP_ANONYMOUS != 0 {
        if flags & MAP_GROWSDOWN != 0 && !shared {
            Backing::Stack
        } else {
            Backing::Anonymous
        }
    } else {
        let file = task::current_process()
            .files
            .lock()
            .get(fd as u32 as usize)?;
        let mode = file.flags();
        if !mode.readable() || (shared && prot.contains(Prot::WRITE) && !mode.writable()) {
            return Err(Errno::EACCES);
        }
        match file.kind() {
            FileType::Regular => {}
            // /dev/zero maps as anonymous memory.
            FileType::Char if crate::fs::device::is_zero(&file) => {
                return map(
                    addr,
                    fixed,
                    len,
                    prot,
                    MapKind {
                        shared,
                        backing: Backing::Anonymous,
                    },
                    flags,
                );
            }
            _ => return Err(Errno::ENODEV),
        }
        let sealed = shared && file.inode().seals().is_some_and(Seals::forbid_mapping);
        if sealed && prot.contains(Prot::WRITE) {
            return Err(Errno::EPERM);
        }
        Backing::File {
            inode: file.inode().clone(),
            offset: offset as u64,
            writable: mode.writable() && !sealed,
        }
    };
    map(addr, fixed, len, prot, MapKind { shared, backing }, flags)
}

fn map(
    addr: usize,
    fixed: Fixed,
    len: usize,
    prot: Prot,
    kind: MapKind,
    flags: usize,
) -> KResult<usize> {
    let space = space()?;
    let hint = if fixed == Fixed::No && addr < PAGE {
        None
    } else {
        Some(addr)
    };
    let at = space.map(hint, fixed, len, prot, kind)?;
    if flags & MAP_LOCKED != 0
        && let Err(error) = space.set_locked(at, len, true)
    {
        space.unmap(at, len)?;
        return Err(if error == Errno::ENOMEM {
            Errno::EAGAIN
        } else {
            error
        });
    }
    if flags & (MAP_POPULATE | MAP_LOCKED) != 0 {
        space.populate(at, len);
    }
    Ok(at)
}

/// `munmap(2)`
pub fn sys_munmap(addr: usize, len: usize) -> KResult<usize> {
    space()?.unmap(addr, len)?;
    Ok(0)
}

/// `mprotect(2)`
pub fn sys_mprotect(addr: usize, len: usize, prot: usize) -> KResult<usize> {
    if !addr.is_multiple_of(PAGE) || prot & !PROT_KNOWN & !(PROT_GROWSDOWN | PROT_GROWSUP) != 0 {
        return Err(Errno::EINVAL);
    }
    if prot & (PROT_GROWSDOWN | PROT_GROWSUP) != 0 {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    space()?.protect(addr, len, Prot::from_bits(prot))?;
    Ok(0)
}

/// `mremap(2)`
pub fn sys_mremap(
    addr: usize,
    old_len: usize,
    new_len: usize,
    flags: usize,
    new_addr: usize,
) -> KResult<usize> {
    space()?.remap(addr, old_len, new_len, flags, new_addr)
}

/// `brk(2)`
pub fn sys_brk(addr: usize) -> KResult<usize> {
    Ok(space()?.brk(addr))
}

/// `madvise(2)`
pub fn sys_madvise(addr: usize, len: usize, advice: usize) -> KResult<usize> {
    space()?.advise(addr, len, advice)?;
    Ok(0)
}

const MS_ASYNC: usize = 1;
const MS_INVALIDATE: usize = 2;
const MS_SYNC: usize = 4;

/// `msync(2)`
pub fn sys_msync(addr: usize, len: usize, flags: usize) -> KResult<usize> {
    if flags & !(MS_ASYNC | MS_INVALIDATE | MS_SYNC) != 0
        || flags & (MS_ASYNC | MS_SYNC) == MS_ASYNC | MS_SYNC
        || !addr.is_multiple_of(PAGE)
    {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    space()?.sync(addr, len)?;
    Ok(0)
}

/// `mincore(2)`
pub fn sys_mincore(addr: usize, len: usize, vec: usize) -> KResult<usize> {
    if !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    if len > USER_END || addr > USER_END - len {
        return Err(Errno::ENOMEM);
    }
    let pages = space()?.residency(addr, len)?;
    user::copy_to_user(vec, &pages)?;
    Ok(0)
}

/// `mlock(2)`
pub fn sys_mlock(addr: usize, len: usize) -> KResult<usize> {
    lock(addr, len, true)
}

fn lock(addr: usize, len: usize, populate: bool) -> KResult<usize> {
    let start = addr & !(PAGE - 1);
    let end = addr.checked_add(len).ok_or(Errno::EINVAL)?;
    if len == 0 {
        return Ok(0);
    }
    if end > USER_END {
        return Err(Errno::ENOMEM);
    }
    let space = space()?;
    space.set_locked(start, end - start, true)?;
    if populate {
        space.populate(start, end - start);
    }
    Ok(0)
}

/// `munlock(2)`
pub fn sys_munlock(addr: usize, len: usize) -> KResult<usize> {
    let start = addr & !(PAGE - 1);
    let end = addr.checked_add(len).ok_or(Errno::EINVAL)?;
    if len != 0 {
        if end > USER_END {
            return Err(Errno::ENOMEM);
        }
        space()?.set_locked(start, end - start, false)?;
    }
    Ok(0)
}

/// `mlockall(2)`
pub fn sys_mlockall(flags: usize) -> KResult<usize> {
    const MCL_KNOWN: usize = 7;
    const MCL_CURRENT: usize = 1;
    const MCL_FUTURE: usize = 2;
    const MCL_ONFAULT: usize = 4;
    if flags == 0 || flags & !MCL_KNOWN != 0 || flags == MCL_ONFAULT {
        return Err(Errno::EINVAL);
    }
    let current = flags & MCL_CURRENT != 0;
    let space = space()?;
    space.set_all_locked(current, flags & MCL_FUTURE != 0)?;
    if current && flags & MCL_ONFAULT == 0 {
        for area in space.areas() {
            space.populate(area.start, area.end - area.start);
        }
    }
    Ok(0)
}

/// `munlockall(2)`
pub fn sys_munlockall() -> KResult<usize> {
    space()?.set_all_locked(false, false)?;
    Ok(0)
}

/// `mlock2(2)`
pub fn sys_mlock2(addr: usize, len: usize, flags: usize) -> KResult<usize> {
    const MLOCK_ONFAULT: usize = 1;
    if flags & !MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL);
    }
    lock(addr, len, flags & MLOCK_ONFAULT == 0)
}
