//! Runs of gnomon, and what they say.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::report::Cell;
use super::workload::{Place, Workload};
use super::{COUNTS, Column, peer};
use crate::mode::Mode;

/// Memory of the guest in MiB: the reads over 256 MiB need room.
const MEMORY: &str = "384";

/// Why a workload that needs busybox does not run.
pub const NO_BUSYBOX: &str = "there is no busybox in PATH (Debian: busybox-static)";

/// The host's busybox.
pub fn busybox() -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join("busybox"))
        .find(|file| file.is_file())
}

/// What one run has given.
struct Sample {
    nanoseconds: f64,
    counters: BTreeMap<String, u64>,
}

/// What the rounds of one mode have given.
#[derive(Default)]
struct Rounds {
    /// Nanoseconds for one operation, a round each.
    times: Vec<f64>,
    counters: BTreeMap<String, f64>,
}

/// The value in the middle; the upper one of two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs workloads.
pub struct Runner {
    gnomon: PathBuf,
    nano: OwnedFd,
    rounds: usize,
    kvm_shadows: bool,
}

impl Runner {
    /// A runner that measures each workload `rounds` times with this very program, and with the
    /// nanobenchmarks' kernel `nano`. `kvm_shadows`: in nested mode KVM shadows the guest's tables.
    ///
    /// # Errors
    /// The host has no room for the kernel or does not say where this program is.
    pub fn new(nano: &[u8], rounds: usize, kvm_shadows: bool) -> io::Result<Self> {
        // SAFETY: the name is a string ended by NUL. Without MFD_CLOEXEC, so that the runs can open
        // it through /proc/self/fd.
        let fd = unsafe { libc::memfd_create(c"nano".as_ptr(), 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let file = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        io::Write::write_all(&mut &file, nano)?;
        Ok(Self {
            gnomon: std::env::current_exe()?,
            nano: file.into(),
            rounds,
            kvm_shadows,
        })
    }

    /// Measure `workload` under each of `modes`, in turn: every round runs all of them, every
    /// second one in reverse order, so that what the machine does meanwhile falls on all alike.
    /// For each mode its cell, or one line that says what went wrong.
    pub fn measure(&self, workload: &Workload, modes: &[Mode]) -> Vec<Result<Cell, String>> {
        let mut all: Vec<_> = modes.iter().map(|_| Ok(Rounds::default())).collect();
        for round in 0..self.rounds {
            let mut order: Vec<usize> = (0..modes.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for n in order {
                let Ok(rounds) = &mut all[n] else { continue };
                if let Err(why) = self.round(workload, &modes[n], rounds) {
                    all[n] = Err(why);
                }
            }
        }
        let first = match &all[..] {
            [Ok(first), ..] => Some(first.times.clone()),
            _ => None,
        };
        let cells = all.into_iter().zip(modes);
        cells
            .map(|(rounds, mode)| rounds.map(|rounds| self.cell(rounds, mode, first.as_deref())))
            .collect()
    }

    /// One more round of one mode.
    fn round(&self, workload: &Workload, mode: &Mode, rounds: &mut Rounds) -> Result<(), String> {
        let once = self.run(workload, mode, workload.count)?;
        rounds.times.push(once.nanoseconds / workload.count as f64);
        // Counts do not change from round to round: once is enough.
        if rounds.times.len() == 1 {
            let twice = self.run(workload, mode, 2 * workload.count)?;
            rounds.counters = per_operation(&once, &twice, workload.count);
        }
        Ok(())
    }

    /// What the rounds come to; `first`: the first mode's times.
    fn cell(&self, rounds: Rounds, mode: &Mode, first: Option<&[f64]>) -> Cell {
        let Rounds { times, counters } = rounds;
        let mut counts = columns(&COUNTS, &counters);
        if mode.mmu == "nested" && self.kvm_shadows {
            counts.append(&mut columns(&peer::COUNTS, &counters));
        }
        let ratios = first.map(|first| times.iter().zip(first).map(|(time, one)| time / one));
        Cell {
            ratio: ratios.map(|ratios| median(ratios.collect())),
            min_ns: times.iter().copied().fold(f64::INFINITY, f64::min),
            max_ns: times.iter().copied().fold(0.0, f64::max),
            median_ns: median(times),
            counts,
            counters,
        }
    }

    fn run(&self, workload: &Workload, mode: &Mode, count: u64) -> Result<Sample, String> {
        let failed = |why: &dyn fmt::Display| format!("{} under {mode}: {why}", workload.name);
        // SAFETY: as in `new`.
        let stats = unsafe { libc::memfd_create(c"stats".as_ptr(), 0) };
        if stats < 0 {
            return Err(failed(&io::Error::last_os_error()));
        }
        // SAFETY: the descriptor is new and nobody else's.
        let stats = unsafe { OwnedFd::from_raw_fd(stats) };
        let path = |fd: &OwnedFd| OsString::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));

        let mut command = Command::new(&self.gnomon);
        command
            .args(["run", "--mem", MEMORY])
            .args(mode.options())
            .arg("--stats-json")
            .arg(path(&stats))
            .stdin(Stdio::null());
        match workload.place {
            Place::Nano => command
                .arg("--kernel")
                .arg(path(&self.nano))
                .arg("--cmdline")
                .arg(format!("bench={} n={count}", workload.name)),
            Place::Busybox => {
                let busybox = busybox().ok_or_else(|| failed(&NO_BUSYBOX))?;
                let mut file = busybox.into_os_string();
                file.push(":/bin/busybox");
                let words = ["--", "bench", workload.name, &count.to_string()];
                command.arg("--file").arg(file).args(words)
            }
            Place::Program => command.args(["--", "bench", workload.name, &count.to_string()]),
        };
        let output = command.output().map_err(|error| failed(&error))?;
        let text = match workload.place {
            Place::Nano => &output.stderr,
            Place::Program | Place::Busybox => &output.stdout,
        };
        let text = String::from_utf8_lossy(text);
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            let line = errors.lines().next().unwrap_or("it said nothing");
            return Err(failed(&format_args!("{}: {line}", output.status)));
        }
        let nanoseconds =
            time_of(&text, workload.name).ok_or_else(|| failed(&"the guest gave no time"))?;
        let stats = std::fs::read_to_string(path(&stats)).map_err(|error| failed(&error))?;
        let counters = counters_of(&stats).ok_or_else(|| failed(&"the counters are no JSON"))?;
        Ok(Sample {
            nanoseconds,
            counters,
        })
    }
}

