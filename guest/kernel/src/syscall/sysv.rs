//! System V shared memory, semaphores and message queues (`sysvipc(7)`).

use alloc::vec::Vec;

use super::types::TimeSpec;
use crate::errno::{Errno, KResult};
use crate::ipc::{msg, sem, shm};
use crate::mm::user::{self, Pod, read_user, write_user};
use crate::time;

const IPC_RMID: usize = 0;
const IPC_SET: usize = 1;
const IPC_STAT: usize = 2;
const IPC_INFO: usize = 3;
const SHM_LOCK: usize = 11;
const SHM_UNLOCK: usize = 12;
const SHM_STAT: usize = 13;
const SHM_INFO: usize = 14;
const SHM_STAT_ANY: usize = 15;
const MSG_STAT: usize = 11;
const MSG_INFO: usize = 12;
const MSG_STAT_ANY: usize = 13;
const GETPID: usize = 11;
const GETVAL: usize = 12;
const GETALL: usize = 13;
const GETNCNT: usize = 14;
const GETZCNT: usize = 15;
const SETVAL: usize = 16;
const SETALL: usize = 17;
const SEM_STAT: usize = 18;
const SEM_INFO: usize = 19;
const SEM_STAT_ANY: usize = 20;

/// `shmget(2)`
pub fn sys_shmget(key: usize, size: usize, flags: usize) -> KResult<usize> {
    shm::get(key as i32, size, flags)
}

/// `shmat(2)`
pub fn sys_shmat(id: usize, address: usize, flags: usize) -> KResult<usize> {
    shm::attach(id, address, flags)
}

/// `shmdt(2)`
pub fn sys_shmdt(address: usize) -> KResult<usize> {
    shm::detach(address)?;
    Ok(0)
}

