//! The `gnomon` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    gnomon::logger::init();
    ExitCode::from(gnomon::cli::main(std::env::args_os()))
}
