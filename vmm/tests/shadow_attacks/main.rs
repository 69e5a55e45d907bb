//! A guest in the shadow mode cannot reach the monitor, nor memory outside its RAM, whatever it does
//! to its tables, registers and code. Tiny kernels, assembled here, try; each ends with a status: 1
//! where it found the machine as it should be, 0x80 + the vector of the exception that stopped it.

use std::path::Path;

use gnomon::host::Host;
use gnomon::mmu::shadow::probe::{CODE, run_tiny};
use gnomon::vcpu::exit::Stop;
use gnomon_shadow::tables::Policy;
use vm_memory::{Bytes, GuestAddress};

const GDT: u64 = 0x5_0000;
const IDT: u64 = 0x5_1000;
const TSS: u64 = 0x5_2000;
const STUBS: u64 = 0x5_3000;
const POINTERS: u64 = 0x5_4000;

/// What every attack ends with if nothing has stopped it: status 1.
macro_rules! done {
    () => {
        "mov edx, 0x510; mov eax, 1; out dx, eax; hlt"
    };
}

/// Enters ring 3 at the label `2`; `flags`: its flags, if they are to be other than none.
macro_rules! to_user {
    () => {
        to_user!(2)
    };
    ($flags:literal) => {
        concat!(
            "lea rax, [rip + 2f]; push 0x1b; push 0x61000; push ",
            $flags,
            "; push 0x23; push rax; iretq; 2:"
        )
    };
}

/// Lets vector `n` lead to the label `8`, which has to return.
macro_rules! handle {
    ($vector:literal) => {
        concat!(
            "lea rax, [rip + 8f]; mov [0x51000 + 16 * ",
            $vector,
            "], ax; shr eax, 16; mov [0x51006 + 16 * ",
            $vector,
            "], ax"
        )
    };
}

/// A module with a kernel of a prologue, which loads the tables and a stack and lets RBX be the
/// monitor's window, and of these lines; and perhaps a test.
macro_rules! kernel {
    ($name:ident, [$($line:expr),+], $($test:item)?) => {
        mod $name {
            core::arch::global_asm!(
                concat!(".pushsection .rodata.", stringify!($name)),
                concat!(".globl attack_", stringify!($name)),
                concat!("attack_", stringify!($name), ":"),
                "lgdt [0x54000]",
                "lidt [0x54010]",
                "mov esp, 0x60000",
                "mov eax, 0x28",
                "ltr ax",
                "mov rbx, 0xffffc00000000000",
                $($line,)+
                concat!(".globl attack_end_", stringify!($name)),
                concat!("attack_end_", stringify!($name), ":"),
                ".popsection",
            );

            pub fn code() -> &'static [u8] {
                unsafe extern "C" {
                    #[link_name = concat!("attack_", stringify!($name))]
                    static START: u8;
                    #[link_name = concat!("attack_end_", stringify!($name))]
                    static END: u8;
                }
                let (start, end) = (&raw const START, &raw const END);
                // SAFETY: both labels lie in one read-only section, in this order.
                unsafe { std::slice::from_raw_parts(start, end.offset_from(start) as usize) }
            }

            $($test)?
        }
    };
}

/// A test: a kernel, and how it ends.
macro_rules! attack {
    ($name:ident => $end:ident, $($line:expr),+ $(,)?) => {
        kernel! {
            $name,
            [$($line),+],
            #[test]
            fn is_harmless() {
                crate::assert_ends(code(), &crate::$end);
            }
        }
    };
}

mod code;
mod descriptors;
mod program;
mod stack;
mod stepping;
mod tables;
mod window;

const CLEAN: Stop = Stop::Status(1);
const DEBUG: Stop = Stop::Status(0x80 + 1);
const INVALID: Stop = Stop::Status(0x80 + 6);
const PROTECTION: Stop = Stop::Status(0x80 + 13);
const PAGE_FAULT: Stop = Stop::Status(0x80 + 14);
const TRIPLE_FAULT: Stop = Stop::TripleFault;

/// Tables, gates and stubs for a kernel.
fn prepare(memory: &gnomon_devices::GuestMemory) {
    let put = |at: u64, word: u64| memory.write_obj(word, GuestAddress(at)).unwrap();
    let gdt = [
        0,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00cf_f300_0000_ffff,
        0x00af_fb00_0000_ffff,
        (TSS & 0xff_ffff) << 16 | 0x8900_0000_0067,
        0,
    ];
    for (i, entry) in gdt.into_iter().enumerate() {
        put(GDT + 8 * i as u64, entry);
    }
    for vector in 0..32_u64 {
        let stub = STUBS + vector * 16;
        let low = (stub & 0xffff) | 0x08 << 16 | 0x1_8e00_0000_0000 | (stub >> 16 & 0xffff) << 48;
        put(IDT + 16 * vector, low);
        // mov eax, 0x80 + vector; mov edx, 0x510; out dx, eax
        let code = [
            0xb8,
            0x80 + vector as u8,
            0,
            0,
            0,
            0xba,
            0x10,
            0x05,
            0,
            0,
            0xef,
            0xf4,
        ];
        memory.write_slice(&code, GuestAddress(stub)).unwrap();
    }
    memory
        .write_obj(0x6_2000_u64, GuestAddress(TSS + 4))
        .unwrap();
    memory
        .write_obj(0x6_3000_u64, GuestAddress(TSS + 0x24))
        .unwrap();
    // No bitmap of port permissions.
    memory
        .write_obj(0x68_u16, GuestAddress(TSS + 0x66))
        .unwrap();
    for (at, base, limit) in [(POINTERS, GDT, 0x37_u16), (POINTERS + 16, IDT, 0x1ff)] {
        memory.write_obj(limit, GuestAddress(at)).unwrap();
        memory.write_obj(base, GuestAddress(at + 2)).unwrap();
    }
}

/// Runs a kernel under every policy.
fn assert_ends(code: &[u8], expected: &Stop) {
    assert!(code.len() < 0x1000 && CODE < GDT);
    if !Path::new("/dev/kvm").exists() {
        eprintln!("skipped: there is no /dev/kvm");
        return;
    }
    let host = Host::open().unwrap();
    for policy in [Policy::Vtlb, Policy::Trace, Policy::Unsync] {
        let stop = run_tiny(&host, policy, code, prepare).unwrap();
        assert_eq!(stop, *expected, "{policy:?}");
    }
}
