//! The order in which the kernel comes up, after the processor and memory.

use crate::arch::boot_info;
use crate::{drivers, fs, mm, sched, syscall, task, time};

/// Brings up the rest, starts init, and becomes the idle task.
pub fn run() -> ! {
    let command_line = boot_info::command_line();
    if command_line
        .split_ascii_whitespace()
        .any(|word| word == "norandmaps")
    {
        mm::random::set_randomise(false);
    }
    time::init();
    task::init();
    syscall::follow(false);
    drivers::init(command_line);
    fs::init(command_line);
    mm::reclaim::init(command_line);
    mm::swap::init(command_line);
    task::spawn_init();
    sched::idle_loop()
}
