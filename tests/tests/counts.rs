//! What operations cost in exact counts: they may fall, not rise.
//!
//! ```text
//!   tests/counts/ring0.kvm_pvm.txt           instructions of the guest kernel, where KVM counts them
//!   tests/counts/shadow.HOST.txt             the shadow mode with the policy unsync
//!   vmm/src/compare/peer.txt                 KVM's own shadow tables (kvm_amd with npt=0)
//! ```
//!
//! A host is a module of KVM, and for `kvm_amd` its parameter npt (docs/hosts.md); one that has no
//! tables is held to the limits alone. `GNOMON_KEEP_COUNTS=1` writes what was measured into the
//! tables: for a change that is worth its price, and for one that has made something cheaper.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use gnomon_tests::counts::{self, Table};
use gnomon_tests::gnomon::{Gnomon, binary};
use gnomon_tests::mode::Mode;
use gnomon_tests::scratch::Scratch;
use serde_json::Value;

/// How far above its table a count may be.
const SLACK: f64 = 0.3;
/// And where several processes take turns, since who comes first is not always the same, or
/// interrupts are counted along.
const TURNS: [&str; 4] = ["pipe", "forkwait", "exec", "sh"];
const LOOSE_TOLERANCE: f64 = 1.15;
const LOOSE_SLACK: f64 = 1.5;

const WORKLOADS: [&str; 10] = [
    "getppid", "yield", "pipe", "forkwait", "exec", "sh", "fault", "cow", "mmap", "compute",
];
/// The columns of the shadow mode's tables.
const SHADOW_COLUMNS: [&str; 4] = ["traps", "true faults", "hidden faults", "traced writes"];
const PEER_COLUMNS: [&str; 4] = ["true faults", "hidden faults", "traced writes", "flushes"];

/// The host: a module of KVM, with what makes a difference to counts.
fn host() -> String {
    let loaded = |module: &str| Path::new("/sys/module").join(module).exists();
    if loaded("kvm_pvm") {
        return "kvm_pvm".into();
    }
    let on = |parameter: &str| {
        std::fs::read_to_string(parameter)
            .map(|text| u8::from(matches!(text.trim(), "Y" | "1")))
            .ok()
    };
    if let Some(npt) = on("/sys/module/kvm_amd/parameters/npt") {
        return format!("kvm_amd-npt{npt}");
    }
    match on("/sys/module/kvm_intel/parameters/ept") {
        Some(ept) => format!("kvm_intel-ept{ept}"),
        None => "unknown".into(),
    }
}

/// Some columns of a comparison of `workloads` (all, if none) under `mode`.
fn measure(mode: &str, columns: &[&str], workloads: &[&str]) -> Table {
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
            let counts = &workload["modes"][mode]["counts"];
            let row = columns.iter().map(|column| {
                let count = counts[column].as_f64();
                (column.to_string(), count.expect("a count"))
            });
            let name = workload["name"].as_str().expect("a name");
            (name.to_owned(), row.collect())
        })
        .collect()
}

/// The workloads of this suite in the shadow mode, measured once: traps without those on behalf
/// of interrupts.
fn shadow() -> &'static Table {
    static MEASURED: OnceLock<Table> = OnceLock::new();
    MEASURED.get_or_init(|| {
        let others = ["irq traps", "privileged", "tables built"];
        let columns = [&SHADOW_COLUMNS[..], &others].concat();
        let mut table = measure("shadow:unsync", &columns, &WORKLOADS);
        for counts in table.values_mut() {
            // Interrupts come by the clock, and slow machines have more of them.
            let interrupts = counts["irq traps"];
            counts
                .entry("traps".into())
                .and_modify(|n| *n -= interrupts);
        }
        table
    })
}

/// Hold `measured` against the table `name` of this repository, or keep it there.
fn hold(name: &str, columns: &[&str], measured: &Table) {
    let path = counts::path(name);
    if counts::is_kept() {
        return counts::keep(&path, columns, measured);
    }
    counts::hold(&path, columns, measured, |name, column, old| {
        if TURNS.contains(&name) || column == "KVM emulated" {
            old * LOOSE_TOLERANCE + LOOSE_SLACK
        } else {
            old + SLACK
        }
    });
}

#[test]
fn ring0_instructions_do_not_rise() {
    if host() != "kvm_pvm" {
        eprintln!("skipped: KVM does not emulate ring 0 here, so it does not count instructions");
        return;
    }
    let workloads = [
        "getppid", "yield", "pipe", "forkwait", "exec", "sh", "fault",
    ];
    let columns = ["KVM emulated"];
    let measured = measure("nested", &columns, &workloads);
    hold("ring0.kvm_pvm.txt", &columns, &measured);
}

