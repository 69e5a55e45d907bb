//! Giving memory back to the host.

use std::ffi::{c_int, c_void};
use std::ptr;

use libc::{MADV_DONTNEED, PF_W, PT_LOAD, dl_phdr_info};

/// Takes the program's code and constants out of this process's resident memory. They stay in the
/// host's page cache, as all of the program's file does, and what runs again comes from there: for
/// when what only starting needed has been done.
pub fn let_go() {
    // SAFETY: `leave` takes what it is called with as dl_iterate_phdr(3) says.
    unsafe { libc::dl_iterate_phdr(Some(leave), ptr::null_mut()) };
}

/// Leaves the pages of one loaded object: the program, which comes first.
unsafe extern "C" fn leave(info: *mut dl_phdr_info, _size: usize, _data: *mut c_void) -> c_int {
    // SAFETY: the caller's structure, and as many headers as it says.
    let (info, headers) = unsafe {
        let info = &*info;
        (
            info,
            std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()),
        )
    };
    for header in headers {
        if header.p_type != PT_LOAD || header.p_flags & PF_W != 0 {
            continue;
        }
        let start = (info.dlpi_addr + header.p_vaddr) as usize;
        let offset = start % 4096;
        let len = offset + header.p_memsz as usize;
        // SAFETY: a segment that is never written, private and of the program's file, so that dropping
        // its pages loses nothing. An advice that is refused changes nothing.
        unsafe { libc::madvise((start - offset) as *mut c_void, len, MADV_DONTNEED) };
    }
    1
}
