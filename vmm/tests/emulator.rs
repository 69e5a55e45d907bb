//! The emulator of the shadow mode against real execution: one instruction at a time, run in ring 0
//! and in ring 3 of a KVM guest and by the emulator, then registers, memory and faults compared.
//!
//! What QEMU's emulated AMD-V does otherwise than the manuals say is left out, and tested in the crate
//! alone: it takes addresses that are not canonical for GDTR, LSTAR and jumps, null selectors for TR,
//! reserved bits in CR0, CR3 and CR4; it sets no RF in the frames of faults, loses arithmetic flags in
//! SYSCALL, and reports reads in the error codes of instructions that read first and write then.
//!
//! Meant for hosts whose KVM runs ring 0 on a processor (or on QEMU's). Where KVM itself emulates
//! ring 0 (`kvm_pvm`), what that emulator lacks or does otherwise is no yardstick: skipped there.

use std::path::Path;

use gnomon_shadow::cpu::{SystemSegment, VirtCpu, cr4, flag, reg};
use gnomon_shadow::deliver::{Event, Exception, deliver};
use gnomon_shadow::emulate::{Base, Platform, Step, step};
use gnomon_shadow::tables::memory::GuestRam;
use gnomon_shadow::tables::walk::{Access, Kind, walk_and_mark};
use kvm_bindings::{
    KVM_MAX_CPUID_ENTRIES, Msrs, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

const CODE: u64 = 0x1000;
const USER_STACK: u64 = 0x2800;
const DATA: u64 = 0x3800;
const GDT: u64 = 0x5000;
const IDT: u64 = 0x6000;
const TSS: u64 = 0x7000;
const STACK: u64 = 0x9800;
const STACK0: u64 = 0xb000;
const READ_ONLY: u64 = 0xc000;
const MISSING: u64 = 0xd000;
const STUBS: u64 = 0xe000;
const TABLES: u64 = 0x1_0000;
const MEMORY: usize = 0x2_0000;
const INPUT: u32 = 0x1234_5678;

/// Guest memory that KVM knows.
struct Memory(*mut u8);

impl Memory {
    fn new() -> Self {
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

    fn set(&self, image: &[u8]) {
        assert_eq!(image.len(), MEMORY);
        // SAFETY: the mapping has that many bytes, and the guest does not run now.
        unsafe { std::ptr::copy_nonoverlapping(image.as_ptr(), self.0, MEMORY) };
    }

    fn get(&self) -> Vec<u8> {
        let mut image = vec![0; MEMORY];
        // SAFETY: as in `set`.
        unsafe { std::ptr::copy_nonoverlapping(self.0, image.as_mut_ptr(), MEMORY) };
        image
    }
}

/// The emulator's memory.
struct Image(std::cell::RefCell<Vec<u8>>);

impl GuestRam for Image {
    fn read(&self, gpa: u64) -> Option<u64> {
        let image = self.0.borrow();
        let bytes = image.get(gpa as usize..gpa as usize + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().unwrap()))
    }
    fn compare_exchange(&self, gpa: u64, old: u64, new: u64) -> Option<bool> {
        let same = self.read(gpa)? == old;
        if same {
            self.0.borrow_mut()[gpa as usize..gpa as usize + 8].copy_from_slice(&new.to_le_bytes());
        }
        Some(same)
    }
    fn is_ram(&self, gpa: u64, len: u64) -> bool {
        gpa + len <= MEMORY as u64
    }
}

struct Model {
    ram: Image,
    bases: [u64; 3],
    cr8: u64,
    out: Vec<(u16, usize, u32)>,
}

impl Model {
    fn translate(&self, cpu: &VirtCpu, va: u64, access: Access) -> Result<usize, Exception> {
        walk_and_mark(&self.ram, &cpu.paging(), va, access, |_, _| {})
            .map(|t| t.gpa as usize)
            .map_err(|f| Exception::page_fault(va, f.error))
    }

    fn each(
        &self,
        cpu: &VirtCpu,
        va: u64,
        len: usize,
        access: Access,
    ) -> Result<Vec<usize>, Exception> {
        (0..len as u64)
            .map(|i| self.translate(cpu, va.wrapping_add(i), access))
            .collect()
    }
}

impl Platform for Model {
    fn read(
        &mut self,
        cpu: &VirtCpu,
        va: u64,
        bytes: &mut [u8],
        access: Access,
    ) -> Result<(), Exception> {
        let places = self.each(cpu, va, bytes.len(), access)?;
        let image = self.ram.0.borrow();
        for (byte, at) in bytes.iter_mut().zip(places) {
            *byte = image.get(at).copied().unwrap_or(0xff);
        }
        Ok(())
    }
    fn write(&mut self, cpu: &VirtCpu, va: u64, bytes: &[u8], user: bool) -> Result<(), Exception> {
        let places = self.each(
            cpu,
            va,
            bytes.len(),
            Access {
                kind: Kind::Write,
                user,
            },
        )?;
        let mut image = self.ram.0.borrow_mut();
        for (byte, at) in bytes.iter().zip(places) {
            image[at] = *byte;
        }
        Ok(())
    }
    fn probe_write(
        &mut self,
        cpu: &VirtCpu,
        va: u64,
        len: usize,
        user: bool,
    ) -> Result<(), Exception> {
        self.each(
            cpu,
            va,
            len,
            Access {
                kind: Kind::Write,
                user,
            },
        )
        .map(drop)
    }
    fn port_in(&mut self, _: u16, size: usize) -> u32 {
        INPUT & (u64::MAX >> (64 - 8 * size)) as u32
    }
    fn port_out(&mut self, port: u16, size: usize, value: u32) {
        self.out.push((port, size, value));
    }
    fn read_msr(&mut self, _: u32) -> Option<u64> {
        None
    }
    fn write_msr(&mut self, msr: u32, _: u64) -> Option<()> {
        (msr == 0xc000_0103).then_some(())
    }
    fn base(&mut self, which: Base) -> u64 {
        self.bases[which as usize]
    }
    fn set_base(&mut self, which: Base, base: u64) {
        self.bases[which as usize] = base;
    }
    fn swap_gs(&mut self) {
        self.bases.swap(1, 2);
    }
    fn cpuid(&mut self, _: u32, _: u32) -> [u32; 4] {
        [0; 4]
    }
    fn tsc(&mut self) -> u64 {
        0
    }
    fn invlpg(&mut self, _: u64) {}
    fn cr3_loaded(&mut self, _: &VirtCpu) {}
    fn mode_changed(&mut self, _: &VirtCpu) {}
    fn cr8(&mut self) -> u64 {
        self.cr8
    }
    fn set_cr8(&mut self, value: u64) {
        self.cr8 = value;
    }
    fn set_xcr0(&mut self, _: u64) -> bool {
        true
    }
}

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[(self.next() >> 33) as usize % all.len()]
    }
}

