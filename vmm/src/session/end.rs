//! What is told when a guest has ended.

use std::sync::Arc;
use std::time::Duration;

use gnomon_devices::logport::LogSink;
use kvm_ioctls::VmFd;

use super::{Config, SessionError};
use crate::boot::kernel::Kernel;
use crate::cli::{FAILED, TIMED_OUT};
use crate::events::Reason;
use crate::host::Module;
use crate::report::{Death, report};
use crate::stats::{self, Group, Stats};
use crate::tell;
use crate::vcpu::Vcpu;
use crate::vcpu::exit::Stop;

/// A run that is over.
pub struct Ending {
    /// Why the main thread waits no more.
    pub reason: Reason,
    /// Why the processor has stopped.
    pub stop: Stop,
    /// The processor.
    pub vcpu: Vcpu,
    /// KVM's file of the virtual machine.
    pub vm: Arc<VmFd>,
    /// The kernel, for symbols.
    pub kernel: Kernel<'static>,
    /// KVM's module.
    pub module: Module,
    /// The kernel's log.
    pub log: Arc<LogSink>,
    /// From gnomon's start to the first entry into the guest.
    pub start: Duration,
    /// That entry in nanoseconds of the monotonic clock.
    pub entered_at_ns: u64,
    /// From there to the end.
    pub run: Duration,
}

impl Ending {
    /// Report a death, and the counters if `config` asks for them; the status to end with.
    ///
    /// # Errors
    /// The file for the counters cannot be written.
    pub fn tell(&self, config: &Config) -> Result<u8, SessionError> {
        // SIGQUIT asks where the guest is; so does whoever has set a time limit.
        let wanted = matches!(
            self.reason,
            Reason::Signal(libc::SIGQUIT) | Reason::TimeLimit
        );
        let by_itself = matches!(
            self.stop,
            Stop::Status(_) | Stop::DebugExit(_) | Stop::Asked
        );
        if wanted || !by_itself {
            let death = Death {
                stop: &self.stop,
                registers: self.vcpu.mmu.registers(&self.vcpu.fd),
                memory: &self.vcpu.memory,
                kernel: self.kernel.bytes(),
                log: self.log.last_lines(),
            };
            tell::err(format_args!("{}", report(&death)));
        }
        if config.stats || config.stats_json.is_some() {
            self.write_stats(config)?;
        }
        Ok(status_of(self.reason, &self.stop, config.success))
    }

    fn write_stats(&self, config: &Config) -> Result<(), SessionError> {
        let stats = Stats {
            mode: self.vcpu.mmu.name(),
            module: self.module.name(),
            start: self.start,
            entered_at_ns: self.entered_at_ns,
            run: self.run,
            groups: groups(&self.vcpu, &self.vm),
        };
        if config.stats {
            tell::err(format_args!("{stats}"));
        }
        let Some(path) = &config.stats_json else {
            return Ok(());
        };
        std::fs::write(path, stats::to_json(&stats)).map_err(|source| SessionError::StatsFile {
            path: path.display().to_string(),
            source,
        })
    }
}

/// gnomon's exit status; `success` is that of the debug exit port which counts as 0.
pub fn status_of(reason: Reason, stop: &Stop, success: Option<u8>) -> u8 {
    match (reason, stop) {
        (_, Stop::Status(status)) => *status,
        (_, Stop::DebugExit(value)) => match debug_exit_status(*value) {
            status if Some(status) == success => 0,
            status => status,
        },
        (Reason::TimeLimit, Stop::Asked) => TIMED_OUT,
        (Reason::Signal(signal), Stop::Asked) => 128 + signal as u8,
        (_, Stop::Asked) => 0,
        _ => FAILED,
    }
}

/// The status with which QEMU ends when a guest writes `value` to its isa-debug-exit port.
const fn debug_exit_status(value: u32) -> u8 {
    (value << 1 | 1) as u8
}

/// All counters.
fn groups(vcpu: &Vcpu, vm: &VmFd) -> Vec<Group> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_status_is_gnomons() {
        assert_eq!(status_of(Reason::Stopped, &Stop::Status(7), None), 7);
    }

    #[test]
    fn debug_exit_maps_as_qemu_does() {
        let stop = Stop::DebugExit(0x11);
        assert_eq!(status_of(Reason::Stopped, &stop, None), 35);
        assert_eq!(status_of(Reason::Stopped, &stop, Some(33)), 35);
    }

    #[test]
    fn successful_debug_exit_is_zero() {
        let stop = Stop::DebugExit(0x10);
        assert_eq!(status_of(Reason::Stopped, &stop, Some(33)), 0);
    }

    #[test]
    fn guest_past_its_time_has_a_status_of_its_own() {
        let status = status_of(Reason::TimeLimit, &Stop::Asked, None);
        assert_eq!(status, TIMED_OUT);
    }

    #[test]
    fn dead_guest_is_a_failure() {
        assert_eq!(status_of(Reason::Stopped, &Stop::TripleFault, None), FAILED);
    }

    #[test]
    fn signal_gives_its_status() {
        assert_eq!(status_of(Reason::Signal(15), &Stop::Asked, None), 143);
    }
}
