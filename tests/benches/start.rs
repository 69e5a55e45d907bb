//! How long a guest takes to start and to end: gnomon in each mode, and QEMU's microvm with the same
//! kernel and root, in turn.
//!
//! ```text
//! cargo bench -p gnomon-tests --bench start
//! ```
//!
//! Prints medians in milliseconds from `exec` of the monitor: to its first entry into the guest (as
//! gnomon counts it), to the first byte on the console, to its exit; and the ratio to QEMU. QEMU runs
//! with KVM where KVM can run it, else without.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gnomon_tests::gnomon::binary;
use gnomon_tests::qemu::Qemu;
use gnomon_tests::scratch::Scratch;

/// Runs of each.
const ROUNDS: usize = 25;

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
    std::io::Write::write_all(&mut stdin, input.as_bytes()).expect("the pipe takes a line");
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

/// Milliseconds from gnomon's start to its first entry into the guest.
fn own_share(mode: &str, scratch: &Scratch) -> f64 {
    let stats = scratch.path("stats.json");
    let status = Command::new(binary())
        .args(["run", "--mmu", mode, "--stats-json"])
        .arg(&stats)
        .args(["--", "true"])
        .status()
        .expect("gnomon runs");
    assert!(status.success());
    let text = fs::read_to_string(&stats).expect("the counters are written");
    let value: serde_json::Value = serde_json::from_str(&text).expect("they are JSON");
    value["start_ns"].as_f64().expect("a number") / 1e6
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
