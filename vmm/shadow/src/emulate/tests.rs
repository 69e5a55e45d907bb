//! Each family on a machine without paging: what is done, and what is refused.

use super::mock::*;
use super::*;
use crate::cpu::{cr0, cr4, efer, flag, reg};
use crate::deliver::vector;

/// Carries out one instruction.
fn run(cpu: &mut VirtCpu, mock: &mut Mock) -> Step {
    step(cpu, mock).expect("a known instruction")
}

/// One instruction in the kernel, with a preparation; the state afterwards.
fn kernel(code: &[u8], prepare: impl FnOnce(&mut VirtCpu, &mut Mock)) -> (Step, VirtCpu, Mock) {
    let (mut cpu, mut mock) = Mock::machine(code);
    prepare(&mut cpu, &mut mock);
    let step = run(&mut cpu, &mut mock);
    (step, cpu, mock)
}

/// The same in a program.
fn user(code: &[u8], prepare: impl FnOnce(&mut VirtCpu, &mut Mock)) -> (Step, VirtCpu, Mock) {
    kernel(code, |cpu, mock| {
        cpu.cpl = 3;
        (cpu.selectors.cs, cpu.selectors.ss) = (0x23, 0x1b);
        cpu.gpr[reg::RSP] = DATA + 0x800;
        prepare(cpu, mock);
    })
}

const GP0: Step = Step::Exception(Exception::GP0);

#[test]
fn privileged_instructions_are_refused_to_programs() {
    let all: [&[u8]; 26] = [
        &[0xfa],
        &[0xfb],
        &[0xf4],
        &[0x0f, 0x20, 0xc0],
        &[0x0f, 0x22, 0xd8],
        &[0x44, 0x0f, 0x20, 0xc0],
        &[0x0f, 0x21, 0xf8],
        &[0x0f, 0x23, 0xf8],
        &[0x0f, 0x30],
        &[0x0f, 0x32],
        &[0x0f, 0x01, 0xf8],
        &[0x0f, 0x01, 0x38],
        &[0x0f, 0x01, 0x10],
        &[0x0f, 0x01, 0x18],
        &[0x0f, 0x00, 0xd8],
        &[0x0f, 0x00, 0xd0],
        &[0x0f, 0x06],
        &[0x0f, 0x01, 0xf0],
        &[0x0f, 0x09],
        &[0x0f, 0x08],
        &[0xe6, 0x80],
        &[0xe4, 0x80],
        &[0x6e],
        &[0xf3, 0x6e],
        &[0x66, 0x0f, 0x38, 0x82, 0x00],
        &[0x0f, 0x33],
    ];
    for code in all {
        let (step, cpu, mock) = user(code, |cpu, _| cpu.gpr[reg::RAX] = DATA);
        assert_eq!(step, GP0, "{code:02x?}");
        assert_eq!((cpu.rip, mock.out.len(), mock.flushes.len()), (CODE, 0, 0));
    }
}

