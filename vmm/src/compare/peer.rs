//! The peer: KVM's own shadow page tables, which nested mode runs on where KVM has no nested paging
//! in hardware but runs ring 0 natively (`kvm_amd npt=0`, `kvm_intel ept=0`).
//!
//! What it counts for the workloads is kept in `peer.txt`, measured in the box (docs/hosts.md), and
//! stands beside what is measured on any host: counts are the same everywhere.

use std::collections::BTreeMap;

use super::Column;

/// What the peer is called where modes are listed.
pub const NAME: &str = "KVM's shadow";

/// What it is, in a line.
pub const WHAT: &str = "KVM's shadow: KVM's own shadow page tables (kvm_amd with npt=0), counted in the box with this \
     guest in nested mode";

/// KVM's counters under the headings that gnomon's own stand under.
pub const COUNTS: [Column; 4] = [
    ("true faults", &["kvm_vcpu.pf_guest"]),
    ("hidden faults", &["kvm_vcpu.pf_fixed"]),
    ("traced writes", &["kvm_vm.mmu_pte_write"]),
    ("flushes", &["kvm_vcpu.tlb_flush", "kvm_vcpu.invlpg"]),
];

const TABLE: &str = include_str!("peer.txt");

/// What one operation of `workload` costs there, by heading; `None` where it has not been measured.
pub fn counts(workload: &str) -> Option<BTreeMap<String, f64>> {
    find(TABLE, workload)
}

/// A table's first line that is no comment names the columns, two blanks apart; the others hold
/// a workload and its counts.
fn find(table: &str, workload: &str) -> Option<BTreeMap<String, f64>> {
    let mut lines = table.lines().filter(|line| !line.starts_with('#'));
    let headings = lines
        .next()?
        .split("  ")
        .map(str::trim)
        .filter(|heading| !heading.is_empty())
        .skip(1);
    let row = lines.find(|line| line.split_whitespace().next() == Some(workload))?;
    headings
        .zip(row.split_whitespace().skip(1))
        .map(|(heading, count)| Some((heading.to_owned(), count.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::WORKLOADS;
    use super::*;

    #[test]
    fn every_workload_has_been_measured() {
        for workload in &WORKLOADS {
            let counts = counts(workload.name).unwrap_or_default();
            for (heading, _) in COUNTS {
                assert!(counts.contains_key(heading), "{}: {heading}", workload.name);
            }
        }
    }

    #[test]
    fn columns_are_found_by_their_headings() {
        let table = "# a comment\nworkload  true faults  hidden faults\nfault  1.00  1.76\n";
        assert_eq!(find(table, "fault").unwrap()["hidden faults"], 1.76);
        assert_eq!(find(table, "yield"), None);
    }
}
