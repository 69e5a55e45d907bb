//! Counters of a run: exits by kind, the paging mode's own, and KVM's.

mod json;
pub mod kvm;

use std::fmt;
use std::time::Duration;

use crate::vcpu::exit::Exit;
pub use json::to_json;

/// Exits of one virtual processor, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExitCounts {
    pio_in: u64,
    pio_out: u64,
    mmio_read: u64,
    mmio_write: u64,
    eoi: u64,
    halt: u64,
    irq_window: u64,
    signal: u64,
    other: u64,
}

impl ExitCounts {
    /// Count one.
    pub fn count(&mut self, exit: &Exit<'_>) {
        *match exit {
            Exit::PioIn { .. } => &mut self.pio_in,
            Exit::PioOut { .. } => &mut self.pio_out,
            Exit::MmioRead { .. } => &mut self.mmio_read,
            Exit::MmioWrite { .. } => &mut self.mmio_write,
            Exit::IoapicEoi(_) => &mut self.eoi,
            Exit::Halt => &mut self.halt,
            Exit::IrqWindow => &mut self.irq_window,
            Exit::Interrupted => &mut self.signal,
            _ => &mut self.other,
        } += 1;
    }

    /// Count a return from KVM_RUN because of a signal.
    pub const fn count_signal(&mut self) {
        self.signal += 1;
    }

    /// All counters by name.
    pub const fn list(&self) -> [(&'static str, u64); 9] {
        [
            ("pio_in", self.pio_in),
            ("pio_out", self.pio_out),
            ("mmio_read", self.mmio_read),
            ("mmio_write", self.mmio_write),
            ("ioapic_eoi", self.eoi),
            ("halt", self.halt),
            ("irq_window", self.irq_window),
            ("signal", self.signal),
            ("other", self.other),
        ]
    }
}

/// A group of counters, named.
pub struct Group {
    /// The group's name, as in the JSON.
    pub name: &'static str,
    /// Its counters.
    pub counters: Vec<(String, u64)>,
}

/// What `--stats` tells.
pub struct Stats {
    /// The paging mode.
    pub mode: &'static str,
    /// KVM's module.
    pub module: &'static str,
    /// From gnomon's start to the first entry into the guest.
    pub start: Duration,
    /// That entry in nanoseconds of the monotonic clock, for whoever has started gnomon and wants to
    /// know how long it took from there.
    pub entered_at_ns: u64,
    /// From there to the end.
    pub run: Duration,
    /// The counters.
    pub groups: Vec<Group>,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            mode,
            module,
            start,
            run,
            groups,
            entered_at_ns: _,
        } = self;
        writeln!(f, "--mmu {mode} on {module}")?;
        writeln!(
            f,
            "{:>14.3} ms  to the first entry into the guest",
            millis(*start)
        )?;
        writeln!(f, "{:>14.3} ms  from there to the end", millis(*run))?;
        for group in groups {
            let counters: Vec<_> = group.counters.iter().filter(|(_, n)| *n != 0).collect();
            if !counters.is_empty() {
                writeln!(f, "{}", group.name)?;
            }
            for (name, value) in counters {
                writeln!(f, "{value:>14}  {name}")?;
            }
        }
        Ok(())
    }
}

/// `duration` in milliseconds.
fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// What gnomon itself has used of the host so far.
pub fn host_usage() -> Group {
    // SAFETY: all-zero is a valid value of this plain structure.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: fills one structure; a failure leaves zeros.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    let micros = |time: libc::timeval| (time.tv_sec as u64) * 1_000_000 + time.tv_usec as u64;
    Group {
        name: "host",
        counters: vec![
            ("user_us".into(), micros(usage.ru_utime)),
            ("system_us".into(), micros(usage.ru_stime)),
            ("max_resident_kib".into(), usage.ru_maxrss as u64),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_counted_by_kind() {
        let mut counts = ExitCounts::default();
        counts.count(&Exit::Halt);
        counts.count(&Exit::Halt);
        counts.count(&Exit::Other(3));
        let nonzero: Vec<_> = counts.list().into_iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(nonzero, [("halt", 2), ("other", 1)]);
    }

    #[test]
    fn table_leaves_out_zeros() {
        let stats = Stats {
            mode: "nested",
            module: "kvm_amd",
            start: Duration::from_micros(1500),
            entered_at_ns: 0,
            run: Duration::from_millis(2),
            groups: vec![Group {
                name: "exits",
                counters: vec![("a".into(), 0), ("b".into(), 7)],
            }],
        };
        let text = stats.to_string();
        assert!(text.contains("1.500 ms") && text.contains(" 7  b") && !text.contains("  a"));
    }
}
