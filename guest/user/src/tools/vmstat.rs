//! `vmstat [DELAY [COUNT]]`: processes, memory, swap, devices and processor, from `/proc`: since boot
//! in the first line, since the line before in each that follows.

use std::fs::read_to_string;

use crate::cli::{self, Out};
use crate::sys;

/// What grows, as of one moment.
#[derive(Default)]
struct Counters {
    /// Pages, KiB and pages again: swapped in and out, read and written, interrupts, switches.
    rates: [u64; 6],
    /// Hundredths of a second of user, system and idle time.
    ticks: [u64; 3],
    /// When, in hundredths of a second since boot.
    at: u64,
}

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let number = |n: usize| args.get(n).map(|arg| cli::number::<u64>(arg));
    let (delay, count) = (number(0), number(1));
    if delay.is_some_and(|d| d.is_none_or(|d| d == 0)) || count == Some(None) || args.len() > 2 {
        cli::warn(format_args!("usage: vmstat [DELAY [COUNT]]"));
        return 1;
    }
    let delay = delay.flatten();
    let count = match delay {
        None => Some(1),
        Some(_) => count.flatten(),
    };
    let mut out = Out::stdout();
    out.line(
        b"procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----\n \
          r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id",
    );
    let mut last = Counters::default();
    let mut lines = 0;
    while count.is_none_or(|count| lines < count) && !out.failed() {
        if lines > 0 {
            sys::sleep(delay.unwrap_or(1), 0);
        }
        let now = counters();
        out.line(describe(&now, &last).as_bytes());
        out.drain();
        last = now;
        lines += 1;
    }
    out.finish()
}

/// The number behind `name` in a file of `/proc`; 0 if there is none.
fn field(text: &str, name: &str) -> u64 {
    let words = text.lines().find_map(|line| {
        let mut words = line.split([':', ' ']).filter(|word| !word.is_empty());
        (words.next() == Some(name)).then(|| words.next())
    });
    words.flatten().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn counters() -> Counters {
    let read = |name: &str| read_to_string(name).unwrap_or_default();
    let (vmstat, stat) = (read("/proc/vmstat"), read("/proc/stat"));
    let cpu = stat.lines().next().unwrap_or_default();
    let cpu: Vec<u64> = cpu
        .split_whitespace()
        .skip(1)
        .filter_map(|n| n.parse().ok())
        .collect();
    let time = |n: usize| cpu.get(n).copied().unwrap_or(0);
    let uptime = read("/proc/uptime");
    let uptime = uptime
        .split_whitespace()
        .next()
        .and_then(|n| n.parse::<f64>().ok());
    Counters {
        rates: [
            field(&vmstat, "pswpin"),
            field(&vmstat, "pswpout"),
            field(&vmstat, "pgpgin"),
            field(&vmstat, "pgpgout"),
            field(&stat, "intr"),
            field(&stat, "ctxt"),
        ],
        // User with nice, system with interrupts, idle with waiting for devices.
        ticks: [
            time(0) + time(1),
            time(2) + time(5) + time(6),
            time(3) + time(4),
        ],
        at: (uptime.unwrap_or(0.0) * 100.0) as u64,
    }
}

fn describe(now: &Counters, last: &Counters) -> String {
    let table = read_to_string("/proc/meminfo").unwrap_or_default();
    let stat = read_to_string("/proc/stat").unwrap_or_default();
    let swapped = field(&table, "SwapTotal").saturating_sub(field(&table, "SwapFree"));
    let time = now.at.saturating_sub(last.at).max(1);
    let mut rates = [0; 6];
    for (rate, (now, last)) in rates.iter_mut().zip(now.rates.iter().zip(last.rates)) {
        *rate = now.saturating_sub(last) * 100 / time;
    }
    // A page is 4 KiB.
    let [swap_in, swap_out, read, written, interrupts, switches] = rates;
    let mut parts = [0; 3];
    for (part, (now, last)) in parts.iter_mut().zip(now.ticks.iter().zip(last.ticks)) {
        *part = now.saturating_sub(last);
    }
    let all = parts.iter().sum::<u64>().max(1);
    let [user, system, idle] = parts.map(|part| (part * 100 + all / 2) / all);
    format!(
        "{:2} {:2} {swapped:6} {:6} {:6} {:6} {:4} {:4} {read:5} {written:5} {interrupts:4} \
         {switches:4} {user:2} {system:2} {idle:2}",
        field(&stat, "procs_running"),
        field(&stat, "procs_blocked"),
        field(&table, "MemFree"),
        field(&table, "Buffers"),
        field(&table, "Cached"),
        swap_in * 4,
        swap_out * 4,
    )
}
