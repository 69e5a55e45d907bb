//! Why KVM_RUN has returned, and what the devices have to do with it.
//!
//! [`Exit::decode`] reads KVM's shared page into an enum; [`dispatch`] is a free function over the
//! [`Peripherals`], so that tests need no KVM.

use std::sync::Arc;

use gnomon_devices::bus::Bus;
use gnomon_devices::exit::{ExitEvent, ExitLatch};
use gnomon_devices::ioapic::Ioapic;
use kvm_bindings::{
    KVM_EXIT_DEBUG, KVM_EXIT_FAIL_ENTRY, KVM_EXIT_HLT, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_INTR,
    KVM_EXIT_IO, KVM_EXIT_IO_OUT, KVM_EXIT_IOAPIC_EOI, KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_MMIO,
    KVM_EXIT_NMI, KVM_EXIT_SHUTDOWN, KVM_EXIT_SYSTEM_EVENT, KVM_EXIT_X86_RDMSR, KVM_EXIT_X86_WRMSR,
    kvm_run,
};

/// What a virtual processor reaches outside of itself.
pub struct Peripherals {
    /// Devices by port and address.
    pub bus: Bus,
    /// Hears of ended interrupts; None where the interrupt controller is another's business.
    pub ioapic: Arc<Ioapic>,
    /// Remembers that the guest wants to end.
    pub latch: Arc<ExitLatch>,
}

/// One return from KVM_RUN (KVM API, "The kvm_run structure").
#[derive(Debug, PartialEq, Eq)]
pub enum Exit<'a> {
    /// `in`: fill `data` with elements of `width` bytes.
    PioIn {
        /// The port.
        port: u16,
        /// Bytes in an element: 1, 2 or 4.
        width: usize,
        /// All elements.
        data: &'a mut [u8],
    },
    /// `out`.
    PioOut {
        /// The port.
        port: u16,
        /// Bytes in an element: 1, 2 or 4.
        width: usize,
        /// All elements.
        data: &'a [u8],
    },
    /// A load from where there is no memory.
    MmioRead {
        /// Guest physical address.
        addr: u64,
        /// To be filled; 1 to 8 bytes.
        data: &'a mut [u8],
    },
    /// A store to where there is no memory.
    MmioWrite {
        /// Guest physical address.
        addr: u64,
        /// 1 to 8 bytes.
        data: &'a [u8],
    },
    /// The local APIC has ended a level-triggered interrupt.
    IoapicEoi(u8),
    /// `hlt`, where no in-kernel APIC waits for the next interrupt.
    Halt,
    /// The interrupt window that was asked for is open.
    IrqWindow,
    /// A signal.
    Interrupted,
    /// A breakpoint or single step that was asked for.
    Debug,
    /// Triple fault.
    Shutdown,
    /// KVM cannot go on.
    InternalError {
        /// KVM_INTERNAL_ERROR_…
        suberror: u32,
        /// What KVM adds.
        data: Vec<u64>,
    },
    /// The processor refuses the guest's state.
    FailEntry {
        /// The hardware's reason.
        reason: u64,
    },
    /// Shutdown or reset by a paravirtual interface.
    SystemEvent(u32),
    /// A model-specific register that the monitor asked to be told of.
    Msr {
        /// The register.
        index: u32,
        /// Written, not read.
        write: bool,
    },
    /// Nothing that gnomon knows.
    Other(u32),
}

/// KVM's suberror for an instruction that it cannot emulate.
pub const SUBERROR_EMULATION: u32 = 1;