#[test]
fn control_registers_obey_their_rules() {
    let write = |cr: u8, value| {
        let (step, cpu, mock) = kernel(&[0x0f, 0x22, 0xc0 | cr << 3], |cpu, _| {
            cpu.gpr[reg::RAX] = value
        });
        (step, cpu, mock)
    };
    let (step, cpu, mock) = write(3, 0x5000);
    assert_eq!((step, cpu.cr3), (Step::Done, 0x5000));
    assert_eq!(mock.flushes, [u64::MAX, 0x5000]);
    assert_eq!(write(3, 1 << 50).0, GP0);
    assert_eq!(write(0, cr0::PE).0, GP0, "paging cannot go in 64-bit mode");
    assert_eq!(write(0, cr0::PG).0, GP0);
    assert_eq!(write(0, cr0::PG | cr0::PE | cr0::NW).0, GP0);
    assert_eq!(write(0, 1 << 32 | cr0::PG | cr0::PE).0, GP0);
    let (step, cpu, mock) = write(0, cr0::PG | cr0::PE | cr0::TS);
    assert_eq!((step, mock.modes), (Step::Done, 1));
    assert_eq!(cpu.cr0, cr0::PG | cr0::PE | cr0::TS | cr0::ET);
    assert_eq!(write(4, 0).0, GP0, "PAE cannot go");
    assert_eq!(write(4, cr4::PAE | 1 << 17).0, GP0, "PCID is not offered");
    let (step, cpu, mock) = write(4, cr4::PAE | cr4::PGE);
    assert_eq!((step, cpu.cr4), (Step::Done, cr4::PAE | cr4::PGE));
    assert_eq!(mock.flushes.len(), 2, "PGE forgets all translations");
    assert_eq!(write(2, 0x1234).1.cr2, 0x1234);
    let (step, _, mock) = kernel(&[0x44, 0x0f, 0x22, 0xc0], |cpu, _| cpu.gpr[reg::RAX] = 15);
    assert_eq!((step, mock.cr8), (Step::Done, 15));
    let (step, ..) = kernel(&[0x44, 0x0f, 0x22, 0xc0], |cpu, _| cpu.gpr[reg::RAX] = 16);
    assert_eq!(step, GP0);
    let (step, ..) = kernel(&[0x0f, 0x22, 0xc8], |_, _| {});
    assert_eq!(step, Step::Exception(Exception::UD), "there is no CR1");
    let (_, cpu, _) = kernel(&[0x0f, 0x20, 0xd1], |cpu, _| cpu.cr2 = 77);
    assert_eq!(cpu.gpr[reg::RCX], 77);
}

#[test]
fn small_control_instructions() {
    let (_, cpu, _) = kernel(&[0x0f, 0x06], |cpu, _| cpu.cr0 |= cr0::TS);
    assert_eq!(cpu.cr0 & cr0::TS, 0);
    let (_, cpu, _) = kernel(&[0x0f, 0x01, 0xf0], |cpu, _| cpu.gpr[reg::RAX] = 0xe);
    assert_eq!(cpu.cr0 & 0xf, 0xf, "LMSW cannot clear PE");
    let (_, cpu, _) = kernel(&[0x48, 0x0f, 0x01, 0xe0], |_, _| {});
    assert_eq!(cpu.gpr[reg::RAX], cpu.cr0);
    let (step, ..) = user(&[0x0f, 0x01, 0xe0], |cpu, _| cpu.cr4 |= cr4::UMIP);
    assert_eq!(step, GP0);
    let (_, _, mock) = kernel(&[0x0f, 0x01, 0x38], |cpu, _| {
        cpu.gpr[reg::RAX] = 0xffff_8000_1234_5678
    });
    assert_eq!(mock.flushes, [0xffff_8000_1234_5678]);
    let (step, _, mock) = kernel(&[0x0f, 0x01, 0x38], |cpu, _| cpu.gpr[reg::RAX] = 1 << 62);
    assert_eq!((step, mock.flushes.len()), (Step::Done, 0));
    let xsetbv = |value, osxsave| {
        let (step, cpu, _) = kernel(&[0x0f, 0x01, 0xd1], |cpu, _| {
            cpu.gpr[reg::RAX] = value;
            if osxsave {
                cpu.cr4 |= cr4::OSXSAVE;
            }
        });
        (step, cpu.xcr0)
    };
    assert_eq!(xsetbv(7, true), (Step::Done, 7));
    assert_eq!(xsetbv(6, true), (GP0, 1), "x87 cannot be turned off");
    assert_eq!(xsetbv(7, false).0, Step::Exception(Exception::UD));
    let (step, _, mock) = kernel(&[0x66, 0x0f, 0x38, 0x82, 0x08], |cpu, mock| {
        cpu.gpr[reg::RAX] = DATA;
        mock.put_u64(DATA + 8, 0x7000);
    });
    assert_eq!((step, mock.flushes), (Step::Done, vec![0x7000]));
}

#[test]
fn debug_registers_alias_and_have_fixed_bits() {
    let (_, cpu, _) = kernel(&[0x0f, 0x23, 0xf8], |cpu, _| {
        cpu.gpr[reg::RAX] = 0xffff_ffff
    });
    assert_eq!(cpu.dr[7], 0xffff_2fff);
    let (_, cpu, _) = kernel(&[0x0f, 0x23, 0xe0], |cpu, _| cpu.gpr[reg::RAX] = 0);
    assert_eq!(cpu.dr[6], 0xffff_0ff0, "DR4 is DR6");
    let (step, ..) = kernel(&[0x0f, 0x23, 0xe0], |cpu, _| cpu.cr4 |= cr4::DE);
    assert_eq!(step, Step::Exception(Exception::UD));
    let (step, ..) = kernel(&[0x0f, 0x23, 0xf8], |cpu, _| cpu.gpr[reg::RAX] = 1 << 32);
    assert_eq!(step, GP0);
}

