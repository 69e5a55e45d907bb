//! A program with more memory than the machine may have. Each page holds numbers that follow from
//! the page's own number and a version, so that a page that is lost, old or another's is noticed.

use std::process::ExitCode;
use std::ptr;

const PAGE: usize = 4096;
const WORDS: usize = PAGE / 8;

/// Anonymous memory, private or shared.
struct Memory {
    start: *mut u64,
    pages: usize,
}

impl Memory {
    fn new(pages: usize, sharing: i32) -> Memory {
        // SAFETY: a mapping of its own, that nobody else knows.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                pages * PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                sharing | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(start, libc::MAP_FAILED, "mmap of {pages} pages");
        Memory {
            start: start.cast(),
            pages,
        }
    }

    fn write(&self, page: usize, version: u64) {
        let value = value(page, version);
        for word in [0, page % WORDS, WORDS - 1] {
            // SAFETY: a word of the mapping; other processes are told apart by the callers.
            unsafe { self.start.add(page * WORDS + word).write_volatile(value) };
        }
    }

    fn check(&self, page: usize, version: u64) {
        let value = value(page, version);
        for word in [0, page % WORDS, WORDS - 1] {
            // SAFETY: as above.
            let found = unsafe { self.start.add(page * WORDS + word).read_volatile() };
            assert_eq!(found, value, "page {page}, word {word}, version {version}");
        }
    }

    fn write_all(&self, version: u64) {
        (0..self.pages).for_each(|page| self.write(page, version));
    }

    fn check_all(&self, version: u64) {
        (0..self.pages).for_each(|page| self.check(page, version));
    }
}

fn value(page: usize, version: u64) -> u64 {
    (page as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ version << 56 ^ version
}

/// Runs `child` in a child process and gives its status.
fn in_child(child: impl FnOnce()) -> libc::pid_t {
    // SAFETY: there is one thread.
    match unsafe { libc::fork() } {
        0 => {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            // SAFETY: ends the child, which shares standard output's buffer with its parent.
            unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) }
        }
        pid => {
            assert!(pid > 0, "fork: {}", std::io::Error::last_os_error());
            pid
        }
    }
}

fn join(pid: libc::pid_t) {
    let mut status = 0;
    // SAFETY: the status is a local.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!((waited, status), (pid, 0), "child");
}

/// `swap WHAT MEBIBYTES [DEVICE]`
pub fn run(what: &str, mebibytes: &str, device: &[&str]) -> ExitCode {
    let Ok(mebibytes) = mebibytes.parse::<usize>() else {
        return ExitCode::from(2);
    };
    let pages = (mebibytes << 20) / PAGE;
    match (what, device) {
        ("alone", []) => alone(pages),
        ("forked", []) => forked(pages),
        ("shared", []) => shared(pages),
        ("working-set", []) => working_set(pages),
        ("off", [device]) => off(pages, device),
        ("file", [path]) => file(pages, path),
        _ => return ExitCode::from(2),
    }
    println!("{what}: {pages} pages are right");
    ExitCode::SUCCESS
}

/// Written in order; then an eighth read, and some of it written, in a scattered order; then all
/// read in order.
fn alone(pages: usize) {
    let memory = Memory::new(pages, libc::MAP_PRIVATE);
    memory.write_all(1);
    let mut version = vec![1; pages];
    for n in 0..pages / 8 {
        let page = n * 7919 % pages;
        memory.check(page, version[page]);
        if n % 3 == 0 {
            version[page] += 1;
            memory.write(page, version[page]);
        }
    }
    for (page, &version) in version.iter().enumerate() {
        memory.check(page, version);
    }
}

/// A child and its parent share pages until they write to them, in memory and in swap space.
fn forked(pages: usize) {
    let memory = Memory::new(pages, libc::MAP_PRIVATE);
    memory.write_all(1);
    let children = [2, 3].map(|version| {
        in_child(|| {
            for page in 0..pages {
                memory.check(page, 1);
                if page % 2 == 0 {
                    memory.write(page, version);
                }
            }
            for page in 0..pages {
                memory.check(page, if page % 2 == 0 { version } else { 1 });
            }
        })
    });
    memory.check_all(1);
    for page in (0..pages).step_by(3) {
        memory.write(page, 4);
    }
    children.into_iter().for_each(join);
    for page in 0..pages {
        memory.check(page, if page % 3 == 0 { 4 } else { 1 });
    }
}

/// A file that is written through a shared mapping, then read through another and by calls.
fn file(pages: usize, path: &str) {
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .expect("a file");
    file.set_len((pages * PAGE) as u64).expect("its length");
    let map = || {
        // SAFETY: a mapping of its own, of a file that nobody else changes.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                pages * PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        assert_ne!(start, libc::MAP_FAILED, "mmap of the file");
        Memory {
            start: start.cast(),
            pages,
        }
    };
    let memory = map();
    memory.write_all(1);
    memory.check_all(1);
    // SAFETY: the mapping is not used any more.
    unsafe { libc::munmap(memory.start.cast(), pages * PAGE) };
    map().check_all(1);
    let mut bytes = [0; PAGE];
    for page in 0..pages {
        (&file).read_exact(&mut bytes).expect("a page");
        let found = u64::from_ne_bytes(*bytes.first_chunk().expect("a word"));
        assert_eq!(found, value(page, 1), "page {page} as read");
    }
}

/// Swap space goes while its pages are needed.
fn off(pages: usize, device: &str) {
    let memory = Memory::new(pages, libc::MAP_PRIVATE);
    memory.write_all(1);
    let path = std::ffi::CString::new(device).expect("a path");
    let swapoff = || {
        // SAFETY: the path ends with a NUL.
        let status = unsafe { libc::swapoff(path.as_ptr()) };
        (status == 0)
            .then_some(())
            .ok_or_else(std::io::Error::last_os_error)
    };
    // Not all of it has room in memory.
    let error = swapoff().expect_err("swapoff without room");
    assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    memory.check_all(1);
    // SAFETY: the second half of the mapping, which is not used any more.
    unsafe { libc::munmap(memory.start.add(pages / 2 * WORDS).cast(), pages / 2 * PAGE) };
    swapoff().expect("swapoff with room");
    (0..pages / 2).for_each(|page| memory.check(page, 1));
}

/// Memory that is shared with a child, which changes it.
fn shared(pages: usize) {
    let memory = Memory::new(pages, libc::MAP_SHARED);
    memory.write_all(1);
    join(in_child(|| {
        memory.check_all(1);
        memory.write_all(2);
    }));
    memory.check_all(2);
}

/// Passes over the pages five times, in order.
fn working_set(pages: usize) {
    let memory = Memory::new(pages, libc::MAP_PRIVATE);
    memory.write_all(1);
    for _ in 0..4 {
        memory.check_all(1);
    }
}
