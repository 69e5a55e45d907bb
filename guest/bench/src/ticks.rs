//! `bench --ticks`: what one operation takes by the processor's time stamp counter.
//!
//! On a machine whose counter counts instructions (QEMU with `-icount shift=0`) that is the number
//! of instructions from before the operation until after it: the kernel's, and the few of the
//! program itself. Each operation is done a few times without being counted, then [`SAMPLES`] times
//! with: the median is printed, less what reading the counter takes.

use std::arch::x86_64::_rdtsc;
use std::ffi::CStr;
use std::io::{self, Write};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::memory::{Access, Mapping};
use crate::process::{Child, new_pipe, receive, send, wait};
use crate::{Outcome, check};

/// Times that an operation is done without being counted.
const WARM_UP: usize = 50;
/// Times that it is counted: an odd number, so that there is one in the middle.
const SAMPLES: usize = 201;
/// The large size for pipes: what a pipe holds at most.
const LARGE: usize = 64 << 10;
/// Pages that are touched one after the other; a fault is a part of that.
const PAGES: usize = 256;
/// A file of so many pages, on the file system that is in memory.
const FILE: &CStr = c"/tmp/ticks.file";
/// A copy of this program there.
const PROGRAM: &CStr = c"/tmp/ticks.program";
/// The smallest program there is, see [`smallest_program`].
const SMALLEST: &CStr = c"/tmp/ticks.smallest";
/// The argument with which this program ends at once.
const END: &CStr = c"--end";

/// Ticks that one sample took, and operations in it.
type Sample = io::Result<(u64, u64)>;
/// An operation that is ready to be done.
type Ready = io::Result<Box<dyn FnMut() -> Sample>>;
/// Name, what is done, how to make it ready.
type Operation = (&'static str, &'static str, fn() -> Ready);

const OPERATIONS: [Operation; 22] = [
    ("getpid", "the way into the kernel and back", getpid),
    ("read-1", "1 byte read from a pipe", || pipe_read(1)),
    ("write-1", "1 byte written to a pipe", || pipe_write(1)),
    ("read-64k", "64 KiB read from a pipe", || pipe_read(LARGE)),
    ("write-64k", "64 KiB written to a pipe", || {
        pipe_write(LARGE)
    }),
    (
        "pipe",
        "a byte to another process and one back",
        pipe_round_trip,
    ),
    (
        "fault-zero",
        "first write to a page of anonymous memory",
        fault_zero,
    ),
    (
        "fault-file",
        "first read of a page of a mapped file",
        || fault_file(Access::Read),
    ),
    (
        "fault-copy",
        "first write to a page of a private mapping of a file",
        || fault_file(Access::Write),
    ),
    (
        "mmap",
        "mmap and munmap of 64 KiB of anonymous memory",
        map_unmap,
    ),
    (
        "mmap-touch",
        "the same with a write to one page",
        map_touch_unmap,
    ),
    ("fork", "fork, exit and wait", || process(None)),
    (
        "exec",
        "the same with an exec of the smallest program",
        || process(Some(SMALLEST)),
    ),
    ("exec-std", "the same with this program", || {
        process(Some(PROGRAM))
    }),
    ("signal", "a signal to oneself, caught", signal),
    ("futex-wake", "futex wake where nobody waits", futex_wake),
    (
        "futex-wait",
        "futex wait for a word that has changed",
        futex_wait,
    ),
    (
        "futex-turn",
        "waking another thread and waiting to be woken",
        futex_turn,
    ),
    ("thread", "a thread created, ended and joined", thread),
    ("open", "open and close of a file", open_close),
    ("stat", "stat of a file", stat),
    // Last, since it changes how this process is scheduled.
    ("switch", "sched_yield to another process", switch),
];

