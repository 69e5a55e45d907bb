//! Users and groups (`credentials(7)`). Root is whoever has effective user id 0.

use alloc::sync::Arc;
use alloc::vec::Vec;

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

pub fn sys_getuid() -> KResult<usize> {
    Ok(read(|c| c.uid) as usize)
}

pub fn sys_geteuid() -> KResult<usize> {
    Ok(read(|c| c.euid) as usize)
}

pub fn sys_getgid() -> KResult<usize> {
    Ok(read(|c| c.gid) as usize)
}

pub fn sys_getegid() -> KResult<usize> {
    Ok(read(|c| c.egid) as usize)
}

/// Change the credentials of the running process, all or nothing.
fn change(change: impl FnOnce(&mut Creds) -> KResult<()>) -> KResult<usize> {
    let mut creds = task::current_process().creds.lock();
    let mut new = creds.clone();
    change(&mut new)?;
    *creds = new;
    Ok(0)
}

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

pub fn sys_getresuid(ruid: usize, euid: usize, suid: usize) -> KResult<usize> {
    write_three([ruid, euid, suid], read(|c| [c.uid, c.euid, c.suid]))
}

pub fn sys_getresgid(rgid: usize, egid: usize, sgid: usize) -> KResult<usize> {
    write_three([rgid, egid, sgid], read(|c| [c.gid, c.egid, c.sgid]))
}

/// Never fails: the old value comes back either way.
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

/// Never fails: the old value comes back either way.
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
