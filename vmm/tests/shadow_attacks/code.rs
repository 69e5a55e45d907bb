//! Code that changes, and code that is not what it seems.

attack!(
    code_changes_under_it => CLEAN,
    // `mov eax, cr0` becomes `mov eax, cr2` after it has been carried out many times.
    "mov ecx, 100; mov rax, 0x77; mov cr2, rax",
    "4: mov rax, cr0; cmp rax, 0x77; je 5f; dec ecx; jnz 4b",
    "mov byte ptr [rip + 4b + 2], 0xd0; mov ecx, 100; jmp 4b",
    "5:",
    done!(),
);

attack!(
    patched_instructions => CLEAN,
    // None of these traps in ring 3, and all would show ring 3's own state.
    "cli; pushfq; pop rax; test eax, 0x200; jnz 3f",
    "sti; pushfq; pop rax; test eax, 0x200; jz 3f",
    "push 2; popfq; pushfq; pop rax; test eax, 0x200; jnz 3f",
    "mov eax, cs; cmp eax, 0x08; jne 3f",
    "str eax; cmp eax, 0x28; jne 3f",
    "sgdt [0x61000]; cmp word ptr [0x61000], 0x37; jne 3f",
    "smsw eax; and eax, 1; jz 3f",
    "mov eax, 0x10; lar ecx, eax; jnz 3f",
    done!(),
    "3: ud2",
);

attack!(
    code_written_later => CLEAN,
    // pushfq; pop rax; ret
    "mov edi, 0x48000; mov dword ptr [rdi], 0x90c3589c",
    "cli; call rdi; test eax, 0x200; jnz 3f",
    "sti; call rdi; test eax, 0x200; jz 3f",
    // mov eax, cs; ret
    "mov dword ptr [rdi], 0x90c3c88c",
    "call rdi; cmp eax, 0x08; jne 3f",
    // push 2; popfq; ret
    "mov dword ptr [rdi], 0xc39d026a",
    "sti; call rdi; pushfq; pop rax; test eax, 0x200; jnz 3f",
    // sgdt [0x61000]; ret, by a string instruction and across a page boundary
    "mov rax, 0x000610002504010f; mov esi, 0x4a000; mov [rsi], rax; mov byte ptr [rsi + 8], 0xc3",
    "mov edi, 0x48fff; mov ecx, 9; cld; rep movsb",
    "mov edi, 0x48fff; call rdi; cmp word ptr [0x61000], 0x37; jne 3f",
    // the same, to another place: only what lies on the second page changes
    "mov byte ptr [0x49004], 0x11; xor ecx, ecx; cpuid",
    "mov edi, 0x48fff; call rdi; cmp word ptr [0x61100], 0x37; jne 3f",
    "mov byte ptr [0x49000], 0x90; mov byte ptr [0x48fff], 0x9c",
    "mov dword ptr [0x49000], 0x90c35890; cli; call rdi; test eax, 0x200; jnz 3f",
    done!(),
    "3: ud2",
);

attack!(
    code_written_on_its_own_page => CLEAN,
    "lea rdi, [rip + 4f]; cli; call rdi",
    // nop; nop becomes pushfq; pop rax
    "mov byte ptr [rdi], 0x9c; mov byte ptr [rdi + 1], 0x58",
    "call rdi; test eax, 0x200; jnz 3f",
    "sti; call rdi; test eax, 0x200; jz 3f",
    "lea rsp, [rip + 5f + 64]; call rdi; test eax, 0x200; jz 3f",
    done!(),
    "4: nop; nop; ret",
    "3: ud2",
    "5: .skip 64",
);

attack!(
    code_written_through_another_mapping => CLEAN,
    "mov qword ptr [0xb008], 0x87",
    "mov edi, 0x48000; mov dword ptr [rdi], 0x90c39090; call rdi",
    "mov dword ptr [rdi + 0x200000], 0x90c3589c",
    "cli; call rdi; test eax, 0x200; jnz 3f",
    "sti; add edi, 0x200000; call rdi; test eax, 0x200; jz 3f",
    "mov byte ptr [rdi + 1], 0x59; xor ecx, ecx; call rdi; test ecx, 0x200; jz 3f",
    done!(),
    "3: ud2",
);