/// `shmctl(2)`
pub fn sys_shmctl(id: usize, command: usize, at: usize) -> KResult<usize> {
    match command as u32 as usize {
        IPC_RMID => shm::remove(id)?,
        IPC_SET => shm::set(id, &read_user::<shm::Record>(at)?.perm)?,
        IPC_STAT => write_user(at, &shm::stat(id)?)?,
        IPC_INFO => {
            let most = shm::LARGEST;
            // shmmax shmmin shmmni shmseg shmall, and room for more.
            let limits = [
                most,
                1,
                shm::MOST as u64,
                shm::MOST as u64,
                most,
                0,
                0,
                0,
                0,
            ];
            write_user(at, &limits)?;
            return Ok(shm::sums().3);
        }
        SHM_INFO => {
            let (count, pages, resident, highest) = shm::sums();
            // used_ids shm_tot shm_rss shm_swp swap_attempts swap_successes
            write_user(at, &[u64::from(count), pages, resident, 0, 0, 0])?;
            return Ok(highest);
        }
        command @ (SHM_STAT | SHM_STAT_ANY) => {
            let (id, record) = shm::stat_index(id, command == SHM_STAT_ANY)?;
            write_user(at, &record)?;
            return Ok(id);
        }
        command @ (SHM_LOCK | SHM_UNLOCK) => shm::lock(id, command == SHM_LOCK)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// `semget(2)`
pub fn sys_semget(key: usize, count: usize, flags: usize) -> KResult<usize> {
    sem::get(key as i32, count as i32 as usize, flags)
}

/// `semop(2)`
pub fn sys_semop(id: usize, operations: usize, count: usize) -> KResult<usize> {
    sys_semtimedop(id, operations, count, 0)
}

/// Copy `count` values of a type from user memory.
fn read_array<T: Pod + Default>(at: usize, count: usize) -> KResult<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    for n in 0..count {
        values.push(read_user(at.wrapping_add(n * size_of::<T>()))?);
    }
    Ok(values)
}

/// `semtimedop(2)`
pub fn sys_semtimedop(
    id: usize,
    operations: usize,
    count: usize,
    timeout: usize,
) -> KResult<usize> {
    let count = count as u32 as usize;
    if count == 0 || (id as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    if count > sem::MOST_OPERATIONS {
        return Err(Errno::E2BIG);
    }
    let timeout = TimeSpec::read_optional(timeout)?;
    let operations: Vec<sem::Operation> = read_array(operations, count)?;
    let deadline = timeout.map(|ns| time::now_ns().saturating_add(ns));
    sem::operate(id, &operations, deadline)?;
    Ok(0)
}

/// `struct seminfo`, with the counts that `SEM_INFO` puts into two of its fields.
fn sem_info(sets: usize, semaphores: usize) -> [i32; 10] {
    let all = (sem::MOST * sem::MOST_IN_SET) as i32;
    let operations = sem::MOST_OPERATIONS as i32;
    [
        all,
        sem::MOST as i32,
        all,
        all,
        sem::MOST_IN_SET as i32,
        operations,
        operations,
        sets as i32,
        sem::LARGEST,
        semaphores as i32,
    ]
}

/// `semctl(2)`
pub fn sys_semctl(id: usize, number: usize, command: usize, argument: usize) -> KResult<usize> {
    /// `semusz` and `semaem` of `IPC_INFO`.
    const UNDO_SIZE: usize = 20;
    let number = number as u32 as usize;
    let fact = |fact| sem::look(id, number, fact);
    match command as u32 as usize {
        GETVAL => return fact(sem::Fact::Value),
        GETPID => return fact(sem::Fact::Pid),
        GETNCNT => return fact(sem::Fact::WaitingMore),
        GETZCNT => return fact(sem::Fact::WaitingZero),
        GETALL => {
            for (n, value) in sem::values(id)?.iter().enumerate() {
                write_user(argument.wrapping_add(2 * n), value)?;
            }
        }
        SETVAL => sem::set_values(id, number, &[argument as i32])?,
        SETALL => {
            let values: Vec<u16> = read_array(argument, sem::count(id)?)?;
            let values: Vec<i32> = values.into_iter().map(i32::from).collect();
            sem::set_values(id, 0, &values)?;
        }
        IPC_RMID => sem::remove(id)?,
        IPC_SET => sem::set(id, &read_user::<sem::Record>(argument)?.perm)?,
        IPC_STAT => write_user(argument, &sem::stat(id)?)?,
        IPC_INFO => {
            write_user(argument, &sem_info(UNDO_SIZE, sem::LARGEST as usize))?;
            return Ok(sem::sums().2);
        }
        SEM_INFO => {
            let (sets, semaphores, highest) = sem::sums();
            write_user(argument, &sem_info(sets, semaphores))?;
            return Ok(highest);
        }
        command @ (SEM_STAT | SEM_STAT_ANY) => {
            let (id, record) = sem::stat_index(id, command == SEM_STAT_ANY)?;
            write_user(argument, &record)?;
            return Ok(id);
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// `msgget(2)`
pub fn sys_msgget(key: usize, flags: usize) -> KResult<usize> {
    msg::get(key as i32, flags)
}

/// `msgsnd(2)`
pub fn sys_msgsnd(id: usize, at: usize, len: usize, flags: usize) -> KResult<usize> {
    if len > msg::LONGEST || (id as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let kind: i64 = read_user(at)?;
    if kind < 1 {
        return Err(Errno::EINVAL);
    }
    let mut text = Vec::new();
    text.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    text.resize(len, 0);
    user::copy_from_user(&mut text, at.wrapping_add(size_of::<i64>()))?;
    msg::send(id, msg::Message { kind, text }, flags)?;
    Ok(0)
}

/// `msgrcv(2)`
pub fn sys_msgrcv(id: usize, at: usize, len: usize, kind: usize, flags: usize) -> KResult<usize> {
    if (id as i32) < 0 || (len as isize) < 0 {
        return Err(Errno::EINVAL);
    }
    let message = msg::receive(id, len, kind as i64, flags)?;
    write_user(at, &message.kind)?;
    user::copy_to_user(at.wrapping_add(size_of::<i64>()), &message.text)?;
    Ok(message.text.len())
}

/// `struct msginfo`.
fn msg_info(pool: usize, map: usize, headers: usize) -> [i32; 8] {
    const SEGMENT: i32 = 16;
    const SEGMENTS: i32 = 0xffff;
    [
        pool as i32,
        map as i32,
        msg::LONGEST as i32,
        msg::CAPACITY as i32,
        msg::MOST as i32,
        SEGMENT,
        headers as i32,
        SEGMENTS,
    ]
}

/// `msgctl(2)`
pub fn sys_msgctl(id: usize, command: usize, at: usize) -> KResult<usize> {
    match command as u32 as usize {
        IPC_RMID => msg::remove(id)?,
        IPC_SET => msg::set(id, &read_user(at)?)?,
        IPC_STAT => write_user(at, &msg::stat(id)?)?,
        IPC_INFO => {
            let pool = msg::MOST * msg::CAPACITY / 1024;
            write_user(at, &msg_info(pool, msg::CAPACITY, msg::CAPACITY))?;
            return Ok(msg::sums().3);
        }
        MSG_INFO => {
            let (queues, messages, bytes, highest) = msg::sums();
            write_user(at, &msg_info(queues, messages, bytes))?;
            return Ok(highest);
        }
        command @ (MSG_STAT | MSG_STAT_ANY) => {
            let (id, record) = msg::stat_index(id, command == MSG_STAT_ANY)?;
            write_user(at, &record)?;
            return Ok(id);
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
