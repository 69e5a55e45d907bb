//! Paging modes: how the guest's memory is translated.
//!
//! A mode decides what the virtual machine needs of KVM (an in-kernel interrupt controller or
//! none), puts the virtual processor into its first state, and sees every exit before the devices
//! do. Everything else (loading, devices, the loop, reports) is the same in all modes.

pub mod nested;
pub mod shadow;

use std::fmt;
use std::sync::Arc;

use gnomon_devices::GuestMemory;
use gnomon_devices::irq::MsiSink;
use gnomon_shadow::tables::Policy;
use kvm_bindings::{CpuId, kvm_regs, kvm_sregs};
use kvm_ioctls::{VcpuFd, VmFd};

use crate::boot::kernel::Entry;
use crate::host::{Host, HostError, Module};
use crate::vcpu::exit::{Peripherals, Stop};

/// The mode that the user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// The faster one on this host
    #[default]
    Auto,
    /// The guest's page tables are the processor's, or KVM's business
    Nested,
    /// gnomon's own shadow page tables, the guest kernel deprivileged
    Shadow,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Nested => "nested",
            Self::Shadow => "shadow",
        })
    }
}

/// What a mode has done with an exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// All of it: run on.
    Yes,
    /// Nothing: it is for the devices.
    No,
    /// The virtual machine ends.
    Stop(Stop),
}

/// One paging mode of one virtual machine.
///
/// Called in this order: [`attach_vm`](Self::attach_vm), after the guest's RAM has been given to
/// KVM and before there is a processor; [`attach_vcpu`](Self::attach_vcpu);
/// [`on_exit`](Self::on_exit) for every return of KVM_RUN.
pub trait Mmu: Send {
    /// The mode's name, as `--mmu` takes it.
    fn name(&self) -> &'static str;

    /// Prepare the virtual machine; where interrupt messages are to go.
    ///
    /// # Errors
    /// KVM refuses something.
    fn attach_vm(
        &mut self,
        host: &Host,
        vm: &Arc<VmFd>,
        memory: &GuestMemory,
    ) -> Result<Arc<dyn MsiSink>, HostError>;

    /// Put the processor into the state in which the guest begins.
    ///
    /// # Errors
    /// KVM refuses something.
    fn attach_vcpu(
        &mut self,
        vcpu: &mut VcpuFd,
        cpuid: &CpuId,
        entry: Entry,
    ) -> Result<(), HostError>;

    /// What [`gnomon_abi::boot::BootFacts::quirks`] has to say in this mode on `module`.
    fn quirks(&self, module: Module) -> u64 {
        module.quirks()
    }

    /// The kernel has been loaded; its code lies at these gpas and has these lengths. `sensitive`:
    /// the gpas and lengths of all its sensitive instructions, if they are known. Called once, before
    /// the first KVM_RUN.
    fn code_loaded(&mut self, _code: &[(u64, u64)], _sensitive: Option<&[(u64, u8)]>) {}

    /// KVM_RUN comes next: put in place what it needs; may wait for an event while the guest is
    /// halted.
    fn prepare(&mut self, _vcpu: &mut VcpuFd, _peripherals: &Peripherals) -> Handled {
        Handled::Yes
    }

    /// KVM_RUN has returned without an error: look at the exit first.
    fn on_exit(&mut self, vcpu: &mut VcpuFd, peripherals: &Peripherals) -> Handled;

    /// The processor will not run any more in the thread that it has run in.
    fn leave_thread(&mut self) {}

    /// The guest runs no more: its memory becomes what it would be without this mode, for a report.
    fn ended(&mut self) {}

    /// The registers as the guest believes them to be, for reports; None if they cannot be had.
    fn registers(&self, vcpu: &VcpuFd) -> Option<(kvm_regs, kvm_sregs)>;

    /// Counters of the mode's own, by name.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// The faster mode on `module` for a kernel with this entry: nested, but where KVM emulates all of
/// ring 0, one instruction at a time.
pub fn fastest(module: Module, entry: Entry) -> Choice {
    match (module, entry) {
        (Module::Pvm, Entry::Long(_)) => Choice::Shadow,
        _ => Choice::Nested,
    }
}

/// The mode for `choice`, for a kernel with this entry; `policy` is for the shadow mode.
pub fn choose(choice: Choice, policy: Policy, module: Module, entry: Entry) -> Box<dyn Mmu> {
    match choice {
        Choice::Auto => choose(fastest(module, entry), policy, module, entry),
        Choice::Nested => Box::new(nested::Nested),
        Choice::Shadow => Box::new(shadow::Shadow::new(policy)),
    }
}
