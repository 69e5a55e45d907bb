//! Root file systems of guests, looked at with e2fsprogs from outside.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An ext2 image in a file.
#[derive(Clone, Debug)]
pub struct Image {
    path: PathBuf,
}

impl Image {
    /// A copy of the built-in root in the new file `path`.
    ///
    /// # Errors
    /// As the host tells.
    pub fn builtin(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(gnomon_images::ROOT.bytes)?;
        file.set_len(gnomon_images::ROOT.size)?;
        Ok(Self::at(path))
    }

    /// An image made by mke2fs in the new file `path`: blocks of `block` bytes, `mebibytes` long,
    /// with the contents of `dir`.
    ///
    /// # Errors
    /// mke2fs cannot be run, or fails.
    pub fn mke2fs(path: &Path, block: u32, mebibytes: u32, dir: &Path) -> io::Result<Self> {
        let mut command = Command::new("mke2fs");
        command
            .args(["-q", "-F", "-t", "ext2", "-b", &block.to_string(), "-d"])
            .args([dir, path])
            .arg(format!("{mebibytes}M"));
        success(command)?;
        Ok(Self::at(path))
    }

    /// The image that is in the file `path`.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `e2fsck -fn` has against the file system; `None`: nothing.
    ///
    /// # Errors
    /// e2fsck cannot be run.
    pub fn faults(&self) -> io::Result<Option<String>> {
        let output = Command::new("e2fsck").arg("-fn").arg(&self.path).output()?;
        Ok((!output.status.success()).then(|| said(&output)))
    }

    /// Assert that `e2fsck -fn` finds nothing.
    ///
    /// # Panics
    /// It finds something.
    #[track_caller]
    pub fn assert_clean(&self) {
        match self.faults() {
            Ok(None) => {}
            Ok(Some(faults)) => panic!("{} is not clean:\n{faults}", self.path.display()),
            Err(error) => panic!("e2fsck: {error}; install Debian's package e2fsprogs"),
        }
    }

    /// Repair by `e2fsck -p`: its status (0: nothing to do, 1: repaired, more: it needs help), and
    /// what it said.
    ///
    /// # Errors
    /// e2fsck cannot be run.
    pub fn repair(&self) -> io::Result<(i32, String)> {
        let output = Command::new("e2fsck").arg("-p").arg(&self.path).output()?;
        Ok((output.status.code().unwrap_or(-1), said(&output)))
    }

    /// Copy the directory `from` of the file system to `to`, which is made.
    ///
    /// # Errors
    /// debugfs cannot be run, or fails.
    pub fn extract(&self, from: &str, to: &Path) -> io::Result<()> {
        fs::create_dir_all(to)?;
        self.debugfs(&format!("rdump {from} {}", to.display()))
    }

    /// The contents of the file `path`; nothing if it is missing.
    ///
    /// # Errors
    /// debugfs cannot be run.
    pub fn file(&self, path: &str) -> io::Result<Vec<u8>> {
        let target = self.path.with_extension("dumped");
        let _ = fs::remove_file(&target);
        self.debugfs(&format!("dump {path} {}", target.display()))?;
        Ok(fs::read(target).unwrap_or_default())
    }

    /// Carry out a request of debugfs for reading.
    fn debugfs(&self, request: &str) -> io::Result<()> {
        let mut command = Command::new("debugfs");
        command.args(["-R", request]).arg(&self.path);
        success(command)
    }

    /// Overwrite the image from byte `offset`.
    ///
    /// # Errors
    /// As the host tells.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let file = OpenOptions::new().write(true).open(&self.path)?;
        file.write_all_at(bytes, offset)
    }
}

/// Run `command`, which must succeed.
fn success(mut command: Command) -> io::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{name}: {}", said(&output))))
    }
}

/// All that a program has said.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
