//! Anonymous memory: mmap, munmap, mprotect, madvise, and what fork makes of it.

use crate::frame::child::{Exit, in_child, isolated};
use crate::frame::fault::{Fault, SEGV_ACCERR, SEGV_MAPERR, fault_of};
use crate::frame::mapping::{Mapping, PAGE, RW, is_mapped, is_resident};
use libc::*;

tests!(
    mmap_of_zero_length_is_einval,
    mmap_without_shared_or_private_is_einval,
    mmap_at_an_unaligned_offset_is_einval,
    mmap_of_a_bad_descriptor_is_ebadf,
    mmap_longer_than_the_address_space_is_enomem,
    mmap_with_a_length_that_wraps_is_enomem,
    mmap_at_a_kernel_address_is_enomem,
    mmap_fixed_at_an_unaligned_address_is_einval,
    mmap_takes_a_hint_that_is_free,
    mmap_fixed_replaces_what_was_there,
    mmap_fixed_noreplace_of_a_used_address_is_eexist,
    anonymous_memory_reads_as_zero,
    untouched_memory_is_not_resident,
    populated_memory_is_resident,
    munmap_splits_a_mapping,
    munmap_of_nothing_succeeds,
    munmap_of_bad_ranges_is_einval,
    mprotect_splits_a_mapping,
    mprotect_over_a_gap_is_enomem,
    mprotect_at_an_unaligned_address_is_einval,
    write_to_read_only_memory_is_accerr,
    read_of_memory_without_access_is_accerr,
    access_after_munmap_is_maperr,
    writable_memory_is_not_executable,
    memory_made_executable_runs,
    madvise_dontneed_gives_zeroes_again,
    madvise_of_bad_ranges_is_an_error,
    mincore_of_unmapped_memory_is_enomem,
    mlock_makes_memory_resident,
    address_space_limit_makes_mmap_fail,
    child_sees_a_copy_of_private_memory,
    parent_writes_are_not_seen_by_the_child,
    shared_memory_is_shared_with_the_child,
    dontfork_memory_is_missing_in_the_child,
    wipeonfork_memory_is_zero_in_the_child,
    zeroes_read_before_the_first_write_stay_private,
);

const ANONYMOUS: i32 = MAP_PRIVATE | MAP_ANONYMOUS;

fn mmap_of_zero_length_is_einval() {
    fails!(EINVAL, SYS_mmap, 0, 0, RW, ANONYMOUS, -1, 0);
}

fn mmap_without_shared_or_private_is_einval() {
    fails!(EINVAL, SYS_mmap, 0, PAGE, RW, MAP_ANONYMOUS, -1, 0);
}

fn mmap_at_an_unaligned_offset_is_einval() {
    fails!(EINVAL, SYS_mmap, 0, PAGE, RW, ANONYMOUS, -1, 1);
}

fn mmap_of_a_bad_descriptor_is_ebadf() {
    fails!(EBADF, SYS_mmap, 0, PAGE, RW, MAP_PRIVATE, 999, 0);
}

fn mmap_longer_than_the_address_space_is_enomem() {
    fails!(ENOMEM, SYS_mmap, 0, 1usize << 47, RW, ANONYMOUS, -1, 0);
}

fn mmap_with_a_length_that_wraps_is_enomem() {
    fails!(ENOMEM, SYS_mmap, 0, usize::MAX, RW, ANONYMOUS, -1, 0);
}

fn mmap_at_a_kernel_address_is_enomem() {
    let flags = ANONYMOUS | MAP_FIXED;
    fails!(ENOMEM, SYS_mmap, 1usize << 47, PAGE, RW, flags, -1, 0);
    fails!(ENOMEM, SYS_mmap, usize::MAX << 12, PAGE, RW, flags, -1, 0);
}

fn mmap_fixed_at_an_unaligned_address_is_einval() {
    let memory = Mapping::anonymous(2);
    fails!(
        EINVAL,
        SYS_mmap,
        memory.at + 1,
        PAGE,
        RW,
        ANONYMOUS | MAP_FIXED,
        -1,
        0
    );
}

fn mmap_takes_a_hint_that_is_free() {
    let memory = Mapping::anonymous(3);
    let hint = memory.at + PAGE;
    ok!(SYS_munmap, hint, PAGE);
    assert_eq!(ok!(SYS_mmap, hint, PAGE, RW, ANONYMOUS, -1, 0), hint);
}

