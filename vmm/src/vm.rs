//! One virtual machine: its memory known to KVM, its devices on the bus, its processor at the
//! kernel's entry.
//!
//! The order matters. Memory slots come before the interrupt controller (a slot registered after
//! a full one costs milliseconds), CPUID before model-specific registers and system registers.

use std::sync::Arc;

use gnomon_devices::GuestMemory;
use gnomon_devices::irq::MsiSink;
use kvm_bindings::{CpuId, kvm_userspace_memory_region};
use kvm_ioctls::{VcpuFd, VmFd};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};

use crate::boot::kernel::Entry;
use crate::host::{Host, HostError, Module};
use crate::mmu::Mmu;

/// Where Intel's processors without "unrestricted guest" may keep a task state segment for real
/// mode: three pages that the guest does not see.
const TSS_ADDRESS: usize = 0xfffb_d000;

/// A virtual machine and the mode that it runs in.
pub struct Vm {
    fd: Arc<VmFd>,
    mmu: Box<dyn Mmu>,
    msi: Arc<dyn MsiSink>,
    /// Keeps the mapping that KVM knows of.
    memory: GuestMemory,
}

impl Vm {
    /// A virtual machine with `memory`, in the mode `mmu`, without processors.
    ///
    /// # Errors
    /// KVM refuses something.
    pub fn new(
        host: &Host,
        memory: &GuestMemory,
        mut mmu: Box<dyn Mmu>,
    ) -> Result<Self, HostError> {
        let fd = loop {
            match host.kvm().create_vm() {
                // A signal came while KVM waited for something.
                Err(error) if error.errno() == libc::EINTR => {}
                result => break result.map_err(HostError::refused("a virtual machine"))?,
            }
        };
        for (slot, region) in memory.iter().enumerate() {
            let refused = HostError::refused("the guest's memory");
            let Ok(host_address) = region.get_host_address(MemoryRegionAddress(0)) else {
                return Err(refused(kvm_ioctls::Error::new(libc::EINVAL)));
            };
            let slot = kvm_userspace_memory_region {
                slot: slot as u32,
                flags: 0,
                guest_phys_addr: region.start_addr().0,
                memory_size: region.len(),
                userspace_addr: host_address as u64,
            };
            // SAFETY: the range is a mapping of ours that `self.memory` keeps as long as KVM's
            // virtual machine lives; only `vm-memory`'s volatile accesses touch it here.
            unsafe { fd.set_user_memory_region(slot) }.map_err(refused)?;
        }
        if host.module() == Module::Intel {
            fd.set_tss_address(TSS_ADDRESS)
                .map_err(HostError::refused("an address for its task state segment"))?;
        }
        let fd = Arc::new(fd);
        let msi = mmu.attach_vm(host, &fd, memory)?;
        Ok(Self {
            fd,
            mmu,
            msi,
            memory: memory.clone(),
        })
    }

    /// Where interrupt messages go.
    pub fn msi_sink(&self) -> Arc<dyn MsiSink> {
        Arc::clone(&self.msi)
    }

    /// KVM's file of it.
    pub const fn fd(&self) -> &Arc<VmFd> {
        &self.fd
    }

    /// The guest's memory.
    pub const fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Create the processor and put it at `entry`; it comes with the mode that runs it.
    ///
    /// # Errors
    /// KVM refuses something.
    pub fn create_vcpu(
        mut self,
        cpuid: &CpuId,
        entry: Entry,
    ) -> Result<(VcpuFd, Box<dyn Mmu>), HostError> {
        let mut vcpu = self
            .fd
            .create_vcpu(0)
            .map_err(HostError::refused("a virtual processor"))?;
        self.mmu.attach_vcpu(&mut vcpu, cpuid, entry)?;
        Ok((vcpu, self.mmu))
    }
}
