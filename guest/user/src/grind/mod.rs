//! `grind [--seconds N] [--processes N] [--seed N] [--calls]`: random system calls against the kernel.
//!
//! Many processes make calls with arguments that are right, nearly right and wild: pointers at the
//! end of a page and to nowhere, lengths that wrap, descriptors that are not open, programs with
//! damaged headers. Every second one is root, but for signals and the like, which reach only itself
//! then; none may stop the machine. A supervisor starts them anew when they die. At the end there
//! must be as many processes, open files and free frames as before.
//!
//! ```text
//!  supervisor ──fork──► worker 0 (root)   ──fork, clone──► children, threads
//!      │                worker 1 (user)   ──►
//!      └── board: how far each is, its last calls (shared memory)
//! ```
//!
//! A run prints its seed; the same seed makes the same calls, though not in the same order among
//! the processes. Status 0: nothing found. 1: a process could not be killed, or something was lost.
//! It is meant for a machine that has nothing else to do, and runs nowhere but in Gnomon's guest.

mod acts;
mod arguments;
mod calls;
mod facts;
mod random;
mod raw;
mod shared;
mod worker;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::time::{Duration, Instant};

use crate::cli::{self, Out};
use crate::sys;
use facts::Facts;
use shared::{Board, MOST_WORKERS};

/// How long a worker may stand still before it is killed: it sleeps, or has stopped itself.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take to die.
const DEATH: Duration = Duration::from_secs(60);
/// A process may spend this part of the time on signals that interrupt its sleeps: there are some
/// children and threads beside each worker.
const NUDGED_PART: u64 = 60;
/// No sleep is interrupted more often than this, in microseconds.
const SHORTEST_NUDGE: u64 = 8_000;
/// Frames that may be missing at the end: tables that the kernel has made larger.
const SLACK: i64 = 16;
/// Bytes of small objects that may be more at the end.
const OBJECT_SLACK: i64 = 64 << 10;
/// Where the workers' directories lie: in memory, and on the disk.
const PLACES: [&str; 2] = ["/tmp/grind", "/var/tmp/grind"];

/// What the command line says.
struct Options {
    seconds: u64,
    processes: usize,
    seed: u64,
    calls: bool,
}

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match parse(args) {
        Ok(options) => options,
        Err(message) => {
            cli::warn(format_args!("{message}"));
            return 2;
        }
    };
    let ours = sys::uname().is_ok_and(|names| names[2].ends_with(b"gnomon"));
    if !ours || sys::geteuid() != 0 {
        cli::warn(format_args!(
            "runs only as root in Gnomon's guest: it would harm another system"
        ));
        return 2;
    }
    match Supervisor::new(&options) {
        Ok(mut supervisor) => supervisor.run(&options),
        Err(error) => {
            cli::warn_error(b"cannot start", &error);
            2
        }
    }
}

fn parse(args: &[Vec<u8>]) -> Result<Options, String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut options = Options {
        seconds: 10,
        processes: 6,
        seed: now.map_or(1, |time| time.as_nanos() as u64 & 0xffff_ffff),
        calls: false,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == b"--calls" {
            options.calls = true;
            continue;
        }
        let value: Option<u64> = args.next().and_then(|value| cli::number(value));
        let value = value.ok_or_else(|| format!("{} takes a number", cli::show(arg)))?;
        match &arg[..] {
            b"--seconds" => options.seconds = value,
            b"--processes" => options.processes = (value as usize).clamp(1, MOST_WORKERS),
            b"--seed" => options.seed = value,
            _ => return Err(format!("unknown option {}", cli::show(arg))),
        }
    }
    Ok(options)
}

/// A worker as its supervisor sees it.
struct Seat {
    pid: i32,
    /// How many processes have had the seat.
    life: u64,
    calls: u64,
    moved: Instant,
    /// When it was killed for standing still.
    killed: Option<Instant>,
}

struct Supervisor {
    board: &'static Board,
    seats: Vec<Seat>,
    seed: u64,
    /// The processes that were there before.
    before: BTreeSet<i32>,
    findings: usize,
    lives: u64,
}

