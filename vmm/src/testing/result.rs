//! What becomes of a test.

use std::fmt;
use std::time::Duration;

use gnomon_abi::test_report::Outcome;

/// How a test has ended in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should.
    Passed,
    /// It cannot run there.
    Skipped,
    /// With this status.
    Failed(i32),
    /// Killed by this signal.
    Killed(i32),
    /// It ran past its time, and was killed with all its children.
    TimedOut,
    /// It passed, but has not given back what these words say.
    Lost(String),
    /// The guest ended while it ran; the reason in words.
    Died(String),
    /// The guest said nothing any more while it ran, and was stopped.
    Hung,
}

impl Verdict {
    /// The verdict on a test that has ended by itself and has not given back `losses`.
    pub fn new(outcome: Outcome, losses: &[String]) -> Self {
        match outcome {
            Outcome::Passed if losses.is_empty() => Self::Passed,
            Outcome::Passed => Self::Lost(losses.join(", ")),
            Outcome::Skipped => Self::Skipped,
            Outcome::Failed(status) => Self::Failed(status),
            Outcome::Killed(signal) => Self::Killed(signal),
            Outcome::TimedOut => Self::TimedOut,
        }
    }

    /// Whether anything is wrong.
    pub const fn is_failure(&self) -> bool {
        !matches!(self, Self::Passed | Self::Skipped)
    }

    /// One word for the line of the test.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Passed => "PASS",
            Self::Skipped => "SKIP",
            Self::Failed(_) => "FAIL",
            Self::Killed(_) => "KILLED",
            Self::TimedOut => "TIMEOUT",
            Self::Lost(_) => "LOST",
            Self::Died(_) => "DIED",
            Self::Hung => "HUNG",
        }
    }
}

/// The verdict in a sentence.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Skipped => f.write_str("skipped"),
            Self::Failed(status) => write!(f, "failed with status {status}"),
            Self::Killed(signal) => write!(f, "killed by signal {signal}"),
            Self::TimedOut => f.write_str("ran past its time and was killed"),
            Self::Lost(what) => write!(f, "lost {what}"),
            Self::Died(reason) => write!(f, "the guest ended while it ran: {reason}"),
            Self::Hung => f.write_str("the guest hung while it ran"),
        }
    }
}

/// A test that has had its turn in one place.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The paging mode, or [`super::HOST`].
    pub place: String,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub verdict: Verdict,
    /// How long it took, by the clock of the place.
    pub time: Duration,
    /// What it wrote; for a guest that has died, what that left.
    pub output: String,
}

/// Tests by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passed.
    pub passed: usize,
    /// Anything wrong.
    pub failed: usize,
    /// Skipped.
    pub skipped: usize,
}

impl Counts {
    /// The counts of some results.
    pub fn of<'a>(results: impl IntoIterator<Item = &'a Finished>) -> Self {
        let mut counts = Self::default();
        for result in results {
            match &result.verdict {
                Verdict::Passed => counts.passed += 1,
                Verdict::Skipped => counts.skipped += 1,
                _ => counts.failed += 1,
            }
        }
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_turns_a_pass_into_a_failure() {
        let verdict = Verdict::new(Outcome::Passed, &["3 pages".into(), "1 files".into()]);
        assert_eq!(verdict, Verdict::Lost("3 pages, 1 files".into()));
        assert!(verdict.is_failure());
    }

    #[test]
    fn skipped_is_no_failure() {
        assert!(!Verdict::new(Outcome::Skipped, &[]).is_failure());
    }

    #[test]
    fn everything_wrong_counts_as_failed() {
        let result = |verdict| Finished {
            place: "nested".into(),
            name: "a::b".into(),
            verdict,
            time: Duration::ZERO,
            output: String::new(),
        };
        let results = [
            result(Verdict::Passed),
            result(Verdict::Skipped),
            result(Verdict::Hung),
            result(Verdict::Lost("1 pages".into())),
        ];
        let text = Counts::of(&results).to_string();
        assert_eq!(text, "1 passed, 2 failed, 1 skipped");
    }
}