#[test]
fn msrs_check_their_values() {
    let write = |msr: u32, value: u64| {
        kernel(&[0x0f, 0x30], |cpu, _| {
            cpu.gpr[reg::RCX] = msr.into();
            cpu.gpr[reg::RAX] = value & 0xffff_ffff;
            cpu.gpr[reg::RDX] = value >> 32;
        })
    };
    assert_eq!(
        write(0xc000_0082, 0xffff_8000_0000_1000).1.lstar,
        0xffff_8000_0000_1000
    );
    assert_eq!(write(0xc000_0082, 1 << 47).0, GP0, "not canonical");
    assert_eq!(write(0xc000_0084, 1 << 32).0, GP0);
    assert_eq!(write(0x277, 0x0202_0202_0202_0202).0, GP0);
    assert_eq!(write(0xc000_0102, 0x1234).2.bases[2], 0x1234);
    assert_eq!(
        write(0xc000_0080, efer::SCE | efer::LME | efer::NXE).1.efer & efer::LMA,
        efer::LMA
    );
    assert_eq!(
        write(0xc000_0080, efer::SCE).0,
        GP0,
        "long mode cannot go while paging is on"
    );
    assert_eq!(write(0xc000_0080, 1 << 12 | efer::LME).0, GP0);
    assert_eq!(write(0x1b, 0xfee0_0c00).1.apic_base, 0xfee0_0d00);
    assert_eq!(write(0x1b, 0xfee0_0400).0, GP0, "x2APIC needs the APIC on");
    assert_eq!(write(0x800, 5).2.msr, 5);
    assert_eq!(write(0x1234, 0).0, GP0);
    let (step, cpu, _) = kernel(&[0x0f, 0x32], |cpu, _| {
        cpu.gpr[reg::RCX] = 0xc000_0081;
        cpu.gpr[reg::RAX] = u64::MAX;
        cpu.gpr[reg::RDX] = u64::MAX;
    });
    assert_eq!(
        (step, cpu.gpr[reg::RDX] << 32 | cpu.gpr[reg::RAX]),
        (Step::Done, cpu.star)
    );
}

#[test]
fn segment_bases() {
    let (step, ..) = user(&[0xf3, 0x48, 0x0f, 0xae, 0xd0], |_, _| {});
    assert_eq!(step, Step::Exception(Exception::UD), "without CR4.FSGSBASE");
    let (step, _, mock) = user(&[0xf3, 0x48, 0x0f, 0xae, 0xd0], |cpu, _| {
        cpu.cr4 |= cr4::FSGSBASE;
        cpu.gpr[reg::RAX] = 0x7000_0000_0000;
    });
    assert_eq!((step, mock.bases[0]), (Step::Done, 0x7000_0000_0000));
    let (_, _, mock) = kernel(&[0x0f, 0x01, 0xf8], |_, mock| mock.bases = [1, 2, 3]);
    assert_eq!(mock.bases, [1, 3, 2]);
    // mov rax, gs:[0x10]
    let (_, cpu, _) = kernel(&[0x65, 0x48, 0x8b, 0x04, 0x25, 0x10, 0, 0, 0], |_, mock| {
        mock.bases[1] = DATA;
        mock.put_u64(DATA + 16, 99);
    });
    assert_eq!(cpu.gpr[reg::RAX], 99);
}

