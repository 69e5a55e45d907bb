//! The nested mode: the guest's CR3 is the processor's, ring 0 is ring 0.
//!
//! Where there is nested paging in hardware, it translates; where there is none, KVM shadows the
//! guest's tables. gnomon sees no page fault either way. Interrupts go through KVM's local APIC;
//! the I/O APIC is gnomon's own (a split interrupt controller), because a full in-kernel one
//! costs milliseconds at start and end.

use std::sync::Arc;

use gnomon_devices::GuestMemory;
use gnomon_devices::ioapic;
use gnomon_devices::irq::MsiSink;
use kvm_bindings::{
    CpuId, KVM_CAP_SPLIT_IRQCHIP, Msrs, kvm_enable_cap, kvm_msi, kvm_msr_entry, kvm_regs, kvm_sregs,
};
use kvm_ioctls::{Cap, VcpuFd, VmFd};

use super::{Handled, Mmu};
use crate::boot::kernel::Entry;
use crate::host::{Host, HostError};
use crate::vcpu::entry;
use crate::vcpu::exit::Peripherals;

/// Registers that differ from what KVM sets at reset (SDM volume 4).
const MSRS: [(u32, u64); 2] = [
    // IA32_MISC_ENABLE: fast strings.
    (0x1a0, 1),
    // IA32_MTRR_DEF_TYPE: enabled, write-back.
    (0x2ff, 1 << 11 | 6),
];

/// The nested mode. It has no state of its own.
pub struct Nested;

/// KVM's local APICs.
struct KvmApics(Arc<VmFd>);

impl MsiSink for KvmApics {
    fn send(&self, address: u64, data: u32) {
        let message = kvm_msi {
            address_lo: address as u32,
            address_hi: (address >> 32) as u32,
            data,
            ..Default::default()
        };
        if let Err(error) = self.0.signal_msi(message) {
            log::debug!("interrupt message {data:#x} to {address:#x} is lost: {error}");
        }
    }
}

impl Mmu for Nested {
    fn name(&self) -> &'static str {
        "nested"
    }

    fn attach_vm(
        &mut self,
        host: &Host,
        vm: &Arc<VmFd>,
        _memory: &GuestMemory,
    ) -> Result<Arc<dyn MsiSink>, HostError> {
        host.need(
            Cap::SplitIrqchip,
            "a split interrupt controller (Linux 4.5)",
        )?;
        let mut split = kvm_enable_cap {
            cap: KVM_CAP_SPLIT_IRQCHIP,
            ..Default::default()
        };
        split.args[0] = ioapic::PINS as u64;
        vm.enable_cap(&split)
            .map_err(HostError::refused("a split interrupt controller"))?;
        Ok(Arc::new(KvmApics(Arc::clone(vm))))
    }

    fn attach_vcpu(
        &mut self,
        vcpu: &mut VcpuFd,
        cpuid: &CpuId,
        entry: Entry,
    ) -> Result<(), HostError> {
        vcpu.set_cpuid2(cpuid)
            .map_err(HostError::refused("the guest's CPUID"))?;
        let entries = MSRS.map(|(index, data)| kvm_msr_entry {
            index,
            data,
            ..Default::default()
        });
        let refused = HostError::refused("the guest's model-specific registers");
        if let Ok(msrs) = Msrs::from_entries(&entries) {
            // KVM stops at the first that it does not know; the guest can live without these.
            let set = vcpu.set_msrs(&msrs).map_err(refused)?;
            if let Some((index, _)) = MSRS.get(set) {
                log::debug!("KVM does not take model-specific register {index:#x}");
            }
        }
        let mut sregs = vcpu
            .get_sregs()
            .map_err(HostError::refused("to read the system registers"))?;
        entry::system(entry, &mut sregs);
        vcpu.set_sregs(&sregs)
            .map_err(HostError::refused("the guest's system registers"))?;
        vcpu.set_regs(&entry::general(entry))
            .map_err(HostError::refused("the guest's registers"))
    }

    fn on_exit(&mut self, _vcpu: &mut VcpuFd, _peripherals: &Peripherals) -> Handled {
        Handled::No
    }

    fn registers(&self, vcpu: &VcpuFd) -> Option<(kvm_regs, kvm_sregs)> {
        Some((vcpu.get_regs().ok()?, vcpu.get_sregs().ok()?))
    }
}
