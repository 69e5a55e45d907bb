//! Which tests there are, and which are wanted.

use std::fmt::Display;
use std::process::Command;

use super::programs::Programs;

/// A test that the guest's program has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// `area::behaviour`.
    pub name: String,
    /// It cannot run on another Linux.
    pub guest_only: bool,
}

/// All tests of the program, which tells them itself: it is an ordinary program.
///
/// # Errors
/// The host cannot run it.
pub fn all(programs: &Programs) -> Result<Vec<Test>, String> {
    let program = programs.tests();
    let failed = |why: &dyn Display| format!("{} --list: {why}", program.display());
    let output = Command::new(&program)
        .arg("--list")
        .output()
        .map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&output.status));
    }
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// The list as the program writes it: one name a line, a tab and `guest` behind some.
fn parse(list: &str) -> Vec<Test> {
    list.lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, mark) = line.split_once('\t').unwrap_or((line, ""));
            Test {
                name: name.into(),
                guest_only: mark == "guest",
            }
        })
        .collect()
}

/// Which tests the user wants.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those whose names hold one of these; all if there is none.
    pub words: Vec<String>,
    /// Names must be equal instead.
    pub exact: bool,
    /// Not those whose names hold one of these.
    pub skip: Vec<String>,
}

impl Filter {
    /// Whether the test `name` is wanted.
    pub fn wants(&self, name: &str) -> bool {
        let matches = |word: &String| {
            if self.exact {
                name == word
            } else {
                name.contains(word)
            }
        };
        (self.words.is_empty() || self.words.iter().any(matches)) && !self.skip.iter().any(matches)
    }

    /// The wanted ones of `tests`.
    ///
    /// # Errors
    /// There are none.
    pub fn select(&self, tests: Vec<Test>) -> Result<Vec<Test>, String> {
        if tests.is_empty() {
            return Err(
                "the program names no tests: it must, a line each, when it is called with --list"
                    .into(),
            );
        }
        let wanted: Vec<_> = tests
            .into_iter()
            .filter(|test| self.wants(&test.name))
            .collect();
        if wanted.is_empty() {
            let words = self.words.join(" ");
            return Err(format!(
                "no test matches '{words}': gnomon test --list names them"
            ));
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(words: &[&str]) -> Filter {
        Filter {
            words: words.iter().map(|&word| word.into()).collect(),
            ..Filter::default()
        }
    }

    #[test]
    fn guest_only_tests_are_marked() {
        let tests = parse("memory::a\nproc::b\tguest\n");
        assert_eq!(tests[0].name, "memory::a");
        assert!(!tests[0].guest_only);
        assert_eq!(tests[1].name, "proc::b");
        assert!(tests[1].guest_only);
    }

    #[test]
    fn empty_filter_wants_all() {
        assert!(filter(&[]).wants("memory::a"));
    }

    #[test]
    fn any_word_within_the_name_will_do() {
        let filter = filter(&["pipe", "mem"]);
        assert!(filter.wants("memory::a") && filter.wants("file::named_pipe"));
        assert!(!filter.wants("signal::a"));
    }

    #[test]
    fn exact_filter_wants_the_whole_name() {
        let mut filter = filter(&["memory::a"]);
        filter.exact = true;
        assert!(filter.wants("memory::a"));
        assert!(!filter.wants("memory::ab"));
    }

    #[test]
    fn what_is_to_be_skipped_is_not_wanted() {
        let mut filter = filter(&["memory"]);
        filter.skip.push("slow".into());
        assert!(!filter.wants("memory::slow_one"));
    }

    #[test]
    fn filter_that_matches_nothing_is_told() {
        let error = filter(&["nothing"])
            .select(parse("memory::a\n"))
            .unwrap_err();
        assert!(error.contains("'nothing'") && error.contains("--list"));
    }
}