impl Supervisor {
    fn new(options: &Options) -> std::io::Result<Self> {
        // Orphans come to this process, so that it knows of them. And it goes first.
        // SAFETY: plain calls about this process.
        unsafe {
            libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
            libc::setpriority(libc::PRIO_PROCESS, 0, -20);
        }
        let board = Board::new()?;
        let nudge = signal_cost() * NUDGED_PART * options.processes as u64;
        board.nudge.store(
            nudge.max(SHORTEST_NUDGE),
            std::sync::atomic::Ordering::Relaxed,
        );
        Ok(Supervisor {
            board,
            seats: Vec::new(),
            seed: options.seed,
            before: facts::processes(),
            findings: 0,
            lives: 0,
        })
    }

    fn run(&mut self, options: &Options) -> i32 {
        say(format!(
            "grind: seed {}, {} processes, {} seconds",
            options.seed, options.processes, options.seconds
        ));
        // Once for nothing: what the kernel keeps for good it has then.
        self.round(options.processes, Duration::from_secs(2));
        let before = Facts::take();
        self.round(options.processes, Duration::from_secs(options.seconds));
        let after = Facts::take();
        self.compare(&before, &after);
        let (calls, tried, succeeded, different) = self.board.sums();
        if options.calls {
            for (n, call) in calls::CALLS.iter().enumerate() {
                let (tried, succeeded) = self.board.of_call(n);
                say(format!(
                    "call {:3}: {tried} tried, {succeeded} succeeded",
                    call.number
                ));
            }
        }
        say(format!(
            "grind: {calls} calls, {succeeded} of {tried} succeeded, {different} of {} different ones; \
             {} processes ended; frames {} then {}, objects {} then {} bytes; {} findings",
            calls::CALLS.len(),
            self.lives,
            before.frames,
            after.frames,
            before.objects,
            after.objects,
            self.findings,
        ));
        i32::from(self.findings > 0)
    }

    fn find(&mut self, text: String) {
        self.findings += 1;
        say(format!("grind: FOUND: {text}"));
    }

    /// Workers for `time`; afterwards nothing is left of them.
    fn round(&mut self, processes: usize, time: Duration) {
        for place in PLACES {
            let _ = std::fs::create_dir_all(place);
            let _ = std::fs::set_permissions(
                place,
                std::os::unix::fs::PermissionsExt::from_mode(0o777),
            );
        }
        let end = Instant::now() + time;
        let first = self.seats.first().map_or(0, |seat| seat.life);
        self.seats.clear();
        for index in 0..processes {
            self.board.slots[index].set_over(false);
            self.seats.push(Seat {
                pid: 0,
                life: first,
                calls: 0,
                moved: Instant::now(),
                killed: None,
            });
            self.start(index);
        }
        let mut swept = Instant::now();
        while Instant::now() < end {
            sys::sleep(0, 200_000_000);
            self.reap();
            self.look();
            for index in 0..processes {
                if self.seats[index].pid == 0 {
                    self.start(index);
                }
            }
            if swept.elapsed() > Duration::from_secs(5) {
                self.sweep(false);
                swept = Instant::now();
            }
        }
        self.end_all();
        clean();
    }

