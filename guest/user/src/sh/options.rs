//! The options of `set`.

use super::Shell;
use crate::cli;

/// The options of `set`.
#[derive(Default)]
pub struct Options {
    /// `-a`: export what is assigned.
    pub allexport: bool,
    /// `-e`: end when a command fails.
    pub errexit: bool,
    /// `-f`: no pathname expansion.
    pub noglob: bool,
    /// `-n`: read commands but do not run them.
    pub noexec: bool,
    /// `-u`: unset parameters are errors.
    pub nounset: bool,
    /// `-v`: show commands as they are read.
    pub verbose: bool,
    /// `-x`: show commands as they are run.
    pub xtrace: bool,
    /// `-C`: `>` does not overwrite.
    pub noclobber: bool,
    /// `-m`: job control.
    pub monitor: bool,
}

/// Letters and long names of [`Options`].
pub const OPTIONS: &[(u8, &str)] = &[
    (b'a', "allexport"),
    (b'e', "errexit"),
    (b'f', "noglob"),
    (b'm', "monitor"),
    (b'n', "noexec"),
    (b'u', "nounset"),
    (b'v', "verbose"),
    (b'x', "xtrace"),
    (b'C', "noclobber"),
];

impl Options {
    /// The switch of that letter.
    pub fn switch(&mut self, letter: u8) -> Option<&mut bool> {
        Some(match letter {
            b'a' => &mut self.allexport,
            b'e' => &mut self.errexit,
            b'f' => &mut self.noglob,
            b'm' => &mut self.monitor,
            b'n' => &mut self.noexec,
            b'u' => &mut self.nounset,
            b'v' => &mut self.verbose,
            b'x' => &mut self.xtrace,
            b'C' => &mut self.noclobber,
            _ => return None,
        })
    }
}

impl Shell {
    /// `$-`.
    pub fn option_letters(&self) -> Vec<u8> {
        let o = &self.options;
        let states = [
            (o.allexport, b'a'),
            (o.errexit, b'e'),
            (o.noglob, b'f'),
            (self.interactive, b'i'),
            (o.monitor, b'm'),
            (o.nounset, b'u'),
            (o.verbose, b'v'),
            (o.xtrace, b'x'),
            (o.noclobber, b'C'),
        ];
        states
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, letter)| *letter)
            .collect()
    }

    /// `set -o NAME`; false if there is no such option, which has been said.
    pub fn set_long_option(&mut self, name: &[u8], on: bool) -> bool {
        let known = OPTIONS.iter().find(|(_, long)| long.as_bytes() == name);
        if let Some(&(letter, _)) = known
            && let Some(switch) = self.options.switch(letter)
        {
            *switch = on;
            return true;
        }
        self.error(format_args!("set: Illegal option -o {}", cli::show(name)));
        false
    }
}
