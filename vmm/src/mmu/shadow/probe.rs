//! Whether the shadow mode works on a host, by trying it with a tiny kernel.

use std::sync::Arc;

use gnomon_abi::ports;
use gnomon_devices::GuestMemory;
use gnomon_devices::bus::Bus;
use gnomon_devices::exit::{ExitLatch, ExitPort};
use gnomon_devices::ioapic::Ioapic;
use gnomon_shadow::tables::Policy;
use vm_memory::{Bytes, GuestAddress};

use super::Shadow;
use crate::boot::kernel::Entry;
use crate::boot::layout;
use crate::host::{Host, cpuid};
use crate::vcpu::Vcpu;
use crate::vcpu::exit::{Peripherals, Stop};
use crate::vm::Vm;

/// Where the tiny kernel lies: free memory below 1 MiB.
pub const CODE: u64 = 0x4_0000;
/// Memory of the tiny guest.
const MEMORY: usize = 2 << 20;
/// The status with which it ends.
const STATUS: u8 = 42;

/// `cli; mov rax, cr0; mov cr0, rax; mov eax, STATUS; mov edx, EXIT; out dx, eax; hlt`
const KERNEL: [u8; 20] = [
    0xfa,
    0x0f,
    0x20,
    0xc0,
    0x0f,
    0x22,
    0xc0,
    0xb8,
    STATUS,
    0,
    0,
    0,
    0xba,
    ports::EXIT as u8,
    (ports::EXIT >> 8) as u8,
    0,
    0,
    0xef,
    0xf4,
    0x90,
];

/// Tries the mode.
///
/// # Errors
/// Why it does not work.
pub fn try_out(host: &Host) -> Result<(), String> {
    match run_tiny(host, Policy::Unsync, &KERNEL, |_| {})? {
        Stop::Status(STATUS) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// Runs a tiny kernel: `code` at [`CODE`] in a guest of 2 MiB with one large page of them, user
/// and supervisor, one to one, and nothing but the exit ports; `prepare` may change memory first.
/// Says how it ended.
///
/// # Errors
/// It could not be started.
pub fn run_tiny(
    host: &Host,
    policy: Policy,
    code: &[u8],
    prepare: impl FnOnce(&GuestMemory),
) -> Result<Stop, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let ranges = [(GuestAddress(0), MEMORY)];
    let memory = GuestMemory::from_ranges(&ranges).map_err(|error| text(&error))?;
    let words = [
        (layout::PML4, layout::PDPT | 7),
        (layout::PDPT, layout::PD | 7),
        (layout::PD, 0x87),
    ];
    for (at, entry) in words {
        memory
            .write_obj(entry, GuestAddress(at))
            .map_err(|error| text(&error))?;
    }
    memory
        .write_slice(code, GuestAddress(CODE))
        .map_err(|error| text(&error))?;
    prepare(&memory);
    let mode = Box::new(Shadow::new(policy));
    let vm = Vm::new(host, &memory, mode).map_err(|error| text(&error))?;
    let mut bus = Bus::new();
    let latch = Arc::new(ExitLatch::new());
    ExitPort::add_all(&mut bus, &latch).map_err(|error| text(&error))?;
    let ioapic = Ioapic::new(vm.msi_sink());
    let cpuid = cpuid::guest_cpuid(host).map_err(|error| text(&error))?;
    let (fd, mut mmu) = vm
        .create_vcpu(&cpuid, Entry::Long(CODE))
        .map_err(|error| text(&error))?;
    mmu.code_loaded(&[(CODE, code.len() as u64)], None);
    let mut vcpu = Vcpu {
        fd,
        mmu,
        peripherals: Arc::new(Peripherals { bus, ioapic, latch }),
        control: Arc::default(),
        counts: Default::default(),
        memory,
    };
    Ok(vcpu.run())
}
