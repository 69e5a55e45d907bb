//! What happens outside the virtual machine while it runs: signals, the clock, its end.
//!
//! One thread waits for all of it with `event-manager`. Signals come through a signalfd, so they
//! are blocked in every thread, and no handler interrupts anything but the kick of a processor.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_manager::{EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberOps};
use gnomon_devices::virtio::console::ConsoleInput;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use vmm_sys_util::timerfd::TimerFd;

use crate::resident;
use crate::terminal;
use crate::vcpu::kick::Control;

/// Signals that end gnomon, whose terminal is to be as it was even so, and those that only tell it
/// something.
const ENDING: [libc::c_int; 7] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGALRM,
    libc::SIGUSR1,
    libc::SIGUSR2,
];
const TELLING: [libc::c_int; 2] = [libc::SIGWINCH, libc::SIGCONT];

/// A processor that has had no exit for this long is asked whether anything can wake it.
const QUIET: Duration = Duration::from_secs(1);

/// Why the wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The processor has stopped.
    Stopped,
    /// The user has typed the command to quit.
    Quit,
    /// This signal.
    Signal(i32),
    /// The time that the guest was given is over.
    TimeLimit,
}

/// Ways for other threads to end the wait.
#[derive(Debug)]
pub struct Wakers {
    /// The processor has stopped.
    pub stopped: EventFd,
    /// The user wants to quit.
    pub quit: EventFd,
}

impl Wakers {
    /// Wakers that nobody has used.
    ///
    /// # Errors
    /// The host is out of file descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            stopped: EventFd::new(EFD_NONBLOCK)?,
            quit: EventFd::new(EFD_NONBLOCK)?,
        })
    }
}

/// Signals as a file. They are blocked in the calling thread and those that it starts later.
pub struct Signals(OwnedFd);

impl Signals {
    /// Block the signals and open the file: before other threads are started.
    ///
    /// # Errors
    /// The host is out of file descriptors.
    pub fn block() -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set, whatever it held.
        let mut set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            set.assume_init()
        };
        for signal in ENDING.into_iter().chain(TELLING) {
            // SAFETY: the set is initialised, the signal number valid.
            unsafe { libc::sigaddset(&mut set, signal) };
        }
        // SAFETY: both calls only read the set.
        let fd = unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal that has come.
    fn next(&self) -> Option<i32> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer has `size` bytes.
        let len = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        // SAFETY: all-zero is a valid value, and the kernel writes valid ones.
        (len == size as isize).then(|| unsafe { info.assume_init() }.ssi_signo as i32)
    }
}

/// Everything that is waited for.
struct Watch {
    signals: Signals,
    wakers: Arc<Wakers>,
    timer: TimerFd,
    control: Arc<Control>,
    input: ConsoleInput,
    exits: u64,
    /// Whether what only starting needed has been given back.
    let_go: bool,
    deadline: Option<Instant>,
    reason: Option<Reason>,
}

impl Watch {
    fn on_signals(&mut self) {
        while let Some(signal) = self.signals.next() {
            match signal {
                libc::SIGWINCH => self.resize(),
                libc::SIGCONT => {
                    terminal::resume();
                    self.resize();
                }
                signal => self.reason = Some(Reason::Signal(signal)),
            }
        }
    }

    fn resize(&self) {
        let (columns, rows) = terminal::size(libc::STDOUT_FILENO);
        if columns != 0 {
            self.input.resize(columns, rows);
        }
    }

    fn on_timer(&mut self) {
        let _ = self.timer.wait();
        let exits = self.control.exits();
        if exits == self.exits {
            self.control.inspect();
        }
        self.exits = exits;
        if !std::mem::replace(&mut self.let_go, true) {
            resident::let_go();
        }
        if self.deadline.is_some_and(|at| Instant::now() >= at) {
            self.reason.get_or_insert(Reason::TimeLimit);
        }
    }
}

impl MutEventSubscriber for Watch {
    fn init(&mut self, ops: &mut EventOps) {
        let sources = [
            self.signals.0.as_raw_fd(),
            self.wakers.stopped.as_raw_fd(),
            self.wakers.quit.as_raw_fd(),
            self.timer.as_raw_fd(),
        ];
        for fd in sources {
            if let Err(error) = ops.add(Events::new_raw(fd, EventSet::IN)) {
                log::error!("cannot wait for events: {error}");
            }
        }
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps) {
        let fd = events.fd();
        if fd == self.wakers.stopped.as_raw_fd() {
            self.reason = Some(Reason::Stopped);
        } else if fd == self.wakers.quit.as_raw_fd() {
            self.reason.get_or_insert(Reason::Quit);
        } else if fd == self.timer.as_raw_fd() {
            self.on_timer();
        } else {
            self.on_signals();
        }
    }
}

/// Wait until the virtual machine has to end, serving signals meanwhile; for `limit` at most (to
/// the next second), if there is one.
///
/// # Errors
/// The host cannot wait.
pub fn wait(
    signals: Signals,
    wakers: &Arc<Wakers>,
    control: &Arc<Control>,
    input: &ConsoleInput,
    limit: Option<Duration>,
) -> io::Result<Reason> {
    let failed = |error: event_manager::Error| io::Error::other(error.to_string());
    let mut timer = TimerFd::new()?;
    timer.reset(QUIET, Some(QUIET))?;
    let mut manager = EventManager::new().map_err(failed)?;
    let id = manager.add_subscriber(Watch {
        signals,
        wakers: Arc::clone(wakers),
        timer,
        control: Arc::clone(control),
        input: input.clone(),
        exits: 0,
        let_go: false,
        deadline: limit.map(|limit| Instant::now() + limit),
        reason: None,
    });
    loop {
        manager.run().map_err(failed)?;
        if let Some(reason) = manager.subscriber_mut(id).map_err(failed)?.reason {
            return Ok(reason);
        }
    }
}
