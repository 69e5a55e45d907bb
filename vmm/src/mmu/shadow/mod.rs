//! The shadow mode: the guest's kernel and programs run in ring 3 on tables that gnomon built.
//!
//! ```text
//!   ring 3   guest program ──┐ trap          ┌── guest kernel
//!                            ▼               ▼
//!   ring 0   monitor:   out VECTOR, al   ◄───┘        iretq ─► ring 3
//!                            │ exit                     ▲
//!   gnomon            [trap] emulate, deliver, fill ─► [resume]
//! ```
//!
//! - [`monitor`]: the few instructions and tables in ring 0 of the virtual machine.
//! - [`trap`]: what a trap means; the rules themselves are in the crate `gnomon-shadow`.
//! - [`resume`]: the way back, with edits of true tables made inside the virtual machine.
//! - [`world`]: guest memory, devices, the virtual APIC as the emulator sees them.
//! - [`interrupt`]: events from outside.

pub mod interrupt;
pub mod monitor;
pub mod probe;
mod ram;
pub mod resume;
pub mod trap;
pub mod world;

use std::sync::Arc;

use gnomon_abi::boot::NO_XSAVE_IN_RING0;
use gnomon_devices::GuestMemory;
use gnomon_devices::irq::MsiSink;
use gnomon_shadow::apic::Apic;
use gnomon_shadow::cpu::{VirtCpu, cr4, flag, reg};
use gnomon_shadow::deliver::{Event, has_error_code, vector};
use gnomon_shadow::patch::Patches;
use gnomon_shadow::tables::entry::canonical;
use gnomon_shadow::tables::{Config, Policy, ShadowTables};
use kvm_bindings::{
    CpuId, KVM_EXIT_IO, KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_MMIO, Msrs, kvm_interrupt,
    kvm_msr_entry, kvm_regs, kvm_sregs,
};
use kvm_ioctls::{Cap, SyncReg, VcpuFd, VmFd};
use vmm_sys_util::ioctl::ioctl_with_ref;

use super::{Handled, Mmu};
use crate::boot::kernel::Entry;
use crate::host::{Host, HostError, Module};
use crate::vcpu::entry;
use crate::vcpu::exit::{Peripherals, Stop};
use interrupt::{Alarm, Inbox, now_ns};
use monitor::Monitor;
use ram::Ram;
use resume::Plan;
use trap::Guest;
use world::{Outside, World};

mod request {
    #![allow(missing_docs)]
    use kvm_bindings::{KVMIO, kvm_interrupt};
    vmm_sys_util::ioctl_iow_nr!(KVM_INTERRUPT, KVMIO, 0x86, kvm_interrupt);
}

/// The virtual APIC's timer counts nanoseconds, as KVM's does.
const APIC_HZ: u64 = 1_000_000_000;
/// Guest CR3 values whose roots are kept.
const ROOTS: usize = 64;

const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const FMASK: u32 = 0xc000_0084;

/// What the mode counts, apart from the tables' own counters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Returns from ring 0 of the monitor to gnomon.
    pub traps: u64,
    /// SYSCALLs.
    pub syscalls: u64,
    /// Privileged instructions that trapped.
    pub privileged: u64,
    /// Those carried out along with another, without a trap of their own.
    pub merged: u64,
    /// Instructions carried out between the two.
    pub ahead: u64,
    /// Page faults that the guest did not see.
    pub hidden: u64,
    /// Page faults that it saw.
    pub page_faults: u64,
    /// Other exceptions delivered.
    pub exceptions: u64,
    /// Interrupts delivered.
    pub interrupts: u64,
    /// Accesses to device registers.
    pub mmio: u64,
    /// Writes to traced tables.
    pub traced: u64,
    /// Times that ring 3 had to be interrupted.
    pub kicks: u64,
    /// Ways back that took a list.
    pub chains: u64,
    /// Ways back that loaded a root.
    pub roots: u64,
}

/// Where the processor is when KVM_RUN is not running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the monitor: the guest's registers are gnomon's.
    Monitor,
    /// Somewhere on its way back or in ring 3: its registers are KVM's.
    Guest,
}

