//! Results for people: a line for each test, what failed, the sum.

use std::fmt::Write;
use std::time::Duration;

use super::result::{Counts, Finished, Verdict};

/// How results are shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// With the colours of a terminal.
    pub colour: bool,
    /// No lines for tests that pass.
    pub quiet: bool,
    /// The output of tests that pass, too.
    pub output: bool,
}

const GREEN: &str = "\x1b[32;1m";
const RED: &str = "\x1b[31;1m";
const YELLOW: &str = "\x1b[33;1m";
const PLAIN: &str = "\x1b[0m";

impl Style {
    /// The first line.
    pub fn heading(self, tests: usize, places: &[String]) -> String {
        let noun = if tests == 1 { "test" } else { "tests" };
        self.labelled(
            GREEN,
            "Starting",
            &format!("{tests} {noun} in {}", places.join(", ")),
        )
    }

    /// The line of a test and, if it has failed, what it wrote.
    pub fn test(self, test: &Finished) -> String {
        let failed = test.verdict.is_failure();
        let mut text = String::new();
        if failed || !self.quiet {
            text += &self.line(test);
        }
        if matches!(
            test.verdict,
            Verdict::Lost(_) | Verdict::Died(_) | Verdict::Hung
        ) {
            let _ = writeln!(text, "    {}", test.verdict);
        }
        if (failed || self.output) && !test.output.is_empty() {
            for line in test.output.lines() {
                let _ = writeln!(text, "    | {line}");
            }
        }
        text
    }

    fn line(self, test: &Finished) -> String {
        let colour = match &test.verdict {
            Verdict::Passed => GREEN,
            Verdict::Skipped => YELLOW,
            _ => RED,
        };
        let rest = format!(
            "[{:>8.3}s] {} {}",
            test.time.as_secs_f64(),
            test.place,
            test.name
        );
        self.labelled(colour, test.verdict.word(), &rest)
    }

    /// The sum, and the failures once more.
    pub fn summary(self, results: &[Finished], time: Duration) -> String {
        let counts = Counts::of(results);
        let colour = if counts.failed == 0 { GREEN } else { RED };
        let rest = format!("[{:>8.3}s] {counts}", time.as_secs_f64());
        let mut text = "------------\n".to_owned();
        text += &self.labelled(colour, "Summary", &rest);
        for test in results.iter().filter(|test| test.verdict.is_failure()) {
            text += &self.line(test);
        }
        text
    }

    /// A line of cargo's look.
    pub fn labelled(self, colour: &str, label: &str, rest: &str) -> String {
        if self.colour {
            format!("{colour}{label:>12}{PLAIN} {rest}\n")
        } else {
            format!("{label:>12} {rest}\n")
        }
    }

    /// The line that says how a comparison with this Linux has ended.
    pub fn comparison(self, agree: usize, differences: &[String]) -> String {
        let colour = if differences.is_empty() { GREEN } else { RED };
        let rest = format!(
            "with this Linux: {agree} results agree, {} differ",
            differences.len()
        );
        let mut text = self.labelled(colour, "Compared", &rest);
        for difference in differences {
            let _ = writeln!(text, "    {difference}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(verdict: Verdict, output: &str) -> Finished {
        Finished {
            place: "nested".into(),
            name: "memory::a".into(),
            verdict,
            time: Duration::from_millis(5),
            output: output.into(),
        }
    }

    #[test]
    fn passing_test_is_one_line_as_nextest_writes_it() {
        let text = Style::default().test(&finished(Verdict::Passed, "said\n"));
        assert_eq!(text, "        PASS [   0.005s] nested memory::a\n");
    }

    #[test]
    fn failing_test_shows_what_it_wrote() {
        let text = Style::default().test(&finished(Verdict::Failed(101), "no\n"));
        assert_eq!(
            text,
            "        FAIL [   0.005s] nested memory::a\n    | no\n"
        );
    }

    #[test]
    fn loss_is_told() {
        let text = Style::default().test(&finished(Verdict::Lost("3 pages".into()), ""));
        assert!(
            text.contains("LOST") && text.ends_with("    lost 3 pages\n"),
            "{text}"
        );
    }

    #[test]
    fn quiet_says_nothing_of_what_passes() {
        let style = Style {
            quiet: true,
            ..Style::default()
        };
        assert_eq!(style.test(&finished(Verdict::Passed, "")), "");
    }

    #[test]
    fn summary_counts_and_repeats_failures() {
        let results = [
            finished(Verdict::Passed, ""),
            finished(Verdict::TimedOut, "long\n"),
            finished(Verdict::Skipped, ""),
        ];
        let text = Style::default().summary(&results, Duration::from_secs(3));
        assert_eq!(
            text,
            "------------\n     Summary [   3.000s] 1 passed, 1 failed, 1 skipped\n     \
             TIMEOUT [   0.005s] nested memory::a\n"
        );
    }
}
