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
use std::fs::OpenOptions;
use std::path::Path;

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

/// Whether files that are asked for can be written, which is to be said before the work and not after;
/// those that did not exist are empty then.
///
/// # Errors
/// One line that names the file.
fn writable<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<(), String> {
    for path in files {
        let file = OpenOptions::new().append(true).create(true).open(path);
        file.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
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
            tell::err(format_args!("gnomon: {mistake}; see gnomon --help\n"));
            FAILED
        }
    }
}

/// What clap says in its first paragraph, and the usage if it tells, on one line.
fn one_line(text: &str) -> String {
    let joined = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut paragraphs = text.split("\n\n");
    let first = joined(paragraphs.next().unwrap_or(text));
    let mistake = first.strip_prefix("error: ").unwrap_or(&first);
    match paragraphs.find_map(|paragraph| paragraph.strip_prefix("Usage: ")) {
        Some(usage) => format!("{mistake}; usage: {}", joined(usage)),
        None => mistake.to_owned(),
    }
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
        let error = Cli::try_parse_from(["gnomon", "run", "ls"]).unwrap_err();
        assert_eq!(
            one_line(&error.to_string()),
            "unexpected argument 'ls' found; usage: gnomon run [OPTIONS] [-- <PROGRAM>...]"
        );
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
