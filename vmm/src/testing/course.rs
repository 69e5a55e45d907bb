//! All tests in one place, with as many starts as it takes.

use std::time::{Duration, Instant};

use super::progress::Progress;
use super::result::{Finished, Verdict};
use super::run::{Event, Run};

/// What the guest may need for a test beyond the test's own time: to boot, to count, to kill.
const GRACE: Duration = Duration::from_secs(15);

/// Lines of a dead guest's standard error that are kept.
const LAST_LINES: usize = 60;

/// A place where tests can be run, and how they are run there.
pub struct Course<'a> {
    /// Its name.
    pub place: String,
    /// Start to run the tests of these names.
    pub start: &'a dyn Fn(&[String]) -> Result<Run, String>,
    /// How long one test may take.
    pub limit: Duration,
}

impl Course<'_> {
    /// Run the tests `names`, and give each to `each` when it has ended. A test at which the place
    /// ends is given too, and the rest continue in a new start.
    ///
    /// # Errors
    /// The place ends although no test runs, and before one has.
    pub fn run(&self, names: &[String], each: &mut dyn FnMut(Finished)) -> Result<(), String> {
        let mut left = names.to_vec();
        while !left.is_empty() {
            let mut ended = Vec::new();
            let reason = self.run_until_end(&left, &mut |finished| {
                ended.push(finished.name.clone());
                each(finished);
            })?;
            if ended.is_empty() {
                return Err(format!("{}: no test has run: {reason}", self.place));
            }
            left.retain(|name| !ended.contains(name));
        }
        Ok(())
    }

    /// One start, up to the end of the place: why it has ended.
    fn run_until_end(
        &self,
        names: &[String],
        each: &mut dyn FnMut(Finished),
    ) -> Result<String, String> {
        let mut run = (self.start)(names)?;
        let mut progress = Progress::new(&self.place);
        let mut begun = Instant::now();
        let mut hung = false;
        loop {
            match run.next(self.limit + GRACE) {
                Event::Line(line) => {
                    let finished = progress.line(&line)?;
                    if let Some(mut finished) = finished {
                        // What the kernel had to say meanwhile explains a failure.
                        append(&mut finished.output, &run.take_errors());
                        each(finished);
                    } else {
                        begun = Instant::now();
                    }
                }
                Event::Silence => {
                    hung = true;
                    run.stop();
                    break;
                }
                Event::End => break,
            }
        }
        let (status, errors) = run.finish()?;
        let reason = reason(&errors, &status.to_string());
        let verdict = if hung {
            Verdict::Hung
        } else {
            Verdict::Died(reason.clone())
        };
        if let Some(mut finished) = progress.end(verdict, begun.elapsed()) {
            append(&mut finished.output, &errors);
            each(finished);
        }
        Ok(reason)
    }
}

/// Why a place has ended, from what it said last.
fn reason(errors: &[String], status: &str) -> String {
    errors
        .iter()
        .find_map(|line| line.strip_prefix("gnomon: "))
        .or(errors.last().map(String::as_str))
        .unwrap_or(status)
        .to_owned()
}

/// Add the last of `lines` to a test's output.
fn append(output: &mut String, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    if !output.is_empty() && !output.ends_with('\n') {
        output.push('\n');
    }
    for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
        output.push_str(line);
        output.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.into()).collect()
    }

    #[test]
    fn gnomons_own_words_are_the_reason() {
        let errors = lines(&[
            "kernel: oops",
            "gnomon: the guest kernel panicked",
            "  at rip 0",
        ]);
        assert_eq!(reason(&errors, "status"), "the guest kernel panicked");
    }

    #[test]
    fn silent_end_is_told_by_its_status() {
        assert_eq!(reason(&[], "exit status: 3"), "exit status: 3");
    }

    #[test]
    fn kernels_lines_follow_the_output() {
        let mut output = "left: 1".to_owned();
        append(&mut output, &lines(&["kernel: a", "kernel: b"]));
        assert_eq!(output, "left: 1\nkernel: a\nkernel: b\n");
    }
}
