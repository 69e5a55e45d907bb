//! What the runner's report says so far.

use std::time::Duration;

use gnomon_abi::test_report::{Record, VERSION};

use super::result::{Finished, Verdict};

/// The report of one run of the runner, as it comes in.
pub struct Progress {
    place: String,
    running: Option<Running>,
}

/// The test that runs.
#[derive(Default)]
struct Running {
    name: String,
    output: Vec<u8>,
    losses: Vec<String>,
}

impl Progress {
    /// Nothing has been said yet in `place`.
    pub fn new(place: &str) -> Self {
        Self {
            place: place.into(),
            running: None,
        }
    }

    /// Take a line of the report; a test that it ends. What is no record is left aside.
    ///
    /// # Errors
    /// The runner speaks another version.
    pub fn line(&mut self, line: &str) -> Result<Option<Finished>, String> {
        match Record::parse(line) {
            Some(Record::Hello(version)) if version != VERSION => {
                return Err(format!(
                    "the guest's test runner reports in format {version}, this gnomon reads {VERSION}"
                ));
            }
            Some(Record::Begin(name)) => {
                self.running = Some(Running {
                    name: name.into(),
                    ..Running::default()
                });
            }
            Some(Record::Output(text)) => {
                if let Some(running) = &mut self.running {
                    running.output.extend(text.bytes());
                }
            }
            Some(Record::Lost { count, what }) => {
                if let Some(running) = &mut self.running {
                    running.losses.push(loss(count, what));
                }
            }
            Some(Record::End {
                name,
                outcome,
                nanoseconds,
            }) => {
                let running = self.running.take().unwrap_or_default();
                return Ok(Some(Finished {
                    place: self.place.clone(),
                    name: name.into(),
                    verdict: Verdict::new(outcome, &running.losses),
                    time: Duration::from_nanos(nanoseconds),
                    output: String::from_utf8_lossy(&running.output).into_owned(),
                }));
            }
            Some(Record::Hello(_) | Record::Done) | None => {}
        }
        Ok(None)
    }

    /// The place has come to an end with `verdict` for the test that runs, if one does.
    pub fn end(&mut self, verdict: Verdict, time: Duration) -> Option<Finished> {
        let running = self.running.take()?;
        Some(Finished {
            place: self.place.clone(),
            name: running.name,
            verdict,
            time,
            output: String::from_utf8_lossy(&running.output).into_owned(),
        })
    }
}

/// A loss in words.
fn loss(count: u64, what: &str) -> String {
    match (count, what.split_once('-')) {
        (1, Some(("objects", size))) => format!("1 object of {size} bytes"),
        (_, Some(("objects", size))) => format!("{count} objects of {size} bytes"),
        (1, _) if what == "processes" => "1 process".into(),
        (1, _) => format!("1 {}", what.strip_suffix('s').unwrap_or(what)),
        _ => format!("{count} {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(progress: &mut Progress, lines: &[&str]) -> Vec<Finished> {
        lines
            .iter()
            .filter_map(|line| progress.line(line).unwrap())
            .collect()
    }

    #[test]
    fn test_is_made_of_its_lines() {
        let mut progress = Progress::new("nested");
        let lines = [
            "gnomon-tests 1",
            "begin a::b",
            "output no\\x0a",
            "end a::b failed:101 5000000",
            "done",
        ];
        let ended = take(&mut progress, &lines);
        assert_eq!(ended[0].name, "a::b");
        assert_eq!(ended[0].place, "nested");
        assert_eq!(ended[0].verdict, Verdict::Failed(101));
        assert_eq!(ended[0].output, "no\n");
        assert_eq!(ended[0].time, Duration::from_millis(5));
    }

    #[test]
    fn losses_are_part_of_the_verdict() {
        let mut progress = Progress::new("nested");
        let ended = take(
            &mut progress,
            &["begin a::b", "lost 3 pages", "end a::b passed 1"],
        );
        assert_eq!(ended[0].verdict, Verdict::Lost("3 pages".into()));
    }

    #[test]
    fn losses_are_told_in_words() {
        assert_eq!(loss(1, "pages"), "1 page");
        assert_eq!(loss(2, "pages"), "2 pages");
        assert_eq!(loss(1, "processes"), "1 process");
        assert_eq!(loss(3, "objects-64"), "3 objects of 64 bytes");
    }

    #[test]
    fn test_that_begins_again_keeps_no_losses() {
        let mut progress = Progress::new("nested");
        let lines = ["begin a", "lost 3 pages", "begin a", "end a passed 1"];
        assert_eq!(take(&mut progress, &lines)[0].verdict, Verdict::Passed);
    }

    #[test]
    fn test_that_runs_at_the_end_is_named() {
        let mut progress = Progress::new("shadow");
        take(&mut progress, &["begin a::b", "output half"]);
        let ended = progress.end(Verdict::Hung, Duration::ZERO).unwrap();
        assert_eq!(
            (ended.name.as_str(), ended.output.as_str()),
            ("a::b", "half")
        );
        assert!(progress.end(Verdict::Hung, Duration::ZERO).is_none());
    }

    #[test]
    fn other_version_is_refused() {
        let error = Progress::new("nested").line("gnomon-tests 99").unwrap_err();
        assert!(error.contains("99"));
    }
}
