//! What programs try, in ring 3.

attack!(
    program_reads_window => PAGE_FAULT,
    to_user!(), "mov rax, [rbx]",
);

attack!(
    program_writes_frame => PAGE_FAULT,
    to_user!(), "mov [rbx + 0x5fd8], rax",
);

attack!(
    program_jumps_to_gate => PAGE_FAULT,
    to_user!(),
    "lea rax, [rbx + 0x6000]; jmp rax",
);

attack!(
    program_jumps_to_stub => PAGE_FAULT,
    to_user!(), "jmp rbx",
);

attack!(
    program_writes_monitors_port => PROTECTION,
    to_user!(), "out 14, al",
);

attack!(
    program_halts => PROTECTION,
    to_user!(), "hlt",
);

attack!(
    program_loads_cr3 => PROTECTION,
    to_user!(), "mov cr3, rax",
);

attack!(
    program_returns_from_interrupt => PROTECTION,
    to_user!(),
    "push 0x10; push rsp; push 2; push 8; push rax; iretq",
);

attack!(
    supervisor_page_of_the_kernel => PAGE_FAULT,
    // The page of the stack at 0x60000 loses its U bit by small pages, seen from ring 3.
    "mov edi, 0x70000; mov eax, 7; mov ecx, 512",
    "6: mov [rdi], rax; add rax, 0x1000; add rdi, 8; dec ecx; jnz 6b",
    "mov qword ptr [0x70000 + 8 * 0x45], 0x45003",
    "mov qword ptr [0xb000], 0x70007; mov rax, cr3; mov cr3, rax",
    "mov dword ptr [0x45000], 5",
    to_user!(),
    "mov eax, [0x45000]",
);

attack!(
    program_reads_monitor_memory => INVALID,
    // Its kernel maps it; there is nothing to be seen.
    "mov rax, 0x4000000087; mov [0xb008], rax",
    to_user!(),
    "mov ecx, [0x205fd8]; cmp ecx, -1; jne 3f",
    "mov dword ptr [0x205fd8], 0; mov ecx, [0x205fd8]; cmp ecx, -1; jne 3f",
    "ud2",
    "3: hlt",
);

attack!(
    program_jumps_to_the_ways_back => PAGE_FAULT,
    to_user!(),
    "lea rax, [rbx + 0x243]; jmp rax",
);

attack!(
    program_returns_to_stub => PAGE_FAULT,
    to_user!(),
    "push rbx; ret",
);

attack!(
    program_reads_true_tables => PAGE_FAULT,
    to_user!(),
    "mov rax, [rbx + 0x200000]",
);

attack!(
    program_loads_tables => PROTECTION,
    to_user!(),
    "lidt [0x54010]",
);

attack!(
    program_pretends_a_system_call => PAGE_FAULT,
    // At the gate, as SYSCALL would have left RCX, but nothing behind which RCX points is one.
    to_user!(),
    "lea rcx, [rip + 2b]; mov r11d, 2; lea rax, [rbx + 0x6000]; jmp rax",
);

/// Lets selectors 0x2b and 0x33 be data and code of ring 3, as Linux has them, whose GDT a host may
/// run ring 3 on. MUL is nothing that gnomon carries out on the way to what comes next.
macro_rules! selectors_of_linux {
    () => {
        "mov rax, 0x00cff3000000ffff; mov [0x50028], rax; mov rax, 0x00affb000000ffff; \
         mov [0x50030], rax; lea rdi, [rip + 2f]; mul ecx"
    };
}

attack!(
    program_is_entered_by_iret => PROTECTION,
    "push 0x2b; push 0x61000; push 2; push 0x33; lea rax, [rip + 2f]; push rax",
    selectors_of_linux!(),
    "iretq",
    "2: hlt",
    done!(),
);

attack!(
    program_is_entered_by_a_far_return => PROTECTION,
    "push 0x2b; push 0x61000; push 0x33; lea rax, [rip + 2f]; push rax",
    selectors_of_linux!(),
    "retfq",
    "2: hlt",
    done!(),
);

attack!(
    segment_registers_are_loaded => CLEAN,
    selectors_of_linux!(),
    "2: mov ecx, 0x2b; mul ecx; mov ds, ecx; mov eax, ds; cmp eax, 0x2b; jne 3f",
    done!(),
    "3: ud2",
);
