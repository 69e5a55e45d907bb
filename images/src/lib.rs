//! The guest that is built into gnomon: its kernels and its root file system, and what puts other
//! files into such a file system.
//!
//! The build script compiles the guest (`guest/kernel`, `guest/nano` for the bare machine,
//! `guest/user`, `guest/bench` as static programs) and makes the root image with the ext2 crate
//! that the guest kernel itself uses.

mod add;
mod device;
mod error;
mod file;
mod lay;
mod resident;
mod take;
mod tree;

pub use add::{add_file, root_from_dir};
pub use device::ImageDevice;
pub use error::ImageError;
pub use file::FileDevice;
pub use lay::lay_kernel;
pub use resident::let_go;
pub use take::read_file;

/// Bytes at the start of a page, so that they can be mapped into a guest.
#[repr(C, align(4096))]
struct PageAligned<T: ?Sized>(T);

static KERNEL_BYTES: &PageAligned<[u8]> =
    &PageAligned(*include_bytes!(concat!(env!("OUT_DIR"), "/kernel.elf")));
static NANO_BYTES: &PageAligned<[u8]> =
    &PageAligned(*include_bytes!(concat!(env!("OUT_DIR"), "/nano.elf")));
static ROOT_BYTES: &PageAligned<[u8]> =
    &PageAligned(*include_bytes!(concat!(env!("OUT_DIR"), "/root.img")));

/// The guest kernel: an ELF with its symbol table filled in; page-aligned.
pub static KERNEL: &[u8] = &KERNEL_BYTES.0;

/// The sensitive instructions of [`KERNEL`] (`gnomon_shadow::patch`): where each lies in
/// guest-physical memory, and its length in bytes.
pub static KERNEL_SENSITIVE: &[(u64, u8)] = include!(concat!(env!("OUT_DIR"), "/sensitive.rs"));

/// The kernel of the nanobenchmarks: an ELF; page-aligned.
pub static NANO: &[u8] = &NANO_BYTES.0;

/// The root file system: gnomon's own userland.
pub static ROOT: RootImage = RootImage {
    bytes: &ROOT_BYTES.0,
    size: include!(concat!(env!("OUT_DIR"), "/root_size.rs")),
};

/// A file-system image of which only the beginning is kept.
#[derive(Clone, Copy, Debug)]
pub struct RootImage {
    /// The beginning; page-aligned. All that follows is zero.
    pub bytes: &'static [u8],
    /// Length of the whole image in bytes, a multiple of 4096.
    pub size: u64,
}

impl RootImage {
    /// A copy that can be changed, for [`add_file`].
    pub fn to_device(&self) -> ImageDevice {
        ImageDevice::new(self.bytes.to_vec(), self.size)
    }
}

#[cfg(test)]
mod tests;
