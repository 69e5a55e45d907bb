//! Resource limits.

use crate::frame::call::Errno;
use crate::frame::child::{Exit, in_child, isolated, sleeper};
use crate::frame::mapping::{Mapping, PAGE, RW};
use crate::frame::program::output_of_role;
use crate::frame::report::{exit, need_root};
use crate::frame::scratch::Scratch;
use crate::frame::signals::{block, caught_signals, dispose, record};
use libc::*;

tests!(
    soft_limit_above_the_hard_one_is_einval,
    unknown_resource_is_einval,
    hard_limit_is_lowered_for_good,
    limits_are_inherited_and_survive_exec,
    prlimit_reads_and_sets_another_process,
    prlimit_of_a_stranger_is_eperm,
    descriptors_end_at_the_limit,
    write_beyond_the_file_size_limit_raises_sigxfsz,
    write_up_to_the_file_size_limit_is_cut_short,
    mapping_beyond_the_address_space_limit_is_enomem,
    heap_ends_at_the_data_limit,
    stack_beyond_its_limit_is_sigsegv,
    processes_of_a_user_end_at_the_limit,
    queued_signals_end_at_the_limit,
    locked_memory_ends_at_the_limit,
    no_memory_can_be_locked_with_a_limit_of_zero,
    memory_locked_as_it_comes_ends_at_the_limit,
);

type Limit = [u64; 2];

fn get(resource: u32) -> Limit {
    let mut limit = [0; 2];
    ok!(SYS_prlimit64, 0, resource, 0, &mut limit);
    limit
}

fn set(resource: u32, limit: Limit) -> Result<usize, Errno> {
    call!(SYS_prlimit64, 0, resource, &limit, 0)
}

const FILES: u32 = RLIMIT_NOFILE as u32;
const FILE_SIZE: u32 = RLIMIT_FSIZE as u32;
const ADDRESS_SPACE: u32 = RLIMIT_AS as u32;
const DATA: u32 = RLIMIT_DATA as u32;
const STACK: u32 = RLIMIT_STACK as u32;
const PROCESSES: u32 = RLIMIT_NPROC as u32;
const LOCKED: u32 = RLIMIT_MEMLOCK as u32;
const SIGNALS: u32 = RLIMIT_SIGPENDING as u32;

fn soft_limit_above_the_hard_one_is_einval() {
    isolated(|| {
        assert_eq!(set(FILES, [20, 10]), Err(Errno(EINVAL)));
        assert_eq!(set(FILES, [10, 10]), Ok(0));
        assert_eq!(get(FILES), [10, 10]);
    });
}

fn unknown_resource_is_einval() {
    let mut limit = [0u64; 2];
    fails!(EINVAL, SYS_getrlimit, 16, &mut limit);
    fails!(EINVAL, SYS_setrlimit, 16, &limit);
}

fn hard_limit_is_lowered_for_good() {
    need_root();
    isolated(|| {
        ok!(SYS_setresuid, 1234, 1234, 1234);
        assert_eq!(set(FILES, [100, 300]), Ok(0));
        assert_eq!(set(FILES, [300, 300]), Ok(0));
        assert_eq!(set(FILES, [100, 200]), Ok(0));
        assert_eq!(set(FILES, [100, 300]), Err(Errno(EPERM)));
        assert_eq!(set(FILES, [200, 200]), Ok(0));
    });
}

fn limits_are_inherited_and_survive_exec() {
    isolated(|| {
        assert_eq!(set(FILES, [77, 88]), Ok(0));
        isolated(|| assert_eq!(get(FILES), [77, 88]));
        assert_eq!(output_of_role("limits", &[], &[]), "77 88\n");
    });
}

fn prlimit_reads_and_sets_another_process() {
    let child = sleeper();
    let (new, mut old) = ([50u64, 60], [0u64; 2]);
    ok!(SYS_prlimit64, child.pid(), FILES, &new, &mut old);
    assert_eq!(old, get(FILES));
    ok!(SYS_prlimit64, child.pid(), FILES, 0, &mut old);
    assert_eq!(old, new);
    fails!(ESRCH, SYS_prlimit64, 0x7fff_fff0, FILES, 0, &mut old);
}

