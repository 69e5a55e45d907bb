//! One run from beginning to end: everything is put together, the guest runs, its end is told.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use gnomon_abi::boot::{self, BootFacts};
use gnomon_devices::exit::{ExitEvent, ExitLatch};
use gnomon_devices::logport::{LogSink, LogWriter};
use gnomon_devices::output::FdWriter;
use gnomon_devices::virtio::block::{DiskError, DiskFile};
use gnomon_shadow::tables::Policy;
use thiserror::Error;

use crate::boot::BootError;
use crate::boot::kernel::{Entry, Kernel};
use crate::boot::tables::BootData;
use crate::cli::FAILED;
use crate::devices::{self, DevicesError, Disk, Ends};
use crate::events::{self, Reason, Signals, Wakers};
use crate::host::{Host, HostError, cpuid};
use crate::input::{self, Command, Keys};
use crate::memory::{self, MemoryError};
use crate::mmu::{self, Choice};
use crate::report::{Death, report};
use crate::root::{self, FileSpec, RootError};
use crate::stats::{self, Group, Stats};
use crate::terminal::{self, LineWriter, RawTerminal};
use crate::vcpu::Vcpu;
use crate::vcpu::exit::Stop;
use crate::vcpu::kick::Control;
use crate::vm::Vm;

/// Kernel messages that a report repeats.
const LOG_LINES: usize = 12;

/// KVM's local APIC counts nanoseconds.
const APIC_TIMER_KHZ: u64 = 1_000_000;

/// How long a processor that has been told to stop may take.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// Where programs are looked for in the guest.
const GUEST_PATH: &str = "/bin:/sbin:/usr/bin:/usr/sbin";

/// What the user wants.
#[derive(Debug)]
pub struct Config {
    /// The paging mode.
    pub mmu: Choice,
    /// How the shadow mode notices edits of page tables.
    pub shadow_policy: Policy,
    /// Virtual processors.
    pub cpus: u64,
    /// Guest memory in MiB.
    pub mem_mib: u64,
    /// A kernel other than the built-in one.
    pub kernel: Option<PathBuf>,
    /// Added to the kernel's command line.
    pub cmdline: String,
    /// A root other than the built-in one.
    pub root: Option<PathBuf>,
    /// Files put into the root.
    pub files: Vec<FileSpec>,
    /// Further disks.
    pub disks: Vec<DiskSpec>,
    /// Counters on standard error at the end.
    pub stats: bool,
    /// Counters into this file at the end.
    pub stats_json: Option<PathBuf>,
    /// The program and its arguments.
    pub program: Vec<OsString>,
}

/// `--disk FILE[,ro]`.
#[derive(Clone, Debug)]
pub struct DiskSpec {
    /// The file or block device.
    pub path: PathBuf,
    /// Writes are refused.
    pub read_only: bool,
}

/// Why a run cannot begin or go on.
#[derive(Debug, Error)]
pub enum SessionError {
    /// A number of processors that is not possible.
    #[error("--cpus {0}: this version of gnomon runs guests with 1 virtual processor")]
    Cpus(u64),
    /// No kernel.
    #[cfg(not(feature = "builtin"))]
    #[error("no kernel is built in: name one with --kernel FILE")]
    NoKernel,
    /// The host's KVM.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Guest memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The kernel or its boot data.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The root disk.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The devices.
    #[error(transparent)]
    Devices(#[from] DevicesError),
    /// The host's own resources.
    #[error("{what}: {source}")]
    Os {
        /// What was attempted.
        what: &'static str,
        /// What the host says.
        source: io::Error,
    },
    /// The file for `--stats-json`.
    #[error("--stats-json {path}: {source}")]
    StatsFile {
        /// The file.
        path: String,
        /// What the host says.
        source: io::Error,
    },
    /// A thread of gnomon has panicked.
    #[error("a fault in gnomon itself has ended the run; please report it")]
    Internal,
}

/// A conversion for `map_err`.
fn os(what: &'static str) -> impl Fn(io::Error) -> SessionError {
    move |source| SessionError::Os { what, source }
}

/// How the guest's console is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Console {
    /// A terminal with line discipline in the guest; the user's own is raw.
    Tty,
    /// Bytes in, bytes out, errors apart.
    Stream,
}

