//! Waiting for readiness: `poll(2)`, `select(2)` and `epoll(7)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::file::get;
use crate::errno::{Errno, KResult};
use crate::fs::epoll::{self, Epoll, Event};
use crate::fs::{File, OpenFlags, PollEvents, PollTable};
use crate::mm::user::{Pod, read_user, write_user};
use crate::task::{self, signal};
use crate::time::now_ns;

/// When a wait ends.
#[derive(Clone, Copy)]
enum Until {
    /// At once.
    Now,
    /// At a time of the monotonic clock, in nanoseconds.
    Deadline(u64),
    /// Never.
    Forever,
}

impl Until {
    fn after_ns(ns: u64) -> Self {
        if ns == 0 {
            Self::Now
        } else {
            Self::Deadline(now_ns().saturating_add(ns))
        }
    }

    /// From milliseconds, negative for ever.
    fn after_ms(ms: i32) -> Self {
        match u64::try_from(ms) {
            Ok(ms) => Self::after_ns(ms * 1_000_000),
            Err(_) => Self::Forever,
        }
    }

    /// From a user's `struct timespec`; a null pointer is for ever. EINVAL.
    fn from_timespec(at: usize) -> KResult<Self> {
        if at == 0 {
            return Ok(Self::Forever);
        }
        let [sec, nsec]: [u64; 2] = read_user(at)?;
        if (sec as i64) < 0 || nsec >= 1_000_000_000 {
            return Err(Errno::EINVAL);
        }
        Ok(Self::after_ns(
            sec.saturating_mul(1_000_000_000).saturating_add(nsec),
        ))
    }

    fn deadline(self) -> Option<u64> {
        match self {
            Self::Deadline(at) => Some(at),
            _ => None,
        }
    }

    /// Store what is left as two integers of which the second counts in `unit` nanoseconds.
    fn store_rest(self, at: usize, unit: u64) -> KResult<()> {
        if at == 0 {
            return Ok(());
        }
        let left = match self {
            Self::Deadline(deadline) => deadline.saturating_sub(now_ns()),
            _ => 0,
        };
        write_user(at, &[left / 1_000_000_000, left % 1_000_000_000 / unit])
    }
}

/// `struct pollfd`.
#[derive(Clone, Copy)]
#[repr(C)]
struct PollFd {
    fd: i32,
    events: i16,
    revents: i16,
}

// SAFETY: integers only, 8 bytes without padding.
unsafe impl Pod for PollFd {}

/// One thing to wait for.
struct Watched {
    file: Option<Arc<File>>,
    wanted: PollEvents,
    found: PollEvents,
}

/// Ask all, with `table` registering; gives how many have something.
fn ask(watched: &mut [Watched], mut table: Option<&mut PollTable>) -> usize {
    let mut count = 0;
    for entry in watched.iter_mut() {
        let always = PollEvents::ERR | PollEvents::HUP | PollEvents::NVAL;
        if let Some(file) = &entry.file {
            entry.found = file.poll(table.as_deref_mut()) & (entry.wanted | always);
        }
        if !entry.found.is_empty() {
            count += 1;
        }
    }
    count
}

/// Wait until one of `watched` has something, or until `until`; gives how many have. ERESTARTNOHAND
/// if a signal comes first.
fn wait_for(watched: &mut [Watched], until: Until) -> KResult<usize> {
    let count = ask(watched, None);
    if count > 0 || matches!(until, Until::Now) {
        return Ok(count);
    }
    let mut table = PollTable::new();
    let mut count = ask(watched, Some(&mut table));
    while count == 0 {
        match table.wait(until.deadline()) {
            Ok(true) => count = ask(watched, None),
            Ok(false) => return Ok(ask(watched, None)),
            Err(Errno::ERESTARTSYS) => return Err(Errno::ERESTARTNOHAND),
            Err(e) => return Err(e),
        }
    }
    Ok(count)
}

fn do_poll(fds: usize, count: usize, until: Until) -> KResult<usize> {
    if count > task::current_process().max_files() {
        return Err(Errno::EINVAL);
    }
    let size = core::mem::size_of::<PollFd>();
    let mut entries: Vec<PollFd> = Vec::new();
    let mut watched = Vec::new();
    entries
        .try_reserve_exact(count)
        .map_err(|_| Errno::ENOMEM)?;
    watched
        .try_reserve_exact(count)
        .map_err(|_| Errno::ENOMEM)?;
    for n in 0..count {
        let entry: PollFd = read_user(fds.checked_add(n * size).ok_or(Errno::EFAULT)?)?;
        entries.push(entry);
        let file = if entry.fd < 0 {
            None
        } else {
            get(entry.fd as usize).ok()
        };
        let missing = entry.fd >= 0 && file.is_none();
        watched.push(Watched {
            file,
            wanted: PollEvents(u32::from(entry.events as u16)),
            found: if missing {
                PollEvents::NVAL
            } else {
                PollEvents::empty()
            },
        });
    }
    let ready = wait_for(&mut watched, until)?;
    for (n, (entry, watched)) in entries.iter().zip(&watched).enumerate() {
        let revents = watched.found.0 as i16;
        if revents != entry.revents || revents != 0 {
            let entry = PollFd { revents, ..*entry };
            write_user(fds + n * size, &entry)?;
        }
    }
    Ok(ready)
}

