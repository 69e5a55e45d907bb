//! The `gnomon` command.

use std::process::ExitCode;

/// The C library's allocator asks the host for memory by the page, which takes a tenth of the time to
/// the guest's first instruction.
#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    gnomon::logger::init();
    ExitCode::from(gnomon::cli::main(std::env::args_os()))
}
