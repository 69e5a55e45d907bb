//! The guest's programs as files of the host: they are ordinary programs.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use gnomon_images::{ROOT, read_file};

/// Where the guest has its tests.
pub const TESTS: &str = "/bin/guest-tests";

/// Where the guest has the program that runs them.
pub const RUNNER: &str = "/bin/gnomon-user";

/// A directory of the host with the guest's programs in it, which goes away with the value.
pub struct HostFiles(PathBuf);

impl HostFiles {
    /// Take the programs out of the built-in root file system.
    ///
    /// # Errors
    /// The host's temporary directory cannot be written.
    pub fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("gnomon-test-{}", std::process::id()));
        let failed = |error: io::Error| format!("cannot write {}: {error}", path.display());
        DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .map_err(failed)?;
        let files = Self(path.clone());
        for (guest, host) in [(TESTS, files.tests()), (RUNNER, files.runner())] {
            let bytes = read_file(&ROOT, guest).map_err(|error| error.to_string())?;
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o755);
            options
                .open(host)
                .and_then(|mut file| file.write_all(&bytes))
                .map_err(failed)?;
        }
        Ok(files)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// The program with the tests.
    pub fn tests(&self) -> PathBuf {
        self.0.join("guest-tests")
    }

    /// The program with the runner, the applet `test-runner`.
    pub fn runner(&self) -> PathBuf {
        self.0.join("gnomon-user")
    }
}

impl Drop for HostFiles {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
