//! Single steps: TF at every instruction; breakpoints.

use std::path::Path;

use gnomon::host::Host;
use gnomon::host::probe;

attack!(
    single_steps => DEBUG,
    // TF by IRETQ: the first instruction behind it is done, then comes #DB.
    "lea rax, [rip + 2f]; push 0x10; push 0x60000; push 0x102; push 0x08; push rax; iretq",
    "2: nop",
    done!(),
);

attack!(
    single_step_of_a_trapping_instruction => DEBUG,
    "lea rax, [rip + 2f]; push 0x10; push 0x60000; push 0x102; push 0x08; push rax; iretq",
    "2: cli",
    done!(),
);

attack!(
    every_instruction_of_the_kernel_is_stepped => CLEAN,
    // The handler counts in R15.
    handle!(1),
    "xor r15d, r15d",
    "lea rax, [rip + 2f]; push 0x10; push 0x60000; push 0x102; push 0x08; push rax; iretq",
    "2: nop; cli; sti; nop; cli",                                       // 5
    "pushfq; pop rax; mov rax, cr0; mov cr0, rax; mov rax, cr3",        // 10
    "mov cr3, rax; mov eax, cs; str eax; swapgs; swapgs",               // 15
    "invlpg [0x1000]; mov ecx, 0xc0000080; rdmsr; wrmsr; mov ecx, 2",   // 20
    "mov edi, 0x61000; rep stosb; in al, 0x80; out 0x80, al",           // 25
    "lgdt [0x54000]; lidt [0x54010]; call 4f; 4: pop rax; mov rax, dr7", // 30
    "sgdt [0x61000]; smsw eax; clts; push 0x46; popfq",                 // 35: TF is clear now
    "cmp r15d, 35; jne 3f",
    done!(),
    "3: mov eax, r15d; mov edx, 0x510; out dx, eax; hlt",
    "8: inc r15d; iretq",
);

attack!(
    every_instruction_of_a_program_is_stepped => PROTECTION,
    handle!(1),
    "xor r15d, r15d",
    to_user!(0x102),
    "nop; push rax; pop rax; call 4f; 4: pop rax",  // 5
    "mov ecx, 3; mov edi, 0x61100; rep stosb; nop", // 11
    "mov r14d, r15d; cmp r14d, 11; jne 3f",
    "hlt",
    "3: ud2",
    "8: inc r15d; iretq",
);

attack!(
    steps_of_a_program_go_on_behind_its_faults => PROTECTION,
    // Vector 6 steps over two bytes; the frame that it returns to has TF still.
    handle!(6),
    "lea rax, [rip + 9f]; mov [0x51010], ax; shr eax, 16; mov [0x51016], ax; xor r15d, r15d",
    to_user!(0x102),
    "nop; ud2; nop; nop", // 3
    "mov r14d, r15d; cmp r14d, 3; jne 3f",
    "hlt",
    "3: xor ecx, ecx; div ecx",
    "8: add qword ptr [rsp], 2; iretq",
    "9: inc r15d; iretq",
);

attack!(
    step_of_a_load_of_ss_comes_one_instruction_later => CLEAN,
    handle!(1),
    "xor r15d, r15d; mov ecx, 0x10",
    "lea rax, [rip + 2f]; push 0x10; push 0x60000; push 0x102; push 0x08; push rax; iretq",
    "2: mov ss, ecx; nop; nop; push 0x46; popfq", // nop, nop, push, popfq
    "cmp r15d, 4; jne 3f",
    done!(),
    "3: ud2",
    "8: inc r15d; iretq",
);

kernel!(
    breakpoint_at_an_instruction,
    [
        "lea rax, [rip + 4f]; mov dr0, rax; mov eax, 0x402; mov dr7, rax; 4: nop",
        done!()
    ],
);

kernel!(
    breakpoint_at_data,
    [
        "mov eax, 0x61000; mov dr0, rax; mov eax, 0xd0402; mov dr7, rax; mov [0x61000], eax",
        done!()
    ],
);

/// The processor's own come to the guest, where the host lets there be any.
#[test]
fn breakpoints_stop_the_kernel_where_the_host_has_them() {
    if !Path::new("/dev/kvm").exists() {
        eprintln!("skipped: there is no /dev/kvm");
        return;
    }
    let [instruction, data] = probe::breakpoints(&Host::open().unwrap()).unwrap();
    let end = |stops| if stops { &super::DEBUG } else { &super::CLEAN };
    super::assert_ends(breakpoint_at_an_instruction::code(), end(instruction));
    super::assert_ends(breakpoint_at_data::code(), end(data));
}
