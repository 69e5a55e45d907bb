//! Pointers and lengths that no program should pass, and calls that do not exist.

use crate::frame::child::isolated;
use crate::frame::descriptor::{Fd, pipe, socket_pair};
use crate::frame::mapping::{Mapping, PAGE, poke};
use crate::frame::scratch::Scratch;
use libc::*;

tests!(
    unmapped_pointers_are_efault,
    kernel_pointers_are_efault,
    noncanonical_pointers_are_efault,
    pointers_just_below_the_end_of_user_memory_are_efault,
    read_only_memory_is_not_written_by_the_kernel,
    memory_without_access_is_not_read_by_the_kernel,
    read_into_a_mapping_that_ends_gives_what_fits_or_efault,
    write_from_a_mapping_that_ends_takes_what_is_there,
    string_that_runs_into_a_hole_is_efault,
    string_that_ends_at_the_end_of_a_mapping_is_read,
    length_that_wraps_is_efault,
    vectors_with_bad_parts_are_efault,
    pipe_keeps_bytes_that_could_not_be_delivered,
    descriptors_of_a_failed_pipe_are_closed,
    kernel_copies_into_untouched_memory,
    kernel_copies_into_shared_copy_on_write_memory,
    unknown_calls_are_enosys,
    descriptor_numbers_of_all_sizes_are_ebadf,
    interrupt_80_makes_calls,
    interrupt_80_checks_its_arguments,
);

/// Calls that read or write memory at `at`, all of which must be refused.
fn refused(at: usize) {
    let (reader, writer) = pipe(0);
    let (socket, _peer) = socket_pair(SOCK_STREAM);
    writer.write("something to read").unwrap();
    let scratch = Scratch::new();
    let path = scratch.file("f", "contents");
    let (file, path) = (Fd::open(&path, O_RDWR), path.as_c_str());
    fails!(EFAULT, SYS_read, reader.0, at, 8);
    fails!(EFAULT, SYS_write, writer.0, at, 8);
    fails!(EFAULT, SYS_read, file.0, at, 8);
    fails!(EFAULT, SYS_write, file.0, at, 8);
    fails!(EFAULT, SYS_pread64, file.0, at, 8, 0);
    fails!(EFAULT, SYS_readv, file.0, at, 1);
    fails!(EFAULT, SYS_open, at, O_RDONLY, 0);
    fails!(EFAULT, SYS_stat, at, 0);
    fails!(EFAULT, SYS_stat, path, at);
    fails!(EFAULT, SYS_fstat, file.0, at);
    fails!(EFAULT, SYS_statx, AT_FDCWD, path, 0, 0x7ff, at);
    fails!(EFAULT, SYS_access, at, 0);
    fails!(EFAULT, SYS_mkdir, at, 0);
    fails!(EFAULT, SYS_unlink, at);
    fails!(EFAULT, SYS_rename, path, at);
    fails!(EFAULT, SYS_symlink, at, path);
    fails!(EFAULT, SYS_chdir, at);
    fails!(EFAULT, SYS_getcwd, at, 100);
    fails!(EFAULT, SYS_pipe2, at, 0);
    fails!(EFAULT, SYS_poll, at, 1, 0);
    fails!(EFAULT, SYS_select, 10, at, 0, 0, 0);
    fails!(EFAULT, SYS_uname, at);
    fails!(EFAULT, SYS_sysinfo, at);
    fails!(EFAULT, SYS_times, at);
    fails!(EFAULT, SYS_getrusage, 0, at);
    fails!(EFAULT, SYS_getrlimit, RLIMIT_NOFILE, at);
    fails!(EFAULT, SYS_clock_gettime, CLOCK_MONOTONIC, at);
    fails!(EFAULT, SYS_gettimeofday, at, 0);
    fails!(EFAULT, SYS_nanosleep, at, 0);
    fails!(EFAULT, SYS_rt_sigaction, SIGUSR1, at, 0, 8);
    fails!(EFAULT, SYS_rt_sigprocmask, 0, at, 0, 8);
    fails!(EFAULT, SYS_rt_sigpending, at, 8);
    fails!(EFAULT, SYS_sigaltstack, at, 0);
    fails!(EFAULT, SYS_execve, at, 0, 0);
    fails!(EFAULT, SYS_futex, at & !3, FUTEX_WAIT, 0, 0);
    fails!(EFAULT, SYS_getrandom, at, 8, 0);
    fails!(EFAULT, SYS_sched_getaffinity, 0, 128, at);
    fails!(EFAULT, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, at);
    fails!(EFAULT, SYS_sendto, socket.0, at, 4, 0, 0, 0);
    fails!(EFAULT, SYS_sendmsg, socket.0, at, 0);
    fails!(EFAULT, SYS_recvmsg, socket.0, at, 0);
    fails!(EFAULT, SYS_bind, socket.0, at, 10);
    fails!(EFAULT, SYS_getdents64, Fd::open(c"/", O_RDONLY).0, at, 1000);
    fails!(EFAULT, SYS_statfs, c"/", at);
    fails!(EFAULT, SYS_prctl, PR_GET_NAME, at);
    fails!(EFAULT, SYS_prctl, PR_SET_NAME, at);
}

