//! The window in which the monitor lies: read, written, jumped into.

attack!(
    read_window => PAGE_FAULT,
    "mov rax, [rbx]", done!(),
);

attack!(
    write_window => PAGE_FAULT,
    "mov [rbx + 0x5000], rax", done!(),
);

attack!(
    write_tables => PAGE_FAULT,
    "mov [rbx + 0x200000], rax", done!(),
);

attack!(
    jump_to_monitor => PAGE_FAULT,
    "lea rax, [rbx + 0x243]; jmp rax",
);

attack!(
    jump_to_gate => PAGE_FAULT,
    "lea rax, [rbx + 0x6000]; jmp rax",
);

attack!(
    own_mapping_in_the_window => CLEAN,
    // PML4[384] leads where PML4[0] leads: the window is the guest's own memory.
    "mov rax, [0x9000]; mov [0x9000 + 384 * 8], rax",
    "mov dword ptr [rbx + 0x45000], 0x1234567",
    "cmp dword ptr [0x45000], 0x1234567; jne 3f",
    "mov dword ptr [0x45004], 7; mov ecx, [rbx + 0x45004]; cmp ecx, 7; jne 3f",
    done!(),
    "3: ud2",
);

attack!(
    sysret_to_the_window => PAGE_FAULT,
    "mov ecx, 0xc0000081; xor eax, eax; mov edx, 0x100008; wrmsr",
    "mov ecx, 0xc0000080; rdmsr; or eax, 1; wrmsr",
    "lea rcx, [rbx + 0x243]; mov r11d, 2; sysretq",
);

attack!(
    iret_to_the_window => PAGE_FAULT,
    "lea rax, [rbx + 0x243]; push 0x10; push 0x60000; push 2; push 8; push rax; iretq",
);

attack!(
    write_by_a_string_instruction => PAGE_FAULT,
    // From below the window into it.
    "lea rdi, [rbx - 8]; mov ecx, 4; cld; rep stosq",
    done!(),
);