/// `poll(2)`
pub fn sys_poll(fds: usize, count: usize, timeout: usize) -> KResult<usize> {
    do_poll(fds, count, Until::after_ms(timeout as i32))
}

/// Run `call` with the signal mask at `mask` (null: the present one), of `size` bytes.
fn with_mask(mask: usize, size: usize, call: impl FnOnce() -> KResult<usize>) -> KResult<usize> {
    if mask == 0 {
        return call();
    }
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    signal::set_temporary_mask(read_user::<u64>(mask)?);
    let result = call();
    let interrupted = matches!(
        result,
        Err(Errno::ERESTARTNOHAND | Errno::ERESTARTSYS | Errno::EINTR)
    );
    signal::restore_saved_mask(interrupted);
    result
}

/// `ppoll(2)`
pub fn sys_ppoll(
    fds: usize,
    count: usize,
    timeout: usize,
    mask: usize,
    size: usize,
) -> KResult<usize> {
    let until = Until::from_timespec(timeout)?;
    let result = with_mask(mask, size, || do_poll(fds, count, until));
    until.store_rest(timeout, 1)?;
    result
}

/// Highest number of descriptors in an `fd_set`.
const FD_SETSIZE: usize = 1024;

/// The bit set at `at` (null: empty) for `count` descriptors.
fn read_set(at: usize, count: usize) -> KResult<[u64; FD_SETSIZE / 64]> {
    let mut set = [0; FD_SETSIZE / 64];
    if at == 0 {
        return Ok(set);
    }
    for (n, word) in set.iter_mut().take(count.div_ceil(64)).enumerate() {
        *word = read_user(at.checked_add(n * 8).ok_or(Errno::EFAULT)?)?;
    }
    Ok(set)
}

fn do_select(count: usize, sets: [usize; 3], until: Until) -> KResult<usize> {
    if count as i32 <= -1 {
        return Err(Errno::EINVAL);
    }
    let count = count.min(FD_SETSIZE);
    let wanted = [
        read_set(sets[0], count)?,
        read_set(sets[1], count)?,
        read_set(sets[2], count)?,
    ];
    // What makes a descriptor count as readable, writable, exceptional (select(2)).
    let meaning = [
        PollEvents::READABLE | PollEvents::HUP | PollEvents::ERR,
        PollEvents::WRITABLE | PollEvents::ERR,
        PollEvents::PRI,
    ];
    let mut watched = Vec::new();
    let mut numbers = Vec::new();
    for fd in 0..count {
        let mut events = PollEvents::empty();
        for (set, meaning) in wanted.iter().zip(meaning) {
            if set[fd / 64] >> (fd % 64) & 1 != 0 {
                events |= meaning;
            }
        }
        if !events.is_empty() {
            watched.push(Watched {
                file: Some(get(fd)?),
                wanted: events,
                found: PollEvents::empty(),
            });
            numbers.push(fd);
        }
    }
    wait_for_sets(&mut watched, until)?;
    let mut ready = 0;
    let mut results = [[0u64; FD_SETSIZE / 64]; 3];
    for (fd, watched) in numbers.iter().zip(&watched) {
        for ((set, result), meaning) in wanted.iter().zip(&mut results).zip(meaning) {
            let asked = set[fd / 64] >> (fd % 64) & 1 != 0;
            if asked && watched.found.intersects(meaning) {
                result[fd / 64] |= 1 << (fd % 64);
                ready += 1;
            }
        }
    }
    for (at, result) in sets.iter().zip(&results) {
        if *at != 0 {
            for (n, word) in result.iter().take(count.div_ceil(64)).enumerate() {
                write_user(at + n * 8, word)?;
            }
        }
    }
    Ok(ready)
}

