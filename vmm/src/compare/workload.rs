//! What is measured.

/// Where a workload runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the nanobenchmarks' own kernel (guest/nano).
    Nano,
    /// In a program under the guest kernel (guest/bench).
    Program,
    /// The same, with the host's busybox in the guest.
    Busybox,
}

/// One workload.
#[derive(Debug)]
pub struct Workload {
    /// Its name on the command line.
    pub name: &'static str,
    /// Where it runs.
    pub place: Place,
    /// Operations in the shorter of the two runs.
    pub count: u64,
    /// What it isolates.
    pub isolates: &'static str,
}

const fn nano(name: &'static str, count: u64, isolates: &'static str) -> Workload {
    Workload {
        name,
        place: Place::Nano,
        count,
        isolates,
    }
}

const fn program(name: &'static str, count: u64, isolates: &'static str) -> Workload {
    Workload {
        name,
        place: Place::Program,
        count,
        isolates,
    }
}

/// All workloads. The first seven are the nanobenchmarks of Adams and Agesen (ASPLOS 2006).
pub static WORKLOADS: [Workload; 26] = [
    nano(
        "syscall",
        500,
        "a system call that does nothing, from ring 3 and back",
    ),
    nano(
        "in",
        500,
        "a read of a port: an exit to the monitor in every mode",
    ),
    nano(
        "cr8wr",
        500,
        "a write of the task priority: a privileged register without an effect",
    ),
    nano(
        "callret",
        20_000,
        "a call and a return: unprivileged, what binary translation would pay for",
    ),
    nano("pgfault", 500, "a page fault that is the guest's own"),
    nano(
        "divzero",
        500,
        "a fault without memory management: the price of delivering one",
    ),
    nano(
        "ptemod",
        500,
        "a store to a page table in use: the price of tracing tables",
    ),
    nano(
        "cold4k",
        2_000,
        "first reads of 4 KiB pages: filling the tables",
    ),
    nano(
        "cold2m",
        2_000,
        "first reads of 2 MiB pages: filling the tables",
    ),
    nano(
        "read4k",
        20_000,
        "random reads over 256 MiB in 4 KiB pages: the TLB miss",
    ),
    nano(
        "read2m",
        20_000,
        "random reads over 256 MiB in 2 MiB pages: the TLB miss",
    ),
    program("getppid", 1_000, "the way into the kernel and back"),
    program("yield", 400, "a switch between two processes"),
    program("pipe", 200, "a byte to another process and one back"),
    program("forkwait", 40, "fork, exit and wait"),
    program("exec", 20, "fork, exec of a small program, exit and wait"),
    program("sh", 20, "a shell started, run and ended"),
    program("signal", 200, "a signal to oneself, caught"),
    program("fault", 500, "a demand-zero page fault"),
    program("cow", 500, "a write to a page shared since fork"),
    program("mmap", 200, "mmap, one touch, munmap"),
    program("touch", 10, "1 MiB allocated, touched and freed"),
    program("touch2", 10, "the same in each of two processes at a time"),
    program(
        "touch8",
        10,
        "the same in each of eight processes at a time",
    ),
    Workload {
        name: "script",
        place: Place::Busybox,
        count: 4,
        isolates: "a busybox script, as a macro: files, pipes, a loop and a score of programs",
    },
    program(
        "compute",
        50,
        "a million steps of arithmetic: no kernel at all",
    ),
];

/// The workloads of these names, in that order; all of them for no name.
///
/// # Errors
/// One line that names an unknown one.
pub fn select(names: &[String]) -> Result<Vec<&'static Workload>, String> {
    if names.is_empty() {
        return Ok(WORKLOADS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            WORKLOADS
                .iter()
                .find(|workload| workload.name == name)
                .ok_or_else(|| {
                    format!("there is no workload '{name}'; gnomon compare --list shows them")
                })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), WORKLOADS.len());
    }

    #[test]
    fn selection_keeps_the_order_asked_for() {
        let chosen = select(&["pipe".into(), "in".into()]).unwrap();
        assert_eq!((chosen[0].name, chosen[1].name), ("pipe", "in"));
    }

    #[test]
    fn unknown_workload_is_named() {
        assert!(select(&["nosuch".into()]).unwrap_err().contains("'nosuch'"));
    }
}
