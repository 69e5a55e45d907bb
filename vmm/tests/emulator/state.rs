//! How memory and the processor are at the start.

use gnomon_shadow::cpu::{SystemSegment, VirtCpu, cr4, flag, reg};

use crate::cases::{ADDRESSES, SELECTORS, TARGETS, Use};
use crate::{
    CODE, DATA, GDT, IDT, MEMORY, MISSING, READ_ONLY, STACK, STACK0, STUBS, TABLES, TSS, USER_STACK,
};

/// Random numbers.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[(self.next() >> 33) as usize % all.len()]
    }
}

/// Memory at the start: tables, descriptors, gates, `hlt` wherever something may jump.
pub fn image(code: &[u8], rng: &mut Rng) -> Vec<u8> {
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
pub fn start(rng: &mut Rng, how: Use, user: bool, image: &mut [u8]) -> (VirtCpu, [u64; 3]) {
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