#[test]
fn interrupt_flag_and_halt() {
    let (_, cpu, _) = kernel(&[0xfb], |_, _| {});
    assert!(cpu.rflags & flag::IF != 0 && cpu.interrupt_shadow && !cpu.takes_interrupts());
    let (_, cpu, _) = kernel(&[0xfb], |cpu, _| cpu.rflags |= flag::IF);
    assert!(cpu.takes_interrupts(), "no shadow if interrupts were on");
    let (_, cpu, _) = kernel(&[0xfa], |cpu, _| cpu.rflags |= flag::IF);
    assert_eq!(cpu.rflags & flag::IF, 0);
    let (step, cpu, _) = user(&[0xfa], |cpu, _| cpu.rflags |= flag::IOPL | flag::IF);
    assert_eq!((step, cpu.rflags & flag::IF), (Step::Done, 0));
    let (step, cpu, _) = kernel(&[0xf4], |_, _| {});
    assert_eq!((step, cpu.rip), (Step::Halt, CODE + 1));
}

#[test]
fn pushf_and_popf_show_the_virtual_flags() {
    let (_, cpu, mock) = kernel(&[0x9c], |cpu, _| {
        cpu.rflags |= flag::IF | flag::CF | flag::RF
    });
    assert_eq!(
        mock.get_u64(cpu.gpr[reg::RSP]),
        flag::IF | flag::CF | flag::ONE
    );
    let popf = |cpl: u8, iopl: u64| {
        let (_, cpu, _) = kernel(&[0x9d], |cpu, mock| {
            cpu.cpl = cpl;
            cpu.rflags |= iopl << 12;
            cpu.gpr[reg::RSP] = DATA;
            mock.put_u64(
                DATA,
                flag::IF | flag::IOPL | flag::DF | flag::VM | flag::VIP,
            );
        });
        cpu.rflags
    };
    assert_eq!(popf(0, 0), flag::IF | flag::IOPL | flag::DF | flag::ONE);
    assert_eq!(popf(3, 0), flag::DF | flag::ONE);
    assert_eq!(popf(3, 3), flag::IF | flag::IOPL | flag::DF | flag::ONE);
}

fn frame(mock: &mut Mock, at: u64, words: [u64; 5]) {
    for (i, word) in words.into_iter().enumerate() {
        mock.put_u64(at + 8 * i as u64, word);
    }
}

fn iretq(words: [u64; 5]) -> (Step, VirtCpu, Mock) {
    kernel(&[0x48, 0xcf], |cpu, mock| {
        cpu.gpr[reg::RSP] = STACK - 40;
        frame(mock, STACK - 40, words);
    })
}

#[test]
fn iretq_goes_outwards_and_stays() {
    let (step, cpu, _) = iretq([0x1234, 0x23, flag::IF | flag::ZF, DATA, 0x1b]);
    assert_eq!(step, Step::Done);
    assert_eq!((cpu.rip, cpu.cpl, cpu.gpr[reg::RSP]), (0x1234, 3, DATA));
    assert_eq!((cpu.selectors.cs, cpu.selectors.ss), (0x23, 0x1b));
    assert_eq!(cpu.rflags, flag::IF | flag::ZF | flag::ONE);
    assert_eq!(cpu.selectors.ds, 0, "a kernel's data segment is emptied");
    let (step, cpu, _) = iretq([0x1234, 0x08, 0, DATA, 0]);
    assert_eq!(
        (step, cpu.cpl, cpu.selectors.ss),
        (Step::Done, 0, 0),
        "a null SS in the kernel"
    );
    let (_, cpu, _) = iretq([0x1234, 0x08, flag::RF, DATA, 0x10]);
    assert_eq!(cpu.rflags & flag::RF, flag::RF);
}

#[test]
fn iretq_checks_the_frame() {
    let gp = |s: u32| Step::Exception(Exception::with_error(vector::GP, s));
    let cases = [
        ([1 << 50, 0x08, 0, 0, 0], gp(0)),
        ([0, 0x03, 0, 0, 0x1b], gp(0)),
        ([0, 0x0b, 0, 0, 0x1b], gp(8)),
        ([0, 0x10, 0, 0, 0x10], gp(0x10)),
        ([0, 0x23, 0, 0, 0], gp(0)),
        ([0, 0x23, 0, 0, 0x10], gp(0x10)),
        ([0, 0x23, 0, 0, 0x13], gp(0x10)),
        ([0, 0x63, 0, 0, 0x1b], gp(0x60)),
        ([0, 0x08, 0, 0, 0x03], gp(0)),
    ];
    for (words, expected) in cases {
        let (step, cpu, _) = iretq(words);
        assert_eq!(step, expected, "{words:x?}");
        assert_eq!((cpu.rip, cpu.cpl), (CODE, 0));
    }
    let (step, ..) = kernel(&[0x48, 0xcf], |cpu, _| cpu.rflags |= flag::NT);
    assert_eq!(step, GP0);
    let (step, ..) = kernel(&[0x48, 0xcf], |cpu, _| cpu.gpr[reg::RSP] = 1 << 47);
    assert_eq!(step, Step::Exception(Exception::with_error(vector::SS, 0)));
    let (step, ..) = kernel(&[0x48, 0xcf], |cpu, _| cpu.gpr[reg::RSP] = MISSING - 16);
    assert_eq!(step, Step::Exception(Exception::page_fault(MISSING, 0)));
}

