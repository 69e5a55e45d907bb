//! `gnomon test`: the guest's tests, or a kernel of the user's own.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use gnomon_shadow::tables::Policy;

use crate::mmu::Choice;
use crate::mode::Mode;
use crate::session::{self, Config};
use crate::testing::{self, Filter, Machine, Options, Style};

/// Arguments of `gnomon test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run only tests whose names contain one of these; with --kernel, words for its command line
    #[arg(value_name = "FILTER")]
    words: Vec<String>,

    /// Paging modes: auto, nested, shadow, shadow:POLICY; with commas between
    #[arg(
        long,
        value_name = "LIST",
        default_value = "auto",
        overrides_with = "mmu"
    )]
    mmu: String,

    /// Names must be equal to FILTER
    #[arg(long)]
    exact: bool,

    /// Leave out tests whose names contain this; repeatable
    #[arg(long, value_name = "WORD")]
    skip: Vec<String>,

    /// Print the names of the tests, and run none
    #[arg(long)]
    list: bool,

    /// Run the tests on this Linux, too, and compare
    #[arg(long)]
    oracle: bool,

    /// Write the results to this file, as JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Seconds that a test, or the kernel of --kernel, may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,

    /// Guests that run at once; as many as there are processors, unless this says otherwise
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,

    /// Show only what fails
    #[arg(short, long)]
    quiet: bool,

    /// Show the output of tests that pass, too
    #[arg(long, visible_alias = "nocapture")]
    no_capture: bool,

    /// Run the tests of this program instead: an ordinary static one that names its tests when it is
    /// called with --list, and runs one when it is called with its name
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Memory of the guest, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = super::mebibytes, allow_negative_numbers = true)]
    mem: u64,

    /// Add this to the kernel's command line
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    cmdline: String,

    /// Instead of the guest's tests, boot this kernel, an ELF file, which reports by the
    /// isa-debug-exit port (0xf4) and the serial port
    #[arg(long, value_name = "FILE", conflicts_with_all = ["list", "oracle", "junit", "exact", "skip", "program"])]
    kernel: Option<PathBuf>,

    /// With --kernel: the exit status of the debug port that means success, (VALUE << 1) | 1
    #[arg(long, value_name = "STATUS", default_value_t = 33)]
    success: u8,
}

/// Run the tests: 0 if all is well, 1 if not; with --kernel what became of that.
pub fn run(args: Args) -> Result<u8, String> {
    let modes = Mode::parse_list(&args.mmu)?;
    if args.kernel.is_some() {
        return kernel_in_modes(args, &modes);
    }
    let filter = Filter {
        words: args.words,
        exact: args.exact,
        skip: args.skip,
    };
    if args.list {
        testing::list(&filter, args.program.as_deref())?;
        return Ok(0);
    }
    super::writable(args.junit.as_deref())?;
    let mut machine = Machine {
        mem_mib: args.mem,
        options: Vec::new(),
    };
    if !args.cmdline.is_empty() {
        machine.options = vec!["--cmdline".into(), args.cmdline.into()];
    }
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let all_well = testing::run(&Options {
        filter,
        program: args.program,
        modes,
        oracle: args.oracle,
        limit: args.timeout,
        jobs: args.jobs.map_or_else(processors, usize::from),
        machine,
        style: Style {
            colour,
            quiet: args.quiet,
            output: args.no_capture,
        },
        junit: args.junit,
    })?;
    Ok(u8::from(!all_well))
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Run the kernel in each mode; the first status that is not 0. With several modes each is a run of
/// this very program.
fn kernel_in_modes(args: Args, modes: &[Mode]) -> Result<u8, String> {
    let [mode] = modes else {
        let gnomon = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut worst = 0;
        for mode in modes {
            let status = Command::new(&gnomon)
                .args(std::env::args_os().skip(1).collect::<Vec<_>>())
                .args(["--mmu", &mode.to_string()])
                .status()
                .map_err(|error| format!("cannot run gnomon itself: {error}"))?;
            let status = status.code().map_or(super::FAILED, |code| code as u8);
            if worst == 0 {
                worst = status;
            }
        }
        return Ok(worst);
    };
    kernel(args, mode)
}

fn kernel(args: Args, mode: &Mode) -> Result<u8, String> {
    let started = Instant::now();
    let mut cmdline = args.words;
    cmdline.extend((!args.cmdline.is_empty()).then_some(args.cmdline));
    let policy = mode.policy.as_deref().unwrap_or("unsync");
    session::run(
        Config {
            mmu: match mode.mmu.as_str() {
                "nested" => Choice::Nested,
                "shadow" => Choice::Shadow,
                _ => Choice::Auto,
            },
            shadow_policy: policy.parse::<Policy>()?,
            cpus: 1,
            mem_mib: args.mem,
            kernel: args.kernel,
            cmdline: cmdline.join(" "),
            root: None,
            files: Vec::new(),
            disks: Vec::new(),
            consoles: Vec::new(),
            stats: false,
            stats_json: None,
            program: Vec::new(),
            time_limit: Some(Duration::from_secs(args.timeout)),
            success: Some(args.success),
        },
        started,
    )
    .map_err(|error| error.to_string())
}
