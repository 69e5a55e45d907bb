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
//! - `engine`: the processor between two exits.
//! - [`monitor`]: the few instructions and tables in ring 0 of the virtual machine.
//! - [`trap`]: what a trap means; the rules themselves are in the crate `gnomon-shadow`.
//! - [`resume`]: the way back, with edits of true tables made inside the virtual machine.
//! - `ahead`: how far it pays to go on past a trap.
//! - `code`: kernel code in memory, replaced where it would not trap.
//! - [`registers`]: the general registers as KVM lays them out.
//! - [`world`]: guest memory, devices, the virtual APIC as the emulator sees them.
//! - [`interrupt`]: events from outside.

mod ahead;
mod code;
mod engine;
pub mod interrupt;
pub mod monitor;
pub mod probe;
mod ram;
pub mod registers;
pub mod resume;
pub mod trap;
pub mod world;

use std::sync::Arc;

use gnomon_abi::boot::NO_XSAVE_IN_RING0;
use gnomon_devices::GuestMemory;
use gnomon_devices::irq::MsiSink;
use gnomon_shadow::apic::Apic;
use gnomon_shadow::cpu::{VirtCpu, cr4, flag};
use gnomon_shadow::patch::Patches;
use gnomon_shadow::tables::{Config, Policy, ShadowTables};
use kvm_bindings::{CpuId, Msrs, kvm_msr_entry, kvm_regs, kvm_sregs};
use kvm_ioctls::{Cap, SyncReg, VcpuFd, VmFd};

use super::{Handled, Mmu};
use crate::boot::kernel::Entry;
use crate::host::{Host, HostError, Module};
use crate::vcpu::entry;
use crate::vcpu::exit::Peripherals;
use engine::{Engine, Place};
use interrupt::Inbox;
use monitor::Monitor;
use ram::Ram;
use registers::{general, set_general};
use resume::Plan;
use trap::Guest;
use world::World;

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
    /// Traps on their behalf: ring 3 interrupted, and the guest's handler until it returns.
    pub interrupt_traps: u64,
    /// Accesses to device registers.
    pub mmio: u64,
    /// Writes to traced tables.
    pub traced: u64,
    /// Pages of kernel code scanned when they were first executed.
    pub code_scans: u64,
    /// Writes to scanned code.
    pub code_writes: u64,
    /// Times that ring 3 had to be interrupted.
    pub kicks: u64,
    /// Ways back that took a list.
    pub chains: u64,
    /// Ways back that loaded a root.
    pub roots: u64,
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
            tails: Default::default(),
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

    fn code_loaded(&mut self, code: &[(u64, u64)], sensitive: Option<&[(u64, u8)]>) {
        let Some(engine) = self.engine.as_mut() else {
            return;
        };
        for &(gpa, len) in code {
            match sensitive {
                Some(sensitive) => engine.world.patch_known(gpa, len, sensitive),
                None => engine.world.patch(gpa, len),
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

    fn ended(&mut self) {
        if let Some(engine) = self.engine.as_mut() {
            engine.world.restore(0, u64::MAX);
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
            ("interrupt_traps", c.interrupt_traps),
            ("mmio", c.mmio),
            ("traced_writes", c.traced),
            ("code_scans", c.code_scans),
            ("code_writes", c.code_writes),
            ("kicks", c.kicks),
            ("chains", c.chains),
            ("root_loads", c.roots),
            ("fills", t.fills),
            ("prefills", t.prefills),
            ("large_fills", t.large_fills),
            ("syncs", t.syncs),
            ("changed_entries", t.changed),
            ("invlpg", t.invlpgs),
            ("cr3_loads", t.cr3_loads),
            ("tables_built", t.tables_built),
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