fn mmap_fixed_replaces_what_was_there() {
    let memory = Mapping::anonymous(3);
    (0..3).for_each(|page| memory.set(page * PAGE, 7));
    let middle = memory.at + PAGE;
    assert_eq!(
        ok!(SYS_mmap, middle, PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0),
        middle
    );
    let bytes: Vec<u8> = (0..3).map(|page| memory.get(page * PAGE)).collect();
    assert_eq!(bytes, [7, 0, 7]);
}

fn mmap_fixed_noreplace_of_a_used_address_is_eexist() {
    let memory = Mapping::anonymous(1);
    let flags = ANONYMOUS | MAP_FIXED_NOREPLACE;
    fails!(EEXIST, SYS_mmap, memory.at, PAGE, RW, flags, -1, 0);
}

fn anonymous_memory_reads_as_zero() {
    let memory = Mapping::anonymous(4);
    assert!((0..memory.len).all(|i| memory.get(i) == 0));
}

fn untouched_memory_is_not_resident() {
    let memory = Mapping::anonymous(3);
    memory.set(PAGE, 1);
    let pages: Vec<bool> = (0..3)
        .map(|page| is_resident(memory.at + page * PAGE))
        .collect();
    assert_eq!(pages, [false, true, false]);
}

fn populated_memory_is_resident() {
    let memory = Mapping::new(3 * PAGE, RW, ANONYMOUS | MAP_POPULATE, -1, 0).unwrap();
    assert!((0..3).all(|page| is_resident(memory.at + page * PAGE)));
}

fn munmap_splits_a_mapping() {
    let memory = Mapping::anonymous(3);
    memory.set(0, 1);
    memory.set(2 * PAGE, 3);
    ok!(SYS_munmap, memory.at + PAGE, PAGE);
    assert!(!is_mapped(memory.at + PAGE));
    assert_eq!((memory.get(0), memory.get(2 * PAGE)), (1, 3));
}

fn munmap_of_nothing_succeeds() {
    let memory = Mapping::anonymous(1);
    ok!(SYS_munmap, memory.at, PAGE);
    ok!(SYS_munmap, memory.at, PAGE);
}

fn munmap_of_bad_ranges_is_einval() {
    let memory = Mapping::anonymous(1);
    fails!(EINVAL, SYS_munmap, memory.at + 1, PAGE);
    fails!(EINVAL, SYS_munmap, memory.at, 0);
    fails!(EINVAL, SYS_munmap, memory.at, 1usize << 47);
    fails!(EINVAL, SYS_munmap, memory.at, usize::MAX);
}

fn mprotect_splits_a_mapping() {
    let memory = Mapping::anonymous(3);
    memory.set(PAGE, 5);
    ok!(SYS_mprotect, memory.at + PAGE, PAGE, PROT_READ);
    memory.set(0, 1);
    memory.set(2 * PAGE, 1);
    assert_eq!(memory.get(PAGE), 5);
    assert_eq!(fault_of(|| memory.set(PAGE, 6)).code, SEGV_ACCERR);
    ok!(SYS_mprotect, memory.at, memory.len, RW);
    memory.set(PAGE, 6);
}

fn mprotect_over_a_gap_is_enomem() {
    let memory = Mapping::anonymous(3);
    ok!(SYS_munmap, memory.at + PAGE, PAGE);
    fails!(ENOMEM, SYS_mprotect, memory.at, memory.len, PROT_READ);
}

fn mprotect_at_an_unaligned_address_is_einval() {
    let memory = Mapping::anonymous(1);
    fails!(EINVAL, SYS_mprotect, memory.at + 1, PAGE, PROT_READ);
}

fn write_to_read_only_memory_is_accerr() {
    let memory = Mapping::new(PAGE, PROT_READ, ANONYMOUS, -1, 0).unwrap();
    let expected = Fault::segv(SEGV_ACCERR, memory.at + 5);
    assert_eq!(fault_of(|| memory.set(5, 1)), expected);
}

fn read_of_memory_without_access_is_accerr() {
    let memory = Mapping::new(PAGE, PROT_NONE, ANONYMOUS, -1, 0).unwrap();
    let expected = Fault::segv(SEGV_ACCERR, memory.at + 9);
    assert_eq!(fault_of(|| drop(memory.get(9))), expected);
}

fn access_after_munmap_is_maperr() {
    let memory = Mapping::anonymous(1);
    ok!(SYS_munmap, memory.at, PAGE);
    let expected = Fault::segv(SEGV_MAPERR, memory.at);
    assert_eq!(fault_of(|| drop(memory.get(0))), expected);
}

/// `ret`
const RETURN: u8 = 0xc3;

fn writable_memory_is_not_executable() {
    let memory = Mapping::anonymous(1);
    memory.set(0, RETURN);
    assert_eq!(
        fault_of(|| memory.run()),
        Fault::segv(SEGV_ACCERR, memory.at)
    );
}