/// Addresses: good ones, and all kinds of bad ones.
const ADDRESSES: [u64; 12] = [
    DATA,
    DATA,
    DATA + 0x10,
    DATA + 5,
    USER_STACK,
    STACK,
    READ_ONLY + 8,
    MISSING + 8,
    MISSING - 4,
    0xffff_8000_0000_0000,
    1 << 47,
    0x4000,
];
/// Selectors: null, code, data, user's, TSS, odd ones.
const SELECTORS: [u64; 13] = [
    0, 3, 0x08, 0x0b, 0x10, 0x13, 0x1b, 0x18, 0x23, 0x28, 0x38, 0x63, 0x0c,
];
/// Targets of jumps: all of them hold `hlt`.
const TARGETS: [u64; 3] = [CODE + 0x100, CODE + 0x801, STUBS + 0x800];

/// How the registers are chosen for an instruction.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    /// RAX, RSI, RDI: addresses; RCX small; RDX a port.
    Memory,
    /// RAX: a selector.
    Selector,
    /// RAX: any of these.
    Value(&'static [u64]),
    /// The stack holds an IRET frame.
    Frame,
    /// RCX, RAX and the stack: a target.
    Target,
    /// RCX: one of these MSRs, RDX:RAX one of those.
    Msr(&'static [u32], &'static [u64]),
}