impl Console {
    fn detect() -> Self {
        use std::io::IsTerminal;
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            Self::Tty
        } else {
            Self::Stream
        }
    }

    const fn cmdline(self) -> &'static str {
        match self {
            Self::Tty => "console=tty",
            Self::Stream => "console=stream",
        }
    }
}

/// The guest's way to standard output. When nobody reads it any more, the guest ends as a program
/// does that SIGPIPE kills.
struct Stdout {
    out: FdWriter,
    latch: Arc<ExitLatch>,
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        if let Err(error) = &result {
            let status = if error.kind() == io::ErrorKind::BrokenPipe {
                128 + libc::SIGPIPE as u8
            } else {
                log::error!("standard output: {error}");
                FAILED
            };
            self.latch.set(ExitEvent::Exit(status));
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Wakes the main thread when the processor's thread ends, be it by a panic.
struct WakeOnDrop(Arc<Wakers>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        let _ = self.0.stopped.write(1);
    }
}

/// Run a guest; the status to end with.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub fn run(config: Config, started: Instant) -> Result<u8, SessionError> {
    if config.cpus != 1 {
        return Err(SessionError::Cpus(config.cpus));
    }
    let mode = mmu::choose(config.mmu, config.shadow_policy);
    let signals = Signals::block().map_err(os("cannot take signals"))?;
    let memory = memory::create(config.mem_mib)?;
    let kernel = match &config.kernel {
        Some(path) => Kernel::read(path)?,
        None => builtin_kernel()?,
    };
    let entry = kernel.load(&memory)?;
    let disks = open_disks(&config)?;
    let host = Host::open()?;
    let cpuid = cpuid::guest_cpuid(&host)?;
    let vm = Vm::new(&host, &memory, mode)?;

    let console = Console::detect();
    let latch = Arc::new(ExitLatch::new());
    let stderr = || duplicate(io::stderr().as_fd());
    let log = LogSink::new(Box::new(LineWriter(FdWriter::new(stderr()?))), LOG_LINES);
    let stdout = || -> Result<_, SessionError> {
        Ok(Box::new(Stdout {
            out: FdWriter::new(duplicate(io::stdout().as_fd())?),
            latch: Arc::clone(&latch),
        }))
    };
    let ends = Ends {
        stdout: stdout()?,
        stderr: Box::new(LineWriter(FdWriter::new(stderr()?))),
        // A kernel that is not gnomon's own knows no other console.
        serial: match entry {
            Entry::Pvh(_) => stdout()?,
            Entry::Long(_) => Box::new(LogWriter(Arc::clone(&log))),
        },
        log: Arc::clone(&log),
        size: terminal::size(libc::STDOUT_FILENO),
        latch: Arc::clone(&latch),
    };
    let devices = devices::build(&memory, vm.msi_sink(), ends, disks)?;
    let vm_fd = Arc::clone(vm.fd());
    let (fd, mmu) = vm.create_vcpu(&cpuid, entry)?;

    let tsc_khz = fd.get_tsc_khz().map_err(HostError::refused(
        "to tell the time-stamp counter's frequency",
    ))?;
    let words = [
        console.cmdline(),
        "root=/dev/vda",
        &devices.cmdline,
        &config.cmdline,
    ];
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    BootData {
        cmdline: words.join(" "),
        args: init_args(&config.program),
        env: init_env(),
        ram: config.mem_mib << 20,
        facts: facts(mmu.quirks(host.module()), tsc_khz.into())?,
        long_mode: matches!(entry, Entry::Long(_)),
    }
    .write(&memory)?;

