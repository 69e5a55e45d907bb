//! Seals of files in memory: what they forbid, and when they can be set.

use crate::frame::call::Errno;
use crate::frame::descriptor::Fd;
use crate::frame::mapping::{Mapping, PAGE, RW};
use crate::frame::scratch::Scratch;
use libc::*;

tests!(
    file_that_allows_no_seals_has_the_last_one,
    sealed_size_stays,
    sealed_contents_stay,
    writable_mapping_forbids_the_write_seal,
    sealed_file_is_mapped_for_reading_only,
    last_seal_forbids_more,
    seals_need_a_writable_descriptor,
    ordinary_file_cannot_be_sealed,
);

/// A file of a page that can be sealed.
fn file() -> Fd {
    let flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    let file = Fd::new(ok!(SYS_memfd_create, c"sealed", flags));
    ok!(SYS_ftruncate, file.0, PAGE);
    file
}

fn seal(file: &Fd, seals: i32) -> Result<usize, Errno> {
    call!(SYS_fcntl, file.0, F_ADD_SEALS, seals)
}

fn file_that_allows_no_seals_has_the_last_one() {
    let file = Fd::new(ok!(SYS_memfd_create, c"plain", MFD_CLOEXEC));
    assert_eq!(ok!(SYS_fcntl, file.0, F_GET_SEALS), F_SEAL_SEAL as usize);
    assert_eq!(seal(&file, F_SEAL_GROW), Err(Errno(EPERM)));
}

fn sealed_size_stays() {
    let file = file();
    assert_eq!(seal(&file, F_SEAL_SHRINK), Ok(0));
    fails!(EPERM, SYS_ftruncate, file.0, 10);
    ok!(SYS_ftruncate, file.0, 2 * PAGE);
    assert_eq!(seal(&file, F_SEAL_GROW), Ok(0));
    fails!(EPERM, SYS_ftruncate, file.0, 3 * PAGE);
    fails!(EPERM, SYS_fallocate, file.0, 0, 0, 3 * PAGE);
    fails!(EPERM, SYS_pwrite64, file.0, c"x", 1, 2 * PAGE);
    assert_eq!(ok!(SYS_pwrite64, file.0, c"x", 1, 2 * PAGE - 1), 1);
    let both = (F_SEAL_SHRINK | F_SEAL_GROW) as usize;
    assert_eq!(ok!(SYS_fcntl, file.0, F_GET_SEALS), both);
}

fn sealed_contents_stay() {
    let file = file();
    file.write("before").unwrap();
    assert_eq!(seal(&file, F_SEAL_WRITE), Ok(0));
    fails!(EPERM, SYS_pwrite64, file.0, c"x", 1, 0);
    let mut bytes = [0u8; 6];
    assert_eq!(ok!(SYS_pread64, file.0, &mut bytes, 6, 0), 6);
    assert_eq!(&bytes, b"before");
}

fn writable_mapping_forbids_the_write_seal() {
    let file = file();
    let memory = Mapping::new(PAGE, RW, MAP_SHARED, file.0, 0).unwrap();
    assert_eq!(seal(&file, F_SEAL_WRITE), Err(Errno(EBUSY)));
    drop(memory);
    // A private one is no obstacle.
    let memory = Mapping::new(PAGE, RW, MAP_PRIVATE, file.0, 0).unwrap();
    assert_eq!(seal(&file, F_SEAL_WRITE), Ok(0));
    memory.set(0, 1);
}

fn sealed_file_is_mapped_for_reading_only() {
    let file = file();
    assert_eq!(seal(&file, F_SEAL_WRITE), Ok(0));
    fails!(EPERM, SYS_mmap, 0, PAGE, RW, MAP_SHARED, file.0, 0);
    let memory = Mapping::new(PAGE, PROT_READ, MAP_SHARED, file.0, 0).unwrap();
    fails!(EACCES, SYS_mprotect, memory.at, PAGE, RW);
}

fn last_seal_forbids_more() {
    let file = file();
    assert_eq!(seal(&file, F_SEAL_SEAL), Ok(0));
    assert_eq!(seal(&file, F_SEAL_GROW), Err(Errno(EPERM)));
    ok!(SYS_ftruncate, file.0, 0);
}

fn seals_need_a_writable_descriptor() {
    let file = file();
    let path = std::ffi::CString::new(format!("/proc/self/fd/{}", file.0)).unwrap();
    let reader = Fd::open(&path, O_RDONLY);
    assert_eq!(seal(&reader, F_SEAL_GROW), Err(Errno(EPERM)));
    assert_eq!(seal(&file, 1 << 20), Err(Errno(EINVAL)));
}

fn ordinary_file_cannot_be_sealed() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.c("f"), O_RDWR | O_CREAT);
    assert_eq!(seal(&file, F_SEAL_GROW), Err(Errno(EINVAL)));
    fails!(EINVAL, SYS_fcntl, file.0, F_GET_SEALS);
}