const CR0: &[u64] = &[
    0x8001_0033,
    0x8001_003b,
    0x8000_0031,
    0x31,
    0x8000_0000,
    0xa001_0033,
];
const CR3: &[u64] = &[TABLES, TABLES | 0x18];
const CR4: &[u64] = &[0x20, 0xa0, 0x620, 0];
const CR8: &[u64] = &[0, 7, 15, 16, u64::MAX];
const DR: &[u64] = &[0, 0x400, 0xffff, 0xffff_ffff, 1 << 32];
const CANONICAL: &[u64] = &[0, 0x1234_5678_9abc, 0xffff_8000_0000_0000];
const MSRS: &[u32] = &[0xc000_0081, 0xc000_0082, 0xc000_0084, 0xc000_0102, 0x277];
const MSR_VALUES: &[u64] = &[0, 0x1234_5678, 0x0000_7fff_ffff_0000, 0x1_0000];
/// Where LGDT and LIDT find a base that is canonical, or a fault.
const TABLE_AT: &[u64] = &[DATA, READ_ONLY, STACK, MISSING + 8, MISSING - 4, 1 << 47];
const TASKS: &[u64] = &[0x28, 0x38, 0x08, 0x48, 0x60, 0x3c];
const STACKS: &[u64] = &[0, 0x08, 0x10, 0x13, 0x18, 0x1b, 0x23, 0x63];
/// One page at a time: which of two faults comes first is the processor's choice.
const UPDATED: &[u64] = &[
    DATA,
    DATA + 5,
    USER_STACK,
    READ_ONLY + 8,
    MISSING + 8,
    1 << 47,
    0x4000,
];

/// The instructions and what they work on.
fn instructions() -> Vec<(&'static str, &'static [u8], Use)> {
    use Use::*;
    vec![
        ("cli", &[0xfa], Memory),
        ("sti", &[0xfb], Memory),
        ("pushfq", &[0x9c], Memory),
        ("popfq", &[0x9d], Memory),
        ("iretq", &[0x48, 0xcf], Frame),
        ("retfq", &[0x48, 0xcb], Frame),
        ("swapgs", &[0x0f, 0x01, 0xf8], Memory),
        ("mov rbx, cr0", &[0x0f, 0x20, 0xc3], Memory),
        ("mov rbx, cr2", &[0x0f, 0x20, 0xd3], Memory),
        ("mov rbx, cr3", &[0x0f, 0x20, 0xdb], Memory),
        ("mov rbx, cr4", &[0x0f, 0x20, 0xe3], Memory),
        ("mov cr0, rax", &[0x0f, 0x22, 0xc0], Value(CR0)),
        ("mov cr2, rax", &[0x0f, 0x22, 0xd0], Value(CANONICAL)),
        ("mov cr3, rax", &[0x0f, 0x22, 0xd8], Value(CR3)),
        ("mov cr4, rax", &[0x0f, 0x22, 0xe0], Value(CR4)),
        ("mov cr8, rax", &[0x44, 0x0f, 0x22, 0xc0], Value(CR8)),
        ("mov dr0, rax", &[0x0f, 0x23, 0xc0], Value(CANONICAL)),
        ("mov dr6, rax", &[0x0f, 0x23, 0xf0], Value(DR)),
        ("mov rbx, dr7", &[0x0f, 0x21, 0xfb], Memory),
        ("clts", &[0x0f, 0x06], Memory),
        ("lmsw ax", &[0x0f, 0x01, 0xf0], Value(CR0)),
        ("smsw rax", &[0x48, 0x0f, 0x01, 0xe0], Memory),
        ("smsw [rax]", &[0x0f, 0x01, 0x20], Memory),
        ("invlpg [rax]", &[0x0f, 0x01, 0x38], Memory),
        ("wbinvd", &[0x0f, 0x09], Memory),
        ("rdmsr", &[0x0f, 0x32], Msr(MSRS, MSR_VALUES)),
        ("wrmsr", &[0x0f, 0x30], Msr(MSRS, MSR_VALUES)),
        ("lgdt [rax]", &[0x0f, 0x01, 0x10], Value(TABLE_AT)),
        ("lidt [rax]", &[0x0f, 0x01, 0x18], Value(TABLE_AT)),
        ("sgdt [rax]", &[0x0f, 0x01, 0x00], Memory),
        ("sidt [rax]", &[0x0f, 0x01, 0x08], Memory),
        ("sldt eax", &[0x0f, 0x00, 0xc0], Memory),
        ("str eax", &[0x0f, 0x00, 0xc8], Memory),
        ("lldt ax", &[0x0f, 0x00, 0xd0], Selector),
        ("ltr ax", &[0x0f, 0x00, 0xd8], Value(TASKS)),
        ("lar ebx, eax", &[0x0f, 0x02, 0xd8], Selector),
        ("lsl ebx, eax", &[0x0f, 0x03, 0xd8], Selector),
        ("verr ax", &[0x0f, 0x00, 0xe0], Selector),
        ("verw ax", &[0x0f, 0x00, 0xe8], Selector),
        ("mov ds, ax", &[0x8e, 0xd8], Selector),
        ("mov es, ax", &[0x8e, 0xc0], Selector),
        ("mov ss, ax", &[0x8e, 0xd0], Value(STACKS)),
        ("mov fs, ax", &[0x8e, 0xe0], Selector),
        ("mov gs, ax", &[0x8e, 0xe8], Selector),
        ("mov ebx, cs", &[0x8c, 0xcb], Memory),
        ("mov [rax], ss", &[0x8c, 0x10], Memory),
        ("push fs", &[0x0f, 0xa0], Memory),
        ("pop gs", &[0x0f, 0xa9], Frame),
        ("syscall", &[0x0f, 0x05], Memory),
        ("sysretq", &[0x48, 0x0f, 0x07], Target),
        ("rdfsbase rbx", &[0xf3, 0x48, 0x0f, 0xae, 0xc3], Memory),
        (
            "wrgsbase rax",
            &[0xf3, 0x48, 0x0f, 0xae, 0xd8],
            Value(CANONICAL),
        ),
        ("in al, dx", &[0xec], Memory),
        ("in eax, dx", &[0xed], Memory),
        ("out dx, ax", &[0x66, 0xef], Memory),
        ("rep insb", &[0xf3, 0x6c], Memory),
        ("rep outsb", &[0xf3, 0x6e], Memory),
        ("hlt", &[0xf4], Memory),
        ("int 0x80", &[0xcd, 0x80], Memory),
        ("int3", &[0xcc], Memory),
        ("ud2", &[0x0f, 0x0b], Memory),
        ("add [rax], rcx", &[0x48, 0x01, 0x08], Value(UPDATED)),
        (
            "lock xadd [rax], ecx",
            &[0xf0, 0x0f, 0xc1, 0x08],
            Value(UPDATED),
        ),
        ("xchg [rax], cx", &[0x66, 0x87, 0x08], Value(UPDATED)),
        (
            "cmpxchg [rax], rcx",
            &[0x48, 0x0f, 0xb1, 0x08],
            Value(UPDATED),
        ),
        ("bts [rax], rcx", &[0x48, 0x0f, 0xab, 0x08], Value(UPDATED)),
        (
            "mov rbx, gs:[8]",
            &[0x65, 0x48, 0x8b, 0x1c, 0x25, 8, 0, 0, 0],
            Memory,
        ),
        ("push [rax]", &[0xff, 0x30], Memory),
        ("pop [rax]", &[0x8f, 0x00], Memory),
        ("call rax", &[0xff, 0xd0], Target),
        ("jmp rax", &[0xff, 0xe0], Target),
        ("ret", &[0xc3], Target),
        ("rep movsq", &[0xf3, 0x48, 0xa5], Memory),
        ("rep stosb", &[0xf3, 0xaa], Memory),
        ("lodsd", &[0xad], Memory),
    ]
}

