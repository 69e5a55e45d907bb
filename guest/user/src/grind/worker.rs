//! A process that makes random calls until its time is over or it dies of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::arguments::{Kind, Maker};
use super::calls::CALLS;
use super::random::Random;
use super::raw;
use super::shared::{Board, Slot};

/// Calls of a process and of a child.
const CALLS_OF_WORKER: usize = 3000;
const CALLS_OF_CHILD: usize = 60;
/// Calls of a thread.
const CALLS_OF_THREAD: usize = 40;
/// Users of the workers that are not root.
const FIRST_USER: usize = 2000;

/// A worker's state.
pub struct Worker {
    /// Makes arguments.
    pub maker: Maker,
    slot: &'static Slot,
    /// How often a sleep is interrupted, in microseconds.
    nudge: usize,
    child: bool,
}

/// Where the slot lies, for threads, which start with a number alone.
static SLOT: AtomicUsize = AtomicUsize::new(0);

/// What signals do: nothing.
extern "C" fn handler(_: i32) {}

/// The address of a handler that may be called at any time.
pub fn handler_address() -> usize {
    handler as *const () as usize
}

std::arch::global_asm!(
    ".globl gnomon_grind_restorer",
    "gnomon_grind_restorer:",
    "mov eax, 15",
    "syscall",
);

unsafe extern "C" {
    fn gnomon_grind_restorer();
}

/// The address of code that returns from a handler.
pub fn restorer_address() -> usize {
    gnomon_grind_restorer as *const () as usize
}

/// Becomes worker `index`, in its `directory`, with the numbers of `seed`. Every other one gives
/// up being root.
pub fn run(board: &'static Board, index: usize, seed: u64, directory: &std::ffi::CStr) -> ! {
    let slot = &board.slots[index];
    SLOT.store(std::ptr::from_ref(slot) as usize, Ordering::Relaxed);
    let root = index.is_multiple_of(2);
    let user = FIRST_USER + index;
    set_up(directory, (!root).then_some(user));
    let Some(maker) = Maker::new(Random::new(seed), !root) else {
        raw::exit(1);
    };
    let mut worker = Worker {
        maker,
        slot,
        nudge: board.nudge.load(Ordering::Relaxed) as usize,
        child: false,
    };
    worker.interrupt_sleeps();
    worker.run_calls(CALLS_OF_WORKER);
    raw::exit(0)
}

/// Session, limits, descriptors, directory, signals, user.
fn set_up(directory: &std::ffi::CStr, user: Option<usize>) {
    use libc::{RLIMIT_AS, RLIMIT_CORE, RLIMIT_FSIZE, RLIMIT_NOFILE, RLIMIT_NPROC};
    let limit = |resource: u32, most: u64| {
        // What cannot be limited is not; the supervisor's checks hold all the same.
        let _ = crate::sys::setrlimit(resource, most, most);
    };
    // SAFETY: plain calls on values that live long enough; the process is alone with them.
    unsafe {
        libc::setsid();
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::chdir(directory.as_ptr());
        for fd in 0..3 {
            libc::close(fd);
        }
        libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        libc::open(c"/dev/zero".as_ptr(), libc::O_RDWR);
        let mut ends = [0; 2];
        libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK);
        libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_STREAM | libc::SOCK_NONBLOCK,
            0,
            ends.as_mut_ptr(),
        );
        libc::open(c"f0".as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o644);
        libc::open(c"f1".as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o644);
        libc::mkdir(c"d0".as_ptr(), 0o755);
        libc::open(c"d0".as_ptr(), libc::O_RDONLY);
        libc::epoll_create1(0);
        libc::eventfd(0, libc::EFD_NONBLOCK);
        limit(RLIMIT_NOFILE as _, super::arguments::MOST_FDS as u64);
        limit(RLIMIT_FSIZE as _, 256 << 10);
        limit(RLIMIT_AS as _, 24 << 20);
        limit(RLIMIT_CORE as _, 0);
        limit(RLIMIT_NPROC as _, 24);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler_address();
        for signal in [
            libc::SIGALRM,
            libc::SIGPIPE,
            libc::SIGXFSZ,
            libc::SIGCHLD,
            libc::SIGUSR1,
        ] {
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
        if let Some(user) = user {
            raw::call(libc::SYS_setgroups as usize, [0; 6]);
            raw::call(libc::SYS_setresgid as usize, [user, user, user, 0, 0, 0]);
            raw::call(libc::SYS_setresuid as usize, [user, user, user, 0, 0, 0]);
        }
    }
}

