//! Putting a virtual machine together, up to the kernel's first instruction.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::time::SystemTime;

use gnomon_abi::boot::{self, BootFacts};
use gnomon_devices::GuestMemory;
use gnomon_devices::logport::LogSink;
use gnomon_devices::virtio::block::DiskFile;
use gnomon_devices::virtio::console::ConsoleInput;
use kvm_ioctls::{VcpuFd, VmFd};

use super::console::{self, Console};
use super::{Config, SessionError, os};
use crate::boot::kernel::{Entry, Kernel};
use crate::boot::tables::BootData;
use crate::devices::{self, Devices, Disk};
use crate::host::{Host, HostError, Module, cpuid};
use crate::mmu::Mmu;
use crate::root;
use crate::vcpu::Vcpu;
use crate::vm::Vm;
use crate::{memory, mmu};

/// KVM's local APIC counts nanoseconds.
const APIC_TIMER_KHZ: u64 = 1_000_000;

/// Where programs are looked for in the guest.
const GUEST_PATH: &str = "/bin:/sbin:/usr/bin:/usr/sbin";

/// A virtual machine that is ready to run, and what belongs to it.
pub struct Assembled {
    /// Its processor, at the kernel's entry.
    pub vcpu: Vcpu,
    /// KVM's file of it.
    pub vm: Arc<VmFd>,
    /// The kernel, for symbols.
    pub kernel: Kernel<'static>,
    /// KVM's module.
    pub module: Module,
    /// The console's input.
    pub input: ConsoleInput,
    /// The kernel's log.
    pub log: Arc<LogSink>,
}

/// Put together what `config` asks for.
///
/// What may be wrong with files is found before KVM is asked for anything.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub fn assemble(config: &Config, console: Console) -> Result<Assembled, SessionError> {
    let memory = memory::create(config.mem_mib)?;
    let kernel = match &config.kernel {
        Some(path) => Kernel::read(path)?,
        None => builtin_kernel()?,
    };
    let placement = kernel.place(&memory)?;
    let disks = open_disks(config)?;
    kernel.load(&placement, &memory)?;
    let Machine {
        fd,
        mut mmu,
        vm,
        module,
        devices,
        log,
    } = Machine::new(config, &memory, placement.entry, disks)?;
    mmu.code_loaded(&kernel.code(), kernel.sensitive());

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
        facts: facts(mmu.quirks(module), tsc_khz.into())?,
        long_mode: matches!(placement.entry, Entry::Long(_)),
    }
    .write(&memory)?;
    Ok(Assembled {
        vcpu: Vcpu {
            fd,
            mmu,
            peripherals: Arc::new(devices.peripherals),
            control: Arc::default(),
            counts: Default::default(),
            memory,
        },
        vm,
        kernel,
        module,
        input: devices.input,
        log,
    })
}

/// KVM's part of a virtual machine, and the devices.
struct Machine {
    fd: VcpuFd,
    mmu: Box<dyn Mmu>,
    vm: Arc<VmFd>,
    module: Module,
    devices: Devices,
    log: Arc<LogSink>,
}

impl Machine {
    /// With `memory` and `disks`, its processor at `entry`.
    fn new(
        config: &Config,
        memory: &GuestMemory,
        entry: Entry,
        disks: Vec<Disk>,
    ) -> Result<Self, SessionError> {
        let host = Host::open()?;
        let cpuid = cpuid::guest_cpuid(&host)?;
        let module = host.module();
        let mode = mmu::choose(config.mmu, config.shadow_policy, module, entry);
        let vm = Vm::new(&host, memory, mode)?;
        let ends = console::ends(entry, &config.consoles)?;
        let log = Arc::clone(&ends.log);
        let devices = devices::build(memory, vm.msi_sink(), ends, disks)?;
        let vm_fd = Arc::clone(vm.fd());
        let (fd, mmu) = vm.create_vcpu(&cpuid, entry)?;
        Ok(Self {
            fd,
            mmu,
            vm: vm_fd,
            module,
            devices,
            log,
        })
    }
}

#[cfg(feature = "builtin")]
fn builtin_kernel() -> Result<Kernel<'static>, SessionError> {
    Ok(Kernel::built_in())
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
}