    let control = Arc::new(Control::default());
    let wakers = Arc::new(Wakers::new().map_err(os("cannot make events"))?);
    let raw = match console {
        Console::Tty => {
            Some(RawTerminal::enter(libc::STDIN_FILENO).map_err(os("cannot change the terminal"))?)
        }
        Console::Stream => None,
    };
    let mut vcpu = Vcpu {
        fd,
        mmu,
        peripherals: Arc::new(devices.peripherals),
        control: Arc::clone(&control),
        counts: Default::default(),
        memory: memory.clone(),
    };
    let wake = WakeOnDrop(Arc::clone(&wakers));
    let start = started.elapsed();
    let processor = thread::Builder::new()
        .name("vcpu0".into())
        .spawn(move || {
            let stop = vcpu.run();
            drop(wake);
            (stop, vcpu)
        })
        .map_err(os("cannot start a thread"))?;
    read_input(&devices.input, console, &wakers)?;

    let reason = events::wait(signals, &wakers, &control, &devices.input)
        .map_err(os("cannot wait for events"))?;
    if reason != Reason::Stopped {
        control.stop();
        devices.input.stop();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !processor.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let finished = match reason {
        Reason::Stopped => Some(processor.join()),
        // A processor that does not stop hangs in a write to somebody who does not read.
        _ if processor.is_finished() => Some(processor.join()),
        _ => None,
    };
    drop(raw);
    let Some(joined) = finished else {
        return Ok(status_of(reason, &Stop::Asked));
    };
    let (stop, vcpu) = joined.map_err(|_| SessionError::Internal)?;
    let status = status_of(reason, &stop);
    if !matches!(stop, Stop::Status(_) | Stop::Asked) {
        let death = Death {
            stop: &stop,
            registers: vcpu.mmu.registers(&vcpu.fd),
            memory: &memory,
            kernel: kernel.bytes(),
            log: log.last_lines(),
        };
        eprint!("{}", report(&death));
    }
    if config.stats || config.stats_json.is_some() {
        let stats = Stats {
            mode: vcpu.mmu.name(),
            module: host.module().name(),
            start,
            run: started.elapsed() - start,
            groups: groups(&vcpu, &vm_fd),
        };
        if config.stats {
            eprint!("{stats}");
        }
        if let Some(path) = &config.stats_json {
            std::fs::write(path, stats::to_json(&stats)).map_err(|source| {
                SessionError::StatsFile {
                    path: path.display().to_string(),
                    source,
                }
            })?;
        }
    }
    Ok(status)
}

/// gnomon's exit status.
fn status_of(reason: Reason, stop: &Stop) -> u8 {
    match (reason, stop) {
        (_, Stop::Status(status)) => *status,
        (Reason::Signal(signal), Stop::Asked) => 128 + signal as u8,
        (_, Stop::Asked) => 0,
        _ => FAILED,
    }
}

/// All counters.
fn groups(vcpu: &Vcpu, vm: &kvm_ioctls::VmFd) -> Vec<Group> {
    let own = |list: &[(&'static str, u64)]| {
        list.iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect()
    };
    vec![
        Group {
            name: "exits",
            counters: own(&vcpu.counts.list()),
        },
        Group {
            name: "mode",
            counters: own(&vcpu.mmu.counters()),
        },
        Group {
            name: "kvm_vm",
            counters: stats::kvm::read(vm),
        },
        Group {
            name: "kvm_vcpu",
            counters: stats::kvm::read(&vcpu.fd),
        },
        stats::host_usage(),
    ]
}

#[cfg(feature = "builtin")]
fn builtin_kernel() -> Result<Kernel<'static>, SessionError> {
    Ok(Kernel::from_bytes("built in", gnomon_images::KERNEL))
}

#[cfg(not(feature = "builtin"))]
fn builtin_kernel() -> Result<Kernel<'static>, SessionError> {
    Err(SessionError::NoKernel)
}

