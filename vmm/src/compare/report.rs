//! What a comparison has found: plain data, which [`super::table`], [`super::html`] and
//! [`Report::to_json`] show.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::peer;
use crate::host::Module;

/// One workload under one mode, per operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Median time in nanoseconds.
    pub median_ns: f64,
    /// Shortest.
    pub min_ns: f64,
    /// Longest.
    pub max_ns: f64,
    /// Time in units of the first mode's: the median of the rounds' ratios. None if the first mode
    /// has failed.
    pub ratio: Option<f64>,
    /// Counts by heading; what this mode does not count is absent.
    pub counts: BTreeMap<String, f64>,
    /// Every counter of the run, by group and name.
    pub counters: BTreeMap<String, f64>,
}

/// One workload under every mode.
#[derive(Clone, Debug)]
pub struct Row {
    /// The workload.
    pub name: &'static str,
    /// What it isolates.
    pub isolates: &'static str,
    /// A cell for each mode, in the report's order; or why there is none.
    pub cells: Vec<Result<Cell, String>>,
    /// Counts of the [`super::peer`], unless it is what nested mode runs on here.
    pub peer: Option<BTreeMap<String, f64>>,
}

/// The machine on which it was found.
#[derive(Clone, Debug)]
pub struct Host {
    /// KVM's module.
    pub module: &'static str,
    /// Whether the hardware walks the guest's tables in nested mode.
    pub hardware_paging: Option<bool>,
    /// The processor.
    pub cpu: String,
    /// The kernel.
    pub kernel: String,
}

impl Host {
    /// This machine.
    pub fn this(module: Module) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == "model name").then(|| value.trim().to_owned())
            })
            .unwrap_or_else(|| "unknown".into());
        Self {
            module: module.name(),
            hardware_paging: module.hardware_paging(),
            cpu,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }

    /// Whether nested mode runs on shadow tables that KVM makes, with ring 0 on the processor.
    pub fn kvm_shadows(&self) -> bool {
        self.hardware_paging == Some(false) && self.module != Module::Pvm.name()
    }

    /// What the times say here, and what they do not.
    pub fn conclusion(&self) -> &'static str {
        match (self.hardware_paging, self.module) {
            (Some(true), _) => {
                "The hardware walks the guest's tables in nested mode: times compare nested paging with \
                 shadow paging. Where the hardware itself is emulated, as in the box, only counts do."
            }
            (_, "kvm_pvm") => {
                "No nested paging in hardware: in nested mode KVM emulates the guest's ring 0 and shadows its \
                 tables. Times compare two ways to do without hardware; they say nothing of nested paging."
            }
            (Some(false), _) => {
                "No nested paging in hardware: in nested mode KVM shadows the guest's tables. Times compare \
                 KVM's shadow tables with gnomon's."
            }
            (None, _) => "It is not known whether nested mode has hardware paging here.",
        }
    }
}

/// A whole comparison.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where.
    pub host: Host,
    /// The modes, in the order of the cells.
    pub modes: Vec<String>,
    /// The workloads.
    pub rows: Vec<Row>,
}

impl Report {
    /// The report as JSON, for programs.
    pub fn to_json(&self) -> String {
        let cell = |cell: &Result<Cell, String>| match cell {
            Ok(cell) => json!({
                "median_ns": cell.median_ns,
                "min_ns": cell.min_ns,
                "max_ns": cell.max_ns,
                "ratio": cell.ratio,
                "counts": cell.counts,
                "counters": cell.counters,
            }),
            Err(why) => json!({ "error": why }),
        };
        let workloads: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let modes: Map<String, Value> = self
                    .modes
                    .iter()
                    .cloned()
                    .zip(row.cells.iter().map(cell))
                    .collect();
                json!({
                    "name": row.name,
                    "isolates": row.isolates,
                    "modes": modes,
                    "peer": row.peer,
                })
            })
            .collect();
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        let report = json!({
            "peer": peer::WHAT,
            "gnomon": env!("CARGO_PKG_VERSION"),
            "unix_time": seconds,
            "host": {
                "module": self.host.module,
                "hardware_nested_paging": self.host.hardware_paging,
                "cpu": self.host.cpu,
                "kernel": self.host.kernel,
            },
            "workloads": workloads,
        });
        format!("{report:#}\n")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Two modes, one of which has failed.
    pub fn example() -> Report {
        Report {
            host: Host {
                module: "kvm_amd",
                hardware_paging: Some(true),
                cpu: "A <fast> one".into(),
                kernel: "6.1".into(),
            },
            modes: vec!["nested".into(), "shadow:trace".into()],
            rows: vec![Row {
                name: "in",
                isolates: "a read of a port",
                cells: vec![
                    Ok(Cell {
                        median_ns: 1500.0,
                        min_ns: 1400.0,
                        max_ns: 1700.0,
                        ratio: Some(1.0),
                        counts: [("exits".to_owned(), 1.0)].into(),
                        counters: [("exits.pio_in".to_owned(), 1.0)].into(),
                    }),
                    Err("in under shadow:trace: it said nothing".into()),
                ],
                peer: Some([("hidden faults".to_owned(), 1.25)].into()),
            }],
        }
    }

    #[test]
    fn json_holds_times_counts_and_failures() {
        let value: Value = serde_json::from_str(&example().to_json()).unwrap();
        let modes = &value["workloads"][0]["modes"];
        assert_eq!(modes["nested"]["median_ns"], 1500.0);
        assert_eq!(modes["nested"]["ratio"], 1.0);
        assert_eq!(modes["nested"]["counts"]["exits"], 1.0);
        assert!(modes["shadow:trace"]["error"].is_string());
        assert_eq!(value["workloads"][0]["peer"]["hidden faults"], 1.25);
    }
}
