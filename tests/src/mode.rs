//! The paging modes under test.
//!
//! A test is written once, as a function of the mode, and [`in_every_mode!`](crate::in_every_mode)
//! makes a test of it for each mode. The variable `GNOMON_TEST_MMU` lists the modes to run, with
//! commas between; without it, all.

use std::fmt;

/// Which modes to run when nothing is said.
const DEFAULT: &str = "nested,shadow";

/// A paging mode of `gnomon run --mmu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The guest's page tables are the processor's, or KVM's business.
    Nested,
    /// gnomon's own shadow page tables.
    Shadow,
}

impl Mode {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nested => "nested",
            Self::Shadow => "shadow",
        }
    }

    /// Whether `GNOMON_TEST_MMU` lists this mode.
    pub fn is_listed(self) -> bool {
        let list = std::env::var("GNOMON_TEST_MMU").unwrap_or_else(|_| DEFAULT.into());
        list.split(',').any(|name| name.trim() == self.name())
    }

    /// Run the test `body` in this mode, if it is listed.
    pub fn run(self, body: fn(Self)) {
        if self.is_listed() {
            body(self);
        } else {
            eprintln!("skipped: GNOMON_TEST_MMU does not list {self}");
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Make a test of each named function for each paging mode: `name::nested`, `name::shadow`. The
/// functions take a [`Mode`].
#[macro_export]
macro_rules! in_every_mode {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[test]
            fn nested() {
                $crate::mode::Mode::Nested.run(super::$name);
            }

            #[test]
            fn shadow() {
                $crate::mode::Mode::Shadow.run(super::$name);
            }
        }
    )*};
}