/// Count the operations with these names, or all.
pub fn run(names: &[String]) -> Outcome {
    if names
        .first()
        .is_some_and(|name| name.as_bytes() == END.to_bytes())
    {
        return Ok(());
    }
    prepare_files()?;
    let empty = median(&mut || timed(1, || Ok(())))?;
    for (name, _, ready) in OPERATIONS {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            let ticks = median(&mut *ready()?)? - empty;
            println!("{name:10}  {ticks:9.2}");
        }
    }
    Ok(())
}

/// The names of the operations and what they are.
pub fn usage() {
    for (name, what, _) in OPERATIONS {
        eprintln!("  {name:10} {what}");
    }
}

/// The ticks that `action` takes, which is so many operations.
#[inline(always)]
fn timed(operations: u64, mut action: impl FnMut() -> Outcome) -> Sample {
    // SAFETY: reads a counter.
    let start = unsafe { _rdtsc() };
    action()?;
    // SAFETY: as above.
    Ok((unsafe { _rdtsc() } - start, operations))
}

/// Ticks for one operation, in the middle of all samples.
fn median(sample: &mut dyn FnMut() -> Sample) -> io::Result<f64> {
    for _ in 0..WARM_UP {
        sample()?;
    }
    let mut samples = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        samples.push(sample()?);
    }
    samples.sort_unstable();
    let (ticks, operations) = samples[SAMPLES / 2];
    Ok(ticks as f64 / operations as f64)
}

fn prepare_files() -> Outcome {
    let name = |path: &CStr| path.to_str().map_err(io::Error::other).map(str::to_owned);
    std::fs::write(name(FILE)?, vec![1; PAGES * crate::memory::PAGE])?;
    std::fs::copy("/proc/self/exe", name(PROGRAM)?)?;
    let mut smallest = std::fs::File::create(name(SMALLEST)?)?;
    smallest.write_all(&smallest_program())?;
    // SAFETY: a path.
    check(unsafe { libc::chmod(SMALLEST.as_ptr(), 0o755) })?;
    Ok(())
}

/// An ELF file of one page whose program does nothing but `_exit(0)`: what its exec takes is the
/// kernel's alone.
fn smallest_program() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let code = [
        0x31,
        0xff, // xor edi, edi
        0xb8,
        libc::SYS_exit_group as u8,
        0,
        0,
        0, // mov eax, exit_group
        0x0f,
        0x05, // syscall
    ];
    let size = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let words = |file: &mut Vec<u8>, words: &[u64]| {
        words
            .iter()
            .for_each(|word| file.extend(word.to_le_bytes()));
    };
    // An executable for x86-64, version 1.
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    words(&mut file, &[BASE + HEADERS, 64, 0]);
    // No flags; sizes and numbers of headers: one for a program, none for sections.
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    // To load, readable and executable.
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    words(&mut file, &[0, BASE, BASE, size, size, 0x1000]);
    file.extend(code);
    file
}

fn getpid() -> Ready {
    Ok(Box::new(|| {
        timed(1, || {
            // SAFETY: takes nothing, touches nothing.
            unsafe { libc::getpid() };
            Ok(())
        })
    }))
}

/// A pipe, and what is written to it and read from it.
struct Pipe {
    ends: [i32; 2],
    bytes: Vec<u8>,
}

impl Pipe {
    fn new(len: usize) -> io::Result<Self> {
        let ends = new_pipe()?;
        let bytes = vec![1; len];
        Ok(Pipe { ends, bytes })
    }

    fn read(&mut self) -> Outcome {
        let bytes = &mut self.bytes;
        // SAFETY: room for so many bytes.
        let count = unsafe { libc::read(self.ends[0], bytes.as_mut_ptr().cast(), bytes.len()) };
        whole(count, bytes.len())
    }

    fn write(&mut self) -> Outcome {
        let bytes = &self.bytes;
        // SAFETY: so many bytes to read.
        let count = unsafe { libc::write(self.ends[1], bytes.as_ptr().cast(), bytes.len()) };
        whole(count, bytes.len())
    }
}