#[test]
fn counts_of_the_shadow_mode_do_not_rise() {
    let path = format!("shadow.{}.txt", host());
    hold(&path, &SHADOW_COLUMNS, shadow());
}

#[test]
fn system_call_takes_two_traps() {
    let traps = shadow()["getppid"]["traps"];
    assert!(traps < 2.1, "{traps} traps");
}

/// Traps of the shadow mode while `bench fault` touches `pages`, from boot to end, without those on
/// behalf of interrupts; the least of a few runs, since an interrupt may leave one more or less.
fn traps_with_faults(pages: u64) -> u64 {
    let scratch = Scratch::new().expect("a temporary directory");
    let stats = scratch.path("stats.json");
    let run = |_| {
        let finished = Gnomon::new(Mode::Shadow)
            .options(["--cmdline", "norandmaps", "--stats-json"])
            .options([&stats])
            .program(["bench", "fault", &pages.to_string()])
            .run();
        finished.assert_status(0);
        let text = std::fs::read_to_string(&stats).expect("the counters are written");
        let counters: Value = serde_json::from_str(&text).expect("they are JSON");
        let count = |name| counters["mode"][name].as_u64().expect("a count");
        count("traps") - count("interrupt_traps")
    };
    (0..3).map(run).min().expect("runs")
}

/// Two sizes of one program: what both do, to map and unmap at once among it, cancels out.
#[test]
fn demand_zero_fault_takes_four_traps() {
    /// Pages that the guest's kernel unmaps with a single flush.
    const PAGES: [u64; 2] = [16, 64];
    /// Traps that interrupts may have left.
    const STRAY: u64 = 2;
    let [few, many] = PAGES.map(traps_with_faults);
    let faults = PAGES[1] - PAGES[0];
    assert!(
        many <= few + 4 * faults + STRAY,
        "{} traps for {faults} faults",
        many - few
    );
}

#[test]
fn switch_between_cached_roots_builds_no_table() {
    let switch = &shadow()["yield"];
    assert!(switch["tables built"] < 0.1, "{switch:?}");
    assert!(switch["hidden faults"] < 0.1, "{switch:?}");
}

#[test]
fn switch_takes_three_traps_besides_the_kernels_privileged_instructions() {
    let switch = &shadow()["yield"];
    let besides = switch["traps"] - switch["privileged"];
    assert!(besides < 3.1, "{switch:?}");
}

/// A page of 2 MiB holds 512 of the steps that the workload reads in.
#[test]
fn large_pages_of_the_guest_are_large_in_the_true_tables() {
    let columns = ["hidden faults", "fills", "large fills"];
    let measured = measure("shadow:unsync", &columns, &["cold4k", "cold2m"]);
    let (small, large) = (&measured["cold4k"], &measured["cold2m"]);
    assert!(small["hidden faults"] > 0.9, "{small:?}");
    assert_eq!(small["large fills"], 0.0);
    assert_eq!(large["fills"], large["large fills"], "{large:?}");
    let pages = large["large fills"] * 512.0;
    assert!((0.9..1.3).contains(&pages), "{large:?}");
}

#[test]
fn arithmetic_does_not_trap() {
    let traps = shadow()["compute"]["traps"];
    assert!(traps < 0.5, "{traps} traps");
}

/// Fork, exit and wait, and the same with a shell: less than KVM's own shadow tables need.
#[test]
fn processes_take_fewer_hidden_faults_and_traced_writes_than_the_peer() {
    let peer =
        counts::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../vmm/src/compare/peer.txt"));
    let peer = peer.expect("the peer's counts are kept");
    for workload in ["forkwait", "sh"] {
        let sum = |row: &BTreeMap<String, f64>| row["hidden faults"] + row["traced writes"];
        let (ours, theirs) = (sum(&shadow()[workload]), sum(&peer[workload]));
        assert!(ours < theirs, "{workload}: {ours} here, {theirs} there");
    }
}

/// Not a test: what KVM's own shadow tables count is KVM's business.
#[test]
#[ignore = "measures the peer anew, which takes minutes"]
fn keep_the_peers_counts() {
    assert_eq!(host(), "kvm_amd-npt0", "the host is not the peer");
    let measured = measure("nested", &PEER_COLUMNS, &[]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vmm/src/compare/peer.txt");
    counts::keep(&path, &PEER_COLUMNS, &measured);
}
