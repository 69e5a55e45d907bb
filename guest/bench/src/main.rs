//! `bench NAME COUNT`: do one operation of an operating system COUNT times.
//!
//! Prints `bench: NAME COUNT NANOSECONDS`, the time of the operations alone. What they cost in
//! exits and faults the virtual machine monitor counts; the difference of two runs with
//! different counts leaves out what starting the program costs.
//!
//! `bench --ticks [NAME…]`: what one operation takes by the processor's time stamp counter, see
//! [`ticks`].
//!
//! Exit status 2: the name is unknown or the count is no number; 1: the system refused a call.

mod memory;
mod process;
mod ticks;

use std::io;
use std::time::Instant;

/// What can go wrong is a system call; it is named by its error alone.
type Outcome = io::Result<()>;

/// How to do an operation so many times.
type Workload = fn(u64) -> Outcome;

/// Name, what it isolates, how to do it.
const WORKLOADS: [(&str, &str, Workload); 15] = [
    (
        "getppid",
        "the way into the kernel and back",
        process::getppid,
    ),
    (
        "yield",
        "a switch between two processes, by sched_yield",
        process::yields,
    ),
    (
        "pipe",
        "a byte to another process and one back: two switches, four calls",
        process::pipe,
    ),
    ("forkwait", "fork, exit and wait", process::forkwait),
    (
        "exec",
        "fork, exec of /bin/true, exit and wait",
        process::exec,
    ),
    (
        "sh",
        "sh -c true: the shell started, run and ended",
        process::shell,
    ),
    ("signal", "a signal to oneself, caught", process::signal),
    ("fault", "a demand-zero page fault", memory::fault),
    (
        "cow",
        "a write to a page shared since fork",
        memory::copy_on_write,
    ),
    ("mmap", "mmap, one touch, munmap", memory::map_touch_unmap),
    ("touch", "1 MiB allocated, touched and freed", memory::touch),
    (
        "touch2",
        "the same in each of two processes at a time",
        |count| process::together(2, || memory::touch(count)),
    ),
    (
        "touch8",
        "the same in each of eight processes at a time",
        |count| process::together(8, || memory::touch(count)),
    ),
    (
        "script",
        "a busybox script, as a macro: files, pipes, a loop and a score of programs",
        process::script,
    ),
    (
        "compute",
        "a million steps of arithmetic, no kernel at all",
        memory::compute,
    ),
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, option, names @ ..] = &args[..]
        && option == "--ticks"
    {
        if let Err(error) = ticks::run(names) {
            eprintln!("bench: {error}");
            std::process::exit(1);
        }
        return;
    }
    let [_, name, count] = &args[..] else { usage() };
    let Ok(count) = count.parse() else { usage() };
    let Some((_, _, run)) = WORKLOADS.iter().find(|(known, ..)| known == name) else {
        usage()
    };
    let start = Instant::now();
    if let Err(error) = run(count) {
        eprintln!("bench: {name}: {error}");
        std::process::exit(1);
    }
    println!("bench: {name} {count} {}", start.elapsed().as_nanos());
}

fn usage() -> ! {
    eprintln!("usage: bench NAME COUNT, where NAME is one of");
    for (name, isolates, _) in WORKLOADS {
        eprintln!("  {name:10} {isolates}");
    }
    eprintln!("or: bench --ticks [NAME…], where NAME is one of");
    ticks::usage();
    std::process::exit(2)
}

/// The result of a system call: its value, or the error that it left in `errno`.
fn check(result: impl Into<i64>) -> io::Result<i64> {
    match result.into() {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}
