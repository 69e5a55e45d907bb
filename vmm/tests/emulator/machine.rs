//! The processor's side: a virtual machine of KVM.

use gnomon::mmu::shadow::registers::general;
use gnomon_shadow::cpu::VirtCpu;
use kvm_bindings::{
    KVM_MAX_CPUID_ENTRIES, Msrs, kvm_msr_entry, kvm_segment, kvm_sregs, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

use crate::{End, GDT, IDT, INPUT, MEMORY, TSS};

/// Guest memory that KVM knows.
pub struct Memory(*mut u8);

impl Memory {
    pub fn new() -> Self {
        // SAFETY: a new anonymous mapping.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                MEMORY,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(at, libc::MAP_FAILED);
        Self(at.cast())
    }

    pub fn set(&self, image: &[u8]) {
        assert_eq!(image.len(), MEMORY);
        // SAFETY: the mapping has that many bytes, and the guest does not run now.
        unsafe { std::ptr::copy_nonoverlapping(image.as_ptr(), self.0, MEMORY) };
    }

    pub fn get(&self) -> Vec<u8> {
        let mut image = vec![0; MEMORY];
        // SAFETY: as in `set`.
        unsafe { std::ptr::copy_nonoverlapping(self.0, image.as_mut_ptr(), MEMORY) };
        image
    }
}

/// A virtual machine with one processor.
pub struct Machine {
    pub vcpu: VcpuFd,
    _vm: VmFd,
    pub memory: Memory,
    first: kvm_sregs,
}

impl Machine {
    pub fn new() -> Self {
        let kvm = Kvm::new().unwrap();
        let vm = kvm.create_vm().unwrap();
        let memory = Memory::new();
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: MEMORY as u64,
            userspace_addr: memory.0 as u64,
        };
        // SAFETY: the mapping lives as long as the machine.
        unsafe { vm.set_user_memory_region(region) }.unwrap();
        let vcpu = vm.create_vcpu(0).unwrap();
        vcpu.set_cpuid2(&kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).unwrap())
            .unwrap();
        let first = vcpu.get_sregs().unwrap();
        Self {
            vcpu,
            _vm: vm,
            memory,
            first,
        }
    }

    pub fn msrs(cpu: &VirtCpu, bases: [u64; 3]) -> [(u32, u64); 7] {
        [
            (0xc000_0081, cpu.star),
            (0xc000_0082, cpu.lstar),
            (0xc000_0084, cpu.fmask),
            (0xc000_0102, bases[2]),
            (0x277, cpu.pat),
            (0x174, cpu.sysenter[0]),
            (0xc000_0103, 0),
        ]
    }

    pub fn load(&mut self, cpu: &VirtCpu, bases: [u64; 3], image: &[u8]) {
        self.memory.set(image);
        let mut sregs = self.first;
        let segment = |selector: u16, kind: u8, long: bool, base: u64| kvm_segment {
            base,
            limit: u32::MAX,
            selector,
            type_: kind,
            present: 1,
            dpl: cpu.cpl,
            db: u8::from(!long),
            s: 1,
            l: u8::from(long),
            g: 1,
            unusable: u8::from(selector & !3 == 0),
            ..Default::default()
        };
        sregs.cs = segment(cpu.selectors.cs, 0xb, true, 0);
        sregs.ss = segment(cpu.selectors.ss, 3, false, 0);
        sregs.ds = segment(cpu.selectors.ds, 3, false, 0);
        sregs.es = segment(cpu.selectors.es, 3, false, 0);
        sregs.fs = segment(0, 3, false, bases[0]);
        sregs.gs = segment(0, 3, false, bases[1]);
        sregs.tr = kvm_segment {
            base: TSS,
            limit: 0x67,
            selector: 0x28,
            type_: 0xb,
            present: 1,
            ..Default::default()
        };
        sregs.ldt = kvm_segment {
            unusable: 1,
            ..Default::default()
        };
        (sregs.gdt.base, sregs.gdt.limit) = (GDT, 0x57);
        (sregs.idt.base, sregs.idt.limit) = (IDT, 0xfff);
        (sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4) = (cpu.cr0, cpu.cr2, cpu.cr3, cpu.cr4);
        sregs.cr8 = 0;
        sregs.efer = cpu.efer;
        self.vcpu.set_sregs(&sregs).unwrap();
        let entries = Self::msrs(cpu, bases).map(|(index, data)| kvm_msr_entry {
            index,
            data,
            ..Default::default()
        });
        assert_eq!(
            self.vcpu
                .set_msrs(&Msrs::from_entries(&entries).unwrap())
                .unwrap(),
            7
        );
        let mut debug = self.vcpu.get_debug_regs().unwrap();
        (debug.db, debug.dr6, debug.dr7) = ([0; 4], cpu.dr[6], cpu.dr[7]);
        self.vcpu.set_debug_regs(&debug).unwrap();
        self.vcpu.set_regs(&general(cpu)).unwrap();
        // No event is left over from the run before.
        let mut events = self.vcpu.get_vcpu_events().unwrap();
        events.exception.injected = 0;
        events.exception.pending = 0;
        events.interrupt.injected = 0;
        events.interrupt.shadow = 0;
        self.vcpu.set_vcpu_events(&events).unwrap();
    }

    pub fn run(&mut self, strings: bool) -> (End, Vec<(u16, usize, u32)>) {
        let mut out = Vec::new();
        loop {
            match self.vcpu.run().unwrap() {
                VcpuExit::Hlt => return (End::Halt, out),
                VcpuExit::Shutdown => return (End::Shutdown, out),
                VcpuExit::SetTpr => {}
                VcpuExit::IoIn(_, data) if strings => data.fill(INPUT as u8),
                VcpuExit::IoIn(_, data) => {
                    let bytes = INPUT.to_le_bytes();
                    if data.len() <= 4 && !data.is_empty() {
                        for (i, byte) in data.iter_mut().enumerate() {
                            *byte = bytes[i];
                        }
                    }
                }
                VcpuExit::IoOut(port, data) => {
                    let mut value = [0; 4];
                    value[..data.len().min(4)].copy_from_slice(&data[..data.len().min(4)]);
                    out.push((port, data.len(), u32::from_le_bytes(value)));
                }
                other => return (End::Other(format!("{other:?}")), out),
            }
        }
    }
}
