//! Laying pages of the kernel's image over a guest's memory, so that nothing is copied at the start.

use std::io;
use std::ops::Range;

use crate::KERNEL;

/// Put the bytes `range` of [`KERNEL`] at `target` in place of what is there, as a private mapping:
/// a write copies the page that it goes to, and does not reach the image. False if this host's
/// kernel cannot (Linux before 5.13, mremap(2)); nothing has changed then.
///
/// # Errors
/// The host has no memory for the mapping. What is at `target` may then be read only.
///
/// # Panics
/// `range` is empty, does not lie in the image, or does not begin and end at a page's boundary.
///
/// # Safety
/// `target`, at a page's boundary, begins a private mapping of the caller's of at least that length,
/// which has no references to what it holds.
pub unsafe fn lay_kernel(range: Range<usize>, target: *mut u8) -> io::Result<bool> {
    assert!(range.start.is_multiple_of(4096) && range.end.is_multiple_of(4096));
    let pages = &KERNEL[range];
    assert!(!pages.is_empty());
    // SAFETY: the pages are constant data of the program's file, private and never written. The
    // flag keeps their mapping, which the file fills again when they are read, and makes a second
    // one in the place that the caller gives away.
    let laid = unsafe {
        libc::mremap(
            pages.as_ptr().cast_mut().cast(),
            pages.len(),
            pages.len(),
            libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP,
            target,
        )
    };
    if laid == libc::MAP_FAILED {
        return Ok(false);
    }
    // SAFETY: the mapping that has just been made.
    match unsafe { libc::mprotect(laid, pages.len(), libc::PROT_READ | libc::PROT_WRITE) } {
        0 => Ok(true),
        _ => Err(io::Error::last_os_error()),
    }
}