/// Memory at the start: tables, descriptors, gates, `hlt` wherever something may jump.
fn image(code: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut image = vec![0; MEMORY];
    let mut put = |at: u64, bytes: &[u8]| {
        image[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    };
    put(CODE, &[0xf4; 4096]);
    put(STUBS, &[0xf4; 4096]);
    put(CODE, code);
    let words: Vec<u8> = (0..4096 / 8)
        .flat_map(|_| rng.next().to_le_bytes())
        .collect();
    put(DATA & !0xfff, &words);
    // A canonical base for LGDT and LIDT at some of the addresses.
    put(DATA, &[0xff, 0x0f, 0, 0x60, 0, 0, 0, 0, 0, 0]);
    let entries = [
        0_u64,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00cf_f300_0000_ffff,
        0x00af_fb00_0000_ffff,
        TSS << 16 | 0x8900_0000_0067,
        0,
        // A second TSS, free; its upper half; an LDT.
        TSS << 16 | 0x8900_0000_0067,
        0,
        DATA << 16 | 0x8200_0000_0017,
        0,
    ];
    for (i, entry) in entries.into_iter().enumerate() {
        put(GDT + 8 * i as u64, &entry.to_le_bytes());
    }
    for vector in 0..256_u64 {
        let target = STUBS + vector * 16;
        let dpl = if matches!(vector, 3 | 0x80) { 3 } else { 0_u64 };
        let low = (target & 0xffff) | 0x08 << 16 | 0x8e << 40 | dpl << 45 | (target >> 16) << 48;
        put(IDT + 16 * vector, &low.to_le_bytes());
    }
    put(TSS + 4, &STACK0.to_le_bytes());
    put(TSS + 0x66, &0x68_u16.to_le_bytes());
    for (table, next) in [(0, 0x1000), (0x1000, 0x2000), (0x2000, 0x3000)] {
        put(TABLES + table, &(TABLES + next + 7).to_le_bytes());
    }
    for page in 0..512_u64 {
        let rights = match page << 12 {
            MISSING => 0,
            READ_ONLY => 5,
            at if at >= MEMORY as u64 => 0,
            at if at < 0x4000 => 7,
            _ => 3,
        };
        put(
            TABLES + 0x3000 + 8 * page,
            &(page << 12 | rights).to_le_bytes(),
        );
    }
    image
}

/// A processor at the start; the stack as `how` wants it.
fn start(rng: &mut Rng, how: Use, user: bool, image: &mut [u8]) -> (VirtCpu, [u64; 3]) {
    let mut cpu = VirtCpu::long_mode(CODE, TABLES);
    for r in &mut cpu.gpr {
        *r = rng.next();
    }
    cpu.gpr[reg::RSP] = if user { USER_STACK } else { STACK };
    cpu.gpr[reg::RCX] = rng.next() % 9;
    cpu.gpr[reg::RDX] = 0x80;
    for r in [reg::RAX, reg::RSI, reg::RDI] {
        cpu.gpr[r] = rng.one_of(&ADDRESSES);
    }
    let mut put = |at: u64, word: u64| {
        image[at as usize..at as usize + 8].copy_from_slice(&word.to_le_bytes());
    };
    let rsp = cpu.gpr[reg::RSP];
    match how {
        Use::Memory => {
            if rng.next().is_multiple_of(8) {
                cpu.gpr[reg::RSP] = rng.one_of(&ADDRESSES);
            }
        }
        Use::Selector => cpu.gpr[reg::RAX] = rng.one_of(&SELECTORS),
        Use::Value(all) => cpu.gpr[reg::RAX] = rng.one_of(all),
        Use::Target => {
            cpu.gpr[reg::RAX] = rng.one_of(&TARGETS);
            cpu.gpr[reg::RCX] = rng.one_of(&TARGETS);
            cpu.gpr[reg::R11] = rng.next() & flag::STATUS;
            put(rsp, rng.one_of(&TARGETS));
        }
        Use::Frame => {
            put(rsp, rng.one_of(&TARGETS));
            put(rsp + 8, rng.one_of(&SELECTORS));
            put(rsp + 16, rng.next() & (flag::STATUS | flag::DF | flag::AC));
            put(rsp + 24, rng.one_of(&[USER_STACK, STACK]));
            put(rsp + 32, rng.one_of(&SELECTORS));
        }
        Use::Msr(all, values) => {
            cpu.gpr[reg::RCX] = rng.one_of(all).into();
            let value = rng.one_of(values);
            cpu.gpr[reg::RAX] = value & 0xffff_ffff;
            cpu.gpr[reg::RDX] = value >> 32;
        }
    }
    cpu.rflags = rng.next() & (flag::STATUS | flag::DF) | flag::ONE;
    cpu.cr4 = cr4::PAE | cr4::OSFXSR | cr4::FSGSBASE;
    cpu.cr2 = 0x1111;
    (cpu.gdtr.base, cpu.gdtr.limit) = (GDT, 0x57);
    (cpu.idtr.base, cpu.idtr.limit) = (IDT, 0xfff);
    cpu.tr = SystemSegment {
        selector: 0x28,
        base: TSS,
        limit: 0x67,
    };
    cpu.efer |= 1;
    cpu.star = 0x08 << 32 | 0x10 << 48;
    cpu.lstar = CODE + 0x200;
    cpu.fmask = flag::DF;
    cpu.selectors.fs = 0;
    cpu.selectors.gs = 0;
    if user {
        cpu.cpl = 3;
        (cpu.selectors.cs, cpu.selectors.ss) = (0x23, 0x1b);
        (cpu.selectors.ds, cpu.selectors.es) = (0x1b, 0x1b);
    }
    (cpu, [DATA, DATA - 8, 0x7777_0000])
}

/// How it ended: at a `hlt` in ring 0, or in a triple fault.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Halt,
    Shutdown,
    Other(String),
}