#[test]
fn return_to_32_bit_code_is_reported() {
    let (mut cpu, mut mock) = Mock::machine(&[0x48, 0xcf]);
    mock.put_u64(GDT + 8, 0x00cf_9b00_0000_ffff);
    cpu.gpr[reg::RSP] = STACK - 40;
    frame(&mut mock, STACK - 40, [0, 0x08, 0, 0, 0x10]);
    let unknown = step(&mut cpu, &mut mock).expect_err("not supported");
    assert_eq!((unknown.bytes.as_str(), unknown.rip), ("48 cf", CODE));
    assert_eq!(cpu.rip, CODE);
}

#[test]
fn syscall_and_sysret() {
    let (step, cpu, _) = user(&[0x0f, 0x05], |cpu, _| {
        cpu.efer |= efer::SCE;
        cpu.lstar = 0x1800;
        cpu.fmask = flag::IF;
        cpu.rflags |= flag::IF | flag::ZF;
    });
    assert_eq!((step, cpu.rip, cpu.cpl), (Step::Done, 0x1800, 0));
    assert_eq!(
        (cpu.gpr[reg::RCX], cpu.gpr[reg::R11]),
        (CODE + 2, flag::IF | flag::ZF | flag::ONE)
    );
    assert_eq!(cpu.rflags, flag::ZF | flag::ONE);
    assert_eq!((cpu.selectors.cs, cpu.selectors.ss), (0x08, 0x10));
    let (step, ..) = user(&[0x0f, 0x05], |_, _| {});
    assert_eq!(step, Step::Exception(Exception::UD), "EFER.SCE is off");
    let sysret = |rcx| {
        kernel(&[0x48, 0x0f, 0x07], |cpu, _| {
            cpu.efer |= efer::SCE;
            cpu.gpr[reg::RCX] = rcx;
            cpu.gpr[reg::R11] = flag::IF | flag::RF | flag::VM | 0xffc0_0000;
        })
    };
    let (step, cpu, _) = sysret(0x2345);
    assert_eq!((step, cpu.rip, cpu.cpl), (Step::Done, 0x2345, 3));
    assert_eq!((cpu.selectors.cs, cpu.selectors.ss), (0x23, 0x1b));
    assert_eq!(cpu.rflags, flag::IF | flag::ONE);
    let (step, cpu, _) = sysret(1 << 47);
    assert_eq!((step, cpu.cpl), (GP0, 0));
}

