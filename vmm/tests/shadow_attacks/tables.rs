//! Page tables that lead to the monitor's memory, or to none.

attack!(
    map_monitor_memory => CLEAN,
    // 2 MiB at 2 MiB: the monitor's pages, then its tables. There is nothing for the guest.
    "mov rax, 0x4000000087; mov [0xb008], rax",
    "mov ecx, [0x200000]; cmp ecx, -1; jne 3f",
    "mov dword ptr [0x200000], 0; mov ecx, [0x200000]; cmp ecx, -1; jne 3f",
    "mov rax, 0x4000200087; mov [0xb008], rax; invlpg [0x200000]",
    "mov qword ptr [0x200000], 0; mov rcx, [0x200000]; cmp rcx, -1; jne 3f",
    done!(),
    "3: ud2",
);

attack!(
    map_beyond_memory => CLEAN,
    "mov rax, 0x100000087; mov [0xb008], rax",
    "mov ecx, [0x200ff0]; cmp ecx, -1; jne 3f",
    done!(),
    "3: ud2",
);

attack!(
    root_in_monitor_memory => TRIPLE_FAULT,
    "mov rax, 0x4000007000; mov cr3, rax",
    done!(),
);

attack!(
    small_pages_of_monitor_memory => CLEAN,
    // The frame, the gate, a true table.
    "mov rax, 0x4000005007; mov [0x70000], rax",
    "mov rax, 0x4000006007; mov [0x70008], rax",
    "mov rax, 0x4000200007; mov [0x70010], rax",
    "mov qword ptr [0xb008], 0x70007",
    "mov rax, [0x200fd8]; cmp rax, -1; jne 3f",
    "mov qword ptr [0x200fd8], 0; mov rax, [0x200fd8]; cmp rax, -1; jne 3f",
    "mov ax, [0x201000]; cmp ax, -1; jne 3f",
    "mov qword ptr [0x202000], 0; mov rax, [0x202000]; cmp rax, -1; jne 3f",
    done!(),
    "3: ud2",
);

attack!(
    // All ones are no instruction.
    executes_monitor_memory => INVALID,
    "mov rax, 0x4000000007; mov [0x70000], rax; mov qword ptr [0xb008], 0x70007",
    "mov eax, 0x200243; jmp rax",
);

attack!(
    page_table_in_monitor_memory => PAGE_FAULT,
    // All ones are an entry with reserved bits.
    "mov rax, 0x4000200007; mov [0xb008], rax; mov ecx, [0x200000]",
    done!(),
);

attack!(
    page_directory_in_monitor_memory => PAGE_FAULT,
    "mov rax, 0x4000200007; mov [0xa008], rax; mov ecx, [0x40000000]",
    done!(),
);

attack!(
    directory_pointers_in_monitor_memory => PAGE_FAULT,
    "mov rax, 0x4000200007; mov [0x9008], rax; mov rax, 0x8000000000; mov ecx, [rax]",
    done!(),
);

attack!(
    page_table_beyond_memory => PAGE_FAULT,
    "mov rax, 0x100000007; mov [0xb008], rax; mov ecx, [0x200000]",
    done!(),
);

attack!(
    root_beyond_memory => TRIPLE_FAULT,
    "mov rax, 0x100000000; mov cr3, rax",
    done!(),
);

attack!(
    tables_that_map_themselves => CLEAN,
    // PML4[1] leads to the PML4: its own entries are a page at 0x8040201000.
    "mov qword ptr [0x9008], 0x9003; mov rsi, 0x8040201000",
    "mov rax, [rsi + 8]; and eax, 0xfffff00f; cmp eax, 0x9003; jne 3f",
    "mov qword ptr [rsi + 16], 0xa007; mov rax, 0x10000045000; mov dword ptr [rax], 7",
    "cmp dword ptr [0x45000], 7; jne 3f",
    // And the window's slot, by way of them.
    "mov qword ptr [rsi + 384 * 8], 0xa007; mov ecx, [rbx + 0x45000]; cmp ecx, 7; jne 3f",
    done!(),
    "3: ud2",
);