fn emulate(cpu: &mut VirtCpu, model: &mut Model) -> End {
    for _ in 0..16 {
        let event = match step(cpu, model).unwrap_or_else(|unknown| panic!("{unknown}")) {
            Step::Done => continue,
            Step::Halt => return End::Halt,
            Step::Exception(e) => Event::Exception(e),
            Step::Software(vector) => {
                let len = if vector == 3 { 1 } else { 2 };
                Event::Software {
                    vector,
                    from: cpu.rip - len,
                }
            }
        };
        if deliver(cpu, model, event).is_err() {
            return End::Shutdown;
        }
    }
    panic!("no end at {:#x}", cpu.rip);
}

struct Machine {
    vcpu: VcpuFd,
    _vm: VmFd,
    memory: Memory,
    first: kvm_sregs,
}

impl Machine {
    fn new() -> Self {
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

    fn msrs(cpu: &VirtCpu, bases: [u64; 3]) -> [(u32, u64); 7] {
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

    fn load(&mut self, cpu: &VirtCpu, bases: [u64; 3], image: &[u8]) {
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
        let regs = kvm_regs {
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
        };
        self.vcpu.set_regs(&regs).unwrap();
        // No event is left over from the run before.
        let mut events = self.vcpu.get_vcpu_events().unwrap();
        events.exception.injected = 0;
        events.exception.pending = 0;
        events.interrupt.injected = 0;
        events.interrupt.shadow = 0;
        self.vcpu.set_vcpu_events(&events).unwrap();
    }

    fn run(&mut self, strings: bool) -> (End, Vec<(u16, usize, u32)>) {
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

/// Instructions that read first and write then.
const UPDATES: [&str; 5] = ["add [", "xadd", "xchg [", "cmpxchg", "bts"];

fn differences(cpu: &VirtCpu, model: &Model, machine: &Machine, name: &str) -> Vec<String> {
    let mut all = Vec::new();
    let regs = machine.vcpu.get_regs().unwrap();
    let sregs = machine.vcpu.get_sregs().unwrap();
    let debug = machine.vcpu.get_debug_regs().unwrap();
    let real = [
        regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp, regs.rsi, regs.rdi, regs.r8,
        regs.r9, regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15,
    ];
    let mut check = |what: &str, emulated: u64, real: u64| {
        if emulated != real {
            all.push(format!("{what}: emulated {emulated:#x}, real {real:#x}"));
        }
    };
    for (i, mut value) in real.into_iter().enumerate() {
        if name.starts_with("lar") && i == reg::RBX {
            // Undefined bits.
            value |= cpu.gpr[i] & 0x000f_0000;
        }
        check(&format!("register {i}"), cpu.gpr[i], value);
    }
    check("rip", cpu.rip, regs.rip);
    // What arithmetic leaves undefined, and RF, which the processor keeps for itself.
    let undefined = if name == "syscall" {
        flag::STATUS | flag::RF
    } else if name.starts_with("bts") {
        flag::STATUS & !flag::CF
    } else {
        flag::RF
    };
    check("rflags", cpu.rflags & !undefined, regs.rflags & !undefined);
    check("cs", cpu.selectors.cs.into(), sregs.cs.selector.into());
    check("ss", cpu.selectors.ss.into(), sregs.ss.selector.into());
    check("ds", cpu.selectors.ds.into(), sregs.ds.selector.into());
    check("es", cpu.selectors.es.into(), sregs.es.selector.into());
    check("fs", cpu.selectors.fs.into(), sregs.fs.selector.into());
    check("gs", cpu.selectors.gs.into(), sregs.gs.selector.into());
    check("cr0", cpu.cr0, sregs.cr0);
    check("cr2", cpu.cr2, sregs.cr2);
    check("cr3", cpu.cr3, sregs.cr3);
    check("cr4", cpu.cr4, sregs.cr4);
    check("efer", cpu.efer, sregs.efer);
    check("gdt base", cpu.gdtr.base, sregs.gdt.base);
    check("gdt limit", cpu.gdtr.limit.into(), sregs.gdt.limit.into());
    check("idt base", cpu.idtr.base, sregs.idt.base);
    check("idt limit", cpu.idtr.limit.into(), sregs.idt.limit.into());
    check("tr", cpu.tr.selector.into(), sregs.tr.selector.into());
    check("ldt", cpu.ldtr.selector.into(), sregs.ldt.selector.into());
    // Loading a null selector leaves the base on some processors and clears it on others.
    if !(name.starts_with("mov fs") || name.starts_with("mov gs") || name.starts_with("pop gs")) {
        check("fs base", model.bases[0], sregs.fs.base);
        check("gs base", model.bases[1], sregs.gs.base);
    }
    check("dr0", cpu.dr[0], debug.db[0]);
    check("dr6", cpu.dr[6] | 1 << 12, debug.dr6 | 1 << 12);
    check("dr7", cpu.dr[7], debug.dr7);
    let wanted = Machine::msrs(cpu, model.bases);
    let entries = wanted.map(|(index, _)| kvm_msr_entry {
        index,
        ..Default::default()
    });
    let mut msrs = Msrs::from_entries(&entries).unwrap();
    assert_eq!(machine.vcpu.get_msrs(&mut msrs).unwrap(), 7);
    for (entry, (index, value)) in msrs.as_slice().iter().zip(wanted) {
        check(&format!("msr {index:#x}"), value, entry.data);
    }
    let real = machine.memory.get();
    let image = model.ram.0.borrow();
    // The page tables' accessed bits: processors may set them ahead.
    for at in (0..TABLES as usize).step_by(8) {
        let word = |m: &[u8]| u64::from_le_bytes(m[at..at + 8].try_into().unwrap());
        let (emulated, real) = (word(&image), word(&real));
        let updates = UPDATES.iter().any(|update| name.contains(update));
        let known = emulated ^ real == flag::RF || (updates && emulated ^ real == 2);
        if !known {
            check(&format!("memory {at:#x}"), emulated, real);
        }
    }
    all
}

#[test]
fn instructions_do_what_the_processor_does() {
    if !Path::new("/dev/kvm").exists() {
        eprintln!("skipped: there is no /dev/kvm");
        return;
    }
    if Path::new("/sys/module/kvm_pvm").exists() {
        eprintln!("skipped: this KVM emulates ring 0 itself");
        return;
    }
    let rounds = std::env::var("GNOMON_EMULATOR_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok());
    let mut machine = Machine::new();
    let mut rng = Rng(0x1234_5678_9abc_def1);
    let mut failures = Vec::new();
    let mut runs = 0;
    for (name, code, how) in instructions() {
        for round in 0..rounds.unwrap_or(8) {
            let user = round % 2 == 1;
            let mut memory = image(code, &mut rng);
            let (mut cpu, bases) = start(&mut rng, how, user, &mut memory);
            let before = cpu.clone();
            machine.load(&cpu, bases, &memory);
            let (end, out) = machine.run(name.starts_with("rep ins"));
            let mut model = Model {
                ram: Image(memory.into()),
                bases,
                cr8: 0,
                out: Vec::new(),
            };
            let emulated = emulate(&mut cpu, &mut model);
            runs += 1;
            let mut wrong = Vec::new();
            if emulated != end {
                wrong.push(format!("emulated {emulated:?}, real {end:?}"));
            } else if end == End::Halt {
                wrong = differences(&cpu, &model, &machine, name);
                let sent = |list: &[(u16, usize, u32)]| {
                    list.iter()
                        .map(|o| o.2.to_le_bytes()[..o.1].to_vec())
                        .collect::<Vec<_>>()
                        .concat()
                };
                if sent(&model.out) != sent(&out) {
                    wrong.push(format!("ports: emulated {:x?}, real {out:x?}", model.out));
                }
            }
            if !wrong.is_empty() {
                failures.push(format!(
                    "{name} (ring {}), rax {:#x} rcx {:#x} rsp {:#x} rsi {:#x} rdi {:#x}: {}",
                    before.cpl,
                    before.gpr[reg::RAX],
                    before.gpr[reg::RCX],
                    before.gpr[reg::RSP],
                    before.gpr[reg::RSI],
                    before.gpr[reg::RDI],
                    wrong.join("; ")
                ));
            }
        }
    }
    eprintln!("{runs} instructions compared");
    assert!(
        failures.is_empty(),
        "{} of {runs} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
