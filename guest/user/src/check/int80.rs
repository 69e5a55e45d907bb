//! The 32-bit calls of the classic hello world, from 64-bit code.

use crate::frame::child::{Exit, fork};
use crate::frame::descriptor::pipe;
use crate::frame::mapping::Mapping;
use crate::frame::scratch::Scratch;
use libc::*;
use std::arch::asm;

tests!(
    write_and_read_go_through,
    getpid_is_the_same,
    exit_ends_the_process,
    open_opens,
    bad_descriptor_is_ebadf,
    unknown_call_is_enosys,
);

const EXIT: usize = 1;
const READ: usize = 3;
const WRITE: usize = 4;
const OPEN: usize = 5;
const GETPID: usize = 20;

/// `int 0x80`; a negative result is an error.
fn call32(number: usize, a: usize, b: usize, c: usize) -> i32 {
    let result: usize;
    // SAFETY: pointers are given only to memory of the test's own; RBX is put back.
    unsafe {
        asm!(
            "xchg rbx, {a}",
            "int 0x80",
            "xchg rbx, {a}",
            a = inout(reg) a => _,
            inlateout("rax") number => result,
            in("rcx") b,
            in("rdx") c,
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    result as i32
}

/// A page that a 32-bit pointer reaches.
fn low_page() -> Mapping {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    let at = 0x1000_0000usize;
    let got = ok!(SYS_mmap, at, 4096, PROT_READ | PROT_WRITE, flags, -1, 0);
    Mapping { at: got, len: 4096 }
}

fn write_and_read_go_through() {
    let page = low_page();
    let (reader, writer) = pipe(0);
    for (n, byte) in b"hello".iter().enumerate() {
        page.set(n, *byte);
    }
    assert_eq!(call32(WRITE, writer.0 as usize, page.at, 5), 5);
    assert_eq!(call32(READ, reader.0 as usize, page.at + 100, 50), 5);
    assert_eq!((page.get(100), page.get(104)), (b'h', b'o'));
}

fn getpid_is_the_same() {
    assert_eq!(call32(GETPID, 0, 0, 0), std::process::id() as i32);
}

fn exit_ends_the_process() {
    let child = fork(|| _ = call32(EXIT, 7, 0, 0));
    assert_eq!(child.wait(), Exit::Code(7));
}

fn open_opens() {
    let scratch = Scratch::new();
    let path = scratch.file("f", "text");
    let page = low_page();
    for (n, byte) in path.as_bytes_with_nul().iter().enumerate() {
        page.set(n, *byte);
    }
    let fd = call32(OPEN, page.at, O_RDONLY as usize, 0);
    assert!(fd >= 0, "{fd}");
    assert_eq!(crate::frame::descriptor::Fd(fd).read(10).unwrap(), b"text");
}

fn bad_descriptor_is_ebadf() {
    assert_eq!(call32(READ, 999, 0, 1), -EBADF);
}

fn unknown_call_is_enosys() {
    assert_eq!(call32(5000, 0, 0, 0), -ENOSYS);
}