#[test]
fn descriptor_tables_and_segments() {
    let (_, cpu, _) = kernel(&[0x0f, 0x01, 0x10], |cpu, mock| {
        cpu.gpr[reg::RAX] = DATA;
        mock.put(DATA, &[0x34, 0x12, 0x78, 0x56, 0, 0, 0, 0, 0, 0]);
    });
    assert_eq!((cpu.gdtr.limit, cpu.gdtr.base), (0x1234, 0x5678));
    let (step, ..) = kernel(&[0x0f, 0x01, 0x18], |cpu, mock| {
        cpu.gpr[reg::RAX] = DATA;
        mock.put_u64(DATA + 2, 1 << 60);
    });
    assert_eq!(step, GP0);
    let (_, _, mock) = kernel(&[0x0f, 0x01, 0x08], |cpu, _| cpu.gpr[reg::RAX] = DATA);
    assert_eq!(mock.get_u64(DATA) & 0xffff_ffff_ffff, IDT << 16 | 0xfff);
    let (_, cpu, mock) = kernel(&[0x0f, 0x00, 0xd8], |cpu, _| cpu.gpr[reg::RAX] = 0x28);
    assert_eq!(
        (cpu.tr.selector, cpu.tr.base, cpu.tr.limit),
        (0x28, TSS, 0x67)
    );
    assert_eq!(mock.get_u64(GDT + 0x28) >> 40 & 0xf, 0xb, "busy");
    let (step, ..) = kernel(&[0x0f, 0x00, 0xd8], |cpu, _| cpu.gpr[reg::RAX] = 0x08);
    assert_eq!(step, Step::Exception(Exception::with_error(vector::GP, 8)));
    let (step, ..) = kernel(&[0x0f, 0x00, 0xd8], |cpu, _| cpu.gpr[reg::RAX] = 0);
    assert_eq!(step, GP0);
    let (step, cpu, _) = kernel(&[0x8e, 0xd8], |cpu, _| cpu.gpr[reg::RAX] = 0x1b);
    assert_eq!((step, cpu.selectors.ds), (Step::Done, 0x1b));
    let (step, ..) = kernel(&[0x8e, 0xd0], |cpu, _| cpu.gpr[reg::RAX] = 0x1b);
    assert_eq!(
        step,
        Step::Exception(Exception::with_error(vector::GP, 0x18))
    );
    let (_, cpu, _) = kernel(&[0x8e, 0xd0], |cpu, _| cpu.gpr[reg::RAX] = 0x10);
    assert!(cpu.interrupt_shadow);
    let (_, cpu, _) = user(&[0x8c, 0xc8], |_, _| {});
    assert_eq!(cpu.gpr[reg::RAX], 0x23);
    let (_, cpu, _) = kernel(&[0x48, 0xcb], |cpu, mock| {
        cpu.gpr[reg::RSP] = STACK - 16;
        mock.put_u64(STACK - 16, 0x4321);
        mock.put_u64(STACK - 8, 0x08);
    });
    assert_eq!((cpu.rip, cpu.selectors.cs), (0x4321, 0x08));
    let (_, cpu, _) = kernel(&[0x0f, 0x02, 0xc1], |cpu, _| cpu.gpr[reg::RCX] = 0x08);
    assert_eq!(
        (cpu.gpr[reg::RAX], cpu.rflags & flag::ZF),
        (0x00af_9b00 & 0x00ff_ff00, flag::ZF)
    );
}

#[test]
fn ports_and_their_permissions() {
    let (_, cpu, _) = kernel(&[0xec], |cpu, mock| {
        mock.input = 0xaabb;
        cpu.gpr[reg::RAX] = 0x1111;
    });
    assert_eq!(cpu.gpr[reg::RAX], 0x11bb);
    let (_, cpu, _) = kernel(&[0xed], |cpu, mock| {
        mock.input = 0xffff_ffff;
        cpu.gpr[reg::RAX] = u64::MAX;
    });
    assert_eq!(cpu.gpr[reg::RAX], 0xffff_ffff);
    let (_, cpu, mock) = kernel(&[0xf3, 0x6e], |cpu, mock| {
        cpu.gpr[reg::RDX] = 0x502;
        cpu.gpr[reg::RCX] = 3;
        cpu.gpr[reg::RSI] = DATA;
        mock.put(DATA, b"abc");
    });
    assert_eq!(mock.out, [(0x502, 1, 97), (0x502, 1, 98), (0x502, 1, 99)]);
    assert_eq!((cpu.gpr[reg::RCX], cpu.gpr[reg::RSI]), (0, DATA + 3));
    // A fault in the middle of INS: what was done stays done.
    let (step, cpu, _) = kernel(&[0xf3, 0x6c], |cpu, mock| {
        cpu.gpr[reg::RCX] = 4;
        cpu.gpr[reg::RDI] = READ_ONLY - 2;
        mock.input = 5;
    });
    assert_eq!((step, cpu.rip, cpu.gpr[reg::RCX]), (Step::Done, CODE, 2));
    let allowed = |bitmap: u8| {
        user(&[0xe6, 0x80], |cpu, mock| {
            cpu.tr.limit = 0x100;
            mock.put(TSS + 0x66, &0x68_u16.to_le_bytes());
            mock.put(TSS + 0x68 + 0x10, &[bitmap, 0xff]);
        })
        .0
    };
    assert_eq!((allowed(0), allowed(1)), (Step::Done, GP0));
}

