//! `gnomon test`: the guest's tests, in the guest and on this Linux.
//!
//! ```text
//!  /bin/guest-tests --list ──► names, filtered
//!                                │
//!         ┌──────────────── shares: for each mode, several at once ────────┐
//!         ▼                                                                ▼
//!  gnomon run -- test-runner … /dev/hvc2 /bin/guest-tests          on the host: the same runner
//!         │ a console of its own: lines of gnomon_abi::test_report         │ a pipe
//!         ▼                                                                ▼
//!      course: begin … end; a place that dies or hangs at a test is started anew for the rest
//!         ▼
//!      show (a line a test) │ junit │ oracle (guest against host)
//! ```
//!
//! A guest is a whole run of this very program, so that whatever becomes of it touches no other.

mod catalogue;
mod course;
mod junit;
mod oracle;
mod programs;
mod progress;
mod result;
mod run;
mod shares;
mod show;

use std::path::{Path, PathBuf};
use std::time::Instant;

pub use catalogue::Filter;
pub use run::Machine;
pub use show::Style;

use crate::mode::Mode;
use crate::tell;
use programs::Programs;
use result::{Counts, Finished};

/// The name of the host among the places.
pub const HOST: &str = "host";

/// What the user wants.
#[derive(Debug)]
pub struct Options {
    /// Which tests.
    pub filter: Filter,
    /// A program that holds other tests than the guest's own.
    pub program: Option<PathBuf>,
    /// In which modes.
    pub modes: Vec<Mode>,
    /// On this Linux, too.
    pub oracle: bool,
    /// How long a test may take, in seconds.
    pub limit: u64,
    /// How many guests run at once.
    pub jobs: usize,
    /// How guests are started.
    pub machine: Machine,
    /// How results are shown.
    pub style: Style,
    /// Where they are written as JUnit's XML.
    pub junit: Option<PathBuf>,
}

/// Print the names of the tests that `filter` wants, of those in the guest's program or in `own`.
///
/// # Errors
/// One line that says what is wrong.
pub fn list(filter: &Filter, own: Option<&Path>) -> Result<(), String> {
    for test in filter.select(catalogue::all(&Programs::new(own)?)?)? {
        tell::out(format_args!("{}\n", test.name));
    }
    Ok(())
}

/// Run tests; whether all is well.
///
/// # Errors
/// One line that says what keeps the tests from being run.
pub fn run(options: &Options) -> Result<bool, String> {
    let started = Instant::now();
    let programs = Programs::new(options.program.as_deref())?;
    let tests = options.filter.select(catalogue::all(&programs)?)?;
    let mut places: Vec<_> = options.modes.iter().map(Mode::to_string).collect();
    places.extend(options.oracle.then(|| HOST.to_owned()));
    let style = options.style;
    tell::out(format_args!("{}", style.heading(tests.len(), &places)));

    let mut results = Vec::new();
    let mut each = |finished: Finished| {
        tell::out(format_args!("{}", style.test(&finished)));
        results.push(finished);
    };
    let outcome = shares::run(options, &programs, &tests, &mut each);
    let time = started.elapsed();
    let place = |name: &str| places.iter().position(|place| place == name);
    let number = |name: &str| tests.iter().position(|test| test.name == name);
    results.sort_by_key(|test| (place(&test.place), number(&test.name)));
    if let Some(path) = &options.junit {
        std::fs::write(path, junit::document(&results, time))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    outcome?;
    tell::out(format_args!("{}", style.summary(&results, time)));
    if options.oracle {
        let found = oracle::compare(&results);
        let text = style.comparison(found.agree, &found.differences);
        tell::out(format_args!("{text}"));
    }
    Ok(Counts::of(&results).failed == 0)
}
