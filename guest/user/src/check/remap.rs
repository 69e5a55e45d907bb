//! mremap, brk and the stack.

use crate::frame::child::isolated;
use crate::frame::fault::{Fault, SEGV_ACCERR, SEGV_MAPERR, fault_of};
use crate::frame::mapping::{Mapping, PAGE, RW, is_mapped, peek, poke};
use libc::*;

tests!(
    mremap_keeps_the_bytes_when_it_grows,
    mremap_gives_zeroes_behind_the_old_end,
    mremap_that_shrinks_unmaps_the_tail,
    mremap_that_may_not_move_is_enomem_when_blocked,
    mremap_moves_to_a_fixed_address,
    mremap_of_bad_ranges_is_an_error,
    brk_grows_with_zeroes_and_shrinks,
    brk_beyond_reason_leaves_the_break,
    memory_below_the_break_is_gone_after_it_shrinks,
    stack_grows_when_it_is_touched,
    stack_stops_at_its_limit,
    msync_of_bad_ranges_is_an_error,
    null_pointer_is_maperr,
    program_text_is_read_only,
    first_page_cannot_be_mapped_by_ordinary_users,
);

fn mremap_keeps_the_bytes_when_it_grows() {
    let memory = Mapping::anonymous(2);
    memory.set(0, 1);
    memory.set(2 * PAGE - 1, 2);
    let at = ok!(SYS_mremap, memory.at, memory.len, 64 * PAGE, MREMAP_MAYMOVE);
    assert_eq!((peek(at), peek(at + 2 * PAGE - 1)), (1, 2));
}

fn mremap_gives_zeroes_behind_the_old_end() {
    let memory = Mapping::anonymous(1);
    memory.set(0, 1);
    let at = ok!(SYS_mremap, memory.at, PAGE, 3 * PAGE, MREMAP_MAYMOVE);
    assert!((PAGE..3 * PAGE).all(|i| peek(at + i) == 0));
    poke(at + 3 * PAGE - 1, 1);
}

fn mremap_that_shrinks_unmaps_the_tail() {
    let memory = Mapping::anonymous(3);
    assert_eq!(ok!(SYS_mremap, memory.at, memory.len, PAGE, 0), memory.at);
    assert!(is_mapped(memory.at) && !is_mapped(memory.at + PAGE));
}

fn mremap_that_may_not_move_is_enomem_when_blocked() {
    let memory = Mapping::anonymous(2);
    ok!(SYS_mprotect, memory.at + PAGE, PAGE, PROT_READ);
    fails!(ENOMEM, SYS_mremap, memory.at, PAGE, 2 * PAGE, 0);
}

fn mremap_moves_to_a_fixed_address() {
    let (from, to) = (Mapping::anonymous(1), Mapping::anonymous(1));
    from.set(7, 7);
    let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    assert_eq!(ok!(SYS_mremap, from.at, PAGE, PAGE, flags, to.at), to.at);
    assert_eq!(to.get(7), 7);
    assert!(!is_mapped(from.at));
}

fn mremap_of_bad_ranges_is_an_error() {
    let memory = Mapping::anonymous(2);
    let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    fails!(EINVAL, SYS_mremap, memory.at, PAGE, 0, MREMAP_MAYMOVE);
    fails!(
        EINVAL,
        SYS_mremap,
        memory.at + 1,
        PAGE,
        PAGE,
        MREMAP_MAYMOVE
    );
    fails!(
        EINVAL,
        SYS_mremap,
        memory.at,
        memory.len,
        memory.len,
        flags,
        memory.at + PAGE
    );
    ok!(SYS_munmap, memory.at, memory.len);
    fails!(
        EFAULT,
        SYS_mremap,
        memory.at,
        PAGE,
        2 * PAGE,
        MREMAP_MAYMOVE
    );
}

fn brk_grows_with_zeroes_and_shrinks() {
    isolated(|| {
        let start = ok!(SYS_brk, 0);
        let grown = ok!(SYS_brk, start + 4 * PAGE);
        let zero = (start..grown).all(|at| peek(at) == 0);
        poke(grown - 1, 1);
        let shrunk = ok!(SYS_brk, start);
        assert_eq!((grown, zero, shrunk), (start + 4 * PAGE, true, start));
    });
}

fn brk_beyond_reason_leaves_the_break() {
    isolated(|| {
        let start = ok!(SYS_brk, 0);
        let beyond = ok!(SYS_brk, 1usize << 47);
        let below = ok!(SYS_brk, 4096);
        assert_eq!((beyond, below), (start, start));
    });
}

fn memory_below_the_break_is_gone_after_it_shrinks() {
    let start = ok!(SYS_brk, 0).next_multiple_of(PAGE);
    let fault = fault_of(|| {
        call!(SYS_brk, start + PAGE).unwrap();
        poke(start, 1);
        call!(SYS_brk, start).unwrap();
        poke(start, 1);
    });
    assert_eq!(fault, Fault::segv(SEGV_MAPERR, start));
}

/// Uses so many frames of about half a page.
fn descend(frames: usize) -> usize {
    let frame = [frames as u8; PAGE / 2];
    let frame = std::hint::black_box(&frame);
    match frames {
        0 => 0,
        _ => descend(frames - 1) + usize::from(frame[0] == frames as u8),
    }
}

fn stack_grows_when_it_is_touched() {
    isolated(|| assert_eq!(descend(1000), 1000));
}

fn stack_stops_at_its_limit() {
    let fault = fault_of(|| {
        ok!(SYS_setrlimit, RLIMIT_STACK, &[512u64 << 10, 8 << 20]);
        descend(1_000_000);
    });
    assert_eq!((fault.signal, fault.code), (SIGSEGV, SEGV_MAPERR));
}

fn msync_of_bad_ranges_is_an_error() {
    let memory = Mapping::anonymous(1);
    ok!(SYS_msync, memory.at, PAGE, MS_SYNC);
    fails!(EINVAL, SYS_msync, memory.at + 1, PAGE, MS_SYNC);
    fails!(EINVAL, SYS_msync, memory.at, PAGE, MS_SYNC | MS_ASYNC);
    ok!(SYS_munmap, memory.at, PAGE);
    fails!(ENOMEM, SYS_msync, memory.at, PAGE, MS_SYNC);
}

fn null_pointer_is_maperr() {
    assert_eq!(fault_of(|| drop(peek(8))), Fault::segv(SEGV_MAPERR, 8));
}

fn program_text_is_read_only() {
    let at = program_text_is_read_only as *const () as usize;
    assert_eq!(fault_of(|| poke(at, 1)), Fault::segv(SEGV_ACCERR, at));
}

fn first_page_cannot_be_mapped_by_ordinary_users() {
    isolated(|| {
        if ok!(SYS_geteuid) == 0 {
            ok!(SYS_setuid, 65534);
        }
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
        fails!(EPERM, SYS_mmap, 0, PAGE, RW, flags, -1, 0);
    });
}