impl<'a> Exit<'a> {
    /// Read the exit out of `run`.
    ///
    /// # Safety
    /// `run` is the whole page or pages that KVM shares for a virtual processor
    /// (KVM_GET_VCPU_MMAP_SIZE bytes), and KVM_RUN has just returned.
    pub unsafe fn decode(run: &'a mut kvm_run) -> Self {
        let base: *mut u8 = std::ptr::from_mut(run).cast();
        // SAFETY (for all reads of the union below): the exit reason says which member KVM has
        // filled, and each is plain data.
        match run.exit_reason {
            KVM_EXIT_IO => {
                // SAFETY: see above.
                let io = unsafe { run.__bindgen_anon_1.io };
                let width = usize::from(io.size);
                let len = width * io.count as usize;
                // SAFETY: KVM places `count` elements at `data_offset` within the shared pages,
                // behind the structure; the borrow of `run` covers the slice's life.
                let data = unsafe {
                    std::slice::from_raw_parts_mut(base.add(io.data_offset as usize), len)
                };
                let port = io.port;
                if u32::from(io.direction) == KVM_EXIT_IO_OUT {
                    Self::PioOut { port, width, data }
                } else {
                    Self::PioIn { port, width, data }
                }
            }
            KVM_EXIT_MMIO => {
                // SAFETY: see above.
                let mmio = unsafe { &mut run.__bindgen_anon_1.mmio };
                let (addr, write) = (mmio.phys_addr, mmio.is_write != 0);
                let len = (mmio.len as usize).min(mmio.data.len());
                let data = &mut mmio.data[..len];
                if write {
                    Self::MmioWrite { addr, data }
                } else {
                    Self::MmioRead { addr, data }
                }
            }
            // SAFETY: see above.
            KVM_EXIT_IOAPIC_EOI => Self::IoapicEoi(unsafe { run.__bindgen_anon_1.eoi.vector }),
            KVM_EXIT_HLT => Self::Halt,
            KVM_EXIT_IRQ_WINDOW_OPEN => Self::IrqWindow,
            KVM_EXIT_INTR | KVM_EXIT_NMI => Self::Interrupted,
            KVM_EXIT_DEBUG => Self::Debug,
            KVM_EXIT_SHUTDOWN => Self::Shutdown,
            KVM_EXIT_INTERNAL_ERROR => {
                // SAFETY: see above.
                let internal = unsafe { run.__bindgen_anon_1.internal };
                let count = (internal.ndata as usize).min(internal.data.len());
                Self::InternalError {
                    suberror: internal.suberror,
                    data: internal.data[..count].to_vec(),
                }
            }
            KVM_EXIT_FAIL_ENTRY => {
                // SAFETY: see above.
                let fail = unsafe { run.__bindgen_anon_1.fail_entry };
                Self::FailEntry {
                    reason: fail.hardware_entry_failure_reason,
                }
            }
            KVM_EXIT_SYSTEM_EVENT => {
                // SAFETY: see above.
                Self::SystemEvent(unsafe { run.__bindgen_anon_1.system_event.type_ })
            }
            reason @ (KVM_EXIT_X86_RDMSR | KVM_EXIT_X86_WRMSR) => Self::Msr {
                // SAFETY: see above.
                index: unsafe { run.__bindgen_anon_1.msr.index },
                write: reason == KVM_EXIT_X86_WRMSR,
            },
            reason => Self::Other(reason),
        }
    }
}

/// Why a virtual processor will not run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The guest has ended with this status.
    Status(u8),
    /// The guest has written this value to the debug exit port.
    DebugExit(u32),
    /// The guest's kernel says that it cannot go on; a `FatalReason`.
    Fatal(u32),
    /// Triple fault.
    TripleFault,
    /// Halted with interrupts off: nothing can wake it.
    Dead,
    /// KVM cannot go on.
    InternalError {
        /// KVM_INTERNAL_ERROR_…
        suberror: u32,
        /// What KVM adds.
        data: Vec<u64>,
    },
    /// The processor refuses the guest's state.
    FailEntry(u64),
    /// An exit that gnomon does not know.
    UnknownExit(u32),
    /// KVM_RUN itself fails with this error number.
    RunFailed(i32),
    /// The paging mode cannot go on, and says why.
    Mode(String),
    /// Asked to from outside.
    Asked,
}

/// What comes after an exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Run on.
    Continue,
    /// Do not.
    Stop(Stop),
}