#[test]
fn clock_cpuid_and_what_is_nothing() {
    let (_, cpu, _) = kernel(&[0x0f, 0x31], |_, _| {});
    assert_eq!((cpu.gpr[reg::RDX], cpu.gpr[reg::RAX]), (1, 2));
    let (step, ..) = user(&[0x0f, 0x31], |cpu, _| cpu.cr4 |= cr4::TSD);
    assert_eq!(step, GP0);
    let (_, cpu, _) = kernel(&[0x0f, 0xa2], |cpu, _| cpu.gpr[reg::RAX] = 7);
    assert_eq!((cpu.gpr[reg::RAX], cpu.gpr[reg::RDX]), (7, 4));
    let (step, cpu, _) = kernel(&[0xcd, 0x80], |_, _| {});
    assert_eq!((step, cpu.rip), (Step::Software(0x80), CODE + 2));
    let (step, ..) = kernel(&[0x06], |_, _| {});
    assert_eq!(step, Step::Exception(Exception::UD));
    let (mut cpu, mut mock) = Mock::machine(&[0x0f, 0x58, 0xc1]);
    let unknown = step_unknown(&mut cpu, &mut mock);
    assert!(unknown.to_string().contains("addps xmm0,xmm1"), "{unknown}");
}

fn step_unknown(cpu: &mut VirtCpu, mock: &mut Mock) -> Box<Unknown> {
    step(cpu, mock).expect_err("an unknown instruction")
}

#[test]
fn instructions_across_a_page_are_fetched_whole() {
    let (mut cpu, mut mock) = Mock::machine(&[]);
    mock.put(0x1ffe, &[0x48, 0xc7, 0xc0, 0x78, 0x56, 0x34, 0x12]);
    cpu.rip = 0x1ffe;
    assert_eq!(run(&mut cpu, &mut mock), Step::Done);
    assert_eq!((cpu.gpr[reg::RAX], cpu.rip), (0x1234_5678, 0x2005));
    // A NOP at the end of the last page there is needs nothing of the next.
    mock.put(MISSING - 1, &[0x90]);
    cpu.rip = MISSING - 1;
    assert_eq!(run(&mut cpu, &mut mock), Step::Done);
    mock.put(MISSING - 1, &[0x48]);
    cpu.rip = MISSING - 1;
    assert_eq!(
        run(&mut cpu, &mut mock),
        Step::Exception(Exception::page_fault(MISSING, 0))
    );
}

#[test]
fn updates_of_memory_fault_before_anything_is_done() {
    // xadd [rax], rcx on a page that may only be read
    let (step, cpu, mock) = kernel(&[0x48, 0x0f, 0xc1, 0x08], |cpu, mock| {
        cpu.gpr[reg::RAX] = READ_ONLY;
        cpu.gpr[reg::RCX] = 5;
        mock.memory[READ_ONLY as usize] = 1;
    });
    assert_eq!(step, Step::Exception(Exception::page_fault(READ_ONLY, 3)));
    assert_eq!((cpu.gpr[reg::RCX], mock.memory[READ_ONLY as usize]), (5, 1));
    // push [rax] moves RSP only if the store works
    let (step, cpu, _) = kernel(&[0xff, 0x30], |cpu, _| {
        cpu.gpr[reg::RAX] = DATA;
        cpu.gpr[reg::RSP] = READ_ONLY + 8;
    });
    assert_eq!(
        (step, cpu.gpr[reg::RSP]),
        (
            Step::Exception(Exception::page_fault(READ_ONLY, 3)),
            READ_ONLY + 8
        )
    );
    let (step, ..) = kernel(&[0x48, 0x8b, 0x45, 0x00], |cpu, _| {
        cpu.gpr[reg::RBP] = 1 << 60
    });
    assert_eq!(
        step,
        Step::Exception(Exception::with_error(vector::SS, 0)),
        "by the stack segment"
    );
}
