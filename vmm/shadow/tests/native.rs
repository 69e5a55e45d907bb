//! The emulator against the processor itself: random ordinary instructions, carried out by both.
//!
//! Instructions are put into an executable page between code that loads and saves all registers
//! and flags; the only memory they touch is a buffer that RBX points to.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use gnomon_shadow::cpu::{VirtCpu, flag};
use gnomon_shadow::deliver::Exception;
use gnomon_shadow::emulate::{Base, Platform, Step, step};
use gnomon_shadow::tables::walk::Access;

const BUFFER: usize = 256;
/// RBX points to the middle, so that bit strings may reach below.
const MIDDLE: usize = BUFFER / 2;
const RSP: usize = 4;
const RBX: usize = 3;

/// Registers and flags, as the code in the page finds them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    gpr: [u64; 16],
    flags: u64,
}

/// An executable page with room for one instruction.
struct Page {
    at: *mut u8,
}

impl Page {
    fn new() -> Self {
        // SAFETY: a new anonymous mapping.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(at, libc::MAP_FAILED);
        Page { at: at.cast() }
    }

    /// Carries out `instruction`, which touches no memory but the buffer and does not use RSP.
    fn run(&self, instruction: &[u8], state: &mut State) {
        let mut code = vec![
            0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x57,
        ];
        // push [rdi + 128]; popfq
        code.extend([0xff, 0xb7, 0x80, 0, 0, 0, 0x9d]);
        let registers = |code: &mut Vec<u8>, opcode: u8, with_rdi: bool| {
            for r in (0..16_u8).filter(|&r| r != 4 && (r != 7 || with_rdi)) {
                // mov r, [rdi + 8r] or back
                let rex = 0x48 | if r >= 8 { 4 } else { 0 };
                code.extend([rex, opcode, 0x47 | (r & 7) << 3, 8 * r]);
            }
        };
        registers(&mut code, 0x8b, false);
        // mov rdi, [rdi + 56]
        code.extend([0x48, 0x8b, 0x7f, 56]);
        code.extend(instruction);
        // xchg rdi, [rsp]; save; pushfq; pop [rdi + 128]; pop [rdi + 56]
        code.extend([0x48, 0x87, 0x3c, 0x24]);
        registers(&mut code, 0x89, false);
        code.extend([0x9c, 0x8f, 0x87, 0x80, 0, 0, 0, 0x8f, 0x47, 56]);
        // cld for the caller, restore, return
        code.extend([
            0xfc, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3,
        ]);
        assert!(code.len() < 4096);
        // SAFETY: the page is writable and executable and this thread's own; the code above keeps
        // the calling convention, and the instruction stays in the buffer.
        unsafe {
            std::ptr::copy_nonoverlapping(code.as_ptr(), self.at, code.len());
            let f: extern "C" fn(*mut State) = std::mem::transmute(self.at);
            f(state);
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours.
        unsafe { libc::munmap(self.at.cast(), 4096) };
    }
}

const CODE: u64 = 0x1000;

/// Memory: an instruction at [`CODE`], and a copy of the buffer where the true one lies.
struct Flat {
    code: Vec<u8>,
    base: u64,
    buffer: [u8; BUFFER],
}

impl Flat {
    fn slice(&mut self, va: u64, len: usize) -> Result<&mut [u8], Exception> {
        let offset = va.wrapping_sub(self.base) as usize;
        self.buffer
            .get_mut(offset..offset.wrapping_add(len))
            .ok_or(Exception::page_fault(va, 0))
    }
}

impl Platform for Flat {
    fn read(&mut self, _: &VirtCpu, va: u64, bytes: &mut [u8], _: Access) -> Result<(), Exception> {
        if (CODE..CODE + 64).contains(&va) {
            for (i, byte) in bytes.iter_mut().enumerate() {
                *byte = self
                    .code
                    .get((va - CODE) as usize + i)
                    .copied()
                    .unwrap_or(0x90);
            }
            return Ok(());
        }
        let len = bytes.len();
        bytes.copy_from_slice(self.slice(va, len)?);
        Ok(())
    }
    fn write(&mut self, _: &VirtCpu, va: u64, bytes: &[u8], _: bool) -> Result<(), Exception> {
        self.slice(va, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }
    fn probe_write(&mut self, _: &VirtCpu, va: u64, len: usize, _: bool) -> Result<(), Exception> {
        self.slice(va, len).map(drop)
    }
    fn port_in(&mut self, _: u16, _: usize) -> u32 {
        0
    }
    fn port_out(&mut self, _: u16, _: usize, _: u32) {}
    fn read_msr(&mut self, _: u32) -> Option<u64> {
        None
    }
    fn write_msr(&mut self, _: u32, _: u64) -> Option<()> {
        None
    }
    fn base(&mut self, _: Base) -> u64 {
        0
    }
    fn set_base(&mut self, _: Base, _: u64) {}
    fn swap_gs(&mut self) {}
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
        0
    }
    fn set_cr8(&mut self, _: u64) {}
    fn set_xcr0(&mut self, _: u64) -> bool {
        false
    }
}

/// xorshift64*.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }
    /// Values near the edges are likely.
    fn word(&mut self) -> u64 {
        match self.below(6) {
            0 => [
                0,
                1,
                0x7f,
                0x80,
                0xff,
                0x7fff,
                0x8000,
                0x7fff_ffff,
                0x8000_0000,
                u64::MAX,
                1 << 63,
            ][self.below(11) as usize],
            1 => self.next() & 0xff,
            _ => self.next(),
        }
    }
}

