//! A comparison as a table for the terminal.

use std::collections::BTreeMap;
use std::fmt;

use super::report::{Cell, Report};
use super::{COUNTS, peer};

/// Shows a report.
pub struct Table<'a>(pub &'a Report);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { host, modes, rows } = self.0;
        let paging = match host.hardware_paging {
            Some(true) => "in hardware",
            Some(false) => "none in hardware",
            None => "unknown",
        };
        writeln!(f, "Linux {}, {}, {}", host.kernel, host.module, host.cpu)?;
        writeln!(f, "nested paging: {paging}")?;
        writeln!(f, "{}", host.conclusion())?;
        writeln!(
            f,
            "Counts are exact on every host. All figures are for one operation."
        )?;
        writeln!(f, "{}\n", peer::WHAT)?;

        write!(
            f,
            "{:<10} {:<14} {:>12} {:>8} {:>8}",
            "workload", "mode", "time", "spread", "ratio"
        )?;
        for (heading, _) in COUNTS {
            write!(f, " {heading:>0$}", width(heading))?;
        }
        writeln!(f)?;
        for row in rows {
            for (i, (mode, cell)) in modes.iter().zip(&row.cells).enumerate() {
                let name = if i == 0 { row.name } else { "" };
                write!(f, "{name:<10} {mode:<14}")?;
                match cell {
                    Ok(cell) => write_cell(f, cell)?,
                    Err(why) => write!(f, " failed: {why}")?,
                }
                writeln!(f)?;
            }
            if let Some(counts) = &row.peer {
                write!(
                    f,
                    "{:<10} {:<14} {:>12} {:>8} {:>8}",
                    "",
                    peer::NAME,
                    "-",
                    "-",
                    "-"
                )?;
                write_counts(f, counts)?;
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// Columns are as wide as their headings, and wide enough for a count.
fn width(heading: &str) -> usize {
    heading.chars().count().max(9)
}

fn write_cell(f: &mut fmt::Formatter<'_>, cell: &Cell) -> fmt::Result {
    let spread = (cell.max_ns - cell.min_ns) / cell.median_ns * 100.0;
    write!(f, " {:>12} {spread:>7.0}%", time(cell.median_ns))?;
    match cell.ratio {
        Some(ratio) => write!(f, " {ratio:>8.3}")?,
        None => write!(f, " {:>8}", "-")?,
    }
    write_counts(f, &cell.counts)
}

fn write_counts(f: &mut fmt::Formatter<'_>, counts: &BTreeMap<String, f64>) -> fmt::Result {
    for (heading, _) in COUNTS {
        let count = counts.get(heading).map_or("-".into(), |n| figure(*n));
        write!(f, " {count:>0$}", width(heading))?;
    }
    Ok(())
}

/// A count per operation. What rounds to zero has no sign.
pub(super) fn figure(count: f64) -> String {
    let count = if count.abs() < 0.005 { 0.0 } else { count };
    format!("{count:.2}")
}

/// A time with a unit that fits it.
pub(super) fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{ns:.1} ns"),
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::example;
    use super::*;

    #[test]
    fn each_mode_has_a_line_and_a_failure_says_why() {
        let text = Table(&example()).to_string();
        let lines: Vec<_> = text
            .lines()
            .filter(|line| line.contains("shadow:trace"))
            .collect();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("failed: in under"));
    }

    #[test]
    fn peer_has_counts_and_no_time() {
        let text = Table(&example()).to_string();
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(peer::NAME) && line.contains("1.25"));
        assert!(line.is_some_and(|line| !line.contains("µs")));
    }

    #[test]
    fn nothing_has_no_sign() {
        assert_eq!(figure(-0.001), "0.00");
    }

    #[test]
    fn times_have_units() {
        assert_eq!(
            [12.34, 1234.0, 1_234_000.0, 2e9].map(time),
            ["12.3 ns", "1.23 µs", "1.23 ms", "2.00 s"]
        );
    }
}
