//! Anonymous memory: mmap, munmap, mprotect and what becomes of the bytes.

use crate::frame::child::isolated;
use crate::frame::fault::{Fault, SEGV_ACCERR, SEGV_MAPERR, fault_of};
use crate::frame::mapping::{Mapping, PAGE, RW, is_mapped};
use libc::*;

tests!(
    mmap_of_zero_length_is_einval,
    anonymous_memory_reads_as_zero,
    munmap_splits_a_mapping,
    write_to_read_only_memory_is_accerr,
    access_after_munmap_is_maperr,
    child_sees_a_copy_of_private_memory,
);

const ANONYMOUS: i32 = MAP_PRIVATE | MAP_ANONYMOUS;

fn mmap_of_zero_length_is_einval() {
    fails!(EINVAL, SYS_mmap, 0, 0, RW, ANONYMOUS, -1, 0);
}

fn anonymous_memory_reads_as_zero() {
    let memory = Mapping::anonymous(4);
    assert!((0..memory.len).all(|i| memory.get(i) == 0));
}

fn munmap_splits_a_mapping() {
    let memory = Mapping::anonymous(3);
    memory.set(0, 1);
    memory.set(2 * PAGE, 3);
    ok!(SYS_munmap, memory.at + PAGE, PAGE);
    assert!(!is_mapped(memory.at + PAGE));
    assert_eq!((memory.get(0), memory.get(2 * PAGE)), (1, 3));
}

fn write_to_read_only_memory_is_accerr() {
    let memory = Mapping::new(PAGE, PROT_READ, ANONYMOUS, -1, 0).unwrap();
    let address = memory.at + 5;
    let expected = Fault {
        signal: SIGSEGV,
        code: SEGV_ACCERR,
        address,
    };
    assert_eq!(fault_of(|| memory.set(5, 1)), expected);
}

fn access_after_munmap_is_maperr() {
    let memory = Mapping::anonymous(1);
    ok!(SYS_munmap, memory.at, PAGE);
    let expected = Fault {
        signal: SIGSEGV,
        code: SEGV_MAPERR,
        address: memory.at,
    };
    assert_eq!(fault_of(|| drop(memory.get(0))), expected);
}

fn child_sees_a_copy_of_private_memory() {
    let memory = Mapping::anonymous(1);
    memory.set(0, 1);
    isolated(|| {
        assert_eq!(memory.get(0), 1);
        memory.set(0, 2);
    });
    assert_eq!(memory.get(0), 1);
}