/// An error unless all bytes have been transferred.
fn whole(count: isize, len: usize) -> Outcome {
    match check(count as i64)? {
        count if count == len as i64 => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn pipe_read(len: usize) -> Ready {
    let mut pipe = Pipe::new(len)?;
    Ok(Box::new(move || {
        pipe.write()?;
        timed(1, || pipe.read())
    }))
}

fn pipe_write(len: usize) -> Ready {
    let mut pipe = Pipe::new(len)?;
    Ok(Box::new(move || {
        let sample = timed(1, || pipe.write());
        pipe.read()?;
        sample
    }))
}

fn pipe_round_trip() -> Ready {
    let [there_read, there_write] = new_pipe()?;
    let [back_read, back_write] = new_pipe()?;
    let child = Child::spawn(|| {
        loop {
            receive(there_read)?;
            send(back_write)?;
        }
    })?;
    Ok(Box::new(move || {
        let _other = &child;
        timed(1, || {
            send(there_write)?;
            receive(back_read)
        })
    }))
}

/// Ticks for the first access to each page of a new mapping.
fn faults(mapping: &Mapping, access: Access) -> Sample {
    timed(PAGES as u64, || {
        mapping.touch(access);
        Ok(())
    })
}

fn fault_zero() -> Ready {
    Ok(Box::new(|| faults(&Mapping::new(PAGES)?, Access::Write)))
}

fn fault_file(access: Access) -> Ready {
    // SAFETY: a path.
    let file = check(unsafe { libc::open(FILE.as_ptr(), libc::O_RDONLY) })? as i32;
    Ok(Box::new(move || {
        faults(&Mapping::of_file(file, PAGES)?, access)
    }))
}

/// Pages of a mapping that comes and goes.
const FEW_PAGES: usize = 16;

fn map_unmap() -> Ready {
    Ok(Box::new(|| timed(1, || Mapping::new(FEW_PAGES).map(drop))))
}

fn map_touch_unmap() -> Ready {
    Ok(Box::new(|| {
        timed(1, || {
            Mapping::new(FEW_PAGES)?.touch_first();
            Ok(())
        })
    }))
}

/// A process, with the C library's part left out, that executes a program or ends.
fn process(program: Option<&'static CStr>) -> Ready {
    Ok(Box::new(move || {
        timed(1, || {
            // SAFETY: the child makes system calls alone.
            match check(unsafe { libc::syscall(libc::SYS_fork) })? {
                0 => {
                    if let Some(program) = program {
                        let argv = [
                            program.as_ptr(),
                            c"--ticks".as_ptr(),
                            END.as_ptr(),
                            ptr::null(),
                        ];
                        let environment = [ptr::null()];
                        // SAFETY: both arrays end with a null pointer and hold strings.
                        unsafe {
                            libc::execve(program.as_ptr(), argv.as_ptr(), environment.as_ptr())
                        };
                    }
                    // SAFETY: ends the child.
                    unsafe { libc::_exit(i32::from(program.is_some())) }
                }
                child => wait(child as i32),
            }
        })
    }))
}

extern "C" fn on_signal(_signal: i32) {}

fn signal() -> Ready {
    // SAFETY: the handler does nothing, so it may run anywhere.
    unsafe { libc::signal(libc::SIGUSR1, on_signal as *const () as libc::sighandler_t) };
    // SAFETY: takes nothing, touches nothing.
    let this = unsafe { libc::getpid() };
    Ok(Box::new(move || {
        timed(1, || {
            // SAFETY: SIGUSR1 is caught.
            check(unsafe { libc::kill(this, libc::SIGUSR1) }).map(|_| ())
        })
    }))
}

/// The futex call `operation` on a word of this process's own: its result.
fn futex(word: &AtomicU32, operation: i32, value: u32) -> i64 {
    // SAFETY: the word lives; no timeout.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation | libc::FUTEX_PRIVATE_FLAG,
            value,
            ptr::null::<libc::timespec>(),
        )
    }
}