/// The parts that exist once there is a virtual machine and a processor.
struct Engine {
    guest: Guest,
    world: World,
    monitor: Monitor,
    plan: Plan,
    place: Place,
    alarm: Option<Alarm>,
    kicked: bool,
    syscall_stays: bool,
}

/// The shadow mode.
pub struct Shadow {
    policy: Policy,
    inbox: Arc<Inbox>,
    memory: Option<(Monitor, GuestMemory)>,
    module: Module,
    engine: Option<Engine>,
}

impl Shadow {
    /// The mode with a policy.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            inbox: Arc::new(Inbox::default()),
            memory: None,
            module: Module::Unknown,
            engine: None,
        }
    }
}

impl Mmu for Shadow {
    fn name(&self) -> &'static str {
        "shadow"
    }

    fn quirks(&self, module: Module) -> u64 {
        // SYSCALL and `int n` are what the virtual processor makes of them.
        module.quirks() & NO_XSAVE_IN_RING0
    }

    fn attach_vm(
        &mut self,
        host: &Host,
        vm: &Arc<VmFd>,
        memory: &GuestMemory,
    ) -> Result<Arc<dyn MsiSink>, HostError> {
        host.need(Cap::SyncRegs, "registers in the shared page (Linux 4.17)")?;
        self.module = host.module();
        self.memory = Some((Monitor::new(vm)?, memory.clone()));
        Ok(Arc::clone(&self.inbox) as Arc<dyn MsiSink>)
    }

    fn attach_vcpu(
        &mut self,
        vcpu: &mut VcpuFd,
        cpuid: &CpuId,
        entry: Entry,
    ) -> Result<(), HostError> {
        let Entry::Long(rip) = entry else {
            return Err(HostError::Kernel32);
        };
        let Some((monitor, memory)) = self.memory.take() else {
            return Err(HostError::Lacks("memory for the monitor"));
        };
        vcpu.set_cpuid2(cpuid)
            .map_err(HostError::refused("the guest's CPUID"))?;
        let cpu = first_state(rip, entry, cpuid, self.module);
        let tables = ShadowTables::new(
            Config {
                policy: self.policy,
                first_gpa: monitor::TABLES_GPA,
                pages: monitor::TABLES,
                monitor: Some((monitor::SLOT, Monitor::window_entry())),
                large_pages: true,
                prefill: true,
                roots: ROOTS,
            },
            cpu.paging(),
            monitor.tables(),
        );
        let tsc_hz = u64::from(vcpu.get_tsc_khz().unwrap_or(1_000_000)) * 1000;
        let mut world = World {
            ram: Ram::new(&memory),
            tables,
            apic: Apic::new(0, APIC_HZ, tsc_hz),
            inbox: Arc::clone(&self.inbox),
            operations: Vec::new(),
            patches: Patches::default(),
            stop: None,
            cpuid: cpuid.clone(),
            true_cr: World::true_registers(&cpu),
        };
        let root = world.tables.entry(false, &mut Vec::new()).root;
        let mut sregs = vcpu
            .get_sregs()
            .map_err(HostError::refused("to read the system registers"))?;
        Monitor::system(&mut sregs, root, world.true_cr.0, world.true_cr.1);
        vcpu.set_sregs(&sregs)
            .map_err(HostError::refused("the monitor's system registers"))?;
        set_syscall_target(vcpu)?;
        vcpu.set_sync_valid_reg(SyncReg::Register);
        self.engine = Some(Engine {
            guest: Guest::new(cpu, reach(self.module)),
            world,
            monitor,
            plan: Plan::default(),
            place: Place::Monitor,
            alarm: None,
            kicked: false,
            syscall_stays: self.module == Module::Pvm,
        });
        Ok(())
    }

    fn code_loaded(&mut self, code: &[(u64, u64)]) {
        if let Some(engine) = self.engine.as_mut() {
            for &(gpa, len) in code {
                engine.world.patch(gpa, len);
            }
        }
    }

    fn prepare(&mut self, vcpu: &mut VcpuFd, peripherals: &Peripherals) -> Handled {
        match self.engine.as_mut() {
            Some(engine) => match engine.prepare(vcpu, peripherals) {
                Ok(()) => Handled::Yes,
                Err(stop) => Handled::Stop(stop),
            },
            None => Handled::Yes,
        }
    }

    fn on_exit(&mut self, vcpu: &mut VcpuFd, peripherals: &Peripherals) -> Handled {
        match self.engine.as_mut() {
            Some(engine) => engine.on_exit(vcpu, peripherals),
            None => Handled::No,
        }
    }

    fn leave_thread(&mut self) {
        if let Some(engine) = self.engine.as_mut() {
            engine.alarm = None;
        }
    }

    fn registers(&self, vcpu: &VcpuFd) -> Option<(kvm_regs, kvm_sregs)> {
        let engine = self.engine.as_ref()?;
        let cpu = &engine.guest.cpu;
        let mut sregs = vcpu.get_sregs().ok()?;
        let mut regs = general(cpu);
        if engine.place == Place::Guest {
            // Ring 3 runs on its own: what KVM has is the guest's.
            regs = vcpu.get_regs().ok()?;
            regs.rflags = regs.rflags & !flag::IF | cpu.rflags & flag::IF;
        }
        sregs.cs.selector = cpu.selectors.cs;
        sregs.ss.selector = cpu.selectors.ss;
        (sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4) = (cpu.cr0, cpu.cr2, cpu.cr3, cpu.cr4);
        sregs.efer = cpu.efer;
        (sregs.gdt.base, sregs.gdt.limit) = (cpu.gdtr.base, cpu.gdtr.limit);
        (sregs.idt.base, sregs.idt.limit) = (cpu.idtr.base, cpu.idtr.limit);
        sregs.tr.base = cpu.tr.base;
        Some((regs, sregs))
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let Some(engine) = self.engine.as_ref() else {
            return Vec::new();
        };
        let c = &engine.guest.counters;
        let t = engine.world.tables.stats();
        vec![
            ("traps", c.traps),
            ("syscalls", c.syscalls),
            ("privileged", c.privileged),
            ("merged", c.merged),
            ("run_ahead", c.ahead),
            ("hidden_faults", c.hidden),
            ("true_faults", c.page_faults),
            ("exceptions", c.exceptions),
            ("interrupts", c.interrupts),
            ("mmio", c.mmio),
            ("traced_writes", c.traced),
            ("kicks", c.kicks),
            ("chains", c.chains),
            ("root_loads", c.roots),
            ("fills", t.fills),
            ("prefills", t.prefills),
            ("syncs", t.syncs),
            ("changed_entries", t.changed),
            ("invlpg", t.invlpgs),
            ("cr3_loads", t.cr3_loads),
            ("roots_built", t.roots_built),
            ("evictions", t.evictions),
            ("drops", t.drops),
            ("edits", t.edits),
            ("patched", engine.world.patches.len() as u64),
            ("table_pages", engine.world.tables.pages_in_use() as u64),
        ]
    }
}