/// As [`refused`], where the address is in the program's half.
fn refused_there(at: usize) {
    isolated(|| refused(at));
}

fn unmapped_pointers_are_efault() {
    let memory = Mapping::anonymous(2);
    ok!(SYS_munmap, memory.at, memory.len);
    // Low addresses are never mapped; what was just unmapped may be taken by the next mapping.
    refused_there(16);
    refused_there(PAGE - 4);
}

fn kernel_pointers_are_efault() {
    for at in [
        0xffff_8880_0000_0000,
        0xffff_ffff_8100_0000,
        usize::MAX - 15,
    ] {
        refused_there(at);
    }
}

fn noncanonical_pointers_are_efault() {
    for at in [1 << 47, 0x1234_5678_9abc_def0, 1 << 63] {
        refused_there(at);
    }
}

fn pointers_just_below_the_end_of_user_memory_are_efault() {
    refused_there((1 << 47) - 4);
}

fn read_only_memory_is_not_written_by_the_kernel() {
    let memory = Mapping::anonymous(1);
    memory.protect(PROT_READ).unwrap();
    let zero = Fd::open(c"/dev/zero", O_RDONLY);
    fails!(EFAULT, SYS_read, zero.0, memory.at, 10);
    fails!(EFAULT, SYS_uname, memory.at);
    fails!(EFAULT, SYS_pipe2, memory.at, 0);
    let text = refused as *const () as usize;
    fails!(EFAULT, SYS_read, zero.0, text, 1);
}

fn memory_without_access_is_not_read_by_the_kernel() {
    let memory = Mapping::anonymous(1);
    memory.protect(PROT_NONE).unwrap();
    let (_reader, writer) = pipe(0);
    fails!(EFAULT, SYS_write, writer.0, memory.at, 10);
    fails!(EFAULT, SYS_open, memory.at, O_RDONLY, 0);
}

/// A page, and nothing behind it.
fn cliff() -> Mapping {
    let mut memory = Mapping::anonymous(2);
    memory.protect(PROT_READ | PROT_WRITE).unwrap();
    ok!(SYS_mprotect, memory.at + PAGE, PAGE, PROT_NONE);
    memory.len = 2 * PAGE;
    memory
}

fn read_into_a_mapping_that_ends_gives_what_fits_or_efault() {
    let memory = cliff();
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", [9u8; 100]), O_RDONLY);
    match call!(SYS_read, file.0, memory.at + PAGE - 10, 100) {
        Ok(count) => assert_eq!((count, memory.get(PAGE - 1)), (10, 9)),
        Err(error) => assert_eq!(error.0, EFAULT),
    }
}

