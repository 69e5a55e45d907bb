//! Sets of signals, and what each signal does by default (`signal(7)`).

/// Number of signals; they are numbered from 1.
pub const COUNT: u32 = 64;
/// The first real-time signal.
pub const SIGRTMIN: u32 = 32;

/// Names the signals.
macro_rules! signals {
    ($($(#[$doc:meta])* $name:ident = $n:literal;)*) => { $($(#[$doc])* pub const $name: u32 = $n;)* };
}

signals! {
    /// The terminal is gone.
    SIGHUP = 1;
    /// Interrupt from the keyboard.
    SIGINT = 2;
    /// Quit from the keyboard.
    SIGQUIT = 3;
    /// Illegal instruction.
    SIGILL = 4;
    /// Breakpoint or single step.
    SIGTRAP = 5;
    /// abort(3).
    SIGABRT = 6;
    /// Access to memory that a mapping promises but its file does not have.
    SIGBUS = 7;
    /// Arithmetic exception.
    SIGFPE = 8;
    /// Kill; cannot be caught.
    SIGKILL = 9;
    /// Access to memory that is not there.
    SIGSEGV = 11;
    /// Write to a pipe that nobody reads.
    SIGPIPE = 13;
    /// alarm(2).
    SIGALRM = 14;
    /// A child has changed state.
    SIGCHLD = 17;
    /// Continue after a stop.
    SIGCONT = 18;
    /// Stop; cannot be caught.
    SIGSTOP = 19;
    /// Stop from the keyboard.
    SIGTSTP = 20;
    /// Read from the terminal by a background process.
    SIGTTIN = 21;
    /// Write to the terminal by a background process.
    SIGTTOU = 22;
    /// Urgent data on a socket.
    SIGURG = 23;
    /// Limit of processor time reached.
    SIGXCPU = 24;
    /// Limit of file size reached.
    SIGXFSZ = 25;
    /// Timer of processor time in user mode.
    SIGVTALRM = 26;
    /// Timer of processor time.
    SIGPROF = 27;
    /// The terminal's size has changed.
    SIGWINCH = 28;
    /// Bad system call.
    SIGSYS = 31;
}

/// A set of signals: bit n-1 stands for signal n, as in `sigset_t`.
pub type SigSet = u64;

/// The set of one signal (1 to 64).
#[inline]
pub const fn bit(signo: u32) -> SigSet {
    1 << (signo - 1)
}

/// The signals that cannot be blocked, caught or ignored.
pub const UNBLOCKABLE: SigSet = bit(SIGKILL) | bit(SIGSTOP);

/// The signals that stop a process by default.
pub const STOPPING: SigSet = bit(SIGSTOP) | bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU);

/// The signals that leave a core image by default.
const CORE: SigSet = bit(SIGQUIT)
    | bit(SIGILL)
    | bit(SIGTRAP)
    | bit(SIGABRT)
    | bit(SIGBUS)
    | bit(SIGFPE)
    | bit(SIGSEGV)
    | bit(SIGXCPU)
    | bit(SIGXFSZ)
    | bit(SIGSYS);

/// The signals that are ignored by default.
const IGNORED: SigSet = bit(SIGCHLD) | bit(SIGCONT) | bit(SIGURG) | bit(SIGWINCH);

/// The signals that are raised by an instruction of the receiver itself; they go before others.
pub const SYNCHRONOUS: SigSet =
    bit(SIGSEGV) | bit(SIGBUS) | bit(SIGILL) | bit(SIGTRAP) | bit(SIGFPE) | bit(SIGSYS);

/// What a signal does when no handler is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// End the process.
    Terminate,
    /// End the process and leave a core image.
    Core,
    /// Nothing.
    Ignore,
    /// Stop the process.
    Stop,
}

/// The default action of a signal. (SIGCONT continues a process when it is sent; what is left to do
/// at delivery is nothing.)
pub const fn default_action(signo: u32) -> Default {
    let bit = bit(signo);
    if bit & STOPPING != 0 {
        Default::Stop
    } else if bit & IGNORED != 0 {
        Default::Ignore
    } else if bit & CORE != 0 {
        Default::Core
    } else {
        Default::Terminate
    }
}

/// Whether `signo` names a signal.
#[inline]
pub const fn is_valid(signo: u32) -> bool {
    signo >= 1 && signo <= COUNT
}
