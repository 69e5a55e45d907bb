//! Giving the pages of the images back to the host.

use crate::{KERNEL, NANO, ROOT};

/// Takes the images out of this process's resident memory. They stay in the host's page cache, as
/// all of the program's file does; what is read again comes from there.
pub fn let_go() {
    for image in [KERNEL, NANO, ROOT.bytes] {
        // SAFETY: the range is constant data of the program's file, private and never written, so
        // that dropping its pages loses nothing. An advice that is refused changes nothing.
        unsafe {
            libc::madvise(
                image.as_ptr().cast_mut().cast(),
                image.len(),
                libc::MADV_DONTNEED,
            )
        };
    }
}
