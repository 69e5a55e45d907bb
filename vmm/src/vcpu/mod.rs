//! One virtual processor and its exit loop.
//!
//! The loop is the same in all paging modes: KVM_RUN; then the mode ([`Mmu::on_exit`]) sees the
//! exit first; what it leaves goes to the devices ([`exit::dispatch`]).

pub mod entry;
pub mod exit;
pub mod kick;

use std::sync::Arc;

use gnomon_devices::GuestMemory;
use kvm_bindings::KVM_MP_STATE_HALTED;
use kvm_ioctls::VcpuFd;

use crate::mmu::{Handled, Mmu};
use crate::stats::ExitCounts;
use exit::{Exit, Peripherals, Step, Stop, dispatch};
use kick::Control;

/// RFLAGS: interrupts are taken.
const RFLAGS_IF: u64 = 1 << 9;

/// A virtual processor, ready to run.
pub struct Vcpu {
    /// KVM's file of it.
    pub fd: VcpuFd,
    /// How its memory is translated.
    pub mmu: Box<dyn Mmu>,
    /// What it reaches outside of itself.
    pub peripherals: Arc<Peripherals>,
    /// What other threads want of it.
    pub control: Arc<Control>,
    /// Exits by kind.
    pub counts: ExitCounts,
    /// The guest's memory, which KVM uses as long as the processor runs.
    pub memory: GuestMemory,
}

impl Vcpu {
    /// Run the guest until something ends it.
    pub fn run(&mut self) -> Stop {
        let stop = self.run_on();
        self.mmu.leave_thread();
        stop
    }

    fn run_on(&mut self) -> Stop {
        let control = Arc::clone(&self.control);
        let shared = std::ptr::from_mut(self.fd.get_kvm_run());
        // SAFETY: the page is mapped as long as `self.fd` lives, which outlives this call.
        let _entered = unsafe { control.enter(shared) };
        loop {
            if control.wants_stop() {
                return Stop::Asked;
            }
            if let Handled::Stop(stop) = self.mmu.prepare(&mut self.fd, &self.peripherals) {
                return stop;
            }
            // The exit itself is decoded below, with all that KVM says of it.
            let result = self.fd.run().map(drop);
            if let Err(error) = result {
                match error.errno() {
                    libc::EINTR => {
                        self.counts.count_signal();
                        self.fd.set_kvm_immediate_exit(0);
                        if control.wants_inspection() && self.is_dead() {
                            return Stop::Dead;
                        }
                        continue;
                    }
                    libc::EAGAIN => continue,
                    errno => return Stop::RunFailed(errno),
                }
            }
            control.count_exit();
            match self.mmu.on_exit(&mut self.fd, &self.peripherals) {
                Handled::Yes => continue,
                Handled::Stop(stop) => return stop,
                Handled::No => {}
            }
            // SAFETY: the structure is KVM's shared page, and KVM_RUN has returned.
            let exit = unsafe { Exit::decode(self.fd.get_kvm_run()) };
            self.counts.count(&exit);
            if let Step::Stop(stop) = dispatch(exit, &self.peripherals) {
                return stop;
            }
        }
    }

    /// Halted, and interrupts off: nothing that gnomon emulates can wake it.
    fn is_dead(&self) -> bool {
        let halted = self
            .fd
            .get_mp_state()
            .is_ok_and(|state| state.mp_state == KVM_MP_STATE_HALTED);
        halted
            && self
                .fd
                .get_regs()
                .is_ok_and(|regs| regs.rflags & RFLAGS_IF == 0)
    }
}
