//! Several places at once: the tests are dealt out to workers, a guest each.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::catalogue::Test;
use super::course::Course;
use super::programs::Programs;
use super::result::Finished;
use super::run::Run;
use super::{HOST, Options};
use crate::mode::Mode;

/// A guest is not booted for fewer tests than this if there are more.
const LEAST: usize = 8;

/// Tests for one run of the runner.
#[derive(Debug, PartialEq, Eq)]
struct Share {
    /// The mode of the guest; None: the host.
    mode: Option<Mode>,
    names: Vec<String>,
}

/// Who does what, in the order in which it is begun.
fn deal(modes: &[Mode], oracle: bool, tests: &[Test], jobs: usize) -> VecDeque<Share> {
    let mut shares = VecDeque::new();
    let parts = jobs.min(tests.len().div_ceil(LEAST)).max(1);
    for mode in modes {
        for part in 0..parts {
            // One of each area to everybody: what takes long mostly stands together.
            let part = tests.iter().skip(part).step_by(parts);
            shares.push_back(Share {
                mode: Some(mode.clone()),
                names: part.map(|test| test.name.clone()).collect(),
            });
        }
    }
    if oracle {
        let wanted = tests.iter().filter(|test| !test.guest_only);
        shares.push_back(Share {
            mode: None,
            names: wanted.map(|test| test.name.clone()).collect(),
        });
    }
    shares
}

/// Run all tests in all places, and give each to `each` when it has ended.
///
/// # Errors
/// One line that says why tests could not be run; others have been, meanwhile.
pub fn run(
    options: &Options,
    programs: &Programs,
    tests: &[Test],
    each: &mut dyn FnMut(Finished),
) -> Result<(), String> {
    let shares = Mutex::new(deal(&options.modes, options.oracle, tests, options.jobs));
    let next = || {
        shares
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let (sender, finished) = mpsc::channel();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs.max(1))
            .map(|_| {
                let sender = sender.clone();
                scope.spawn(move || {
                    while let Some(share) = next() {
                        share.run(options, programs, &mut |test| drop(sender.send(test)))?;
                    }
                    Ok(())
                })
            })
            .collect();
        drop(sender);
        finished.iter().for_each(&mut *each);
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err("a fault in gnomon".into()))
        })
    })
}

impl Share {
    fn run(
        &self,
        options: &Options,
        programs: &Programs,
        each: &mut dyn FnMut(Finished),
    ) -> Result<(), String> {
        let start = |names: &[String]| match &self.mode {
            Some(mode) => Run::guest(&options.machine, programs, mode, names, options.limit),
            None => Run::host(programs, names, options.limit),
        };
        let place = self.mode.as_ref().map_or(HOST.into(), Mode::to_string);
        Course {
            place,
            start: &start,
            limit: Duration::from_secs(options.limit),
        }
        .run(&self.names, each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests(count: usize) -> Vec<Test> {
        (0..count)
            .map(|n| Test {
                name: format!("a::{n}"),
                guest_only: n == 0,
            })
            .collect()
    }

    fn modes() -> [Mode; 2] {
        ["nested", "shadow"].map(|name| name.parse().unwrap())
    }

    #[test]
    fn every_test_is_dealt_once_to_each_mode() {
        let shares = deal(&modes(), false, &tests(100), 3);
        assert_eq!(shares.len(), 6);
        for mode in modes() {
            let of_mode = shares
                .iter()
                .filter(|share| share.mode.as_ref() == Some(&mode));
            let mut names: Vec<_> = of_mode.flat_map(|share| share.names.clone()).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), 100);
        }
    }

    #[test]
    fn few_tests_share_a_guest() {
        assert_eq!(deal(&modes(), false, &tests(8), 4).len(), 2);
    }

    #[test]
    fn host_gets_what_is_not_for_the_guest_alone() {
        let shares = deal(&modes(), true, &tests(3), 1);
        let host = shares.back().unwrap();
        assert_eq!((&host.mode, host.names.len()), (&None, 2));
    }
}
