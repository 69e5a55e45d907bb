//! What a thread is doing: `/proc/PID/syscall`, `wchan`, and the signals in `status`.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::process::{check_inspect, thread};
use crate::arch::{TrapFrame, boot};
use crate::errno::KResult;
use crate::symbols;
use crate::task::{self, Process, Task};

/// The registers of a thread that is in the kernel, asleep or stopped there, or reading its own.
fn registers(thread: &Task) -> Option<TrapFrame> {
    let mine = core::ptr::eq(thread, task::current());
    if !mine && thread.state_letter() == b'R' {
        return None;
    }
    let frame = thread.frame()?;
    // SAFETY: the thread is in the kernel, and stays there while this one runs.
    Some(unsafe { *frame })
}

/// `/proc/PID/syscall`: number, arguments, stack pointer, place; -1 outside of calls.
pub fn syscall(process: &Arc<Process>, id: u32) -> KResult<Vec<u8>> {
    let thread = thread(process, id);
    let text = match thread.as_deref().and_then(registers) {
        None => String::from("running\n"),
        Some(r) if r.orig_rax == usize::MAX => format!("-1 {:#x} {:#x}\n", r.rsp, r.rip),
        Some(r) => format!(
            "{} {:#x} {:#x} {:#x} {:#x} {:#x} {:#x} {:#x} {:#x}\n",
            r.orig_rax, r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9, r.rsp, r.rip
        ),
    };
    Ok(text.into_bytes())
}

/// Parts of the kernel that a thread goes through to sleep, wherever it sleeps.
const WAYS_TO_SLEEP: [&str; 4] = ["sched::", "sync::", "context::switch", "core::"];

/// `/proc/PID/wchan`: the kernel's function that a thread sleeps in; 0: it does not sleep, or may not
/// be looked at.
pub fn wchan(process: &Arc<Process>, id: u32) -> KResult<Vec<u8>> {
    let thread = thread(process, id).filter(|thread| {
        check_inspect(process).is_ok()
            && !core::ptr::eq(&**thread, task::current())
            && thread.state_letter() != b'R'
    });
    let name = thread.and_then(|thread| sleeping_in(&thread));
    Ok(name.unwrap_or("0").as_bytes().to_vec())
}

fn sleeping_in(thread: &Task) -> Option<&'static str> {
    /// Deepest chain of callers that is followed.
    const DEPTH: usize = 32;
    let mut frame = thread.saved_frame_pointer()?;
    let top = thread.stack_top();
    for _ in 0..DEPTH {
        if !frame.is_multiple_of(8) || frame < top.checked_sub(1 << 16)? || frame + 16 > top {
            return None;
        }
        // SAFETY: two words of the thread's kernel stack, which lives as long as the thread; it does
        // not run while this one does.
        let (next, address) = unsafe { (*(frame as *const usize), *((frame + 8) as *const u64)) };
        if !boot::is_kernel_text(address) {
            return None;
        }
        let (name, _) = symbols::lookup(address)?;
        if !WAYS_TO_SLEEP.iter().any(|way| name.contains(way)) {
            return Some(name);
        }
        if next <= frame {
            return None;
        }
        frame = next;
    }
    None
}

/// The lines about signals in `/proc/PID/status`.
pub fn signals(process: &Process, thread: &Task) -> String {
    let facts = task::signal::facts(process, thread);
    format!(
        "SigQ:\t{}/{}\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{:016x}\nSigIgn:\t{:016x}\n\
         SigCgt:\t{:016x}\n",
        facts.queued,
        task::signal::queued_limit(process),
        facts.own,
        facts.shared,
        thread.blocked(),
        facts.ignored,
        facts.caught
    )
}
