//! Users and groups (`credentials(7)`). Root is whoever has effective user id 0.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use crate::errno::{Errno, KResult};
use crate::mm::user::{read_user, write_user};
use crate::task::{self, Creds};

/// "Leave it as it is".
const KEEP: u32 = u32::MAX;
/// Most supplementary groups.
const NGROUPS_MAX: usize = 65536;

fn read<T>(look: impl FnOnce(&Creds) -> T) -> T {
    look(&task::current_process().creds.lock())
}

/// `getuid(2)`
pub fn sys_getuid() -> KResult<usize> {
    Ok(read(|c| c.uid) as usize)
}

/// `geteuid(2)`
pub fn sys_geteuid() -> KResult<usize> {
    Ok(read(|c| c.euid) as usize)
}

/// `getgid(2)`
pub fn sys_getgid() -> KResult<usize> {
    Ok(read(|c| c.gid) as usize)
}

/// `getegid(2)`
pub fn sys_getegid() -> KResult<usize> {
    Ok(read(|c| c.egid) as usize)
}

/// Change the credentials of the running process, all or nothing.
fn change(change: impl FnOnce(&mut Creds) -> KResult<()>) -> KResult<usize> {
    let process = task::current_process();
    let mut creds = process.creds.lock();
    let mut new = creds.clone();
    change(&mut new)?;
    let acts_as = |c: &Creds| (c.euid, c.egid, c.fsuid, c.fsgid);
    let becomes_another = acts_as(&creds) != acts_as(&new);
    *creds = new;
    drop(creds);
    if becomes_another {
        // Its memory may hold what only the old user should see.
        process.dumpable().store(0, Ordering::Relaxed);
        process.parent_death_signal().store(0, Ordering::Relaxed);
    }
    Ok(0)
}

/// `setuid(2)`
pub fn sys_setuid(uid: usize) -> KResult<usize> {
    let uid = uid as u32;
    change(|c| {
        if uid == KEEP {
            return Err(Errno::EINVAL);
        }
        if c.is_privileged() {
            c.uid = uid;
            c.suid = uid;
        } else if uid != c.uid && uid != c.suid {
            return Err(Errno::EPERM);
        }
        c.euid = uid;
        c.fsuid = uid;
        Ok(())
    })
}

/// `setgid(2)`
pub fn sys_setgid(gid: usize) -> KResult<usize> {
    let gid = gid as u32;
    change(|c| {
        if gid == KEEP {
            return Err(Errno::EINVAL);
        }
        if c.is_privileged() {
            c.gid = gid;
            c.sgid = gid;
        } else if gid != c.gid && gid != c.sgid {
            return Err(Errno::EPERM);
        }
        c.egid = gid;
        c.fsgid = gid;
        Ok(())
    })
}

/// `setreuid(2)`
pub fn sys_setreuid(ruid: usize, euid: usize) -> KResult<usize> {
    let (ruid, euid) = (ruid as u32, euid as u32);
    change(|c| {
        let old = c.clone();
        let root = c.is_privileged();
        if ruid != KEEP {
            if !root && ruid != old.uid && ruid != old.euid {
                return Err(Errno::EPERM);
            }
            c.uid = ruid;
        }
        if euid != KEEP {
            if !root && euid != old.uid && euid != old.euid && euid != old.suid {
                return Err(Errno::EPERM);
            }
            c.euid = euid;
        }
        if ruid != KEEP || (euid != KEEP && euid != old.uid) {
            c.suid = c.euid;
        }
        c.fsuid = c.euid;
        Ok(())
    })
}

/// `setregid(2)`
pub fn sys_setregid(rgid: usize, egid: usize) -> KResult<usize> {
    let (rgid, egid) = (rgid as u32, egid as u32);
    change(|c| {
        let old = c.clone();
        let root = c.is_privileged();
        if rgid != KEEP {
            if !root && rgid != old.gid && rgid != old.egid {
                return Err(Errno::EPERM);
            }
            c.gid = rgid;
        }
        if egid != KEEP {
            if !root && egid != old.gid && egid != old.egid && egid != old.sgid {
                return Err(Errno::EPERM);
            }
            c.egid = egid;
        }
        if rgid != KEEP || (egid != KEEP && egid != old.gid) {
            c.sgid = c.egid;
        }
        c.fsgid = c.egid;
        Ok(())
    })
}

/// `setresuid(2)`
pub fn sys_setresuid(ruid: usize, euid: usize, suid: usize) -> KResult<usize> {
    change(|c| {
        let old = c.clone();
        let root = c.is_privileged();
        for (new, field) in [(ruid, &mut c.uid), (euid, &mut c.euid), (suid, &mut c.suid)] {
            let new = new as u32;
            if new == KEEP {
                continue;
            }
            if !root && ![old.uid, old.euid, old.suid].contains(&new) {
                return Err(Errno::EPERM);
            }
            *field = new;
        }
        c.fsuid = c.euid;
        Ok(())
    })
}

/// `setresgid(2)`
pub fn sys_setresgid(rgid: usize, egid: usize, sgid: usize) -> KResult<usize> {
    change(|c| {
        let old = c.clone();
        let root = c.is_privileged();
        for (new, field) in [(rgid, &mut c.gid), (egid, &mut c.egid), (sgid, &mut c.sgid)] {
            let new = new as u32;
            if new == KEEP {
                continue;
            }
            if !root && ![old.gid, old.egid, old.sgid].contains(&new) {
                return Err(Errno::EPERM);
            }
            *field = new;
        }
        c.fsgid = c.egid;
        Ok(())
    })
}

