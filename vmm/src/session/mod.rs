//! One run from beginning to end: everything is put together, the guest runs, its end is told.

mod assemble;
mod console;
mod end;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use gnomon_devices::virtio::block::DiskError;
use gnomon_shadow::tables::Policy;
use thiserror::Error;

use crate::boot::BootError;
use crate::clock;
use crate::devices::DevicesError;
use crate::events::{self, Reason, Signals, Wakers};
use crate::host::HostError;
use crate::memory::MemoryError;
use crate::mmu::Choice;
use crate::root::{FileSpec, RootError};
use crate::terminal::RawTerminal;
use crate::vcpu::Vcpu;
use crate::vcpu::exit::Stop;
use assemble::{Assembled, assemble};
use console::Console;
use end::Ending;

/// How long a processor that has been told to stop may take.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

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
    /// Files that take the output of further consoles.
    pub consoles: Vec<PathBuf>,
    /// Counters on standard error at the end.
    pub stats: bool,
    /// Counters into this file at the end.
    pub stats_json: Option<PathBuf>,
    /// The program and its arguments.
    pub program: Vec<OsString>,
    /// How long the guest may run.
    pub time_limit: Option<Duration>,
    /// The status of a write to the debug exit port that counts as success.
    pub success: Option<u8>,
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
    /// A file for a console.
    #[error("--console {path}: {source}")]
    Console {
        /// The file.
        path: String,
        /// What the host says.
        source: io::Error,
    },
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
    let console = Console::detect();
    let Assembled {
        vcpu,
        vm,
        kernel,
        module,
        input,
        log,
    } = assemble(&config, console)?;
    // Until here a signal ends gnomon as any program: the opening of a FIFO may wait for ever.
    let signals = Signals::block().map_err(os("cannot take signals"))?;

    let control = Arc::clone(&vcpu.control);
    let wakers = Arc::new(Wakers::new().map_err(os("cannot make events"))?);
    let raw = match console {
        Console::Tty => {
            Some(RawTerminal::enter(libc::STDIN_FILENO).map_err(os("cannot change the terminal"))?)
        }
        Console::Stream => None,
    };
    let start = started.elapsed();
    let entered_at_ns = clock::now_ns();
    let processor = start_processor(vcpu, &wakers)?;
    console::read_input(&input, console, &wakers)?;

    let reason = events::wait(signals, &wakers, &control, &input, config.time_limit)
        .map_err(os("cannot wait for events"))?;
    if reason != Reason::Stopped {
        control.stop();
        input.stop();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !processor.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        if !processor.is_finished() {
            // It hangs in a write to somebody who does not read; it ends with the process.
            drop(raw);
            return Ok(end::status_of(reason, &Stop::Asked, config.success));
        }
    }
    let (stop, mut vcpu) = processor.join().map_err(|_| SessionError::Internal)?;
    drop(raw);
    vcpu.mmu.ended();
    Ending {
        reason,
        stop,
        vcpu,
        vm,
        kernel,
        module,
        log,
        start,
        entered_at_ns,
        run: started.elapsed() - start,
    }
    .tell(&config)
}

/// Let the processor run in a thread of its own; `wakers` hear of its end.
fn start_processor(
    mut vcpu: Vcpu,
    wakers: &Arc<Wakers>,
) -> Result<thread::JoinHandle<(Stop, Vcpu)>, SessionError> {
    let wake = WakeOnDrop(Arc::clone(wakers));
    thread::Builder::new()
        .name("vcpu0".into())
        .spawn(move || {
            let stop = vcpu.run();
            drop(wake);
            (stop, vcpu)
        })
        .map_err(os("cannot start a thread"))
}
