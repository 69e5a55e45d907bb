//! The `gnomon` command: one file a subcommand.
//!
//! A run ends with the program's status; whatever goes wrong in gnomon itself is one line on
//! standard error and status [`FAILED`].

#[cfg(feature = "builtin")]
mod compare;
mod doctor;
mod run;
#[cfg(feature = "builtin")]
mod test;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::tell;

/// gnomon itself failed, or the guest died.
pub const FAILED: u8 = 125;

/// The guest ran past the time that it was given, as `timeout(1)` says it.
pub const TIMED_OUT: u8 = 124;

/// A virtual machine monitor on KVM with a choice of paging modes, and a small OS inside.
#[derive(Debug, Parser)]
#[command(name = "gnomon", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boot the guest and run a program in it; a shell when none is given
    Run(Box<run::Args>),
    /// Run the guest's tests, or a kernel of your own that reports as QEMU's test kernels do
    #[cfg(feature = "builtin")]
    Test(Box<test::Args>),
    /// Run the same workloads under each paging mode and show what each costs
    #[cfg(feature = "builtin")]
    Compare(compare::Args),
    /// Say what this host's KVM can do, and what that means for each paging mode
    Doctor(doctor::Args),
}

/// Run the command line `args`, the first of which is the program's name; the exit status.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let result = match Cli::try_parse_from(args) {
        Ok(cli) => run(cli.command),
        Err(error) => Ok(usage(&error)),
    };
    let result = result.and_then(|status| match tell::lost() {
        Some(what) => Err(what.to_owned()),
        None => Ok(status),
    });
    result.unwrap_or_else(|message| {
        tell::err(format_args!("gnomon: {message}\n"));
        FAILED
    })
}

fn run(command: Command) -> Result<u8, String> {
    match command {
        Command::Run(args) => run::run(*args),
        #[cfg(feature = "builtin")]
        Command::Test(args) => test::run(*args),
        #[cfg(feature = "builtin")]
        Command::Compare(args) => compare::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    }
}

/// The value of `--mem`.
fn mebibytes(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "give a whole number of MiB, such as 128".into())
}

/// Help goes to standard output; a mistake is said in one line.
fn usage(error: &clap::Error) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            tell::note(error.print());
            0
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            FAILED
        }
        _ => {
            let mistake = one_line(&error.to_string());
            tell::err(format_args!(
                "gnomon: {mistake}; see gnomon --help
"
            ));
            FAILED
        }
    }
}

/// What clap says in its first paragraph, on one line.
fn one_line(text: &str) -> String {
    let first = text.split("\n\n").next().unwrap_or(text);
    let words: Vec<_> = first.split_whitespace().collect();
    let line = words.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn mistake_is_one_line() {
        let error = Cli::try_parse_from(["gnomon", "run", "--cpus", "many"]).unwrap_err();
        let line = one_line(&error.to_string());
        assert!(line.starts_with("invalid value 'many' for '--cpus <N>'"));
        assert!(!line.contains('\n'));
    }

    #[test]
    fn program_takes_what_follows() {
        let cli = Cli::try_parse_from(["gnomon", "run", "--", "sh", "-c", "--mem"]).unwrap();
        let Command::Run(args) = cli.command else {
            panic!("not run");
        };
        assert_eq!(args.program, ["sh", "-c", "--mem"]);
    }
}
