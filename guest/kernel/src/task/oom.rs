//! What happens when a page fault finds no memory, in a program or in a copy that a system call makes.

use super::current_process;
use super::process::Process;
use super::signal::{self, SIGKILL, SigInfo};
use super::table::all_processes;
use crate::mm;
use crate::time;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

/// How long others get the processor, to die, before memory is asked for again.
const PAUSE_NS: u64 = 1_000_000;
/// Pauses in which those who are dying give nothing back before another one is killed.
const PATIENCE: u32 = 200;

/// Pauses in a row that have gained nothing.
static BARREN: AtomicU32 = AtomicU32::new(0);

/// Ends the process with the largest claim on memory, and lets it run so that it ends; false: there is
/// none, or it is the running one. Otherwise the caller tries again.
///
/// Whoever is killed may wait for a lock that the caller holds. So the memory of a program that has
/// been killed is taken from it before it has died.
pub fn out_of_memory() -> bool {
    if current_process().is_exiting() {
        return false;
    }
    let processes = all_processes();
    let mut dying = false;
    let mut gained = false;
    for process in processes.iter().filter(|p| !p.is_dead() && p.is_exiting()) {
        dying = true;
        gained |= reap(process, &processes);
    }
    if gained {
        BARREN.store(0, Ordering::Relaxed);
        return true;
    }
    if !dying || BARREN.fetch_add(1, Ordering::Relaxed) >= PATIENCE {
        BARREN.store(0, Ordering::Relaxed);
        let Some(victim) = largest(&processes) else {
            return false;
        };
        kill(&victim);
        if current_process().is_exiting() {
            return false;
        }
    }
    drop(processes);
    // A signal ends the pause, and the next one: the processor goes to others all the same.
    if time::sleep_until(time::now_ns() + PAUSE_NS).is_err() {
        crate::sched::yield_now();
    }
    !current_process().is_exiting()
}

fn kill(victim: &Arc<Process>) {
    let comm = victim.first_thread().map(|t| t.comm());
    let (name, len) = comm.unwrap_or(([0; super::COMM_LEN], 0));
    let usage = victim.space().map(|space| space.usage());
    let (resident, swapped) = usage.map_or((0, 0), |u| (u.resident, u.swapped));
    klog!(
        "out of memory: process {} ({}) is killed: {} KiB in memory, {} KiB in swap, \
         {} KiB of swap free",
        victim.pid(),
        core::str::from_utf8(&name[..len]).unwrap_or("?"),
        resident * 4,
        swapped * 4,
        mm::swap::free_pages() * 4,
    );
    mm::stat::OOM_KILLS.add_one();
    // SIGKILL needs no room in a queue.
    let _ = signal::send_to_process(victim, SigInfo::kernel(SIGKILL));
}

/// Takes the private memory of a process away that SIGKILL ends, unless somebody shares it who lives
/// on. True: something was gained.
fn reap(process: &Arc<Process>, all: &[Arc<Process>]) -> bool {
    if process.signals.lock().exiting != Some(SIGKILL) {
        // It may be writing a core image.
        return false;
    }
    let Some(space) = process.space() else {
        return false;
    };
    let shared = all
        .iter()
        .filter(|other| !other.is_exiting())
        .filter_map(|other| other.space())
        .any(|other| Arc::ptr_eq(&other, &space));
    !shared && space.reap()
}

/// The process with the largest claim, as adjusted; the first one, those that are dying and those that
/// root protects excepted.
fn largest(processes: &[Arc<Process>]) -> Option<Arc<Process>> {
    processes
        .iter()
        .filter(|p| p.pid() > 1 && !p.is_exiting())
        .filter_map(|p| Some((badness(p)?, p)))
        .max_by_key(|(pages, _)| *pages)
        .map(|(_, p)| p.clone())
}

/// All memory and swap space, in pages.
fn total_pages() -> usize {
    mm::total_frames() + mm::swap::total_pages()
}

/// A process's claim with what `oom_score_adj` adds to it; none: it is not to be killed, or has no
/// memory.
fn badness(process: &Process) -> Option<isize> {
    const NEVER: i32 = -1000;
    let adjustment = process.oom_adjustment.load(Ordering::Relaxed);
    if adjustment == NEVER {
        return None;
    }
    let added = total_pages() as isize / 1000 * adjustment as isize;
    Some((claim(process)? as isize).saturating_add(added))
}

/// How likely a process is to be killed, from 0 to 2000: two thousandths for each three of all memory
/// that it claims, over a middle of 666, as Linux has it (`proc_pid_oom_score(5)`).
pub fn score(process: &Process) -> usize {
    let Some(pages) = badness(process) else {
        return 0;
    };
    let thousandths = 1000 + pages.saturating_mul(1000) / total_pages().max(1) as isize;
    (thousandths * 2 / 3).clamp(0, 2000) as usize
}

/// About how many pages are a process's fault: those in memory and in swap space, a page for each descriptor (a pipe may
/// hold sixteen, a file next to nothing), and the kernel's part of each thread.
fn claim(process: &Process) -> Option<usize> {
    const THREAD_PAGES: usize = 5;
    let pages = process.space()?.claim();
    let descriptors = process.files.lock().iter().count();
    Some(pages + descriptors + process.thread_count() * THREAD_PAGES)
}