    fn start(&mut self, index: usize) {
        let seat = &mut self.seats[index];
        seat.life += 1;
        let seed = self.seed ^ (index as u64) << 48 ^ seat.life << 32;
        let place = PLACES[(seat.life % 2) as usize];
        let directory = format!("{place}/{index}");
        let _ = std::fs::create_dir_all(&directory);
        let _ = std::fs::set_permissions(
            &directory,
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        );
        let Ok(directory) = CString::new(directory) else {
            return;
        };
        match sys::fork() {
            Ok(0) => worker::run(self.board, index, seed, &directory),
            Ok(pid) => {
                seat.pid = pid;
                seat.moved = Instant::now();
                seat.killed = None;
                self.lives += 1;
            }
            // No memory now; later again.
            Err(_) => {}
        }
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, _))) = sys::waitpid(-1, libc::WNOHANG) {
            for seat in &mut self.seats {
                if seat.pid == pid {
                    seat.pid = 0;
                }
            }
        }
    }

    /// Kills workers that stand still; says so of those that do not die.
    fn look(&mut self) {
        for index in 0..self.seats.len() {
            let slot = &self.board.slots[index];
            let seat = &mut self.seats[index];
            if seat.pid == 0 {
                continue;
            }
            if slot.calls() != seat.calls {
                seat.calls = slot.calls();
                seat.moved = Instant::now();
            }
            match seat.killed {
                None if seat.moved.elapsed() > PATIENCE => {
                    let _ = sys::kill(seat.pid, libc::SIGKILL);
                    seat.killed = Some(Instant::now());
                }
                Some(when) if when.elapsed() > DEATH => {
                    let pid = seat.pid;
                    seat.pid = 0;
                    let text = format!(
                        "process {pid} of worker {index} does not die: {}; its last calls:{}",
                        facts::describe(pid),
                        slot.last_calls()
                    );
                    self.find(text);
                }
                _ => {}
            }
        }
    }

    /// Kills what is nobody's any more (`all`: every process that was not there before); how many
    /// there are.
    fn sweep(&mut self, all: bool) -> Vec<i32> {
        let me = sys::getpid();
        let mut found = Vec::new();
        for pid in facts::processes() {
            let known = self.before.contains(&pid) || pid == me;
            let worker = self.seats.iter().any(|seat| seat.pid == pid);
            if known || (worker && !all) {
                continue;
            }
            let orphan = facts::parent(pid).is_some_and(|parent| parent == me || parent == 1);
            if all || orphan {
                let _ = sys::kill(pid, libc::SIGKILL);
                found.push(pid);
            }
        }
        found
    }

    fn end_all(&mut self) {
        for slot in &self.board.slots {
            slot.set_over(true);
        }
        let started = Instant::now();
        loop {
            let left = self.sweep(true);
            self.reap();
            if left.is_empty() {
                break;
            }
            if started.elapsed() > DEATH {
                for pid in left {
                    let text = format!("process {pid} does not die: {}", facts::describe(pid));
                    self.find(text);
                }
                break;
            }
            sys::sleep(0, 20_000_000);
        }
    }

    fn compare(&mut self, before: &Facts, after: &Facts) {
        if after.frames < before.frames - SLACK {
            self.find(format!(
                "lost some pages: {} frames were free, now {}{}",
                before.frames,
                after.frames,
                after.difference(before)
            ));
        }
        if after.objects > before.objects + OBJECT_SLACK {
            self.find(format!(
                "lost some objects: they took {} bytes, now {}",
                before.objects, after.objects
            ));
        }
        if after.files > before.files {
            self.find(format!(
                "open files: {:?} were, now {:?}",
                before.files, after.files
            ));
        }
    }
}

/// What a signal that is caught costs on this machine, in microseconds. Where the kernel is emulated it
/// is a thousand times what it is elsewhere, and workers that are interrupted too often do nothing else.
fn signal_cost() -> u64 {
    const SIGNALS: u64 = 16;
    // SAFETY: integers and a pointer, for which zero is valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = worker::handler_address();
    // SAFETY: the handler does nothing and may be called at any time.
    unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
    let started = Instant::now();
    for _ in 0..SIGNALS {
        let _ = sys::kill(sys::getpid(), libc::SIGUSR1);
    }
    started.elapsed().as_micros() as u64 / SIGNALS
}

/// Removes everything that workers may have left behind: mounts, files, queues, System V objects.
fn clean() {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    for line in mounts.lines().rev() {
        let Some(target) = line.split(' ').nth(1) else {
            continue;
        };
        if PLACES.iter().any(|place| target.starts_with(place)) {
            let _ = sys::umount(target.as_bytes());
        }
    }
    for place in PLACES {
        let _ = std::fs::remove_dir_all(place);
    }
    for queue in [c"grind-q0", c"grind-q1", c"grind-q2"] {
        // SAFETY: the names end with NUL.
        unsafe {
            raw::call(
                libc::SYS_mq_unlink as usize,
                [queue.as_ptr() as usize, 0, 0, 0, 0, 0],
            )
        };
    }
    const IPC_RMID: usize = 0;
    for id in sysv_objects("shm") {
        // SAFETY: removes an object that no process uses.
        unsafe { raw::call(libc::SYS_shmctl as usize, [id, IPC_RMID, 0, 0, 0, 0]) };
    }
    for id in sysv_objects("sem") {
        // SAFETY: as above.
        unsafe { raw::call(libc::SYS_semctl as usize, [id, 0, IPC_RMID, 0, 0, 0]) };
    }
    for id in sysv_objects("msg") {
        // SAFETY: as above.
        unsafe { raw::call(libc::SYS_msgctl as usize, [id, IPC_RMID, 0, 0, 0, 0]) };
    }
}

/// The numbers of all System V objects of a kind.
fn sysv_objects(kind: &str) -> Vec<usize> {
    let table = std::fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
    let ids = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1));
    ids.filter_map(|id| id.parse().ok()).collect()
}

fn say(text: String) {
    let mut out = Out::stdout();
    out.line(text.as_bytes());
    out.finish();
}
