//! Tracing: memory, registers, single steps.

use crate::frame::call::Errno;
use crate::frame::child::{Exit, fork};
use crate::frame::report::exit;
use crate::frame::state::wait_until_asleep;
use crate::frame::trace::{
    must, next_stop, peek, ptrace, registers, resume, set_registers, traced,
};
use libc::*;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

tests!(
    tracer_reads_and_writes_memory,
    memory_that_is_not_mapped_is_eio,
    breakpoint_in_read_only_text_stays_the_childs,
    single_steps_are_one_instruction_each,
    step_over_a_call_ends_behind_it,
    registers_are_read_and_written_as_a_set,
    selectors_of_the_kernel_are_refused,
    process_vm_readv_copies_between_processes,
);

static CELL: AtomicU64 = AtomicU64::new(5);

fn tracer_reads_and_writes_memory() {
    let child = traced(|| {
        CELL.store(6, SeqCst);
        ok!(SYS_kill, std::process::id(), SIGSTOP);
        exit(CELL.load(SeqCst) as i32);
    });
    let at = CELL.as_ptr() as usize;
    assert_eq!(peek(child.pid(), at), Ok(5));
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGSTOP);
    assert_eq!(peek(child.pid(), at), Ok(6));
    must(PTRACE_POKEDATA, child.pid(), at, 77);
    resume(child.pid(), 0);
    assert_eq!(child.wait(), Exit::Code(77));
    assert_eq!(CELL.load(SeqCst), 5);
}

fn memory_that_is_not_mapped_is_eio() {
    let child = traced(|| {});
    assert_eq!(peek(child.pid(), 8), Err(Errno(EIO)));
    let poked = ptrace(PTRACE_POKEDATA, child.pid(), 8, 0);
    assert_eq!(poked, Err(Errno(EIO)));
    assert_eq!(peek(child.pid(), 1 << 63), Err(Errno(EIO)));
}

#[inline(never)]
extern "C" fn breakpoint_here() -> i32 {
    std::hint::black_box(9)
}

fn breakpoint_in_read_only_text_stays_the_childs() {
    let at = breakpoint_here as *const () as usize;
    let child = traced(|| {
        exit(std::hint::black_box(
            breakpoint_here as extern "C" fn() -> i32,
        )())
    });
    let text = peek(child.pid(), at).unwrap();
    must(
        PTRACE_POKETEXT,
        child.pid(),
        at,
        (text & !0xff | 0xcc) as usize,
    );
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGTRAP);
    let mut registers = registers(child.pid());
    assert_eq!(registers.rip as usize, at + 1);
    // Another process of the same file, this one, is not concerned.
    assert_eq!(breakpoint_here(), 9);
    registers.rip -= 1;
    set_registers(child.pid(), &registers);
    must(PTRACE_POKETEXT, child.pid(), at, text as usize);
    resume(child.pid(), 0);
    assert_eq!(child.wait(), Exit::Code(9));
}

fn step(pid: i32) {
    must(PTRACE_SINGLESTEP, pid, 0, 0);
    assert_eq!(next_stop(pid), SIGTRAP);
}

fn single_steps_are_one_instruction_each() {
    let child = traced(|| {
        // SAFETY: instructions without effect, and a breakpoint that the tracer takes.
        unsafe { std::arch::asm!("int3", "nop", "nop", "inc {0:e}", "nop", out(reg) _) };
        exit(0);
    });
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGTRAP);
    let start = registers(child.pid()).rip;
    let steps: [u64; 4] = std::array::from_fn(|_| {
        step(child.pid());
        assert_eq!(registers(child.pid()).eflags >> 8 & 1, 0, "TF is hidden");
        registers(child.pid()).rip - start
    });
    assert_eq!(steps[..2], [1, 2]);
    assert!(steps[2] > 2 && steps[3] == steps[2] + 1, "{steps:?}");
    resume(child.pid(), 0);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn step_over_a_call_ends_behind_it() {
    let child = traced(|| {
        // SAFETY: a breakpoint that the tracer takes, and getpid, which changes RAX, RCX and R11.
        unsafe {
            std::arch::asm!("int3", "syscall", "nop", inout("rax") SYS_getpid => _,
                out("rcx") _, out("r11") _)
        };
        exit(0);
    });
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGTRAP);
    let start = registers(child.pid()).rip;
    step(child.pid());
    let after = registers(child.pid());
    assert_eq!((after.rip, after.rax), (start + 2, child.pid() as u64));
    step(child.pid());
    assert_eq!(registers(child.pid()).rip, start + 3);
    resume(child.pid(), 0);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn registers_are_read_and_written_as_a_set() {
    const NT_PRSTATUS: usize = 1;
    let child = traced(|| {
        let value: i32;
        // SAFETY: a breakpoint at which the tracer changes the register.
        unsafe { std::arch::asm!("int3", inout("r12d") 0x111 => value) };
        exit(value);
    });
    resume(child.pid(), 0);
    assert_eq!(next_stop(child.pid()), SIGTRAP);
    let mut set = [0u64; 64];
    let mut vector = [&raw mut set as usize, size_of_val(&set)];
    must(
        PTRACE_GETREGSET,
        child.pid(),
        NT_PRSTATUS,
        &raw mut vector as usize,
    );
    assert_eq!(vector[1], size_of::<user_regs_struct>());
    assert_eq!(set[3], 0x111);
    std::hint::black_box(&mut set)[3] = 0x22;
    must(
        PTRACE_SETREGSET,
        child.pid(),
        NT_PRSTATUS,
        &raw mut vector as usize,
    );
    resume(child.pid(), 0);
    assert_eq!(child.wait(), Exit::Code(0x22));
}

fn selectors_of_the_kernel_are_refused() {
    let child = traced(|| {});
    let mut registers = registers(child.pid());
    registers.cs = 0x10;
    let set = ptrace(
        PTRACE_SETREGS,
        child.pid(),
        0,
        &raw const registers as usize,
    );
    assert_eq!(set, Err(Errno(EIO)));
}

fn process_vm_readv_copies_between_processes() {
    let child = fork(|| {
        CELL.store(0x1122_3344_5566_7788, SeqCst);
        loop {
            let _ = call!(SYS_pause);
        }
    });
    wait_until_asleep(child.pid());
    let (mut first, mut second) = ([0u8; 3], [0u8; 5]);
    let local = [&raw mut first as usize, 3, &raw mut second as usize, 5];
    let remote = [CELL.as_ptr() as usize, 8];
    assert_eq!(
        ok!(SYS_process_vm_readv, child.pid(), &local, 2, &remote, 1, 0),
        8
    );
    assert_eq!(first, [0x88, 0x77, 0x66]);
    assert_eq!(second, [0x55, 0x44, 0x33, 0x22, 0x11]);
    assert_eq!(
        ok!(SYS_process_vm_writev, child.pid(), &local, 1, &remote, 1, 0),
        3
    );
    let nowhere = [8usize, 8];
    fails!(
        EFAULT,
        SYS_process_vm_readv,
        child.pid(),
        &local,
        2,
        &nowhere,
        1,
        0
    );
}
