//! The programs that tests need, on the host and in the guest: they are ordinary programs.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use gnomon_images::{ROOT, read_file};

/// Where the guest has its tests.
const TESTS: &str = "/bin/guest-tests";

/// Where the guest has the program that runs them.
const RUNNER: &str = "/bin/gnomon-user";

/// Where the guest gets a program of the user's own.
const OWN: &str = "/bin/own-tests";

/// The program that holds the tests, and the one that runs them; what of it was made on the host
/// goes away with the value.
pub struct Programs {
    directory: PathBuf,
    own: Option<PathBuf>,
}

impl Programs {
    /// Take the programs out of the built-in root file system; the tests may be in `own` instead.
    ///
    /// # Errors
    /// The host's temporary directory cannot be written; there is no such program.
    pub fn new(own: Option<&Path>) -> Result<Self, String> {
        let own = own
            .map(|path| {
                let found = path.canonicalize();
                found.map_err(|error| format!("--program {}: {error}", path.display()))
            })
            .transpose()?;
        let path = std::env::temp_dir().join(format!("gnomon-test-{}", std::process::id()));
        let failed = |error: io::Error| format!("cannot write {}: {error}", path.display());
        DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .map_err(failed)?;
        let programs = Self {
            directory: path.clone(),
            own,
        };
        let mut wanted = vec![(RUNNER, programs.runner())];
        if programs.own.is_none() {
            wanted.push((TESTS, programs.tests()));
        }
        for (guest, host) in wanted {
            let bytes = read_file(&ROOT, guest).map_err(|error| error.to_string())?;
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o755);
            options
                .open(host)
                .and_then(|mut file| file.write_all(&bytes))
                .map_err(failed)?;
        }
        Ok(programs)
    }

    /// A directory for scratch files on the host.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// On the host: the program with the tests.
    pub fn tests(&self) -> PathBuf {
        let built_in = || self.directory.join("guest-tests");
        self.own.clone().unwrap_or_else(built_in)
    }

    /// On the host: the program with the runner, the applet `test-runner`.
    pub fn runner(&self) -> PathBuf {
        self.directory.join("gnomon-user")
    }

    /// In the guest: the program with the tests.
    pub fn tests_in_guest(&self) -> &'static str {
        if self.own.is_some() { OWN } else { TESTS }
    }

    /// The options of `gnomon run` that bring it there.
    pub fn options(&self) -> Vec<OsString> {
        let Some(own) = &self.own else {
            return Vec::new();
        };
        let mut spec = own.clone().into_os_string();
        spec.push(":");
        spec.push(OWN);
        vec!["--file".into(), spec]
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