/// Body of a thread, or of a child that may share its parent's memory.
pub extern "C" fn clone_body(seed: usize) -> ! {
    // SAFETY: the supervisor's board is mapped as long as any worker lives.
    let slot = unsafe { &*(SLOT.load(Ordering::Relaxed) as *const Slot) };
    if let Some(maker) = Maker::new(Random::new(seed as u64), false) {
        let mut worker = Worker {
            maker,
            slot,
            nudge: 0,
            child: true,
        };
        worker.run_calls(CALLS_OF_THREAD);
    }
    raw::exit_thread(0)
}

impl Worker {
    /// In a child: its calls, then its end.
    pub fn run_as_child(&mut self) -> ! {
        if self.child {
            raw::exit(0);
        }
        self.child = true;
        self.maker.children = [0; 8];
        // SAFETY: asks for a signal alone.
        unsafe {
            let how = [
                libc::PR_SET_PDEATHSIG as usize,
                libc::SIGKILL as usize,
                0,
                0,
                0,
                0,
            ];
            raw::call(libc::SYS_prctl as usize, how);
        }
        self.interrupt_sleeps();
        self.run_calls(CALLS_OF_CHILD);
        raw::exit(0)
    }

    /// A signal again and again, so that no sleep is for ever.
    fn interrupt_sleeps(&self) {
        let interval = [0, self.nudge, 0, self.nudge];
        // SAFETY: the interval is valid.
        unsafe {
            let at = interval.as_ptr() as usize;
            raw::call(libc::SYS_setitimer as usize, [0, at, 0, 0, 0, 0]);
        }
    }

    fn run_calls(&mut self, calls: usize) {
        for n in 0..calls {
            if self.slot.is_over() {
                return;
            }
            if n.is_multiple_of(64) {
                self.reap();
            }
            match self.maker.random.below(100) {
                0 if !self.child => self.act(),
                1 => self.unlisted(),
                2 => self.int80(),
                _ => self.listed(),
            }
        }
    }

    fn reap(&mut self) {
        loop {
            let flags = libc::WNOHANG as usize;
            // SAFETY: no status is asked for.
            let pid =
                unsafe { raw::call(libc::SYS_wait4 as usize, [usize::MAX, 0, flags, 0, 0, 0]) };
            if pid <= 0 {
                return;
            }
            for child in &mut self.maker.children {
                if *child as isize == pid {
                    *child = 0;
                }
            }
        }
    }

    fn listed(&mut self) {
        let index = self.maker.random.below(CALLS.len());
        let call = &CALLS[index];
        self.maker.begin();
        let mut arguments = [0; 6];
        for (argument, kind) in arguments.iter_mut().zip(call.takes) {
            *argument = self.maker.value(*kind);
        }
        self.slot.note(call.number, &arguments);
        // SAFETY: this process may die of it.
        let result = unsafe { raw::call(call.number, arguments) };
        self.slot.count(index, result);
    }

    /// A number that no table has, or a call that must not be made with arguments that work.
    fn unlisted(&mut self) {
        let number = match self.maker.random.below(4) {
            0 => 462 + self.maker.random.below(600),
            1 => self.maker.value(Kind::Size) | 1 << 40,
            2 => usize::MAX - self.maker.random.below(8),
            _ => self.maker.random.of(&[
                29, 156, 174, 177, 209, 246, 304, 321, 335, 425, 435, 59, 322,
            ]),
        };
        self.maker.begin();
        // No call forks, executes or ends anything with a first argument like this.
        let arguments = [1 << 62, usize::MAX, 0, 0, 0, 0];
        self.slot.note(number, &arguments);
        // SAFETY: this process may die of it.
        unsafe { raw::call(number, arguments) };
    }

    fn int80(&mut self) {
        let number = self
            .maker
            .random
            .of(&[3, 4, 5, 6, 20, 2, 11, 300, usize::MAX]);
        let arguments = match number {
            3 | 4 => [
                self.maker.value(Kind::Fd),
                self.maker.value(Kind::Buf),
                self.maker.value(Kind::Len),
            ],
            6 => [self.maker.value(Kind::Spare), 0, 0],
            _ => [self.maker.value(Kind::Buf), 0, 0],
        };
        self.slot
            .note(number, &[arguments[0], arguments[1], arguments[2], 0, 0, 0]);
        // SAFETY: this process may die of it.
        unsafe { raw::call_int80(number, arguments) };
    }
}
