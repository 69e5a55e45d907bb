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

/// Defines a kernel's code: a prologue that loads the tables and a stack, and the attack.
macro_rules! kernel {
    ($name:ident, $($line:expr),+ $(,)?) => {
        core::arch::global_asm!(
            concat!(".pushsection .rodata.", stringify!($name)),
            concat!("attack_", stringify!($name), ":"),
            "lgdt [0x54000]",
            "lidt [0x54010]",
            "mov esp, 0x60000",
            "mov eax, 0x28",
            "ltr ax",
            "mov rbx, 0xffffc00000000000",
            $($line,)+
            concat!("attack_end_", stringify!($name), ":"),
            ".popsection",
        );
        fn $name() -> &'static [u8] {
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
    };
}

/// What every attack ends with if nothing has stopped it: status 1.
macro_rules! done {
    () => {
        "mov edx, 0x510; mov eax, 1; out dx, eax; hlt"
    };
}

/// Enters ring 3 at the label `2`.
macro_rules! to_user {
    () => {
        "lea rax, [rip + 2f]; push 0x1b; push 0x61000; push 2; push 0x23; push rax; iretq; 2:"
    };
}

kernel!(read_window, "mov rax, [rbx]", done!());
kernel!(write_window, "mov [rbx + 0x5000], rax", done!());
kernel!(write_tables, "mov [rbx + 0x200000], rax", done!());
kernel!(jump_to_monitor, "lea rax, [rbx + 0x243]; jmp rax");
kernel!(jump_to_gate, "lea rax, [rbx + 0x6000]; jmp rax");
kernel!(load_gdt_from_window, "lgdt [rbx + 0x3000]", done!());
kernel!(load_idt_from_window, "lidt [rbx + 0x2000]", done!());
kernel!(switch_to_null_task, "xor eax, eax; ltr ax", done!());
kernel!(
    own_mapping_in_the_window,
    // PML4[384] leads where PML4[0] leads: the window is the guest's own memory.
    "mov rax, [0x9000]; mov [0x9000 + 384 * 8], rax",
    "mov dword ptr [rbx + 0x45000], 0x1234567",
    "cmp dword ptr [0x45000], 0x1234567; jne 3f",
    "mov dword ptr [0x45004], 7; mov ecx, [rbx + 0x45004]; cmp ecx, 7; jne 3f",
    done!(),
    "3: ud2",
);
kernel!(
    map_monitor_memory,
    // 2 MiB at 2 MiB: the monitor's pages, then its tables. There is nothing for the guest.
    "mov rax, 0x4000000087; mov [0xb008], rax",
    "mov ecx, [0x200000]; cmp ecx, -1; jne 3f",
    "mov dword ptr [0x200000], 0; mov ecx, [0x200000]; cmp ecx, -1; jne 3f",
    "mov rax, 0x4000200087; mov [0xb008], rax; invlpg [0x200000]",
    "mov qword ptr [0x200000], 0; mov rcx, [0x200000]; cmp rcx, -1; jne 3f",
    done!(),
    "3: ud2",
);
kernel!(
    map_beyond_memory,
    "mov rax, 0x100000087; mov [0xb008], rax",
    "mov ecx, [0x200ff0]; cmp ecx, -1; jne 3f",
    done!(),
    "3: ud2",
);
kernel!(
    root_in_monitor_memory,
    "mov rax, 0x4000007000; mov cr3, rax",
    done!()
);
kernel!(
    any_stack_when_a_trap_comes,
    "mov rsp, 0x800000000000; cli",
    "lea rsp, [rbx + 0x6000]; cli; sti; cli",
    "xor esp, esp; dec rsp; mov rax, cr0",
    "mov rsp, 0x4000200000; mov rax, cr3; mov esp, 0x60000",
    done!(),
);
kernel!(
    single_steps,
    // TF by IRETQ: the first instruction behind it is done, then comes #DB.
    "lea rax, [rip + 2f]; push 0x10; push 0x60000; push 0x102; push 0x08; push rax; iretq",
    "2: nop",
    done!(),
);
kernel!(
    single_step_of_a_trapping_instruction,
    "lea rax, [rip + 2f]; push 0x10; push 0x60000; push 0x102; push 0x08; push rax; iretq",
    "2: cli",
    done!(),
);
kernel!(
    code_changes_under_it,
    // `mov eax, cr0` becomes `mov eax, cr2` after it has been carried out many times.
    "mov ecx, 100; mov rax, 0x77; mov cr2, rax",
    "4: mov rax, cr0; cmp rax, 0x77; je 5f; dec ecx; jnz 4b",
    "mov byte ptr [rip + 4b + 2], 0xd0; mov ecx, 100; jmp 4b",
    "5:",
    done!(),
);
kernel!(
    patched_instructions,
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
kernel!(
    code_written_later,
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
kernel!(
    code_written_on_its_own_page,
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
kernel!(
    code_written_through_another_mapping,
    "mov qword ptr [0xb008], 0x87",
    "mov edi, 0x48000; mov dword ptr [rdi], 0x90c39090; call rdi",
    "mov dword ptr [rdi + 0x200000], 0x90c3589c",
    "cli; call rdi; test eax, 0x200; jnz 3f",
    "sti; add edi, 0x200000; call rdi; test eax, 0x200; jz 3f",
    "mov byte ptr [rdi + 1], 0x59; xor ecx, ecx; call rdi; test ecx, 0x200; jz 3f",
    done!(),
    "3: ud2",
);
kernel!(
    code_made_executable_later,
    "mov ecx, 0xc0000080; rdmsr; or eax, 0x800; wrmsr",
    "mov rax, 0x8000000000000087; mov [0xb008], rax",
    "mov edi, 0x248000; mov dword ptr [rdi], 0x90c3589c",
    "mov qword ptr [0xb008], 0x87; invlpg [rdi]",
    "cli; call rdi; test eax, 0x200; jnz 3f",
    "sti; call rdi; test eax, 0x200; jz 3f",
    done!(),
    "3: ud2",
);
kernel!(
    code_that_must_not_be_executed,
    "mov ecx, 0xc0000080; rdmsr; or eax, 0x800; wrmsr",
    "mov rax, 0x8000000000000087; mov [0xb008], rax",
    "mov edi, 0x248000; mov dword ptr [rdi], 0x90c3589c; call rdi",
    done!(),
);
kernel!(program_reads_window, to_user!(), "mov rax, [rbx]");
kernel!(program_writes_frame, to_user!(), "mov [rbx + 0x5fd8], rax");
kernel!(
    program_jumps_to_gate,
    to_user!(),
    "lea rax, [rbx + 0x6000]; jmp rax"
);
kernel!(program_jumps_to_stub, to_user!(), "jmp rbx");
kernel!(program_writes_monitors_port, to_user!(), "out 14, al");
kernel!(program_halts, to_user!(), "hlt");
kernel!(program_loads_cr3, to_user!(), "mov cr3, rax");
kernel!(
    program_returns_from_interrupt,
    to_user!(),
    "push 0x10; push rsp; push 2; push 8; push rax; iretq"
);
kernel!(
    supervisor_page_of_the_kernel,
    // The page of the stack at 0x60000 loses its U bit by small pages, seen from ring 3.
    "mov edi, 0x70000; mov eax, 7; mov ecx, 512",
    "6: mov [rdi], rax; add rax, 0x1000; add rdi, 8; dec ecx; jnz 6b",
    "mov qword ptr [0x70000 + 8 * 0x45], 0x45003",
    "mov qword ptr [0xb000], 0x70007; mov rax, cr3; mov cr3, rax",
    "mov dword ptr [0x45000], 5",
    to_user!(),
    "mov eax, [0x45000]",
);

const CLEAN: u8 = 1;
const PAGE_FAULT: u8 = 0x80 + 14;
const PROTECTION: u8 = 0x80 + 13;
const DEBUG: u8 = 0x80 + 1;

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

/// Tests: name, kernel, status.
macro_rules! attacks {
    ($($name:ident => $status:expr;)*) => {
        $(
            mod $name {
                #[test]
                fn is_harmless() {
                    super::assert_ends(super::$name(), &super::Stop::Status($status));
                }
            }
        )*
    };
}

attacks! {
    read_window => super::PAGE_FAULT;
    write_window => super::PAGE_FAULT;
    write_tables => super::PAGE_FAULT;
    jump_to_monitor => super::PAGE_FAULT;
    jump_to_gate => super::PAGE_FAULT;
    load_gdt_from_window => super::PAGE_FAULT;
    load_idt_from_window => super::PAGE_FAULT;
    switch_to_null_task => super::PROTECTION;
    own_mapping_in_the_window => super::CLEAN;
    map_monitor_memory => super::CLEAN;
    map_beyond_memory => super::CLEAN;
    any_stack_when_a_trap_comes => super::CLEAN;
    single_steps => super::DEBUG;
    single_step_of_a_trapping_instruction => super::DEBUG;
    code_changes_under_it => super::CLEAN;
    patched_instructions => super::CLEAN;
    code_written_later => super::CLEAN;
    code_written_on_its_own_page => super::CLEAN;
    code_written_through_another_mapping => super::CLEAN;
    code_made_executable_later => super::CLEAN;
    code_that_must_not_be_executed => super::PAGE_FAULT;
    program_reads_window => super::PAGE_FAULT;
    program_writes_frame => super::PAGE_FAULT;
    program_jumps_to_gate => super::PAGE_FAULT;
    program_jumps_to_stub => super::PAGE_FAULT;
    program_writes_monitors_port => super::PROTECTION;
    program_halts => super::PROTECTION;
    program_loads_cr3 => super::PROTECTION;
    program_returns_from_interrupt => super::PROTECTION;
    supervisor_page_of_the_kernel => super::PAGE_FAULT;
}

#[test]
fn root_in_monitor_memory_is_a_triple_fault() {
    assert_ends(root_in_monitor_memory(), &Stop::TripleFault);
}