fn write_from_a_mapping_that_ends_takes_what_is_there() {
    let memory = cliff();
    memory.set(PAGE - 1, 7);
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", ""), O_RDWR);
    match call!(SYS_write, file.0, memory.at + PAGE - 10, 100) {
        Ok(count) => {
            assert_eq!(count, 10);
            assert_eq!(scratch.read("f"), [0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        }
        Err(error) => assert_eq!((error.0, scratch.read("f").len()), (EFAULT, 0)),
    }
}

fn string_that_runs_into_a_hole_is_efault() {
    let memory = cliff();
    (0..8).for_each(|i| memory.set(PAGE - 8 + i, b'/'));
    fails!(EFAULT, SYS_open, memory.at + PAGE - 8, O_RDONLY, 0);
    fails!(EFAULT, SYS_chdir, memory.at + PAGE - 1);
}

fn string_that_ends_at_the_end_of_a_mapping_is_read() {
    let memory = cliff();
    memory.set(PAGE - 2, b'/');
    ok!(SYS_access, memory.at + PAGE - 2, F_OK);
}

fn length_that_wraps_is_efault() {
    let (reader, writer) = pipe(0);
    writer.write("bytes").unwrap();
    let memory = Mapping::anonymous(1);
    fails!(EFAULT, SYS_read, reader.0, memory.at, usize::MAX >> 1);
    fails!(EFAULT, SYS_read, reader.0, memory.at, usize::MAX);
    fails!(EFAULT, SYS_read, reader.0, usize::MAX - 2, 8);
    // A length alone is no error: what there is fits.
    assert_eq!(call!(SYS_read, reader.0, memory.at, 1 << 26), Ok(5));
}

fn vectors_with_bad_parts_are_efault() {
    let (reader, writer) = pipe(0);
    let parts = [c"abc".as_ptr() as usize, 3, 16, 3];
    let written = call!(SYS_writev, writer.0, &parts, 2);
    assert!(written == Ok(3) || written.is_err_and(|error| error.0 == EFAULT));
    fails!(EFAULT, SYS_writev, writer.0, &[16usize, 3], 1);
    fails!(EFAULT, SYS_readv, reader.0, 16, 1);
}

fn pipe_keeps_bytes_that_could_not_be_delivered() {
    let (reader, writer) = pipe(0);
    writer.write("kept").unwrap();
    fails!(EFAULT, SYS_read, reader.0, 16, 4);
    assert_eq!(reader.read(10).unwrap(), b"kept");
}

fn descriptors_of_a_failed_pipe_are_closed() {
    let before = Fd::open(c"/", O_RDONLY).0;
    fails!(EFAULT, SYS_pipe2, 16, 0);
    fails!(EFAULT, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, 16);
    assert_eq!(Fd::open(c"/", O_RDONLY).0, before);
}

fn kernel_copies_into_untouched_memory() {
    let memory = Mapping::anonymous(4);
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", [5u8; 3 * PAGE]), O_RDONLY);
    assert_eq!(ok!(SYS_read, file.0, memory.at + 100, 3 * PAGE), 3 * PAGE);
    assert_eq!(
        (memory.get(99), memory.get(100), memory.get(3 * PAGE + 99)),
        (0, 5, 5)
    );
}

fn kernel_copies_into_shared_copy_on_write_memory() {
    let memory = Mapping::anonymous(1);
    memory.set(0, 1);
    let zero = Fd::open(c"/dev/zero", O_RDONLY);
    isolated(|| {
        assert_eq!(ok!(SYS_read, zero.0, memory.at, 10), 10);
        assert_eq!(memory.get(0), 0);
    });
    assert_eq!(memory.get(0), 1);
}

fn unknown_calls_are_enosys() {
    for number in [500, 1000, 0x7fff_ffff, -1] {
        fails!(ENOSYS, number, 0, 0, 0);
    }
}

fn descriptor_numbers_of_all_sizes_are_ebadf() {
    for number in [-1, 1_000_000, i32::MAX, i32::MIN] {
        fails!(EBADF, SYS_read, number, 0, 0);
        fails!(EBADF, SYS_fstat, number, 0);
        fails!(EBADF, SYS_dup, number);
        fails!(EBADF, SYS_close, number);
    }
    // The number is the lower half of the register.
    let file = Fd::open(c"/", O_RDONLY);
    assert!(call!(SYS_fcntl, file.0 as usize | 7 << 32, F_GETFD).is_ok());
}

/// A 32-bit call by `int 0x80`; its arguments are in memory below 4 GiB.
fn interrupt(number: u32, first: usize, second: usize, third: usize) -> i32 {
    let result: u64;
    // SAFETY: the memory named is the test's; RBX is LLVM's and so is saved.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}", "int 0x80", "xchg rbx, {first}",
            first = inout(reg) first => _,
            inout("rax") u64::from(number) => result, in("rcx") second, in("rdx") third,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    result as i32
}

/// Memory below 4 GiB; skips the test where `int 0x80` is not a call.
fn low_memory() -> Mapping {
    let probe = crate::frame::child::in_child(|| {
        let expected = ok!(SYS_getpid) as i32;
        crate::frame::report::exit((interrupt(20, 0, 0, 0) != expected).into());
    });
    if probe != crate::frame::child::Exit::Code(0) {
        crate::frame::report::skip("int 0x80 is not available here");
    }
    let (at, flags) = (
        0x2000_0000,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
    );
    ok!(SYS_mmap, at, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    Mapping { at, len: PAGE }
}

fn interrupt_80_makes_calls() {
    let memory = low_memory();
    let scratch = Scratch::new();
    let (reader, writer) = pipe(0);
    b"hello"
        .iter()
        .enumerate()
        .for_each(|(i, byte)| memory.set(i, *byte));
    // write, read, exit
    assert_eq!(interrupt(4, writer.0 as usize, memory.at, 5), 5);
    assert_eq!(interrupt(3, reader.0 as usize, memory.at + 100, 5), 5);
    assert_eq!((memory.get(100), memory.get(104)), (b'h', b'o'));
    let end = crate::frame::child::in_child(|| drop(interrupt(1, 7, 0, 0)));
    assert_eq!(end, crate::frame::child::Exit::Code(7));
    // open
    let path = scratch.file("f", "x").into_bytes_with_nul();
    path.iter()
        .enumerate()
        .for_each(|(i, byte)| poke(memory.at + i, *byte));
    let file = Fd(interrupt(5, memory.at, O_RDONLY as usize, 0));
    assert_eq!(file.read(2).unwrap(), b"x");
}

fn interrupt_80_checks_its_arguments() {
    let memory = low_memory();
    let (_reader, writer) = pipe(0);
    assert_eq!(interrupt(4, writer.0 as usize, 16, 5), -EFAULT);
    assert_eq!(interrupt(4, 999, memory.at, 5), -EBADF);
    assert_eq!(interrupt(100_000, 0, 0, 0), -ENOSYS);
}