fn prlimit_of_a_stranger_is_eperm() {
    need_root();
    let parent = std::process::id();
    isolated(|| {
        ok!(SYS_setresuid, 1234, 1234, 1234);
        let mut old = [0u64; 2];
        fails!(EPERM, SYS_prlimit64, parent, FILES, 0, &mut old);
    });
}

fn descriptors_end_at_the_limit() {
    isolated(|| {
        assert_eq!(set(FILES, [8, 8]), Ok(0));
        let made = (0..20).take_while(|_| call!(SYS_dup, 0).is_ok()).count();
        assert!(made < 8);
        fails!(EMFILE, SYS_dup, 0);
        fails!(EBADF, SYS_dup2, 0, 8);
        fails!(EINVAL, SYS_fcntl, 0, F_DUPFD, 8);
    });
}

fn write_beyond_the_file_size_limit_raises_sigxfsz() {
    let scratch = Scratch::new();
    let path = scratch.file("file", "0123456789");
    let fd = ok!(SYS_open, path.as_c_str(), O_WRONLY);
    isolated(|| {
        record(SIGXFSZ, 0);
        assert_eq!(set(FILE_SIZE, [5, 5]), Ok(0));
        fails!(EFBIG, SYS_pwrite64, fd, b"x", 1, 5);
        fails!(EFBIG, SYS_ftruncate, fd, 11);
        // The limit is for files that grow.
        ok!(SYS_ftruncate, fd, 6);
        assert_eq!(caught_signals(), [SIGXFSZ, SIGXFSZ]);
        dispose(SIGXFSZ, SIG_DFL);
        ok!(SYS_pwrite64, fd, b"x", 1, 4);
    });
    let killed = in_child(|| {
        assert_eq!(set(FILE_SIZE, [5, 5]), Ok(0));
        let _ = call!(SYS_pwrite64, fd, b"x", 1, 5);
    });
    assert_eq!(killed.signal(), Some(SIGXFSZ));
}

fn write_up_to_the_file_size_limit_is_cut_short() {
    let scratch = Scratch::new();
    let path = scratch.file("file", "");
    let fd = ok!(SYS_open, path.as_c_str(), O_WRONLY);
    isolated(|| {
        assert_eq!(set(FILE_SIZE, [5, 5]), Ok(0));
        assert_eq!(ok!(SYS_write, fd, b"0123456789", 10), 5);
    });
    assert_eq!(scratch.read("file"), b"01234");
}

fn map(len: usize) -> Result<usize, Errno> {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS;
    call!(SYS_mmap, 0, len, PROT_READ | PROT_WRITE, flags, -1, 0)
}

fn mapping_beyond_the_address_space_limit_is_enomem() {
    isolated(|| {
        assert_eq!(set(ADDRESS_SPACE, [64 << 20; 2]), Ok(0));
        assert_eq!(map(64 << 20), Err(Errno(ENOMEM)));
        assert!(map(1 << 20).is_ok());
    });
}

fn heap_ends_at_the_data_limit() {
    isolated(|| {
        let end = ok!(SYS_brk, 0);
        assert_eq!(set(DATA, [1 << 20; 2]), Ok(0));
        assert_eq!(ok!(SYS_brk, end + (2 << 20)), end);
    });
}

#[inline(never)]
fn use_stack(pages: usize) -> u64 {
    let page = std::hint::black_box([1u8; 4096]);
    let below = if pages == 0 { 0 } else { use_stack(pages - 1) };
    below + u64::from(page[pages % 4096])
}

