//! Files in memory: one page cache for read, write and mmap.

use crate::frame::child::{fork, isolated};
use crate::frame::descriptor::{Fd, pipe};
use crate::frame::fault::{BUS_ADRERR, Fault, SEGV_ACCERR, fault_of};
use crate::frame::gate::Gate;
use crate::frame::mapping::{Mapping, PAGE, RW};
use crate::frame::scratch::Scratch;
use libc::*;

tests!(
    shared_mapping_writes_are_read_from_the_file,
    writes_to_the_file_are_seen_in_a_shared_mapping,
    private_mapping_writes_stay_out_of_the_file,
    two_mappings_of_a_file_share_its_pages,
    mapping_at_an_offset_begins_there,
    bytes_behind_the_end_of_the_file_are_zero,
    writes_behind_the_end_do_not_lengthen_the_file,
    page_behind_the_end_of_the_file_is_sigbus,
    page_cut_off_by_truncate_is_sigbus,
    file_that_grows_can_be_reached_through_an_older_mapping,
    mapping_outlives_the_descriptor_and_the_name,
    msync_and_fsync_keep_what_was_mapped,
    shared_writable_mapping_of_a_read_only_file_is_eacces,
    private_writable_mapping_of_a_read_only_file_works,
    mapping_of_a_write_only_file_is_eacces,
    mprotect_cannot_give_what_the_descriptor_lacks,
    mapping_of_a_directory_or_pipe_is_enodev,
    mapping_of_dev_zero_is_zero_memory,
    memfd_is_memory_and_a_file,
    child_shares_a_shared_file_mapping,
    cut_page_faults_until_the_file_grows_again,
    cut_file_in_memory_faults_and_grows_again,
    copy_of_a_cut_page_is_gone,
    cut_page_is_gone_for_other_processes,
    madvise_dontneed_of_a_private_file_mapping_gives_the_file_again,
    read_into_a_mapping_of_the_same_file_works,
    execution_of_a_mapping_without_exec_faults,
);

/// A file of `pages` pages, page n filled with n + 1.
fn pages(scratch: &Scratch, pages: u8) -> Fd {
    let contents: Vec<u8> = (0..pages).flat_map(|page| [page + 1; PAGE]).collect();
    Fd::open(&scratch.file("pages", contents), O_RDWR)
}

fn map(fd: &Fd, len: usize, prot: i32, flags: i32) -> Mapping {
    Mapping::new(len, prot, flags, fd.0, 0).unwrap()
}

fn shared_mapping_writes_are_read_from_the_file() {
    let scratch = Scratch::new();
    let file = pages(&scratch, 2);
    let memory = map(&file, 2 * PAGE, RW, MAP_SHARED);
    memory.set(PAGE, 77);
    file.seek(PAGE as i64, SEEK_SET).unwrap();
    assert_eq!(file.read(2).unwrap(), [77, 2]);
}

fn writes_to_the_file_are_seen_in_a_shared_mapping() {
    let scratch = Scratch::new();
    let file = pages(&scratch, 1);
    let memory = map(&file, PAGE, PROT_READ, MAP_SHARED);
    assert_eq!(memory.get(1), 1);
    ok!(SYS_pwrite64, file.0, &[9u8], 1, 1);
    assert_eq!(memory.get(1), 9);
}

fn private_mapping_writes_stay_out_of_the_file() {
    let scratch = Scratch::new();
    let file = pages(&scratch, 1);
    let memory = map(&file, PAGE, RW, MAP_PRIVATE);
    memory.set(0, 77);
    assert_eq!((memory.get(0), file.read(1).unwrap()), (77, vec![1]));
}

fn two_mappings_of_a_file_share_its_pages() {
    let scratch = Scratch::new();
    let file = pages(&scratch, 1);
    let one = map(&file, PAGE, RW, MAP_SHARED);
    let other = map(&file, PAGE, RW, MAP_SHARED);
    one.set(5, 50);
    assert_eq!(other.get(5), 50);
    assert_ne!(one.at, other.at);
}

fn mapping_at_an_offset_begins_there() {
    let scratch = Scratch::new();
    let file = pages(&scratch, 3);
    let memory = Mapping::new(PAGE, PROT_READ, MAP_PRIVATE, file.0, 2 * PAGE).unwrap();
    assert_eq!(memory.get(0), 3);
}

fn bytes_behind_the_end_of_the_file_are_zero() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("short", "abc"), O_RDONLY);
    let memory = map(&file, PAGE, PROT_READ, MAP_SHARED);
    assert_eq!(memory.get(2), b'c');
    assert!((3..PAGE).all(|i| memory.get(i) == 0));
}

