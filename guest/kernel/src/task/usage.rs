//! What a process has used (`getrusage(2)`, `wait4(2)`).

use core::sync::atomic::Ordering;

use super::Process;

/// Processor time, faults and switches of a thread, a process, or all children that have been waited
/// for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Nanoseconds in ring 3.
    pub user_ns: u64,
    /// Nanoseconds in the kernel on its behalf.
    pub system_ns: u64,
    /// Page faults served without a device.
    pub minor_faults: u64,
    /// Page faults that read from a device.
    pub major_faults: u64,
    /// Switches because it waited.
    pub voluntary_switches: u64,
    /// Switches because its turn was over.
    pub involuntary_switches: u64,
    /// Largest resident set, in KiB.
    pub max_rss_kib: u64,
}

impl Usage {
    /// All processor time, in nanoseconds.
    pub fn cpu_ns(&self) -> u64 {
        self.user_ns + self.system_ns
    }

    /// Add another's use to this one.
    pub fn add(&mut self, other: &Usage) {
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
        self.minor_faults += other.minor_faults;
        self.major_faults += other.major_faults;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.max_rss_kib = self.max_rss_kib.max(other.max_rss_kib);
    }
}

impl Process {
    /// Processor time and faults of all threads, living and dead.
    pub fn usage(&self) -> Usage {
        let mut usage = *self.dead_usage.lock();
        for thread in self.threads.lock().iter() {
            usage.add(&thread.usage());
        }
        usage.minor_faults += self.minor_faults.load(Ordering::Relaxed);
        usage.major_faults += self.major_faults.load(Ordering::Relaxed);
        usage
    }

    /// Use of the children that have been waited for.
    pub fn child_usage(&self) -> Usage {
        *self.child_usage.lock()
    }
}
