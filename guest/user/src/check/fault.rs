//! What the processor's exceptions become: signal, code, address.

use crate::frame::child::in_child;
use crate::frame::fault::{FPE_INTDIV, Fault, SEGV_MAPERR, SI_KERNEL, fault_of};
use crate::frame::mapping::{Mapping, PAGE, peek};
use crate::frame::signals::{block, dispose};
use libc::*;

tests!(
    division_by_zero_is_sigfpe,
    undefined_instruction_is_sigill,
    breakpoint_is_sigtrap,
    privileged_instruction_is_sigsegv,
    port_access_is_sigsegv,
    noncanonical_address_is_sigsegv_of_the_kernel,
    kernel_address_is_sigsegv,
    jump_to_unmapped_memory_faults_there,
    access_that_straddles_the_end_of_a_mapping_names_the_missing_page,
    fault_whose_signal_is_blocked_kills,
    fault_whose_signal_is_ignored_kills,
    floating_point_exception_is_sigfpe,
    single_step_flag_is_sigtrap,
);

/// Memory with code in it, at byte 16.
fn code(bytes: &[u8]) -> Mapping {
    let memory = Mapping::anonymous(1);
    for (i, byte) in bytes.iter().enumerate() {
        memory.set(16 + i, *byte);
    }
    memory.protect(PROT_READ | PROT_EXEC).unwrap();
    memory
}

/// The fault of some code; an address is counted from the code's beginning.
fn fault_of_code(bytes: &[u8]) -> Fault {
    let code = code(bytes);
    let mut fault = fault_of(|| code.run_at(16));
    if fault.address != 0 {
        fault.address = fault.address.wrapping_sub(code.at + 16);
    }
    fault
}

fn division_by_zero_is_sigfpe() {
    // xor ecx, ecx; div ecx
    let fault = fault_of_code(&[0x31, 0xc9, 0xf7, 0xf1]);
    assert_eq!(
        fault,
        Fault {
            signal: SIGFPE,
            code: FPE_INTDIV,
            address: 2
        }
    );
}

fn undefined_instruction_is_sigill() {
    const ILL_ILLOPN: i32 = 2;
    // nop; ud2
    let fault = fault_of_code(&[0x90, 0x0f, 0x0b]);
    assert_eq!(
        fault,
        Fault {
            signal: SIGILL,
            code: ILL_ILLOPN,
            address: 1
        }
    );
}

fn breakpoint_is_sigtrap() {
    // int3
    let fault = fault_of_code(&[0xcc]);
    assert_eq!((fault.signal, fault.code), (SIGTRAP, SI_KERNEL));
}

fn privileged_instruction_is_sigsegv() {
    // hlt
    let fault = fault_of_code(&[0xf4]);
    assert_eq!(fault, Fault::protection());
    // mov rax, cr3
    assert_eq!(fault_of_code(&[0x0f, 0x20, 0xd8]).signal, SIGSEGV);
}

fn port_access_is_sigsegv() {
    // xor eax, eax; out 0x80, al
    let fault = fault_of_code(&[0x31, 0xc0, 0xe6, 0x80]);
    assert_eq!(fault, Fault::protection());
}

fn noncanonical_address_is_sigsegv_of_the_kernel() {
    let fault = fault_of(|| drop(peek(0x1234_0000_0000_0000)));
    assert_eq!(fault, Fault::protection());
}

fn kernel_address_is_sigsegv() {
    let at = 0xffff_ffff_8123_4567;
    let fault = fault_of(|| drop(peek(at)));
    assert_eq!(fault, Fault::segv(SEGV_MAPERR, at));
}

fn jump_to_unmapped_memory_faults_there() {
    let memory = Mapping::anonymous(1);
    ok!(SYS_munmap, memory.at, PAGE);
    assert_eq!(
        fault_of(|| memory.run_at(5)),
        Fault::segv(SEGV_MAPERR, memory.at + 5)
    );
}

fn access_that_straddles_the_end_of_a_mapping_names_the_missing_page() {
    let memory = Mapping::anonymous(2);
    ok!(SYS_munmap, memory.at + PAGE, PAGE);
    let at = memory.at + PAGE - 4;
    let fault = fault_of(|| {
        // SAFETY: faults, as it is meant to.
        let word = unsafe { (at as *const u64).read_unaligned() };
        std::hint::black_box(word);
    });
    assert_eq!(fault, Fault::segv(SEGV_MAPERR, memory.at + PAGE));
}

fn fault_whose_signal_is_blocked_kills() {
    let end = in_child(|| {
        block(&[SIGSEGV]);
        peek(8);
    });
    assert_eq!(end.signal(), Some(SIGSEGV));
}

fn fault_whose_signal_is_ignored_kills() {
    let end = in_child(|| {
        dispose(SIGSEGV, SIG_IGN);
        peek(8);
    });
    assert_eq!(end.signal(), Some(SIGSEGV));
}

fn floating_point_exception_is_sigfpe() {
    const FPE_FLTDIV: i32 = 3;
    #[rustfmt::skip]
    let fault = fault_of_code(&[
        0x48, 0x83, 0xec, 0x08,                         // sub rsp, 8
        0xc7, 0x04, 0x24, 0x80, 0x1d, 0x00, 0x00,       // mov dword [rsp], 0x1d80: division by zero unmasked
        0x0f, 0xae, 0x14, 0x24,                         // ldmxcsr [rsp]
        0xb8, 0x01, 0x00, 0x00, 0x00,                   // mov eax, 1
        0x66, 0x0f, 0xef, 0xc9,                         // pxor xmm1, xmm1
        0xf3, 0x0f, 0x2a, 0xc0,                         // cvtsi2ss xmm0, eax
        0xf3, 0x0f, 0x5e, 0xc1,                         // divss xmm0, xmm1
    ]);
    assert_eq!(
        fault,
        Fault {
            signal: SIGFPE,
            code: FPE_FLTDIV,
            address: 28
        }
    );
}

fn single_step_flag_is_sigtrap() {
    const TRAP_TRACE: i32 = 2;
    #[rustfmt::skip]
    let fault = fault_of_code(&[
        0x9c,                                           // pushf
        0x80, 0x4c, 0x24, 0x01, 0x01,                   // or byte [rsp + 1], 1: TF
        0x9d,                                           // popf
        0x90,                                           // nop
        0x90,                                           // nop: not reached
    ]);
    assert_eq!(
        fault,
        Fault {
            signal: SIGTRAP,
            code: TRAP_TRACE,
            address: 8
        }
    );
}