/// The root, if there is one, then the further disks.
fn open_disks(config: &Config) -> Result<Vec<Disk>, SessionError> {
    let mut disks = Vec::new();
    // A kernel of the user's own may do without; the guest's cannot.
    if config.kernel.is_none() || config.root.is_some() || !config.files.is_empty() {
        disks.push(Disk {
            backend: root::disk(config.root.as_deref(), &config.files)?,
            id: "root".into(),
        });
    }
    for (i, spec) in config.disks.iter().enumerate() {
        disks.push(Disk {
            backend: Box::new(DiskFile::open(&spec.path, spec.read_only)?),
            id: format!("disk{i}"),
        });
    }
    Ok(disks)
}

/// Start to read standard input.
fn read_input(
    input: &gnomon_devices::virtio::console::ConsoleInput,
    console: Console,
    wakers: &Arc<Wakers>,
) -> Result<(), SessionError> {
    let (input, wakers) = (input.clone(), Arc::clone(wakers));
    let keys = (console == Console::Tty).then(Keys::default);
    // Not joined: it may wait for the user for ever, and ends with the process.
    thread::Builder::new()
        .name("stdin".into())
        .spawn(move || {
            let stdin = io::stdin();
            input::pump(stdin.as_fd(), &input, keys, |command| match command {
                Command::Quit => {
                    let _ = wakers.quit.write(1);
                }
                Command::Help => {
                    let _ = LineWriter(io::stderr())
                        .write_all(b"\ngnomon: Ctrl-A x quits, Ctrl-A Ctrl-A sends Ctrl-A\n");
                }
            });
        })
        .map_err(os("cannot start a thread"))?;
    Ok(())
}

fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, SessionError> {
    fd.try_clone_to_owned()
        .map_err(os("cannot use standard output or error"))
}

/// Init's arguments: none for a shell, so that the kernel's default counts.
fn init_args(program: &[OsString]) -> Vec<Vec<u8>> {
    let init = OsString::from("/sbin/init");
    std::iter::once(&init)
        .chain(program)
        .map(|word| word.clone().into_vec())
        .collect()
}

/// Init's environment.
fn init_env() -> Vec<Vec<u8>> {
    let term = std::env::var_os("TERM").unwrap_or_else(|| "dumb".into());
    let mut term_entry = b"TERM=".to_vec();
    term_entry.extend(term.into_vec());
    vec![
        format!("PATH={GUEST_PATH}").into_bytes(),
        b"HOME=/root".to_vec(),
        term_entry,
    ]
}

/// What the kernel is told of the machine.
fn facts(quirks: u64, tsc_khz: u64) -> Result<BootFacts, SessionError> {
    let mut seed = [0; 32];
    // SAFETY: the buffer has that many bytes; 32 are always given at once.
    let got = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
    if got != seed.len() as isize {
        return Err(os("the host gives no random numbers")(
            io::Error::last_os_error(),
        ));
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(BootFacts {
        magic: boot::MAGIC,
        quirks,
        tsc_khz,
        apic_timer_khz: APIC_TIMER_KHZ,
        wall_clock_ns: now.map_or(0, |now| now.as_nanos() as u64),
        init_args: 0,
        init_args_len: 0,
        init_env: 0,
        init_env_len: 0,
        cpus: 1,
        seed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_follows_init() {
        let args = init_args(&["ls".into(), "-l".into()]);
        assert_eq!(args, [&b"/sbin/init"[..], b"ls", b"-l"]);
    }

    #[test]
    fn guest_status_is_gnomons() {
        assert_eq!(status_of(Reason::Stopped, &Stop::Status(7)), 7);
    }

    #[test]
    fn dead_guest_is_a_failure() {
        assert_eq!(status_of(Reason::Stopped, &Stop::TripleFault), FAILED);
    }

    #[test]
    fn signal_gives_its_status() {
        assert_eq!(status_of(Reason::Signal(15), &Stop::Asked), 143);
    }
}