fn writes_behind_the_end_do_not_lengthen_the_file() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("short", "abc"), O_RDWR);
    let memory = map(&file, PAGE, RW, MAP_SHARED);
    memory.set(3, b'd');
    ok!(SYS_msync, memory.at, PAGE, MS_SYNC);
    assert_eq!(scratch.read("short"), b"abc");
}

fn page_behind_the_end_of_the_file_is_sigbus() {
    let scratch = Scratch::new();
    let file = pages(&scratch, 1);
    let memory = map(&file, 3 * PAGE, PROT_READ, MAP_SHARED);
    let expected = Fault {
        signal: SIGBUS,
        code: BUS_ADRERR,
        address: memory.at + PAGE + 3,
    };
    assert_eq!(fault_of(|| drop(memory.get(PAGE + 3))), expected);
}

fn page_cut_off_by_truncate_is_sigbus() {
    let scratch = Scratch::new();
    let file = pages(&scratch, 2);
    let memory = map(&file, 2 * PAGE, PROT_READ, MAP_SHARED);
    assert_eq!(memory.get(PAGE), 2);
    ok!(SYS_ftruncate, file.0, PAGE);
    assert_eq!(fault_of(|| drop(memory.get(PAGE))).signal, SIGBUS);
    assert_eq!(memory.get(0), 1);
}

fn file_that_grows_can_be_reached_through_an_older_mapping() {
    let scratch = Scratch::new();
    let file = pages(&scratch, 1);
    let memory = map(&file, 2 * PAGE, RW, MAP_SHARED);
    ok!(SYS_ftruncate, file.0, 2 * PAGE);
    assert_eq!(memory.get(PAGE), 0);
    memory.set(PAGE, 4);
    assert_eq!(scratch.read("pages")[PAGE], 4);
}

fn mapping_outlives_the_descriptor_and_the_name() {
    let scratch = Scratch::new();
    let file = pages(&scratch, 1);
    let memory = map(&file, PAGE, RW, MAP_SHARED);
    drop(file);
    ok!(SYS_unlink, scratch.c("pages").as_c_str());
    memory.set(1, 5);
    assert_eq!((memory.get(0), memory.get(1)), (1, 5));
}

fn msync_and_fsync_keep_what_was_mapped() {
    let scratch = Scratch::new();
    let file = pages(&scratch, 1);
    let memory = map(&file, PAGE, RW, MAP_SHARED);
    memory.set(0, 42);
    ok!(SYS_msync, memory.at, PAGE, MS_SYNC);
    ok!(SYS_fsync, file.0);
    drop(memory);
    assert_eq!(scratch.read("pages")[..2], [42, 1]);
}

fn shared_writable_mapping_of_a_read_only_file_is_eacces() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", "x"), O_RDONLY);
    fails!(EACCES, SYS_mmap, 0, PAGE, RW, MAP_SHARED, file.0, 0);
}

fn private_writable_mapping_of_a_read_only_file_works() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", "x"), O_RDONLY);
    let memory = map(&file, PAGE, RW, MAP_PRIVATE);
    memory.set(0, b'y');
    assert_eq!(scratch.read("f"), b"x");
}

fn mapping_of_a_write_only_file_is_eacces() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", "x"), O_WRONLY);
    fails!(EACCES, SYS_mmap, 0, PAGE, PROT_READ, MAP_SHARED, file.0, 0);
    fails!(EACCES, SYS_mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, file.0, 0);
}

fn mprotect_cannot_give_what_the_descriptor_lacks() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", "x"), O_RDONLY);
    let memory = map(&file, PAGE, PROT_READ, MAP_SHARED);
    fails!(EACCES, SYS_mprotect, memory.at, PAGE, RW);
}

fn mapping_of_a_directory_or_pipe_is_enodev() {
    let directory = Fd::open(c"/", O_RDONLY | O_DIRECTORY);
    let (reader, _writer) = pipe(0);
    fails!(
        ENODEV,
        SYS_mmap,
        0,
        PAGE,
        PROT_READ,
        MAP_PRIVATE,
        directory.0,
        0
    );
    fails!(
        ENODEV,
        SYS_mmap,
        0,
        PAGE,
        PROT_READ,
        MAP_PRIVATE,
        reader.0,
        0
    );
}

fn mapping_of_dev_zero_is_zero_memory() {
    let zero = Fd::open(c"/dev/zero", O_RDWR);
    let memory = map(&zero, PAGE, RW, MAP_PRIVATE);
    assert_eq!(memory.get(0), 0);
    memory.set(0, 1);
    assert_eq!(zero.read(1).unwrap(), [0]);
}

