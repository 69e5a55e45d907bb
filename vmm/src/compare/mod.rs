//! `gnomon compare`: the same workloads under each paging mode, and what each cost.
//!
//! ```text
//!  workload × mode ──► a run of gnomon itself, COUNT operations ──┐ time, counters
//!                      the same, 2 × COUNT operations          ──┴► per operation
//! ```
//!
//! Each measurement is a whole run of this very program with `--stats-json`, so that nothing of one
//! can warm or disturb another. Counts per operation come from the difference of two runs, one with
//! twice the operations: what booting and starting the program costs cancels out exactly. Times are
//! the guest's own, taken around the loop.

mod html;
mod measure;
mod peer;
mod report;
mod table;
mod workload;

pub use html::page;
pub use measure::{NO_BUSYBOX, Runner, busybox};
pub use peer::counts as peer_counts;
pub use report::{Cell, Host, Report, Row};
pub use table::Table;
pub use workload::{Place, WORKLOADS, Workload, select};

/// A column of counts: its heading, and the counters whose sum it is.
pub type Column = (&'static str, &'static [&'static str]);

/// The columns of counts: heading, and the counters whose sum it is ("group.name"; a group's name
/// alone stands for all its counters).
pub const COUNTS: [Column; 14] = [
    // A trap of the deprivileged guest is an exit too, but never seen as one by the devices.
    ("exits", &["exits", "mode.traps"]),
    ("traps", &["mode.traps"]),
    ("irq traps", &["mode.interrupt_traps"]),
    // Those that trapped, and those carried out along with one that did.
    ("privileged", &["mode.privileged", "mode.merged"]),
    ("true faults", &["mode.true_faults"]),
    ("hidden faults", &["mode.hidden_faults"]),
    ("traced writes", &["mode.traced_writes"]),
    ("fills", &["mode.fills", "mode.prefills"]),
    ("large fills", &["mode.large_fills"]),
    ("tables built", &["mode.tables_built"]),
    ("flushes", &["mode.invlpg", "mode.drops"]),
    ("KVM's fills", &["kvm_vcpu.pf_fixed"]),
    ("KVM's writes", &["kvm_vm.mmu_pte_write"]),
    ("KVM emulated", &["kvm_vcpu.insn_emulation"]),
];
