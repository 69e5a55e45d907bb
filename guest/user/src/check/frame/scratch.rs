//! A directory for a test's files.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The directories that there are, and the process that made them.
static DIRECTORIES: Mutex<Vec<(u32, PathBuf)>> = Mutex::new(Vec::new());

/// An empty directory, removed with everything in it when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// One on the root file system, or where `TMPDIR` says.
    pub fn new() -> Self {
        let place = std::env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into());
        Self::within(Path::new(&place))
    }

    /// One in `place`.
    pub fn within(place: &Path) -> Self {
        let mut directories = DIRECTORIES.lock().unwrap();
        let pid = std::process::id();
        let path = place.join(format!("guest-tests-{pid}-{}", directories.len()));
        std::fs::create_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        directories.push((pid, path.clone()));
        Scratch(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of `name` in it, for a system call.
    pub fn c(&self, name: &str) -> CString {
        let path = self.0.join(name);
        CString::new(path.into_os_string().into_encoded_bytes()).unwrap()
    }

    /// Make the file `name` with these contents; returns its path.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> CString {
        std::fs::write(self.0.join(name), contents).unwrap();
        self.c(name)
    }

    /// The contents of the file `name`.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Remove what this process has left.
pub fn remove_all() {
    let left = DIRECTORIES
        .try_lock()
        .map(|mut list| std::mem::take(&mut *list));
    for (pid, path) in left.unwrap_or_default() {
        if pid == std::process::id() {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}
