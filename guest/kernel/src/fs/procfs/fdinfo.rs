//! `/proc/PID/fdinfo/N`: position, flags and file system of an open file.

use alloc::format;
use alloc::vec::Vec;

use crate::errno::{Errno, KResult};
use crate::fs::{OpenFlags, mount};
use crate::task::Process;

/// The text for a descriptor of `process`. ENOENT: it is not open.
pub fn text(process: &Process, fd: usize) -> KResult<Vec<u8>> {
    let (file, cloexec) = {
        let files = process.files.lock();
        let file = files.get(fd).map_err(|_| Errno::ENOENT)?;
        (file, files.cloexec(fd)?)
    };
    let mut flags = file.flags().0;
    if cloexec {
        flags |= OpenFlags::CLOEXEC.0;
    }
    let position = file.seek(0, 1).unwrap_or(0);
    let meta = file.inode().metadata();
    Ok(format!(
        "pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t{}\nino:\t{}\n",
        mount::id_of(meta.dev),
        meta.ino
    )
    .into_bytes())
}
