//! LGDT, LIDT and LTR at odd addresses.

attack!(
    load_gdt_from_window => PAGE_FAULT,
    "lgdt [rbx + 0x3000]", done!(),
);

attack!(
    load_idt_from_window => PAGE_FAULT,
    "lidt [rbx + 0x2000]", done!(),
);

attack!(
    switch_to_null_task => PROTECTION,
    "xor eax, eax; ltr ax", done!(),
);

attack!(
    gdt_at_an_odd_address => INVALID,
    "mov esi, 0x50000; mov edi, 0x55003; mov ecx, 56; cld; rep movsb",
    "mov dword ptr [0x56003], 0x50030037; mov dword ptr [0x56007], 5; mov word ptr [0x5600b], 0",
    "mov byte ptr [0x55030], 0x89; lgdt [0x56003]; mov eax, 0x28; ltr ax",
    to_user!(),
    "ud2",
);

attack!(
    // Without descriptors nothing can be delivered.
    gdt_in_the_window => TRIPLE_FAULT,
    "lea rax, [rbx + 0x3000]; mov word ptr [0x56000], 0xaf; mov [0x56002], rax; lgdt [0x56000]",
    "mov eax, 0x88; mov ds, ax",
    done!(),
);

attack!(
    gdt_that_is_not_canonical => PROTECTION,
    "mov rax, 0x800000000000; mov word ptr [0x56000], 0xaf; mov [0x56002], rax; lgdt [0x56000]",
    done!(),
);

attack!(
    // All ones are no free task, nor code.
    gdt_beyond_memory => TRIPLE_FAULT,
    "mov rax, 0x100000087; mov [0xb008], rax",
    "mov word ptr [0x56000], 0xfff; mov qword ptr [0x56002], 0x200001; lgdt [0x56000]",
    "mov eax, 0x28; ltr ax",
    done!(),
);

attack!(
    idt_at_an_odd_address => INVALID,
    "mov esi, 0x51000; mov edi, 0x55001; mov ecx, 512; cld; rep movsb",
    "mov word ptr [0x56001], 0x1ff; mov qword ptr [0x56003], 0x55001; lidt [0x56001]",
    "ud2",
);

attack!(
    idt_in_the_window => TRIPLE_FAULT,
    "lea rax, [rbx + 0x2000]; mov word ptr [0x56000], 0xfff; mov [0x56002], rax; lidt [0x56000]",
    "ud2",
);

attack!(
    idt_that_is_not_canonical => PROTECTION,
    "mov rax, 0x800000000000; mov word ptr [0x56000], 0xfff; mov [0x56002], rax; lidt [0x56000]",
    done!(),
);

attack!(
    idt_of_nothing => TRIPLE_FAULT,
    "mov word ptr [0x56000], 0; mov qword ptr [0x56002], 0x51000; lidt [0x56000]",
    "ud2",
);

attack!(
    handler_in_the_window => PAGE_FAULT,
    // Vector 6 leads to the monitor's stub of vector 13.
    "lea rax, [rbx + 0xd0]; mov [0x51060], ax; shr rax, 16; mov [0x51066], ax; shr rax, 16",
    "mov [0x51068], eax; ud2",
);

attack!(
    task_at_an_odd_address => INVALID,
    "mov esi, 0x52000; mov edi, 0x55003; mov ecx, 104; cld; rep movsb",
    "mov word ptr [0x5002a], 0x5003; mov word ptr [0x5002c], 0x8905; mov eax, 0x28; ltr ax",
    to_user!(),
    "ud2",
);

attack!(
    task_in_the_window => TRIPLE_FAULT,
    "mov rax, 0xffffc00000003200; mov [0x5002a], ax; shr rax, 16; mov [0x5002c], al",
    "mov byte ptr [0x5002d], 0x89; mov [0x5002f], ah; shr rax, 16; mov [0x50030], eax",
    "mov eax, 0x28; ltr ax",
    to_user!(),
    "ud2",
);

attack!(
    task_beyond_the_gdt => PROTECTION,
    "mov eax, 0x1000; ltr ax",
    done!(),
);

attack!(
    task_that_is_code => PROTECTION,
    "mov eax, 8; ltr ax",
    done!(),
);