/// How the operands behind an opcode look.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// ModRM: a register, and a register or memory.
    Modrm,
    /// ModRM with this /digit.
    Digit(u8),
    /// ModRM with /digit and an immediate byte.
    DigitImm8(u8),
    /// The same with an immediate of the operand's size (at most 4).
    DigitImm(u8),
    /// No operands.
    None,
}

/// Opcode, operands, whether the operand is a byte, and flags that the manual leaves undefined.
fn instruction(rng: &mut Rng) -> (Vec<u8>, Form, bool, u64) {
    use Form::*;
    let wide = rng.below(2) as u8;
    let byte = wide == 0;
    let arithmetic = [0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38];
    let logic = flag::AF;
    let af = |op: u8| {
        if matches!(op, 0x08 | 0x20 | 0x30) {
            logic
        } else {
            0
        }
    };
    match rng.below(24) {
        0..=3 => {
            let op = arithmetic[rng.below(8) as usize];
            (
                vec![op + 2 * rng.below(2) as u8 + wide],
                Modrm,
                byte,
                af(op),
            )
        }
        4 => {
            let d = rng.below(8) as u8;
            (
                vec![0x80 + wide],
                if byte { DigitImm8(d) } else { DigitImm(d) },
                byte,
                af(d * 8),
            )
        }
        5 => {
            let d = rng.below(8) as u8;
            (vec![0x83], DigitImm8(d), false, af(d * 8))
        }
        6 => (vec![0xf6 + wide], Digit(2 + rng.below(2) as u8), byte, 0),
        7 => (vec![0xfe + wide], Digit(rng.below(2) as u8), byte, 0),
        8 => {
            let d = [4, 5, 7][rng.below(3) as usize];
            (vec![0xc0 + wide], DigitImm8(d), byte, flag::AF | flag::OF)
        }
        9 => {
            let d = [4, 5, 7][rng.below(3) as usize];
            (vec![0xd0 + wide], Digit(d), byte, flag::AF)
        }
        10 => {
            let d = [4, 5, 7][rng.below(3) as usize];
            (vec![0xd2 + wide], Digit(d), byte, flag::AF | flag::OF)
        }
        11 => {
            let undefined = flag::OF | flag::SF | flag::AF | flag::PF;
            (
                vec![0x0f, [0xa3, 0xab, 0xb3, 0xbb][rng.below(4) as usize]],
                Modrm,
                false,
                undefined,
            )
        }
        12 => {
            let undefined = flag::OF | flag::SF | flag::AF | flag::PF;
            (
                vec![0x0f, 0xba],
                DigitImm8(4 + rng.below(4) as u8),
                false,
                undefined,
            )
        }
        13 => (vec![0x86 + wide], Modrm, byte, 0),
        14 => (vec![0x0f, 0xc0 + wide], Modrm, byte, 0),
        15 => (vec![0x0f, 0xb0 + wide], Modrm, byte, 0),
        16 => (
            vec![0x0f, [0xb6, 0xb7, 0xbe, 0xbf][rng.below(4) as usize]],
            Modrm,
            false,
            0,
        ),
        17 => (vec![0x0f, 0x40 + rng.below(16) as u8], Modrm, false, 0),
        18 => (vec![0x0f, 0x90 + rng.below(16) as u8], Digit(0), true, 0),
        19 => (vec![0x84 + wide], Modrm, byte, logic),
        20 => (vec![0x88 + 2 * rng.below(2) as u8 + wide], Modrm, byte, 0),
        21 => (
            vec![0xc6 + wide],
            if byte { DigitImm8(0) } else { DigitImm(0) },
            byte,
            0,
        ),
        22 => (
            vec![[0xf5, 0xf8, 0xf9, 0x90][rng.below(4) as usize]],
            None,
            false,
            0,
        ),
        _ => (vec![0x0f, 0xc7], Digit(1), false, 0),
    }
}

