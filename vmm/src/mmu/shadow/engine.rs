//! The processor between two exits: what KVM_RUN returned with, and what it is started with.

use gnomon_shadow::cpu::{flag, reg};
use gnomon_shadow::deliver::{Event, Exception, has_error_code, vector};
use gnomon_shadow::tables::entry::canonical;
use gnomon_shadow::tables::memory::Flush;
use kvm_bindings::{KVM_EXIT_IO, KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_MMIO, kvm_interrupt};
use kvm_ioctls::{SyncReg, VcpuFd};
use vmm_sys_util::ioctl::ioctl_with_ref;

use super::interrupt::Alarm;
use super::monitor::{self, Monitor};
use super::registers::{general, set_general};
use super::resume::Plan;
use super::trap::Guest;
use super::world::{Outside, World};
use crate::clock::now_ns;
use crate::mmu::Handled;
use crate::vcpu::exit::{Peripherals, Stop};

mod request {
    #![allow(missing_docs)]
    use kvm_bindings::{KVMIO, kvm_interrupt};
    vmm_sys_util::ioctl_iow_nr!(KVM_INTERRUPT, KVMIO, 0x86, kvm_interrupt);
}

/// Where the processor is when KVM_RUN is not running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the monitor: the guest's registers are gnomon's.
    Monitor,
    /// Somewhere on its way back or in ring 3: its registers are KVM's.
    Guest,
}

/// The parts that exist once there is a virtual machine and a processor.
pub(super) struct Engine {
    pub(super) guest: Guest,
    pub(super) world: World,
    pub(super) monitor: Monitor,
    pub(super) plan: Plan,
    pub(super) place: Place,
    pub(super) alarm: Option<Alarm>,
    pub(super) kicked: bool,
    pub(super) syscall_stays: bool,
}

impl Engine {
    /// Puts everything in place for the next KVM_RUN.
    pub(super) fn prepare(
        &mut self,
        vcpu: &mut VcpuFd,
        peripherals: &Peripherals,
    ) -> Result<(), Stop> {
        if self.alarm.is_none() {
            let alarm = Alarm::for_this_thread(&self.world.inbox)
                .map_err(|error| Stop::Mode(format!("no timer for the guest: {error}")))?;
            self.alarm = Some(alarm);
        }
        match self.place {
            Place::Guest => self.kick(vcpu),
            Place::Monitor => {
                if !self.plan.is_unfinished() && !self.next_event(vcpu, peripherals)? {
                    // A signal has come while the guest waits: KVM_RUN returns at once.
                    return Ok(());
                }
                self.enter(vcpu, peripherals)
            }
        }
    }

    /// What has come from outside goes to the virtual APIC.
    fn collect(&mut self) {
        let apic = &mut self.world.apic;
        self.world.inbox.drain(|vector, level| {
            if level {
                apic.raise_level(vector);
            } else {
                apic.raise(vector);
            }
        });
        if apic.deadline().is_some() {
            apic.advance(now_ns());
        }
    }

    /// Ring 3 runs on its own: interrupt it if the guest is to take an interrupt.
    fn kick(&mut self, vcpu: &mut VcpuFd) -> Result<(), Stop> {
        self.collect();
        if let Some(alarm) = &mut self.alarm {
            alarm.set(self.world.apic.deadline());
        }
        let wanted = self.guest.cpu.rflags & flag::IF != 0
            && !self.kicked
            && self.world.apic.pending().is_some();
        let run = vcpu.get_kvm_run();
        let ready = run.ready_for_interrupt_injection != 0;
        run.request_interrupt_window = u8::from(wanted && !ready);
        if wanted && ready {
            let interrupt = kvm_interrupt {
                irq: u32::from(monitor::KICK),
            };
            // SAFETY: the file is KVM's, the structure what the request takes.
            let result = unsafe { ioctl_with_ref(vcpu, request::KVM_INTERRUPT(), &interrupt) };
            if result != 0 {
                let error = std::io::Error::last_os_error();
                return Err(Stop::Mode(format!("KVM takes no interrupt: {error}")));
            }
            self.kicked = true;
            self.guest.counters.kicks += 1;
        }
        Ok(())
    }

    /// Delivers what is due, and waits while the guest is halted. False: go round once more.
    fn next_event(&mut self, vcpu: &mut VcpuFd, peripherals: &Peripherals) -> Result<bool, Stop> {
        loop {
            self.collect();
            if self.guest.cpu.takes_interrupts()
                && let Some(vector) = self.world.apic.acknowledge()
            {
                let mut out = Outside {
                    world: &mut self.world,
                    vcpu,
                    peripherals,
                };
                self.guest.interrupt(&mut out, vector)?;
            }
            if !self.guest.halted {
                return Ok(true);
            }
            // STI keeps interrupts off for one instruction: the HLT that is over.
            if std::mem::take(&mut self.guest.cpu.interrupt_shadow) {
                continue;
            }
            if self.guest.cpu.rflags & flag::IF == 0 {
                return Err(Stop::Dead);
            }
            let deadline = self.world.apic.deadline();
            let run = std::ptr::from_mut(vcpu.get_kvm_run());
            // SAFETY: one byte of the shared page, which the signal's handler may write too.
            let interrupted =
                || unsafe { std::ptr::addr_of!((*run).immediate_exit).read_volatile() != 0 };
            if let Some(alarm) = &self.alarm {
                alarm.sleep(deadline, interrupted);
            }
            if interrupted() {
                return Ok(false);
            }
        }
    }