fn futex_wake() -> Ready {
    let word = AtomicU32::new(0);
    Ok(Box::new(move || {
        timed(1, || check(futex(&word, libc::FUTEX_WAKE, 1)).map(|_| ()))
    }))
}

fn futex_wait() -> Ready {
    let word = AtomicU32::new(0);
    Ok(Box::new(move || {
        timed(1, || {
            futex(&word, libc::FUTEX_WAIT, 1);
            Ok(())
        })
    }))
}

/// Whose turn it is: two threads.
struct Turn {
    now: AtomicU32,
    over: AtomicBool,
}

impl Turn {
    /// Give the turn to the thread `to`.
    fn give(&self, to: u32) {
        self.now.store(to, Ordering::Release);
        futex(&self.now, libc::FUTEX_WAKE, 1);
    }

    /// Wait for the turn of the thread `me`.
    fn wait_for(&self, me: u32) {
        while self.now.load(Ordering::Acquire) != me {
            futex(&self.now, libc::FUTEX_WAIT, 1 - me);
        }
    }
}

/// The other thread of [`futex_turn`], which ends with it.
struct Partner {
    turn: Arc<Turn>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.turn.over.store(true, Ordering::Release);
        self.turn.give(1);
        // It has no way to panic.
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn futex_turn() -> Ready {
    let turn = Arc::new(Turn {
        now: AtomicU32::new(0),
        over: AtomicBool::new(false),
    });
    let other = Arc::clone(&turn);
    let thread = std::thread::spawn(move || {
        loop {
            other.wait_for(1);
            if other.over.load(Ordering::Acquire) {
                break;
            }
            other.give(0);
        }
    });
    let partner = Partner {
        turn,
        thread: Some(thread),
    };
    Ok(Box::new(move || {
        // There and back.
        timed(2, || {
            partner.turn.give(1);
            partner.turn.wait_for(0);
            Ok(())
        })
    }))
}

fn thread() -> Ready {
    Ok(Box::new(|| {
        timed(1, || {
            let ended = std::thread::Builder::new().spawn(|| ())?.join();
            ended.map_err(|_| io::Error::other("the thread panicked"))
        })
    }))
}

/// A process runs until it yields, whatever time others have had, as that is what is measured.
fn run_in_turns() -> Outcome {
    let priority = 1i32;
    // SAFETY: parameters of this process. The C library has no such call.
    check(unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &priority) })
        .map(|_| ())
}

fn switch() -> Ready {
    let turns = Mapping::shared()?;
    run_in_turns()?;
    let child = Child::spawn(|| {
        loop {
            turns.word().fetch_add(1, Ordering::Relaxed);
            // SAFETY: takes nothing, touches nothing.
            unsafe { libc::sched_yield() };
        }
    })?;
    Ok(Box::new(move || {
        let _other = &child;
        let before = turns.word().load(Ordering::Relaxed);
        // There and back.
        let sample = timed(2, || {
            // SAFETY: as above.
            unsafe { libc::sched_yield() };
            Ok(())
        });
        match turns.word().load(Ordering::Relaxed) - before {
            1 => sample,
            turns => Err(io::Error::other(format!("the other had {turns} turns"))),
        }
    }))
}

fn open_close() -> Ready {
    Ok(Box::new(|| {
        timed(1, || {
            // SAFETY: a path, and the descriptor that comes of it.
            unsafe {
                check(libc::close(
                    check(libc::open(FILE.as_ptr(), libc::O_RDONLY))? as i32,
                ))
            }
            .map(|_| ())
        })
    }))
}

fn stat() -> Ready {
    Ok(Box::new(|| {
        // SAFETY: any bytes make a valid value.
        let mut status: libc::stat = unsafe { std::mem::zeroed() };
        timed(1, || {
            // SAFETY: a path, and room for the status.
            check(unsafe { libc::stat(FILE.as_ptr(), &mut status) }).map(|_| ())
        })
    }))
}
