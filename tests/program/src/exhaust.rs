//! Programs that take all there is of something. Each ends by itself with status 0 once the
//! kernel has refused in the way that Linux documents, and prints the error's name.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::ptr;

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

/// Take all of `what`.
pub fn run(what: &str, args: &[&str]) -> ExitCode {
    let error = match (what, args) {
        ("processes", []) => processes(),
        ("memory", []) => memory(),
        ("memory-by-reads", []) => memory_by_reads(),
        ("memory-beside", [mebibytes]) => return memory_beside(mebibytes),
        ("memory-behind-a-lock", [path]) => return behind_a_lock(path),
        ("threads", []) => threads(),
        ("descriptors", []) => descriptors(),
        ("disk", [path]) => disk(path),
        _ => return ExitCode::from(2),
    };
    match error.raw_os_error() {
        Some(libc::ENOMEM) => println!("ENOMEM"),
        Some(libc::EAGAIN) => println!("EAGAIN"),
        Some(libc::EMFILE) => println!("EMFILE"),
        Some(libc::ENOSPC) => println!("ENOSPC"),
        _ => {
            println!("unexpected: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// A fork bomb: each process forks until it cannot, then waits. When this has gone on for a while
/// without room for more, all of them are killed.
fn processes() -> io::Error {
    let mut pipe = [0; 2];
    // SAFETY: plain system calls; the array has room for two descriptors.
    let leader = unsafe {
        libc::pipe(pipe.as_mut_ptr());
        libc::fork()
    };
    if leader == 0 {
        bomb(pipe[1]);
    }
    // SAFETY: closes a descriptor of this process that nobody else uses.
    unsafe { libc::close(pipe[1]) };
    let mut error = io::Error::last_os_error();
    for _ in 0..10 {
        let mut errno = 0i32;
        // SAFETY: the buffer is as long as is said.
        let read = unsafe { libc::read(pipe[0], ptr::from_mut(&mut errno).cast(), 4) };
        if read != 4 {
            break;
        }
        error = io::Error::from_raw_os_error(errno);
    }
    // SAFETY: plain system calls. The group is the leader's, made before it forked.
    unsafe {
        while libc::kill(-leader, libc::SIGKILL) == 0 {
            libc::waitpid(leader, ptr::null_mut(), libc::WNOHANG);
            libc::usleep(1000);
        }
    }
    error
}

fn bomb(tell: i32) -> ! {
    // SAFETY: plain system calls; the buffer is as long as is said.
    unsafe {
        libc::setpgid(0, 0);
        loop {
            if libc::fork() < 0 {
                let errno = *libc::__errno_location();
                libc::write(tell, ptr::from_ref(&errno).cast(), 4);
                loop {
                    libc::pause();
                }
            }
        }
    }
}

/// Fresh memory of `size` bytes, never given back.
fn fresh(size: usize) -> io::Result<&'static mut [u8]> {
    // SAFETY: a mapping of its own, that nobody else knows, of that size.
    unsafe {
        let mapped = libc::mmap(
            ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(std::slice::from_raw_parts_mut(mapped.cast(), size))
    }
}

/// Map and touch memory until there is no more.
fn memory() -> io::Error {
    loop {
        match fresh(MIB) {
            Ok(memory) => memory.fill(1),
            Err(error) => return error,
        }
    }
}

/// The same, but the kernel touches it, in system calls.
fn memory_by_reads() -> io::Error {
    let read_on = || -> io::Result<()> {
        let mut zeros = File::open("/dev/zero")?;
        loop {
            zeros.read_exact(fresh(MIB)?)?;
        }
    };
    read_on().expect_err("memory without end")
}

/// A child that has taken `size` bytes and some descriptors, and does `work` again and again.
fn holder(size: usize, descriptors: usize, work: impl Fn()) -> i32 {
    let mut pipe = [0; 2];
    // SAFETY: plain system calls; the array has room for two descriptors.
    let child = unsafe {
        libc::pipe(pipe.as_mut_ptr());
        libc::fork()
    };
    if child == 0 {
        if size > 0 {
            fresh(size).unwrap().fill(1);
        }
        let open = (0..descriptors).map(|_| File::open("/dev/null").unwrap());
        std::mem::forget(open.collect::<Vec<_>>());
        // SAFETY: the buffer is as long as is said.
        unsafe { libc::write(pipe[1], c"x".as_ptr().cast(), 1) };
        loop {
            work();
        }
    }
    let mut byte = 0u8;
    // SAFETY: closes a descriptor that nobody else in this process uses; the buffer is as long as is
    // said.
    unsafe {
        libc::close(pipe[1]);
        libc::read(pipe[0], ptr::from_mut(&mut byte).cast(), 1);
        libc::close(pipe[0]);
    }
    child
}

fn was_killed(child: i32) -> bool {
    let mut status = 0;
    // SAFETY: waits for a child of this process.
    unsafe { libc::waitpid(child, &mut status, 0) };
    libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL
}

/// Three children: one has a thousand descriptors, one memory, and the third more memory; that one reads
/// from a file again and again, and so does this process, into memory that it has still to get. All
/// use one description of the file, whose offset a read locks: whoever has most is killed first, the
/// next one waits for the lock meanwhile.
fn behind_a_lock(path: &str) -> ExitCode {
    use std::os::fd::AsRawFd;
    std::fs::write(path, [1; PAGE]).unwrap();
    let file = File::open(path).unwrap();
    let sleep = || {
        // SAFETY: sleeps until a signal comes.
        unsafe { libc::pause() };
    };
    let opener = holder(MIB, 1000, sleep);
    let sleeper = holder(2 * MIB, 0, sleep);
    let reader = holder(9 * MIB / 2, 0, || {
        let mut byte = 0u8;
        // SAFETY: the buffer is as long as is said.
        unsafe {
            libc::lseek(file.as_raw_fd(), 0, libc::SEEK_SET);
            libc::read(file.as_raw_fd(), ptr::from_mut(&mut byte).cast(), 1);
        }
    });
    let memory = fresh(5 * MIB).unwrap();
    let read = memory.chunks_exact_mut(PAGE).all(|page| {
        // SAFETY: the buffer is as long as is said. Others may have moved the offset meanwhile.
        unsafe {
            libc::lseek(file.as_raw_fd(), 0, libc::SEEK_SET);
            libc::read(file.as_raw_fd(), page.as_mut_ptr().cast(), PAGE) >= 0
        }
    });
    // SAFETY: signals to children of this process.
    let ended = unsafe {
        let other = libc::kill(sleeper, libc::SIGKILL) == 0;
        was_killed(sleeper) && other && was_killed(opener) && was_killed(reader)
    };
    println!("read: {read}, killed: {ended}");
    let _ = std::fs::remove_file(path);
    ExitCode::SUCCESS
}

/// A child takes `mebibytes` and sleeps; then a system call of this process needs half as much. Prints
/// what has become of both.
fn memory_beside(mebibytes: &str) -> ExitCode {
    let size = mebibytes.parse::<usize>().unwrap() * MIB;
    let child = holder(size, 0, || {
        // SAFETY: sleeps until a signal comes.
        unsafe { libc::pause() };
    });
    let memory = fresh(size / 2).unwrap();
    memory[0] = 1;
    let read = File::open("/dev/zero").and_then(|mut zeros| zeros.read(memory));
    let killed = was_killed(child);
    let whole = read.is_ok_and(|read| read == size / 2);
    println!("read: {whole}, child killed: {killed}");
    ExitCode::SUCCESS
}

/// Start threads that wait until there can be no more.
fn threads() -> io::Error {
    loop {
        let thread = std::thread::Builder::new()
            .stack_size(MIB / 8)
            .spawn(std::thread::park);
        if let Err(error) = thread {
            return error;
        }
    }
}

/// Open files until there can be no more.
fn descriptors() -> io::Error {
    let mut files = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => return error,
        }
    }
}

/// Write to `path` until the disk is full; remove it again.
fn disk(path: &str) -> io::Error {
    let result: io::Result<()> = File::create(path).and_then(|mut file| {
        let block = vec![0x5a; MIB];
        loop {
            file.write_all(&block)?;
        }
    });
    let _ = std::fs::remove_file(path);
    result.expect_err("a disk without end")
}
