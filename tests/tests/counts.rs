//! What operations cost in exact counts: they may fall, not rise.
//!
//! The tables lie in `tests/counts/`. `GNOMON_KEEP_COUNTS=1` writes what was measured into them: for
//! a change that is worth its price, and for one that has made something cheaper.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use gnomon_tests::gnomon::binary;
use gnomon_tests::scratch::Scratch;
use serde_json::Value;

/// Counts of one operation, by workload.
type Counts = BTreeMap<String, f64>;

/// How far above its table a count may be: an interrupt may come or not.
const TOLERANCE: f64 = 1.10;
const SLACK: f64 = 0.5;

/// The column `heading` of a comparison of `workloads` under `mode`.
fn measure(mode: &str, heading: &str, workloads: &[&str]) -> Counts {
    let scratch = Scratch::new().expect("a temporary directory");
    let json = scratch.path("counts.json");
    let output = Command::new(binary())
        .args(["compare", "--rounds", "1", "--mmu", mode, "--json"])
        .arg(&json)
        .args(workloads)
        .output()
        .expect("gnomon runs");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::fs::read_to_string(&json).expect("the comparison is written");
    let report: Value = serde_json::from_str(&text).expect("it is JSON");
    report["workloads"]
        .as_array()
        .expect("workloads")
        .iter()
        .map(|workload| {
            let name = workload["name"].as_str().expect("a name");
            let count = &workload["modes"][mode]["counts"][heading];
            (name.to_owned(), count.as_f64().expect("a count"))
        })
        .collect()
}

/// Hold `measured` against the table of that name.
fn hold(table: &str, measured: &Counts) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("counts")
        .join(table);
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("GNOMON_KEEP_COUNTS").is_some() {
        let mut text: String = old
            .lines()
            .filter(|line| line.starts_with('#'))
            .flat_map(|line| [line, "\n"])
            .collect();
        for (name, count) in measured {
            let _ = writeln!(text, "{name:10} {:12.2}", count.max(0.0));
        }
        std::fs::write(&path, text).expect("the table can be written");
        return;
    }
    let kept: Counts = old
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (name, count) = line.split_once(' ')?;
            Some((name.to_owned(), count.trim().parse().ok()?))
        })
        .collect();
    let risen: Vec<_> = measured
        .iter()
        .filter(|(name, count)| **count > kept[*name] * TOLERANCE + SLACK)
        .map(|(name, count)| format!("{name}: {:.2} -> {count:.2}", kept[name]))
        .collect();
    assert!(risen.is_empty(), "{table}: counts have risen: {risen:?}");
}

/// Does KVM emulate ring 0 here, so that its count of emulated instructions is the guest kernel's?
fn ring0_is_emulated() -> bool {
    Path::new("/sys/module/kvm_pvm").exists()
}

#[test]
fn ring0_instructions_do_not_rise() {
    if !ring0_is_emulated() {
        eprintln!(
            "skipped: KVM does not emulate ring 0 here, so it does not count its instructions"
        );
        return;
    }
    let workloads = ["getppid", "yield", "pipe", "forkwait", "sh", "fault"];
    let measured = measure("nested", "KVM emulated", &workloads);
    hold("ring0-instructions.txt", &measured);
}

#[test]
fn traps_of_the_shadow_mode_do_not_rise() {
    let workloads = ["getppid", "yield", "pipe", "forkwait", "fault"];
    let measured = measure("shadow:unsync", "traps", &workloads);
    assert!(measured["getppid"] < 2.1, "a system call: {measured:?}");
    assert!(measured["fault"] < 4.1, "a demand-zero fault: {measured:?}");
    hold("shadow-traps.txt", &measured);
}

#[test]
fn hidden_faults_of_the_shadow_mode_do_not_rise() {
    let measured = measure(
        "shadow:unsync",
        "hidden faults",
        &["yield", "forkwait", "exec"],
    );
    hold("shadow-hidden-faults.txt", &measured);
}

#[test]
fn arithmetic_does_not_trap() {
    let measured = measure("shadow:unsync", "traps", &["compute"]);
    assert!(measured["compute"] < 0.5, "{measured:?}");
}
