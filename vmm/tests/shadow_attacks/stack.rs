//! A stack pointer anywhere when a trap comes.

attack!(
    any_stack_when_a_trap_comes => CLEAN,
    "mov rsp, 0x800000000000; cli",
    "lea rsp, [rbx + 0x6000]; cli; sti; cli",
    "xor esp, esp; dec rsp; mov rax, cr0",
    "mov rsp, 0x4000200000; mov rax, cr3; mov esp, 0x60000",
    done!(),
);

attack!(
    stack_of_a_program_when_a_trap_comes => PROTECTION,
    // The handler counts in R15 and steps over two bytes.
    handle!(6),
    "xor r15d, r15d",
    to_user!(),
    "lea rsp, [rbx + 0x5fd8]; ud2",
    "mov rsp, rbx; ud2",
    "mov rsp, 0x800000000000; ud2",
    "xor esp, esp; ud2",
    "dec rsp; ud2",
    "mov rsp, 0x4000200000; ud2",
    "cmp r15d, 6; jne 3f",
    "hlt",
    "3: xor ecx, ecx; div ecx",
    "8: inc r15d; add qword ptr [rsp], 2; iretq",
);

attack!(
    stack_of_the_task_in_the_window => TRIPLE_FAULT,
    "lea rax, [rbx + 0x6000]; mov [0x52004], rax",
    to_user!(),
    "ud2",
);

attack!(
    stack_of_the_task_that_is_not_canonical => TRIPLE_FAULT,
    "mov rax, 0x800000000000; mov [0x52004], rax",
    to_user!(),
    "ud2",
);

attack!(
    interrupt_stack_in_the_window => PAGE_FAULT,
    "lea rax, [rbx + 0x6000]; mov [0x52024], rax; mov byte ptr [0x51064], 1; ud2",
);