/// How many instructions carried out by the emulator are worth a trap: one takes about a
/// microsecond; a trap takes a few, but near a hundred where KVM emulates ring 0.
const fn reach(module: Module) -> u8 {
    match module {
        Module::Pvm => 72,
        _ => 8,
    }
}

/// The virtual processor as the kernel is entered.
fn first_state(rip: u64, entry: Entry, cpuid: &CpuId, module: Module) -> VirtCpu {
    let regs = entry::general(entry);
    let mut sregs = kvm_sregs::default();
    entry::system(entry, &mut sregs);
    let mut cpu = VirtCpu::long_mode(rip, sregs.cr3);
    set_general(&mut cpu, &regs);
    cpu.rip = rip;
    cpu.rflags = regs.rflags;
    (cpu.cr0, cpu.cr4, cpu.efer) = (sregs.cr0, sregs.cr4, sregs.efer);
    cpu.gdtr.base = sregs.gdt.base;
    cpu.gdtr.limit = sregs.gdt.limit;
    cpu.tr.selector = sregs.tr.selector;
    cpu.tr.limit = sregs.tr.limit;
    // There, CPUID in ring 3 is the host's own, and that is what the guest has to go by.
    let filtered = module != Module::Pvm;
    for e in cpuid.as_slice() {
        match (e.function, e.index) {
            (1, _) if filtered && e.ecx & 1 << 26 == 0 => cpu.cr4_offered &= !cr4::OSXSAVE,
            (7, 0) if filtered => {
                let lacks = [
                    (e.ebx & 1 << 0, cr4::FSGSBASE),
                    (e.ebx & 1 << 7, cr4::SMEP),
                    (e.ecx & 1 << 2, cr4::UMIP),
                ];
                for (has, bit) in lacks {
                    if has == 0 {
                        cpu.cr4_offered &= !bit;
                    }
                }
            }
            (0x8000_0001, _) => cpu.gigabyte_pages = e.edx & 1 << 26 != 0,
            (0x8000_0008, _) => cpu.physical_bits = (e.eax as u8).clamp(36, 52),
            _ => {}
        }
    }
    cpu
}

