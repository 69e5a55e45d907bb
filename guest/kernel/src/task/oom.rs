//! What happens when a page fault finds no memory.

use super::current_process;
use super::process::Process;
use super::signal::{self, SIGKILL, SigInfo};
use super::table::all_processes;
use crate::mm;
use crate::sched;
use alloc::sync::Arc;

/// End the process with the largest claim on memory, and let it run so that it ends. The caller's
/// program then tries again.
pub fn out_of_memory() {
    let processes = all_processes();
    let dying = processes.iter().any(|p| !p.is_dead() && p.is_exiting());
    if !dying {
        match largest(&processes) {
            Some(victim) => {
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
                let _ = signal::send_to_process(&victim, SigInfo::kernel(SIGKILL));
            }
            None => super::exit::exit_group(SIGKILL),
        }
    }
    if !current_process().is_exiting() {
        sched::yield_now();
    }
}

/// The process with the largest claim, the first one excepted.
fn largest(processes: &[Arc<Process>]) -> Option<Arc<Process>> {
    processes
        .iter()
        .filter(|p| p.pid() > 1 && !p.is_dead())
        .filter_map(|p| Some((claim(p)?, p)))
        .max_by_key(|(pages, _)| *pages)
        .map(|(_, p)| p.clone())
}

/// About how many pages are a process's fault: those in memory and in swap space, a page for each descriptor (a pipe may
/// hold sixteen, a file next to nothing), and the kernel's part of each thread.
fn claim(process: &Process) -> Option<usize> {
    const THREAD_PAGES: usize = 5;
    let pages = process.space()?.claim();
    let descriptors = process.files.lock().iter().count();
    Some(pages + descriptors + process.thread_count() * THREAD_PAGES)
}
