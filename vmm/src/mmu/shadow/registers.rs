//! The virtual processor's general registers as KVM lays them out, and back.

use gnomon_shadow::cpu::VirtCpu;
use kvm_bindings::kvm_regs;

/// The general registers, RIP and RFLAGS of `cpu`.
pub fn general(cpu: &VirtCpu) -> kvm_regs {
    let [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, ..] = cpu.gpr;
    let [.., r8, r9, r10, r11, r12, r13, r14, r15] = cpu.gpr;
    kvm_regs {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rsp,
        rbp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip: cpu.rip,
        rflags: cpu.rflags,
    }
}

/// Takes the general registers (not RIP and RFLAGS) from `r`.
pub fn set_general(cpu: &mut VirtCpu, r: &kvm_regs) {
    cpu.gpr = [
        r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12,
        r.r13, r.r14, r.r15,
    ];
}