fn memfd_is_memory_and_a_file() {
    let file = Fd::new(ok!(SYS_memfd_create, c"memory", MFD_CLOEXEC));
    ok!(SYS_ftruncate, file.0, PAGE);
    let memory = map(&file, PAGE, RW, MAP_SHARED);
    file.write("hello").unwrap();
    assert_eq!(memory.get(4), b'o');
    memory.set(0, b'j');
    file.seek(0, SEEK_SET).unwrap();
    assert_eq!(file.read(5).unwrap(), b"jello");
}

fn child_shares_a_shared_file_mapping() {
    let scratch = Scratch::new();
    let file = pages(&scratch, 1);
    let memory = map(&file, PAGE, RW, MAP_SHARED);
    isolated(|| memory.set(8, 88));
    assert_eq!(memory.get(8), 88);
}

fn madvise_dontneed_of_a_private_file_mapping_gives_the_file_again() {
    let scratch = Scratch::new();
    let file = pages(&scratch, 1);
    let memory = map(&file, PAGE, RW, MAP_PRIVATE);
    memory.set(0, 77);
    ok!(SYS_madvise, memory.at, PAGE, MADV_DONTNEED);
    assert_eq!(memory.get(0), 1);
}

fn read_into_a_mapping_of_the_same_file_works() {
    let scratch = Scratch::new();
    let file = pages(&scratch, 2);
    let memory = map(&file, 2 * PAGE, RW, MAP_SHARED);
    assert_eq!(ok!(SYS_pread64, file.0, memory.at + PAGE, PAGE, 0), PAGE);
    assert_eq!(memory.get(2 * PAGE - 1), 1);
    assert_eq!(ok!(SYS_pwrite64, file.0, memory.at, PAGE, 100), PAGE);
    assert_eq!(memory.get(PAGE + 99), 1);
}

fn execution_of_a_mapping_without_exec_faults() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("code", [0xc3u8]), O_RDONLY);
    let data = map(&file, PAGE, PROT_READ, MAP_PRIVATE);
    assert_eq!(fault_of(|| data.run()), Fault::segv(SEGV_ACCERR, data.at));
    map(&file, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE).run();
}

/// Cut a file of two pages, which are mapped and in use, to one; let it grow again.
fn cut_and_grow(file: &Fd) {
    let memory = map(file, 2 * PAGE, RW, MAP_SHARED);
    memory.set(PAGE, 7);
    memory.set(0, 5);
    ok!(SYS_ftruncate, file.0, PAGE);
    let fault = fault_of(|| memory.set(PAGE, 1));
    assert_eq!((fault.signal, fault.code), (SIGBUS, BUS_ADRERR));
    assert_eq!(memory.get(0), 5);
    ok!(SYS_ftruncate, file.0, 2 * PAGE);
    assert_eq!(memory.get(PAGE), 0);
    memory.set(PAGE, 9);
    let mut byte = [0u8];
    assert_eq!(ok!(SYS_pread64, file.0, &mut byte, 1, PAGE), 1);
    assert_eq!(byte, [9]);
}

fn cut_page_faults_until_the_file_grows_again() {
    let scratch = Scratch::new();
    cut_and_grow(&pages(&scratch, 2));
}

fn cut_file_in_memory_faults_and_grows_again() {
    let file = Fd::new(ok!(SYS_memfd_create, c"memory", MFD_CLOEXEC));
    ok!(SYS_ftruncate, file.0, 2 * PAGE);
    cut_and_grow(&file);
}

fn copy_of_a_cut_page_is_gone() {
    let scratch = Scratch::new();
    let file = pages(&scratch, 2);
    let shared = map(&file, 2 * PAGE, PROT_READ, MAP_SHARED);
    let memory = map(&file, 2 * PAGE, RW, MAP_PRIVATE);
    memory.set(0, 44);
    memory.set(PAGE, 55);
    assert_ne!(shared.get(PAGE), 55);
    ok!(SYS_ftruncate, file.0, PAGE);
    assert_eq!(memory.get(0), 44);
    assert_eq!(fault_of(|| drop(memory.get(PAGE))).signal, SIGBUS);
}

fn cut_page_is_gone_for_other_processes() {
    let scratch = Scratch::new();
    let file = pages(&scratch, 2);
    let memory = map(&file, 2 * PAGE, RW, MAP_SHARED);
    let (ready, go) = (Gate::new(), Gate::new());
    let child = fork(|| {
        memory.set(PAGE, 1);
        ready.open();
        go.pass();
        memory.set(PAGE, 2);
    });
    ready.pass();
    ok!(SYS_ftruncate, file.0, PAGE);
    go.open();
    assert_eq!(child.wait().signal(), Some(SIGBUS));
}
