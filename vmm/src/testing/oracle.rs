//! This Linux as the judge of the guest.

use super::HOST;
use super::result::{Finished, Verdict};

/// What the comparison with this Linux has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Results of the guest's that are as here.
    pub agree: usize,
    /// A line for each that is not.
    pub differences: Vec<String>,
}

/// Hold what the guest did against what this Linux did. Tests that one of the two has not run, or
/// skipped, say nothing.
pub fn compare(results: &[Finished]) -> Comparison {
    let mut comparison = Comparison::default();
    for host in results.iter().filter(|test| test.place == HOST) {
        if host.verdict.is_failure() {
            comparison.differences.push(format!(
                "{}: {} on this Linux: its expectation is wrong, or this host differs",
                host.name, host.verdict
            ));
        }
        let guests = results
            .iter()
            .filter(|test| test.place != HOST && test.name == host.name);
        for guest in guests {
            match (&host.verdict, &guest.verdict) {
                (Verdict::Skipped, _) | (_, Verdict::Skipped) => {}
                (Verdict::Passed, verdict) if verdict.is_failure() => {
                    comparison.differences.push(format!(
                        "{}: passes on this Linux, but under {}: {verdict}",
                        guest.name, guest.place
                    ));
                }
                (verdict, Verdict::Passed) if verdict.is_failure() => {}
                _ => comparison.agree += 1,
            }
        }
    }
    comparison
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn finished(place: &str, verdict: Verdict) -> Finished {
        Finished {
            place: place.into(),
            name: "memory::a".into(),
            verdict,
            time: Duration::ZERO,
            output: String::new(),
        }
    }

    #[test]
    fn same_results_agree() {
        let results = [
            finished(HOST, Verdict::Passed),
            finished("nested", Verdict::Passed),
            finished("shadow", Verdict::Passed),
        ];
        let comparison = compare(&results);
        assert_eq!((comparison.agree, comparison.differences.len()), (2, 0));
    }

    #[test]
    fn guest_that_differs_is_named_with_its_mode() {
        let results = [
            finished(HOST, Verdict::Passed),
            finished("shadow", Verdict::Failed(101)),
        ];
        let line = &compare(&results).differences[0];
        assert!(
            line.contains("memory::a") && line.contains("shadow"),
            "{line}"
        );
    }

    #[test]
    fn test_that_fails_here_is_a_wrong_expectation() {
        let results = [
            finished(HOST, Verdict::Failed(101)),
            finished("nested", Verdict::Passed),
        ];
        let comparison = compare(&results);
        assert_eq!(comparison.agree, 0);
        assert!(comparison.differences[0].contains("expectation is wrong"));
    }

    #[test]
    fn skipped_test_says_nothing() {
        let results = [
            finished(HOST, Verdict::Skipped),
            finished("nested", Verdict::Failed(1)),
        ];
        assert_eq!(compare(&results), Comparison::default());
    }
}