/// As [`wait_for`], for `select`: an event that belongs to no set that was asked for does not end
/// the wait.
fn wait_for_sets(watched: &mut [Watched], until: Until) -> KResult<()> {
    let satisfied = |watched: &[Watched]| {
        watched
            .iter()
            .any(|entry| entry.found.intersects(entry.wanted))
    };
    ask(watched, None);
    if satisfied(watched) || matches!(until, Until::Now) {
        return Ok(());
    }
    let mut table = PollTable::new();
    ask(watched, Some(&mut table));
    while !satisfied(watched) {
        match table.wait(until.deadline()) {
            Ok(woken) => {
                ask(watched, None);
                if !woken {
                    break;
                }
            }
            Err(Errno::ERESTARTSYS) => return Err(Errno::ERESTARTNOHAND),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// `select(2)`: the timeout is updated, as on Linux.
pub fn sys_select(
    count: usize,
    read: usize,
    write: usize,
    except: usize,
    timeout: usize,
) -> KResult<usize> {
    let until = if timeout == 0 {
        Until::Forever
    } else {
        let [sec, usec]: [u64; 2] = read_user(timeout)?;
        if (sec as i64) < 0 || (usec as i64) < 0 {
            return Err(Errno::EINVAL);
        }
        Until::after_ns(
            sec.saturating_mul(1_000_000_000)
                .saturating_add(usec.saturating_mul(1000)),
        )
    };
    let result = do_select(count, [read, write, except], until);
    until.store_rest(timeout, 1000)?;
    result
}

/// `pselect6(2)`: the last argument points to the mask's address and size.
pub fn sys_pselect6(
    count: usize,
    read: usize,
    write: usize,
    except: usize,
    timeout: usize,
    mask: usize,
) -> KResult<usize> {
    let until = Until::from_timespec(timeout)?;
    let [mask, size]: [usize; 2] = if mask == 0 { [0; 2] } else { read_user(mask)? };
    let result = with_mask(mask, size, || {
        do_select(count, [read, write, except], until)
    });
    until.store_rest(timeout, 1)?;
    result
}

/// `epoll_create(2)`
pub fn sys_epoll_create(size: usize) -> KResult<usize> {
    if size as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    sys_epoll_create1(0)
}

/// `epoll_create1(2)`
pub fn sys_epoll_create1(flags: usize) -> KResult<usize> {
    if flags & !(OpenFlags::CLOEXEC.0 as usize) != 0 {
        return Err(Errno::EINVAL);
    }
    task::current_process().install_file(epoll::create(), flags != 0)
}

/// `epoll_ctl(2)`
pub fn sys_epoll_ctl(epfd: usize, op: usize, fd: usize, event: usize) -> KResult<usize> {
    const ADD: usize = 1;
    const DEL: usize = 2;
    const MOD: usize = 3;
    let event: Event = if op == DEL {
        Event::default()
    } else {
        read_user(event)?
    };
    let poll = get(epfd)?;
    let file = get(fd)?;
    let epoll = poll.ops_as::<Epoll>().ok_or(Errno::EINVAL)?;
    if Arc::ptr_eq(&poll, &file) {
        return Err(Errno::EINVAL);
    }
    if file.ops().is_none() {
        // Plain files and directories are always ready: Linux refuses them.
        return Err(Errno::EPERM);
    }
    match op {
        ADD => epoll.add(fd, &file, event)?,
        DEL => epoll.remove(fd, &file)?,
        MOD => epoll.modify(fd, &file, event)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn do_epoll_wait(epfd: usize, events: usize, max: usize, until: Until) -> KResult<usize> {
    if max as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    let poll = get(epfd)?;
    let epoll = poll.ops_as::<Epoll>().ok_or(Errno::EINVAL)?;
    let wait = !matches!(until, Until::Now);
    let found = match epoll.wait(max as u32 as usize, until.deadline(), wait) {
        // Never restarted (signal(7)).
        Err(Errno::ERESTARTSYS) => return Err(Errno::EINTR),
        found => found?,
    };
    for (n, event) in found.iter().enumerate() {
        write_user(events + n * core::mem::size_of::<Event>(), event)?;
    }
    Ok(found.len())
}

/// `epoll_wait(2)`
pub fn sys_epoll_wait(epfd: usize, events: usize, max: usize, timeout: usize) -> KResult<usize> {
    do_epoll_wait(epfd, events, max, Until::after_ms(timeout as i32))
}

/// `epoll_pwait(2)`
pub fn sys_epoll_pwait(
    epfd: usize,
    events: usize,
    max: usize,
    timeout: usize,
    mask: usize,
    size: usize,
) -> KResult<usize> {
    let until = Until::after_ms(timeout as i32);
    with_mask(mask, size, || do_epoll_wait(epfd, events, max, until))
}

/// `epoll_pwait2(2)`
pub fn sys_epoll_pwait2(
    epfd: usize,
    events: usize,
    max: usize,
    timeout: usize,
    mask: usize,
    size: usize,
) -> KResult<usize> {
    let until = Until::from_timespec(timeout)?;
    with_mask(mask, size, || do_epoll_wait(epfd, events, max, until))
}