/// One random instruction; the flags that it leaves undefined.
fn encode(rng: &mut Rng, state: &mut State) -> (Vec<u8>, u64) {
    let (opcode, form, byte, undefined) = instruction(rng);
    let mut code = Vec::new();
    let cmpxchg8b = opcode == [0x0f, 0xc7];
    let is_bit_string =
        opcode[0] == 0x0f && matches!(opcode.get(1), Some(0xa3 | 0xab | 0xb3 | 0xbb));
    // 2, 4 or 8 bytes.
    let width = rng.below(3);
    let short = width == 0 && !byte && !cmpxchg8b && form != Form::None;
    if short {
        code.push(0x66);
    }
    let no_rsp_rbx = |rng: &mut Rng| loop {
        let r = rng.below(16) as u8;
        // Without REX 4 and 5 mean AH and CH, which is fine; with it SPL.
        if usize::from(r) != RSP && usize::from(r) != RBX {
            break r;
        }
    };
    let (mut reg, mut rm) = (no_rsp_rbx(rng), no_rsp_rbx(rng));
    let digit = match form {
        Form::Digit(d) | Form::DigitImm8(d) | Form::DigitImm(d) => Some(d),
        _ => None,
    };
    if let Some(d) = digit {
        reg = d;
    }
    let memory = cmpxchg8b || rng.below(2) == 0;
    let mut rex = 0;
    if width == 2 && !byte && !cmpxchg8b && form != Form::None {
        rex |= 0x48;
    }
    if reg >= 8 {
        rex |= 0x44;
    }
    if !memory && rm >= 8 {
        rex |= 0x41;
    }
    if memory {
        rm = RBX as u8;
    } else if rex == 0 && byte && rm == 7 {
        // BH is a part of RBX.
        rm = 6;
    }
    if rex == 0 && digit.is_none() && byte && reg == 7 {
        reg = 6;
    }
    if rex == 0
        && opcode[0] == 0x0f
        && matches!(opcode.get(1), Some(0xb6 | 0xbe))
        && !memory
        && rm == 7
    {
        rm = 6;
    }
    if is_bit_string && memory {
        // Keep the bit string in the buffer.
        state.gpr[usize::from(reg)] = rng.below(512).wrapping_sub(256);
    }
    if rex != 0 && form != Form::None {
        code.push(rex);
    }
    code.extend(&opcode);
    if form != Form::None {
        let mode = if memory { 0 } else { 0xc0 };
        code.push(mode | (reg & 7) << 3 | (rm & 7));
    }
    match form {
        Form::DigitImm8(_) => code.push(rng.word() as u8),
        Form::DigitImm(_) if short => code.extend((rng.word() as u16).to_le_bytes()),
        Form::DigitImm(_) => code.extend((rng.word() as u32).to_le_bytes()),
        _ => {}
    }
    (code, undefined)
}

#[test]
fn ordinary_instructions_do_what_the_processor_does() {
    let count = if cfg!(debug_assertions) {
        60_000
    } else {
        1_000_000
    };
    let page = Page::new();
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let mut buffer = Box::new([0_u8; BUFFER]);
    for n in 0..count {
        let mut state = State {
            gpr: [0; 16],
            flags: 0,
        };
        for r in &mut state.gpr {
            *r = rng.word();
        }
        for byte in buffer.iter_mut() {
            *byte = rng.next() as u8;
        }
        if n % 4 == 0 {
            // Let comparisons find what they look for.
            buffer[MIDDLE..MIDDLE + 8].copy_from_slice(&state.gpr[0].to_le_bytes());
            state.gpr[2] = state.gpr[0] >> 32;
        }
        state.flags = rng.next() & flag::STATUS | flag::ONE | flag::IF;
        let (code, undefined) = encode(&mut rng, &mut state);
        state.gpr[RBX] = buffer.as_ptr() as u64 + MIDDLE as u64;
        let mut flat = Flat {
            code: code.clone(),
            base: buffer.as_ptr() as u64,
            buffer: *buffer,
        };
        let mut cpu = VirtCpu::long_mode(CODE, 0);
        cpu.cpl = 3;
        cpu.gpr = state.gpr;
        cpu.rflags = state.flags;
        let before = state;
        page.run(&code, &mut state);
        let result = step(&mut cpu, &mut flat);
        assert_eq!(result, Ok(Step::Done), "{code:02x?}");
        assert_eq!(cpu.rip, CODE + code.len() as u64, "{code:02x?}");
        for r in (0..16).filter(|&r| r != RSP) {
            assert_eq!(
                cpu.gpr[r], state.gpr[r],
                "register {r} after {code:02x?} with {before:x?}"
            );
        }
        let mask = flag::STATUS & !undefined;
        assert_eq!(
            cpu.rflags & mask,
            state.flags & mask,
            "flags after {code:02x?} with {before:x?}"
        );
        assert_eq!(
            flat.buffer, *buffer,
            "memory after {code:02x?} with {before:x?}"
        );
    }
}