/// Do what `exit` asks the devices for.
pub fn dispatch(exit: Exit<'_>, peripherals: &Peripherals) -> Step {
    match exit {
        Exit::PioIn { port, width, data } => {
            peripherals.bus.pio_read(port, width, data);
        }
        Exit::PioOut { port, width, data } => {
            peripherals.bus.pio_write(port, width, data);
            return latched(&peripherals.latch);
        }
        Exit::MmioRead { addr, data } => {
            peripherals.bus.mmio_read(addr, data);
        }
        Exit::MmioWrite { addr, data } => {
            peripherals.bus.mmio_write(addr, data);
            return latched(&peripherals.latch);
        }
        Exit::IoapicEoi(vector) => peripherals.ioapic.end_of_interrupt(vector),
        Exit::IrqWindow | Exit::Interrupted => {}
        Exit::Halt => return Step::Stop(Stop::Dead),
        Exit::Shutdown => return Step::Stop(Stop::TripleFault),
        Exit::InternalError { suberror, data } => {
            return Step::Stop(Stop::InternalError { suberror, data });
        }
        Exit::FailEntry { reason } => return Step::Stop(Stop::FailEntry(reason)),
        Exit::SystemEvent(kind) => {
            log::debug!("the guest asks for system event {kind}");
            return Step::Stop(Stop::Status(0));
        }
        Exit::Debug => return Step::Stop(Stop::UnknownExit(KVM_EXIT_DEBUG)),
        Exit::Msr { write, .. } => {
            return Step::Stop(Stop::UnknownExit(if write {
                KVM_EXIT_X86_WRMSR
            } else {
                KVM_EXIT_X86_RDMSR
            }));
        }
        Exit::Other(reason) => return Step::Stop(Stop::UnknownExit(reason)),
    }
    Step::Continue
}

/// Whether a device has been told that the guest wants to end.
fn latched(latch: &ExitLatch) -> Step {
    match latch.get() {
        None => Step::Continue,
        Some(ExitEvent::Exit(status)) => Step::Stop(Stop::Status(status)),
        Some(ExitEvent::Fatal(reason)) => Step::Stop(Stop::Fatal(reason)),
        Some(ExitEvent::DebugExit(value)) => Step::Stop(Stop::DebugExit(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_abi::ports;
    use gnomon_devices::exit::ExitPort;
    use gnomon_devices::irq::MsiSink;

    struct Nowhere;

    impl MsiSink for Nowhere {
        fn send(&self, _address: u64, _data: u32) {}
    }

    fn peripherals() -> Peripherals {
        let (mut bus, latch) = (Bus::new(), Arc::new(ExitLatch::new()));
        ExitPort::add_all(&mut bus, &latch).unwrap();
        let ioapic = Ioapic::new(Arc::new(Nowhere));
        Peripherals { bus, ioapic, latch }
    }

    #[test]
    fn unregistered_port_reads_all_ones() {
        let mut data = [0; 2];
        let exit = Exit::PioIn {
            port: 0x80,
            width: 2,
            data: &mut data,
        };
        assert_eq!(dispatch(exit, &peripherals()), Step::Continue);
        assert_eq!(data, [0xff; 2]);
    }

    #[test]
    fn unregistered_address_reads_all_ones() {
        let mut data = [0; 8];
        let exit = Exit::MmioRead {
            addr: 0xe000_0000,
            data: &mut data,
        };
        assert_eq!(dispatch(exit, &peripherals()), Step::Continue);
        assert_eq!(data, [0xff; 8]);
    }

    #[test]
    fn exit_port_stops_with_the_status() {
        let data = 7_u32.to_le_bytes();
        let exit = Exit::PioOut {
            port: ports::EXIT,
            width: 4,
            data: &data,
        };
        let step = dispatch(exit, &peripherals());
        assert_eq!(step, Step::Stop(Stop::Status(7)));
    }

    #[test]
    fn debug_exit_stops_with_the_value() {
        let exit = Exit::PioOut {
            port: ports::DEBUG_EXIT,
            width: 1,
            data: &[0x10],
        };
        let step = dispatch(exit, &peripherals());
        assert_eq!(step, Step::Stop(Stop::DebugExit(0x10)));
    }

    #[test]
    fn shutdown_is_a_triple_fault() {
        let step = dispatch(Exit::Shutdown, &peripherals());
        assert_eq!(step, Step::Stop(Stop::TripleFault));
    }

    #[test]
    fn unknown_exit_stops() {
        let step = dispatch(Exit::Other(99), &peripherals());
        assert_eq!(step, Step::Stop(Stop::UnknownExit(99)));
    }
}