    /// Submits the way back into the guest.
    fn enter(&mut self, vcpu: &mut VcpuFd, peripherals: &Peripherals) -> Result<(), Stop> {
        while !canonical(self.guest.cpu.rip) {
            let mut out = Outside {
                world: &mut self.world,
                vcpu,
                peripherals,
            };
            let e = Exception::GP0;
            self.guest.deliver(&mut out, Event::Exception(e))?;
        }
        let user = self.guest.cpu.is_user();
        if !self.plan.is_unfinished() {
            let (tables, ram) = (&mut self.world.tables, &self.world.ram);
            if let Some((va, access)) = self.guest.resolved_fault() {
                tables.prefetch(ram, va, access);
            }
            let entry = tables.entry(user, &mut self.plan.edits);
            self.plan.done = 0;
            self.plan.operations.append(&mut self.world.operations);
            self.plan.flush = entry.flush;
            let reload = entry.switch || entry.flush == Flush::All;
            self.plan.root = reload.then_some(entry.root);
            self.guest.counters.roots += u64::from(reload);
            self.guest.counters.chains += u64::from(!self.plan.edits.is_empty());
        }
        let cpu = &self.guest.cpu;
        let frame = [
            cpu.rip,
            monitor::selector::USER_CODE.into(),
            self.guest.true_flags(),
            cpu.gpr[reg::RSP],
            monitor::selector::USER_STACK.into(),
        ];
        let mut regs = general(cpu);
        self.plan.submit(&self.monitor, &mut regs, frame);
        vcpu.sync_regs_mut().regs = regs;
        vcpu.set_sync_dirty_reg(SyncReg::Register);
        // Until the monitor says more: a signal may end KVM_RUN in the midst of what has been submitted.
        self.place = Place::Guest;
        if let Some(alarm) = &mut self.alarm {
            alarm.set(self.world.apic.deadline());
        }
        // What follows STI has its one instruction when ring 3 runs; a pending interrupt comes
        // with the next window.
        let shadowed = std::mem::take(&mut self.guest.cpu.interrupt_shadow);
        let wanted = shadowed && self.world.apic.pending().is_some();
        vcpu.get_kvm_run().request_interrupt_window = u8::from(wanted);
        Ok(())
    }

    pub(super) fn on_exit(&mut self, vcpu: &mut VcpuFd, peripherals: &Peripherals) -> Handled {
        let run = vcpu.get_kvm_run();
        match run.exit_reason {
            KVM_EXIT_IO => {
                // SAFETY: the exit reason says that KVM has filled this member.
                let port = unsafe { run.__bindgen_anon_1.io.port };
                match self.on_port(vcpu, peripherals, port) {
                    Ok(()) => Handled::Yes,
                    Err(stop) => Handled::Stop(stop),
                }
            }
            KVM_EXIT_IRQ_WINDOW_OPEN => Handled::Yes,
            KVM_EXIT_MMIO => Handled::Stop(Stop::Mode(
                "the guest has left its memory past the shadow tables; this is a fault of gnomon"
                    .into(),
            )),
            _ => Handled::No,
        }
    }

    /// The monitor has written a port.
    fn on_port(
        &mut self,
        vcpu: &mut VcpuFd,
        peripherals: &Peripherals,
        port: u16,
    ) -> Result<(), Stop> {
        let regs = vcpu.sync_regs().regs;
        self.place = Place::Monitor;
        if port == monitor::PORT_MORE {
            return Ok(());
        }
        self.guest.count_trap(port == u16::from(monitor::KICK));
        let mut out = Outside {
            world: &mut self.world,
            vcpu,
            peripherals,
        };
        if port == monitor::PORT_GATE {
            // Ring 0, by a SYSCALL that works: all registers are the guest's own.
            set_general(&mut self.guest.cpu, &regs);
            self.guest.cpu.rip = regs.rcx;
            self.guest.take_flags(regs.r11);
            return self.guest.syscall(&mut out);
        }
        let trap = port as u8;
        if regs.rsp != Monitor::trap_rsp(trap) || matches!(trap, 2 | 8 | 18) {
            return Err(Stop::Mode(format!(
                "the shadow mode's monitor itself has met exception {trap} (rip {:#x}, rsp {:#x}, \
                 rax {:#x}); this is a fault of gnomon",
                regs.rip, regs.rsp, regs.rax
            )));
        }
        let [rip, _, rflags, rsp, _] = self.monitor.frame();
        set_general(&mut self.guest.cpu, &regs);
        self.guest.cpu.gpr[reg::RSP] = rsp;
        self.guest.cpu.rip = rip;
        self.guest.take_flags(rflags);
        let error = if has_error_code(trap) {
            self.monitor.below_frame(1) as u32
        } else {
            0
        };
        let mut address = 0;
        if trap == vector::PF {
            address = regs.rax;
            self.guest.cpu.gpr[reg::RAX] = self.monitor.below_frame(2);
        }
        if trap == monitor::KICK {
            self.kicked = false;
            return Ok(());
        }
        if trap == vector::GP && rip == monitor::GATE_VA {
            if self.syscall_stays && self.guest.is_gated_syscall(&mut out) {
                self.guest.cpu.rip = regs.rcx;
                self.guest.take_flags(regs.r11);
                return self.guest.syscall(&mut out);
            }
            return self.guest.refuse_gate(&mut out);
        }
        self.guest.trap(&mut out, trap, error, address)
    }
}
