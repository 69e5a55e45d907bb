//! Tracing: `ptrace(2)`, the memory of other processes, and calls that a tracer watches.

use crate::arch::TrapFrame;
use crate::errno::{Errno, KResult};
use crate::mm::user;
use crate::task::{self, find_process, find_task, ptrace, thread};

use super::file::read_iovec;

/// `ptrace(2)`. The kernel's own call stores what PEEK requests read at `data`.
pub fn sys_ptrace(request: usize, pid: usize, addr: usize, data: usize) -> KResult<usize> {
    ptrace::request(request, pid, addr, data)
}

/// Whether the running thread's tracer wants to see its system calls.
pub(super) fn is_watched() -> bool {
    task::current().work_flags() & thread::TRACE_CALLS != 0
}

/// Every call while the table of watched calls is in use.
pub(super) fn watched(frame: &mut TrapFrame) -> KResult<usize> {
    if !is_watched() {
        // Left over from another thread.
        super::follow(false);
        return super::call(frame);
    }
    watch(frame, |frame| {
        frame.rax = frame.orig_rax;
        let result = super::call(frame);
        super::finish(frame, result);
    });
    Ok(frame.rax)
}

/// A call with the tracer's stops around it. The tracer prevents it by making its number -1.
pub(super) fn watch(frame: &mut TrapFrame, call: impl FnOnce(&mut TrapFrame)) {
    ptrace::at_entry(frame);
    if frame.orig_rax as u32 != u32::MAX {
        call(frame);
    }
    ptrace::at_exit(frame);
}

/// `process_vm_readv(2)`
pub fn sys_process_vm_readv(
    pid: usize,
    local: usize,
    local_count: usize,
    remote: usize,
    remote_count: usize,
    flags: usize,
) -> KResult<usize> {
    transfer(
        pid,
        (local, local_count),
        (remote, remote_count),
        flags,
        false,
    )
}

/// `process_vm_writev(2)`
pub fn sys_process_vm_writev(
    pid: usize,
    local: usize,
    local_count: usize,
    remote: usize,
    remote_count: usize,
    flags: usize,
) -> KResult<usize> {
    transfer(
        pid,
        (local, local_count),
        (remote, remote_count),
        flags,
        true,
    )
}

/// Bytes that are copied at a time.
const CHUNK: usize = 1024;

/// Copy between the running process and another, as far as both sides reach.
fn transfer(
    pid: usize,
    local: (usize, usize),
    remote: (usize, usize),
    flags: usize,
    write: bool,
) -> KResult<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let local = read_iovec(local.0, local.1)?;
    let remote = read_iovec(remote.0, remote.1)?;
    let pid = pid as u32;
    let process = find_process(pid)
        .or_else(|| find_task(pid).map(|task| task.process.clone()))
        .ok_or(Errno::ESRCH)?;
    if !ptrace::may_access(&process) {
        return Err(Errno::EPERM);
    }
    let space = process.space().ok_or(Errno::ESRCH)?;
    let mut buffer = [0; CHUNK];
    let mut total = 0;
    let mut local = local.iter().map(|v| (v.base, v.len));
    let mut ours = (0, 0);
    for range in &remote {
        let (mut at, mut left) = (range.base, range.len);
        while left > 0 {
            while ours.1 == 0 {
                match local.next() {
                    Some(next) => ours = next,
                    None => return Ok(total),
                }
            }
            let len = left.min(ours.1).min(CHUNK);
            let chunk = &mut buffer[..len];
            let done = if write {
                user::copy_from_user(chunk, ours.0).map(|()| space.write_remote(at, chunk, false))
            } else {
                let done = space.read_remote(at, chunk, false);
                user::copy_to_user(ours.0, &chunk[..done]).map(|()| done)
            };
            let done = match done {
                Ok(done) => done,
                Err(_) if total > 0 => return Ok(total),
                Err(error) => return Err(error),
            };
            total += done;
            if done < len {
                return if total > 0 {
                    Ok(total)
                } else {
                    Err(Errno::EFAULT)
                };
            }
            (at, left) = (at + len, left - len);
            ours = (ours.0 + len, ours.1 - len);
        }
    }
    Ok(total)
}