fn write_three(at: [usize; 3], values: [u32; 3]) -> KResult<usize> {
    for (at, value) in at.into_iter().zip(values) {
        write_user(at, &value)?;
    }
    Ok(0)
}

/// `getresuid(2)`
pub fn sys_getresuid(ruid: usize, euid: usize, suid: usize) -> KResult<usize> {
    write_three([ruid, euid, suid], read(|c| [c.uid, c.euid, c.suid]))
}

/// `getresgid(2)`
pub fn sys_getresgid(rgid: usize, egid: usize, sgid: usize) -> KResult<usize> {
    write_three([rgid, egid, sgid], read(|c| [c.gid, c.egid, c.sgid]))
}

/// `setfsuid(2)`: never fails: the old value comes back either way.
pub fn sys_setfsuid(uid: usize) -> KResult<usize> {
    let uid = uid as u32;
    let mut creds = task::current_process().creds.lock();
    let old = creds.fsuid;
    if uid != KEEP
        && (creds.is_privileged()
            || [creds.uid, creds.euid, creds.suid, creds.fsuid].contains(&uid))
    {
        creds.fsuid = uid;
    }
    Ok(old as usize)
}

/// `setfsgid(2)`: never fails: the old value comes back either way.
pub fn sys_setfsgid(gid: usize) -> KResult<usize> {
    let gid = gid as u32;
    let mut creds = task::current_process().creds.lock();
    let old = creds.fsgid;
    if gid != KEEP
        && (creds.is_privileged()
            || [creds.gid, creds.egid, creds.sgid, creds.fsgid].contains(&gid))
    {
        creds.fsgid = gid;
    }
    Ok(old as usize)
}

/// `getgroups(2)`
pub fn sys_getgroups(size: usize, list: usize) -> KResult<usize> {
    let groups = read(|c| c.groups.clone());
    let size = size as i32;
    if size < 0 {
        return Err(Errno::EINVAL);
    }
    if size != 0 {
        if (size as usize) < groups.len() {
            return Err(Errno::EINVAL);
        }
        for (i, group) in groups.iter().enumerate() {
            write_user(list.wrapping_add(i * 4), group)?;
        }
    }
    Ok(groups.len())
}

/// `setgroups(2)`
pub fn sys_setgroups(size: usize, list: usize) -> KResult<usize> {
    if !read(Creds::is_privileged) {
        return Err(Errno::EPERM);
    }
    if size > NGROUPS_MAX {
        return Err(Errno::EINVAL);
    }
    let mut groups = Vec::new();
    groups.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
    for i in 0..size {
        groups.push(read_user::<u32>(list.wrapping_add(i * 4))?);
    }
    let groups: Arc<[u32]> = groups.into();
    change(|c| {
        c.groups = groups;
        Ok(())
    })
}

/// `struct __user_cap_header_struct`: version and process.
type CapHeader = [u32; 2];
/// Version 3: two words of 32 capabilities each.
const CAP_VERSION_3: u32 = 0x2008_0522;
/// Version 2: the same layout.
const CAP_VERSION_2: u32 = 0x2007_1026;
/// Version 1: one word.
const CAP_VERSION_1: u32 = 0x1998_0330;

/// Number of words that a version has; an unknown one is answered with the kernel's own.
fn cap_words(header: usize) -> KResult<(usize, u32)> {
    let [version, pid]: CapHeader = read_user(header)?;
    let words = match version {
        CAP_VERSION_1 => 1,
        CAP_VERSION_2 | CAP_VERSION_3 => 2,
        _ => {
            write_user(header, &CAP_VERSION_3)?;
            return Err(Errno::EINVAL);
        }
    };
    Ok((words, pid))
}

/// `capget(2)`: root has all capabilities, others have none.
pub fn sys_capget(header: usize, data: usize) -> KResult<usize> {
    let (words, pid) = match cap_words(header) {
        // A null pointer for the data asks for the version alone.
        Err(Errno::EINVAL) if data == 0 => return Ok(0),
        other => other?,
    };
    if pid as i32 > 0 && task::find_task(pid).is_none() {
        return Err(Errno::ESRCH);
    }
    let set = read(Creds::capabilities);
    for index in 0..words {
        let word = (set >> (32 * index)) as u32;
        // Effective, permitted, inheritable.
        write_user(data.wrapping_add(index * 12), &[word, word, 0])?;
    }
    Ok(0)
}

/// `capset(2)`: capabilities go with the user id: what is asked for must be what there is, or less.
pub fn sys_capset(header: usize, data: usize) -> KResult<usize> {
    let (words, pid) = cap_words(header)?;
    if pid != 0 && pid != task::current_process().pid() {
        return Err(Errno::EPERM);
    }
    let have = read(Creds::capabilities);
    for index in 0..words {
        let [effective, permitted, _]: [u32; 3] = read_user(data.wrapping_add(index * 12))?;
        if (effective | permitted) & !((have >> (32 * index)) as u32) != 0 {
            return Err(Errno::EPERM);
        }
    }
    Ok(0)
}