attack!(
    code_made_executable_later => CLEAN,
    "mov ecx, 0xc0000080; rdmsr; or eax, 0x800; wrmsr",
    "mov rax, 0x8000000000000087; mov [0xb008], rax",
    "mov edi, 0x248000; mov dword ptr [rdi], 0x90c3589c",
    "mov qword ptr [0xb008], 0x87; invlpg [rdi]",
    "cli; call rdi; test eax, 0x200; jnz 3f",
    "sti; call rdi; test eax, 0x200; jz 3f",
    done!(),
    "3: ud2",
);

attack!(
    code_that_must_not_be_executed => PAGE_FAULT,
    "mov ecx, 0xc0000080; rdmsr; or eax, 0x800; wrmsr",
    "mov rax, 0x8000000000000087; mov [0xb008], rax",
    "mov edi, 0x248000; mov dword ptr [rdi], 0x90c3589c; call rdi",
    done!(),
);

attack!(
    instructions_overlap => CLEAN,
    // test ecx, ecx; jz +1; mov eax, 0x00c3589c; ret: one byte into the mov lies pushfq; pop rax; ret.
    "mov rax, 0xc3589cb80174c985; mov [0x48000], rax; mov word ptr [0x48008], 0xc300",
    "mov edi, 0x48000; mov ecx, 1; call rdi; cmp eax, 0xc3589c; jne 3f",
    "cli; xor ecx, ecx; call rdi; test eax, 0x200; jnz 3f",
    "sti; call rdi; test eax, 0x200; jz 3f",
    "inc ecx; call rdi; cmp eax, 0xc3589c; jne 3f",
    // nop; pop rax; ret instead
    "mov byte ptr [0x48005], 0x90; call rdi; cmp eax, 0xc35890; jne 3f",
    done!(),
    "3: ud2",
);

attack!(
    instructions_overlap_across_pages => CLEAN,
    // The same mov, whose first byte alone lies on the first page; a nop and a ret before it.
    "mov word ptr [0x48ff0], 0xc390; mov byte ptr [0x48fff], 0xb8",
    "mov dword ptr [0x49000], 0x00c3589c; mov byte ptr [0x49004], 0xc3",
    "mov edi, 0x48ff0; call rdi",
    "mov edi, 0x49000; cli; call rdi; test eax, 0x200; jnz 3f",
    "mov esi, 0x48fff; call rsi; cmp eax, 0xc3589c; jne 3f",
    "sti; call rdi; test eax, 0x200; jz 3f",
    "mov byte ptr [0x49000], 0x90; call rsi; cmp eax, 0xc35890; jne 3f",
    done!(),
    "3: ud2",
);

attack!(
    code_on_one_frame_mapped_over_and_over => CLEAN,
    // 512 pages from 2 MiB on are two frames in turn, each of which ends within a `sgdt [rax]` that
    // the other one goes on with.
    "mov edi, 0x70000; mov eax, 0x48007; mov ecx, 256",
    "6: mov [rdi], rax; add rax, 0x1000; mov [rdi + 8], rax; sub rax, 0x1000; add rdi, 16",
    "dec ecx; jnz 6b",
    "mov word ptr [0x48000], 0xc300; mov word ptr [0x49000], 0xc300",
    "mov word ptr [0x48ffe], 0x010f; mov word ptr [0x49ffe], 0x010f",
    "mov qword ptr [0xb008], 0x70007",
    "mov eax, 0x61000; mov edi, 0x202ffe; call rdi; cmp word ptr [0x61000], 0x37; jne 3f",
    "mov eax, 0x61100; add edi, 0x1000; call rdi; cmp word ptr [0x61100], 0x37; jne 3f",
    "mov byte ptr [0x48000], 0x10; mov byte ptr [0x48000], 0",
    "mov eax, 0x61200; call rdi; cmp word ptr [0x61200], 0x37; jne 3f",
    done!(),
    "3: ud2",
);
