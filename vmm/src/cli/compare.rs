//! `gnomon compare`: the same workloads under each paging mode, side by side.

use std::path::{Path, PathBuf};

use crate::compare::{self, Report, Row, Runner};
use crate::host::Host;
use crate::mode::Mode;
use crate::tell;

/// Arguments of `gnomon compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = workloads())]
pub struct Args {
    /// Workloads to run: all when none is named
    #[arg(value_name = "WORKLOAD")]
    workloads: Vec<String>,

    /// Modes to compare: nested, shadow (each policy), shadow:POLICY
    #[arg(long, value_name = "LIST", default_value = "nested,shadow")]
    mmu: String,

    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,

    /// Also write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Also write a page with bar charts to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// List the workloads and what each isolates
    #[arg(long)]
    list: bool,
}

/// Measure and show; 0 if every workload ran under every mode, else 1.
pub fn run(args: &Args) -> Result<u8, String> {
    if args.list {
        tell::out(format_args!("{}", workloads()));
        return Ok(0);
    }
    let mut workloads = compare::select(&args.workloads)?;
    if args.workloads.is_empty() && compare::busybox().is_none() {
        // One that was asked for by name fails.
        workloads.retain(|workload| workload.place != compare::Place::Busybox);
        tell::err(format_args!("script: left out: {}\n", compare::NO_BUSYBOX));
    }
    let modes = Mode::parse_list_by_policy(&args.mmu)?;
    let host = Host::open().map_err(|error| error.to_string())?;
    let here = compare::Host::this(host.module());
    super::writable(args.json.iter().chain(&args.html).map(PathBuf::as_path))?;
    let runner = Runner::new(
        gnomon_images::NANO,
        args.rounds as usize,
        here.kvm_shadows(),
    )
    .map_err(|error| format!("cannot prepare the runs: {error}"))?;
    let rows: Vec<_> = workloads
        .into_iter()
        .map(|workload| {
            tell::err(format_args!("{:10} {}\n", workload.name, workload.isolates));
            Row {
                name: workload.name,
                isolates: workload.isolates,
                cells: runner.measure(workload, &modes),
                peer: compare::peer_counts(workload.name).filter(|_| !here.kvm_shadows()),
            }
        })
        .collect();
    let report = Report {
        host: here,
        modes: modes.iter().map(Mode::to_string).collect(),
        rows,
    };
    tell::out(format_args!("{}", compare::Table(&report)));
    if let Some(path) = &args.json {
        write(path, &report.to_json())?;
    }
    if let Some(path) = &args.html {
        write(path, &compare::page(&report))?;
    }
    let complete = report
        .rows
        .iter()
        .all(|row| row.cells.iter().all(Result::is_ok));
    Ok(u8::from(!complete))
}

/// The workloads, a line each, with what they isolate.
fn workloads() -> String {
    let line = |w: &compare::Workload| format!("{:10} {}\n", w.name, w.isolates);
    compare::WORKLOADS.iter().map(line).collect()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
