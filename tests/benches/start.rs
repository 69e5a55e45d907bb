//! How long a guest takes to start and to end: gnomon in each mode, and QEMU's microvm with the same
//! kernel and root, in turn.
//!
//! ```text
//! cargo bench -p gnomon-tests --bench start
//! ```
//!
//! Prints medians in milliseconds from `exec` of the monitor: to its first entry into the guest, to
//! the first byte on the console, to its exit; the ratio to QEMU; and the memory that gnomon takes
//! beyond the guest's own while the guest sleeps, a second and a half after its first byte. QEMU runs
//! without KVM, which needs a host that executes the whole of ring 0.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use gnomon_tests::gnomon::binary;
use gnomon_tests::qemu::Qemu;
use gnomon_tests::scratch::Scratch;

/// Runs of each.
const ROUNDS: usize = 25;

/// The guest's memory in KiB, where nothing else is asked for.
const GUEST_KIB: u64 = 128 << 10;

/// What the guest does: one line, then the end.
const SCRIPT: &str = "echo x";

/// One run, in milliseconds from its `exec`.
struct Run {
    first_byte: f64,
    end: f64,
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Run `command` to its end.
fn time(mut command: Command, input: &str) -> Run {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().expect("the monitor starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin
        .write_all(input.as_bytes())
        .expect("the pipe takes a line");
    let mut byte = [0];
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout
        .read_exact(&mut byte)
        .expect("the guest says something");
    let first_byte = milliseconds(start.elapsed());
    // Nothing more comes but the end.
    let _ = stdout.read_to_end(&mut Vec::new());
    child.wait().expect("the monitor ends");
    Run {
        first_byte,
        end: milliseconds(start.elapsed()),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Milliseconds from `exec` of gnomon to its first entry into the guest.
fn own_share(mode: &str, scratch: &Scratch) -> f64 {
    let stats = scratch.path("stats.json");
    let (mut clock, mut pipe) = std::io::pipe().expect("a pipe");
    let mut command = Command::new(binary());
    command
        .args(["run", "--mmu", mode, "--stats-json"])
        .arg(&stats)
        .args(["--", "true"]);
    let tell = move || pipe.write_all(&now_ns().to_ne_bytes());
    // SAFETY: the child reads a clock and writes eight bytes to a pipe, both plain system calls.
    unsafe { command.pre_exec(tell) };
    assert!(command.status().expect("gnomon runs").success());
    let mut bytes = [0; 8];
    clock.read_exact(&mut bytes).expect("the child tells");
    let text = fs::read_to_string(&stats).expect("the counters are written");
    let value: serde_json::Value = serde_json::from_str(&text).expect("they are JSON");
    let entered = value["entered_at_ns"].as_u64().expect("a number");
    (entered - u64::from_ne_bytes(bytes)) as f64 / 1e6
}

/// Nanoseconds of the monotonic clock.
fn now_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: fills one structure; the clock exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Resident memory in KiB beyond the guest's own while the guest sleeps: all, and what is not the
/// program's file, which all gnomons share.
fn memory(mode: &str) -> (u64, u64) {
    let mut child = Command::new(binary())
        .args(["run", "--mmu", mode, "--", "sh", "-c", "echo x; sleep 100"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gnomon runs");
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0]).expect("the guest is up");
    // A second after the start gnomon gives back what only starting took.
    thread::sleep(Duration::from_millis(1500));
    let maps = fs::read_to_string(format!("/proc/{}/smaps", child.id()));
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    beyond_guest(&maps.expect("it runs"))
}

/// What `smaps` says of the mappings but the guest's memory, which ends where the largest of all
/// does: the kernel's pages before it are mappings of their own.
fn beyond_guest(smaps: &str) -> (u64, u64) {
    // End, size, resident and anonymous, in KiB.
    let mut mappings: Vec<[u64; 4]> = Vec::new();
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let Some(which) = words.next() else { continue };
        if let Some((_, end)) = which.split_once('-')
            && let Ok(end) = u64::from_str_radix(end, 16)
        {
            mappings.push([end >> 10, 0, 0, 0]);
        }
        let value = words.next().and_then(|word| word.parse().ok());
        let field = ["Size:", "Rss:", "Anonymous:"]
            .iter()
            .position(|&name| name == which);
        if let (Some(field), Some(value), Some(mapping)) = (field, value, mappings.last_mut()) {
            mapping[field + 1] = value;
        }
    }
    let guest_end = mappings.iter().max_by_key(|mapping| mapping[1]);
    let guest_end = guest_end.expect("there are mappings")[0];
    let guest = guest_end - GUEST_KIB..=guest_end;
    mappings
        .iter()
        .filter(|mapping| {
            !(guest.contains(&(mapping[0] - mapping[1])) && guest.contains(&mapping[0]))
        })
        .fold((0, 0), |(rss, own), mapping| {
            (rss + mapping[2], own + mapping[3])
        })
}

fn gnomon(mode: &str) -> Command {
    let mut command = Command::new(binary());
    command.args(["run", "--mmu", mode, "--", "sh", "-c", SCRIPT]);
    command
}

fn main() {
    let scratch = Scratch::new().expect("a temporary directory");
    let (kernel, root) = (scratch.path("kernel"), scratch.path("root.img"));
    fs::write(&kernel, gnomon_images::KERNEL).expect("room for the kernel");
    write_root(&root);
    let qemu = Qemu::is_installed().then(|| Qemu::new(&kernel, &root).expect("room"));

    let modes = ["nested", "shadow"];
    let mut runs: Vec<(String, Vec<Run>)> = modes
        .iter()
        .map(|mode| (format!("gnomon, {mode}"), Vec::new()))
        .collect();
    runs.push(("qemu microvm (TCG)".into(), Vec::new()));
    let mut own = vec![Vec::new(); modes.len()];
    for _ in 0..ROUNDS {
        for (i, mode) in modes.iter().enumerate() {
            runs[i].1.push(time(gnomon(mode), ""));
            own[i].push(own_share(mode, &scratch));
        }
        if let Some(qemu) = &qemu {
            let line = format!("{SCRIPT}; exit\n");
            runs[modes.len()]
                .1
                .push(time(qemu.command("stream"), &line));
        }
    }

    println!("medians of {ROUNDS} runs in turn, ms from exec");
    println!(
        "{:20} {:>12} {:>12} {:>12}",
        "", "first entry", "first byte", "exit"
    );
    let column = |runs: &[Run], of: fn(&Run) -> f64| median(runs.iter().map(of).collect());
    for (i, (name, runs)) in runs.iter().enumerate().filter(|(_, (_, r))| !r.is_empty()) {
        let entry = own
            .get(i)
            .map_or("-".into(), |own| format!("{:.2}", median(own.clone())));
        println!(
            "{name:20} {entry:>12} {:>12.2} {:>12.2}",
            column(runs, |run| run.first_byte),
            column(runs, |run| run.end)
        );
    }
    for mode in modes {
        let (all, own) = memory(mode);
        println!(
            "gnomon, {mode}: {all} KiB beyond the guest's memory, {own} KiB of them its own alone"
        );
    }
    if !runs[2].1.is_empty() {
        let qemu = column(&runs[2].1, |run| run.end);
        for (name, runs) in &runs[..2] {
            println!(
                "{name}: {:.2} of QEMU's time",
                column(runs, |run| run.end) / qemu
            );
        }
    }
}

/// The built-in root as a file.
fn write_root(path: &Path) {
    let root = &gnomon_images::ROOT;
    fs::write(path, root.bytes).expect("room for the root");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(path)
        .expect("it can be opened");
    file.set_len(root.size).expect("room for the root");
}
