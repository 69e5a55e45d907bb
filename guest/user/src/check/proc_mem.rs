//! `/proc/PID/mem`: the memory of a process as a file.

use crate::frame::child::{Exit, isolated, sleeper};
use crate::frame::descriptor::Fd;
use crate::frame::mapping::{Mapping, PAGE, RW};
use crate::frame::report::need_root;
use libc::*;
use std::ffi::CString;

tests!(
    own_memory_is_read_at_its_address,
    memory_of_a_child_is_read_and_written,
    memory_that_is_read_only_can_be_written,
    read_ends_before_what_is_not_mapped,
    what_is_not_mapped_is_eio,
    file_outlives_its_process_and_is_empty,
    memory_of_another_user_is_eacces,
);

fn open(pid: i32, flags: i32) -> Fd {
    let path = CString::new(format!("/proc/{pid}/mem")).unwrap();
    Fd::open(&path, flags)
}

fn read(file: &Fd, at: usize, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let got = ok!(SYS_pread64, file.0, &mut bytes[..], count, at);
    bytes.truncate(got);
    bytes
}

fn own_memory_is_read_at_its_address() {
    let memory = Mapping::anonymous(2);
    memory.set(PAGE - 1, 5);
    memory.set(PAGE, 6);
    let file = open(std::process::id() as i32, O_RDONLY);
    assert_eq!(read(&file, memory.at + PAGE - 1, 3), [5, 6, 0]);
    file.seek(memory.at as i64 + PAGE as i64, SEEK_SET).unwrap();
    assert_eq!(file.read(1).unwrap(), [6]);
    assert_eq!(file.read(1).unwrap(), [0]);
}

fn memory_of_a_child_is_read_and_written() {
    let memory = Mapping::anonymous(1);
    memory.set(0, 1);
    let child = sleeper();
    let file = open(child.pid(), O_RDWR);
    ok!(SYS_pwrite64, file.0, &[7u8, 8], 2, memory.at);
    assert_eq!(read(&file, memory.at, 3), [7, 8, 0]);
    assert_eq!(memory.get(0), 1, "the parent's copy");
}

fn memory_that_is_read_only_can_be_written() {
    let memory = Mapping::anonymous(1);
    memory.set(0, 1);
    memory.protect(PROT_READ).unwrap();
    let file = open(std::process::id() as i32, O_RDWR);
    ok!(SYS_pwrite64, file.0, &[9u8], 1, memory.at);
    assert_eq!(memory.get(0), 9);
}

fn read_ends_before_what_is_not_mapped() {
    let memory = Mapping::new(2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).unwrap();
    ok!(SYS_munmap, memory.at + PAGE, PAGE);
    let file = open(std::process::id() as i32, O_RDONLY);
    assert_eq!(read(&file, memory.at + PAGE - 10, 20).len(), 10);
}

fn what_is_not_mapped_is_eio() {
    let file = open(std::process::id() as i32, O_RDWR);
    let mut bytes = [0u8; 8];
    for at in [0, 8, 1 << 46, 0xffff_8000_0000_0000usize] {
        if at as isize >= 0 {
            fails!(EIO, SYS_pread64, file.0, &mut bytes, 8, at);
            fails!(EIO, SYS_pwrite64, file.0, &bytes, 8, at);
        }
    }
    file.seek(0, SEEK_SET).unwrap();
    fails!(EIO, SYS_read, file.0, &mut bytes, 8);
}

fn file_outlives_its_process_and_is_empty() {
    let memory = Mapping::anonymous(1);
    memory.set(0, 1);
    let child = sleeper();
    let file = open(child.pid(), O_RDONLY);
    child.kill(SIGKILL);
    assert_eq!(child.wait(), Exit::Signal(SIGKILL));
    assert_eq!(read(&file, memory.at, 1), []);
}

fn memory_of_another_user_is_eacces() {
    need_root();
    let child = sleeper();
    let path = CString::new(format!("/proc/{}/mem", child.pid())).unwrap();
    isolated(|| {
        ok!(SYS_setresgid, 1234, 1234, 1234);
        ok!(SYS_setresuid, 1234, 1234, 1234);
        fails!(EACCES, SYS_open, path.as_c_str(), O_RDONLY, 0);
    });
}
