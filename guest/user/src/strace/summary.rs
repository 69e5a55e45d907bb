//! `-c`: how often each call was made, and what it took.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

#[derive(Default)]
struct Count {
    calls: u64,
    errors: u64,
    time: Duration,
}

/// Counts by name.
#[derive(Default)]
pub struct Summary(BTreeMap<String, Count>);

impl Summary {
    /// A call is over.
    pub fn add(&mut self, name: &str, time: Duration, failed: bool) {
        let count = self.0.entry(name.to_owned()).or_default();
        count.calls += 1;
        count.errors += u64::from(failed);
        count.time += time;
    }

    /// The table, most time first.
    pub fn table(&self) -> String {
        let total: Duration = self.0.values().map(|count| count.time).sum();
        let mut rows: Vec<_> = self.0.iter().collect();
        rows.sort_by(|a, b| b.1.time.cmp(&a.1.time).then(a.0.cmp(b.0)));
        let rule = "------ ----------- ----------- --------- --------- ----------------\n";
        let mut text =
            String::from("% time     seconds  usecs/call     calls    errors syscall\n") + rule;
        let shown = |errors: u64| match errors {
            0 => String::new(),
            errors => errors.to_string(),
        };
        let mut row = |share: f64, time: Duration, calls: u64, errors: u64, name: &str| {
            let each = time.as_micros() as u64 / calls.max(1);
            let _ = writeln!(
                text,
                "{share:6.2} {:11.6} {each:>11} {calls:>9} {:>9} {name}",
                time.as_secs_f64(),
                shown(errors)
            );
        };
        for (name, count) in &rows {
            let share = 100.0 * count.time.as_secs_f64() / total.as_secs_f64().max(1e-9);
            row(share, count.time, count.calls, count.errors, name);
        }
        let calls = rows.iter().map(|(_, count)| count.calls).sum();
        let errors = rows.iter().map(|(_, count)| count.errors).sum();
        let mut last = String::new();
        let _ = writeln!(
            last,
            "{:6.2} {:11.6} {:>11} {calls:>9} {:>9} total",
            100.0,
            total.as_secs_f64(),
            total.as_micros() as u64 / u64::max(calls, 1),
            shown(errors)
        );
        text + rule + &last
    }
}
