//! The test program (`tests/program`): ordinary Rust std on musl, that runs on the host as well.
//!
//! `GNOMON_TEST_PROGRAM` names it; without that it is built when it is first asked for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::gnomon::{TARGET, target_dir};

const PACKAGE: &str = "gnomon-test-program";

/// Where the program is in the guest.
pub const IN_GUEST: &str = "/bin/program";

/// Where the program is on the host.
///
/// # Panics
/// It cannot be built.
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("GNOMON_TEST_PROGRAM") {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--release", "--package", PACKAGE])
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "cannot build {PACKAGE}: `rustup target add {TARGET}` if the target is missing"
    );
    target_dir().join(TARGET).join("release").join(PACKAGE)
}