fn memory_made_executable_runs() {
    let memory = Mapping::anonymous(1);
    memory.set(0, RETURN);
    memory.protect(PROT_READ | PROT_EXEC).unwrap();
    memory.run();
}

fn madvise_dontneed_gives_zeroes_again() {
    let memory = Mapping::anonymous(2);
    memory.set(0, 1);
    memory.set(PAGE, 2);
    ok!(SYS_madvise, memory.at, PAGE, MADV_DONTNEED);
    assert_eq!((memory.get(0), memory.get(PAGE)), (0, 2));
}

fn madvise_of_bad_ranges_is_an_error() {
    let memory = Mapping::anonymous(2);
    ok!(SYS_munmap, memory.at + PAGE, PAGE);
    fails!(ENOMEM, SYS_madvise, memory.at, memory.len, MADV_DONTNEED);
    fails!(EINVAL, SYS_madvise, memory.at + 1, PAGE, MADV_DONTNEED);
    fails!(EINVAL, SYS_madvise, memory.at, PAGE, 12345);
}

fn mincore_of_unmapped_memory_is_enomem() {
    let memory = Mapping::anonymous(1);
    let mut resident = [0u8; 1];
    fails!(EINVAL, SYS_mincore, memory.at + 1, PAGE, &mut resident);
    ok!(SYS_munmap, memory.at, PAGE);
    fails!(ENOMEM, SYS_mincore, memory.at, PAGE, &mut resident);
}

fn mlock_makes_memory_resident() {
    let memory = Mapping::anonymous(2);
    ok!(SYS_mlock, memory.at, memory.len);
    assert!(is_resident(memory.at) && is_resident(memory.at + PAGE));
    ok!(SYS_munlock, memory.at, memory.len);
    ok!(SYS_munmap, memory.at, memory.len);
    fails!(ENOMEM, SYS_mlock, memory.at, memory.len);
}

fn address_space_limit_makes_mmap_fail() {
    isolated(|| {
        let limit = [64u64 << 20; 2];
        ok!(SYS_setrlimit, RLIMIT_AS, &limit);
        fails!(ENOMEM, SYS_mmap, 0, 128 << 20, RW, ANONYMOUS, -1, 0);
        ok!(SYS_mmap, 0, PAGE, RW, ANONYMOUS, -1, 0);
    });
}

fn child_sees_a_copy_of_private_memory() {
    let memory = Mapping::anonymous(1);
    memory.set(0, 1);
    isolated(|| {
        assert_eq!(memory.get(0), 1);
        memory.set(0, 2);
        assert_eq!(memory.get(0), 2);
    });
    assert_eq!(memory.get(0), 1);
}

fn parent_writes_are_not_seen_by_the_child() {
    let memory = Mapping::anonymous(1);
    memory.set(0, 1);
    let gate = crate::frame::gate::Gate::new();
    let child = crate::frame::child::fork(|| {
        gate.pass();
        assert_eq!(memory.get(0), 1);
    });
    memory.set(0, 2);
    gate.open();
    assert_eq!(child.wait(), Exit::Code(0));
    assert_eq!(memory.get(0), 2);
}

fn shared_memory_is_shared_with_the_child() {
    let memory = Mapping::shared(2);
    memory.set(0, 1);
    isolated(|| {
        assert_eq!(memory.get(0), 1);
        memory.set(0, 2);
        memory.set(PAGE, 3);
    });
    assert_eq!((memory.get(0), memory.get(PAGE)), (2, 3));
}

fn dontfork_memory_is_missing_in_the_child() {
    let memory = Mapping::anonymous(1);
    memory.set(0, 1);
    ok!(SYS_madvise, memory.at, PAGE, MADV_DONTFORK);
    let end = in_child(|| drop(memory.get(0)));
    assert_eq!(end.signal(), Some(SIGSEGV));
    assert_eq!(memory.get(0), 1);
}

fn wipeonfork_memory_is_zero_in_the_child() {
    let memory = Mapping::anonymous(1);
    memory.set(0, 1);
    ok!(SYS_madvise, memory.at, PAGE, MADV_WIPEONFORK);
    isolated(|| assert_eq!(memory.get(0), 0));
    assert_eq!(memory.get(0), 1);
}

fn zeroes_read_before_the_first_write_stay_private() {
    let memory = Mapping::anonymous(2);
    assert_eq!((memory.get(0), memory.get(PAGE)), (0, 0));
    memory.set(0, 1);
    assert_eq!(memory.get(PAGE), 0);
}
