//! Tables of counts, which may fall, not rise.
//!
//! ```text
//! # comments
//! workload    COLUMN  COLUMN      two spaces apart
//! NAME         COUNT   COUNT
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Counts of operations: by name, then by column.
pub type Table = BTreeMap<String, BTreeMap<String, f64>>;

/// A table of this repository: `None` if there is none of that name, or nothing in it yet.
pub fn read(path: &Path) -> Option<Table> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let columns: Vec<&str> = lines
        .next()?
        .split("  ")
        .map(str::trim)
        .filter(|column| !column.is_empty())
        .skip(1)
        .collect();
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        let counts = columns.iter().zip(words);
        let counts = counts.map(|(column, count)| Some((column.to_string(), count.parse().ok()?)));
        Some((name, counts.collect::<Option<_>>()?))
    };
    Some(lines.filter_map(row).collect())
}

/// Put `measured` into the table at `path`, below the comments that are there.
///
/// # Panics
/// The table cannot be written, or `measured` lacks a column.
pub fn keep(path: &Path, columns: &[&str], measured: &Table) {
    let old = std::fs::read_to_string(path).unwrap_or_default();
    let comments = old.lines().filter(|line| line.starts_with('#'));
    let mut text: String = comments.flat_map(|line| [line, "\n"]).collect();
    text += "workload  ";
    for column in columns {
        let _ = write!(text, "  {column:>13}");
    }
    text.push('\n');
    for (name, counts) in measured {
        let _ = write!(text, "{name:10}");
        for column in columns {
            let _ = write!(text, "  {:13.2}", counts[*column].max(0.0));
        }
        text.push('\n');
    }
    std::fs::write(path, text).expect("the table can be written");
}

/// The table `name` of `tests/counts`.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("counts")
        .join(name)
}

/// Whether what is measured shall be kept rather than held against what was.
pub fn is_kept() -> bool {
    std::env::var_os("GNOMON_KEEP_COUNTS").is_some()
}

/// Hold `measured` against the table at `path`, where it has these counts. `limit` says how much is
/// allowed for a name, a column and what is in the table.
///
/// # Panics
/// A count has risen above its limit, or the table lacks something that is measured.
pub fn hold(
    path: &Path,
    columns: &[&str],
    measured: &Table,
    limit: impl Fn(&str, &str, f64) -> f64,
) {
    let Some(kept) = read(path) else {
        eprintln!("skipped: there are no counts of this host");
        return;
    };
    let mut risen = Vec::new();
    for (name, counts) in measured {
        for column in columns {
            let (count, old) = (counts[*column], kept[name][*column]);
            if count > limit(name, column, old) {
                risen.push(format!("{name}: {column} {old:.2} -> {count:.2}"));
            }
        }
    }
    assert!(
        risen.is_empty(),
        "{}: counts have risen: {risen:?}",
        path.display()
    );
}
