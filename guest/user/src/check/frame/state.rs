//! What other processes and threads are doing.

use libc::*;

/// The state letter in a `stat` file under /proc.
fn letter(path: &str) -> Option<char> {
    let stat = std::fs::read_to_string(path).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The state of a process: R running, S asleep, T stopped, Z zombie; `None`: there is none.
pub fn of_process(pid: i32) -> Option<char> {
    letter(&format!("/proc/{pid}/stat"))
}

/// Let others run until the process is asleep in a system call.
pub fn wait_until_asleep(pid: i32) {
    wait_for(&format!("/proc/{pid}/stat"), 'S');
}

/// Let others run until the process is in a state.
pub fn wait_until(pid: i32, state: char) {
    wait_for(&format!("/proc/{pid}/stat"), state);
}

/// Let others run until a thread of this process is asleep in a system call.
pub fn wait_until_thread_asleep(tid: i32) {
    wait_for(&format!("/proc/self/task/{tid}/stat"), 'S');
}

fn wait_for(path: &str, state: char) {
    loop {
        match letter(path) {
            Some(now) if now == state => return,
            Some('Z') | None => panic!("{path}: gone, not in state {state}"),
            Some(_) => ok!(SYS_sched_yield),
        };
    }
}

/// Let others run until a thread of this process has ended, or is the first one and a zombie.
pub fn wait_until_dead_thread(tid: i32) {
    while !matches!(
        letter(&format!("/proc/self/task/{tid}/stat")),
        Some('Z') | None
    ) {
        ok!(SYS_sched_yield);
    }
}
