//! From a kernel image to a virtual machine that is ready to enter it.
//!
//! [`kernel`] reads and checks the ELF and copies it into guest memory, [`layout`] says where
//! everything lies below 1 MiB, [`tables`] writes it there.

pub mod kernel;
pub mod layout;
pub mod tables;

use thiserror::Error;

/// Why the guest cannot be started.
#[derive(Debug, Error)]
pub enum BootError {
    /// The kernel file cannot be read.
    #[error("--kernel {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the host says.
        source: std::io::Error,
    },
    /// The kernel is no ELF file for x86-64, or a broken one.
    #[error("the kernel {path} is not usable: {reason}")]
    Format {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel does not fit into the guest's memory.
    #[error(
        "the kernel {path} does not fit: it needs memory up to {end:#x}, the guest has {ram:#x}; give more with --mem"
    )]
    TooLarge {
        /// The file.
        path: String,
        /// End of its last segment.
        end: u64,
        /// End of the guest's memory below the devices.
        ram: u64,
    },
    /// A segment lies where gnomon's own boot data is.
    #[error(
        "the kernel {path} wants to be loaded at {start:#x}, below 1 MiB, where the boot data lies; link it higher"
    )]
    TooLow {
        /// The file.
        path: String,
        /// Where the segment begins.
        start: u64,
    },
    /// Command line, arguments or environment are too long.
    #[error("{what} takes {len} bytes, and {max} is the most")]
    TooLong {
        /// Which of them.
        what: &'static str,
        /// Its length.
        len: usize,
        /// The most that fits.
        max: usize,
    },
    /// Guest memory refuses what is written.
    #[error("the boot data cannot be written to guest memory: {0}")]
    Memory(#[from] vm_memory::GuestMemoryError),
}