/// Points the true SYSCALL at the gate.
fn set_syscall_target(vcpu: &VcpuFd) -> Result<(), HostError> {
    let refused = HostError::refused("the monitor's model-specific registers");
    let star = u64::from(monitor::selector::CODE) << 32
        | u64::from(monitor::selector::USER_STACK - 8) << 48;
    // In ring 0 no interrupts, no single steps, no direction.
    let fmask = flag::ALL & !flag::ONE;
    let entries = [(STAR, star), (LSTAR, monitor::GATE_VA), (FMASK, fmask)].map(|(index, data)| {
        kvm_msr_entry {
            index,
            data,
            ..Default::default()
        }
    });
    let msrs =
        Msrs::from_entries(&entries).map_err(|_| refused(kvm_ioctls::Error::new(libc::E2BIG)))?;
    match vcpu.set_msrs(&msrs).map_err(&refused)? {
        3 => Ok(()),
        _ => Err(refused(kvm_ioctls::Error::new(libc::EINVAL))),
    }
}

impl Engine {
    /// Puts everything in place for the next KVM_RUN.
    fn prepare(&mut self, vcpu: &mut VcpuFd, peripherals: &Peripherals) -> Result<(), Stop> {
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
        self.world.inbox.drain(|vector| apic.raise(vector));
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
                self.guest.halted = false;
                self.guest.counters.interrupts += 1;
                let mut out = Outside {
                    world: &mut self.world,
                    vcpu,
                    peripherals,
                };
                self.guest.deliver(&mut out, Event::Interrupt(vector))?;
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
            let e = gnomon_shadow::deliver::Exception::GP0;
            self.guest.deliver(&mut out, Event::Exception(e))?;
        }
        let user = self.guest.cpu.is_user();
        if !self.plan.is_unfinished() {
            let (tables, ram) = (&mut self.world.tables, &self.world.ram);
            if user && let Some((va, access)) = self.guest.last_fault.take() {
                tables.prefetch(ram, va, access);
            }
            let entry = tables.entry(user, &mut self.plan.edits);
            self.plan.done = 0;
            self.plan.operations.append(&mut self.world.operations);
            self.plan.flush = entry.flush;
            let reload = entry.switch || entry.flush == gnomon_shadow::tables::memory::Flush::All;
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
        let runs = self.plan.submit(&self.monitor, &mut regs, frame);
        vcpu.sync_regs_mut().regs = regs;
        vcpu.set_sync_dirty_reg(SyncReg::Register);
        self.place = if runs { Place::Guest } else { Place::Monitor };
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

    fn on_exit(&mut self, vcpu: &mut VcpuFd, peripherals: &Peripherals) -> Handled {
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
        if port == monitor::PORT_MORE {
            self.place = Place::Monitor;
            return Ok(());
        }
        self.place = Place::Monitor;
        self.guest.counters.traps += 1;
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

/// The virtual processor's general registers as KVM lays them out.
fn general(cpu: &VirtCpu) -> kvm_regs {
    let [
        rax,
        rcx,
        rdx,
        rbx,
        rsp,
        rbp,
        rsi,
        rdi,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
    ] = cpu.gpr;
    kvm_regs {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rsp,
        rbp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip: cpu.rip,
        rflags: cpu.rflags,
    }
}

/// Takes the general registers (not RIP and RFLAGS) from KVM's structure.
fn set_general(cpu: &mut VirtCpu, r: &kvm_regs) {
    cpu.gpr = [
        r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12,
        r.r13, r.r14, r.r15,
    ];
}