/// The time in the line `bench: NAME COUNT NANOSECONDS`, or `nano: …`.
fn time_of(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["bench:" | "nano:", known, _, time] if known == name => time.parse().ok(),
            _ => None,
        }
    })
}

/// All counters of `--stats-json`, named `group.name`.
fn counters_of(json: &str) -> Option<BTreeMap<String, u64>> {
    let value: Value = serde_json::from_str(json).ok()?;
    let mut counters = BTreeMap::new();
    for (group, members) in value.as_object()? {
        for (name, count) in members.as_object().into_iter().flatten() {
            counters.insert(format!("{group}.{name}"), count.as_u64()?);
        }
    }
    Some(counters)
}

/// Every counter for one operation; what only one of the runs counts is left out.
fn per_operation(once: &Sample, twice: &Sample, count: u64) -> BTreeMap<String, f64> {
    let difference = |(name, more): (&String, &u64)| {
        let less = once.counters.get(name)?;
        Some((name.clone(), (*more as f64 - *less as f64) / count as f64))
    };
    twice.counters.iter().filter_map(difference).collect()
}

/// The columns: sums of `counters`, where this mode and this KVM count such a thing.
fn columns(columns: &[Column], counters: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let sum = |keys: &[&str]| -> Option<f64> {
        let mut found = counters
            .iter()
            .filter(|(name, _)| {
                keys.iter()
                    .any(|key| name == key || name.split('.').next() == Some(*key))
            })
            .map(|(_, value)| *value)
            .peekable();
        found.peek()?;
        Some(found.sum())
    };
    columns
        .iter()
        .filter_map(|(heading, keys)| Some(((*heading).to_owned(), sum(keys)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(counters: &[(&str, u64)]) -> Sample {
        Sample {
            nanoseconds: 0.0,
            counters: counters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect(),
        }
    }

    #[test]
    fn median_has_as_many_above_as_below() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
    }

    #[test]
    fn what_starting_costs_cancels_out() {
        let once = sample(&[("exits.halt", 105), ("exits.pio_out", 10)]);
        let twice = sample(&[("exits.halt", 125), ("exits.pio_out", 20)]);
        let counters = per_operation(&once, &twice, 10);
        assert_eq!(columns(&COUNTS, &counters)["exits"], 3.0);
    }

    #[test]
    fn what_is_not_counted_is_left_out() {
        assert!(columns(&COUNTS, &BTreeMap::new()).is_empty());
    }

    #[test]
    fn time_is_found_among_other_lines() {
        assert_eq!(time_of("hello\nnano: in 10 1234\n", "in"), Some(1234.0));
    }

    #[test]
    fn counters_are_named_by_group() {
        let counters = counters_of(r#"{"mode": "nested", "exits": {"halt": 3}}"#).unwrap();
        assert_eq!(counters["exits.halt"], 3);
    }
}
