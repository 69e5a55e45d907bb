//! `gnomon doctor`: what this host's KVM can do, found out by trying.

use crate::host::Host;

/// Arguments of `gnomon doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Look, try, and tell.
pub fn run(_args: &Args) -> Result<u8, String> {
    let host = Host::open().map_err(|error| error.to_string())?;
    println!("module {}", host.module().name());
    Ok(0)
}