fn stack_beyond_its_limit_is_sigsegv() {
    let deep = || {
        assert_eq!(set(STACK, [1 << 20; 2]), Ok(0));
        std::hint::black_box(use_stack(512));
    };
    assert_eq!(in_child(deep).signal(), Some(SIGSEGV));
    isolated(|| {
        std::hint::black_box(use_stack(512));
    });
}

fn processes_of_a_user_end_at_the_limit() {
    need_root();
    isolated(|| {
        assert_eq!(set(PROCESSES, [3, 3]), Ok(0));
        // Root is not limited.
        assert_eq!(in_child(|| exit(0)), Exit::Code(0));
        ok!(SYS_setresuid, 43_210, 43_210, 43_210);
        let _children = [sleeper(), sleeper()];
        fails!(EAGAIN, SYS_fork);
    });
}

fn queued_signals_end_at_the_limit() {
    need_root();
    isolated(|| {
        // What is queued counts by user.
        ok!(SYS_setresuid, 43_211, 43_211, 43_211);
        block(&[SIGRTMIN(), SIGUSR1]);
        assert_eq!(set(SIGNALS, [4, 4]), Ok(0));
        let pid = std::process::id();
        let send = || {
            let mut info = [0u64; 16];
            // si_code SI_QUEUE.
            info[1] = 0xffff_ffff;
            call!(SYS_rt_sigqueueinfo, pid, SIGRTMIN(), &info)
        };
        let queued = (0..10).take_while(|_| send().is_ok()).count();
        assert!((1..=4).contains(&queued), "{queued}");
        assert_eq!(send(), Err(Errno(EAGAIN)));
        // A signal by kill is sent all the same.
        ok!(SYS_kill, pid, SIGUSR1);
    });
}

/// In a child that is not root and may lock so many pages.
fn with_lockable(pages: usize, body: impl FnOnce()) {
    isolated(|| {
        let bytes = (pages * PAGE) as u64;
        assert_eq!(set(LOCKED, [bytes, bytes]), Ok(0));
        if ok!(SYS_geteuid) == 0 {
            ok!(SYS_setresuid, 1234, 1234, 1234);
        }
        body();
    });
}

fn locked_memory_ends_at_the_limit() {
    const MAP_LOCKED: i32 = 0x2000;
    with_lockable(4, || {
        let memory = Mapping::anonymous(8);
        fails!(ENOMEM, SYS_mlock, memory.at, 5 * PAGE);
        ok!(SYS_mlock, memory.at, 4 * PAGE);
        // What is locked already does not count twice.
        ok!(SYS_mlock, memory.at, 4 * PAGE);
        fails!(ENOMEM, SYS_mlock, memory.at + 4 * PAGE, PAGE);
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED;
        assert_eq!(
            Mapping::new(PAGE, RW, flags, -1, 0).err(),
            Some(Errno(EAGAIN))
        );
        ok!(SYS_munlock, memory.at, PAGE);
        assert!(Mapping::new(PAGE, RW, flags, -1, 0).is_ok());
        fails!(ENOMEM, SYS_mlockall, MCL_CURRENT);
    });
}

fn no_memory_can_be_locked_with_a_limit_of_zero() {
    with_lockable(0, || {
        let memory = Mapping::anonymous(1);
        fails!(EPERM, SYS_mlock, memory.at, PAGE);
        fails!(EPERM, SYS_mlockall, MCL_CURRENT);
        ok!(SYS_munlock, memory.at, PAGE);
    });
}

fn memory_locked_as_it_comes_ends_at_the_limit() {
    with_lockable(4, || {
        ok!(SYS_mlockall, MCL_FUTURE);
        let flags = MAP_PRIVATE | MAP_ANONYMOUS;
        let memory = Mapping::new(4 * PAGE, RW, flags, -1, 0).unwrap();
        assert_eq!(
            Mapping::new(PAGE, RW, flags, -1, 0).err(),
            Some(Errno(EAGAIN))
        );
        drop(memory);
        assert!(Mapping::new(PAGE, RW, flags, -1, 0).is_ok());
        ok!(SYS_munlockall);
    });
}
