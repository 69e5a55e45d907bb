//! The guest kernel.
//!
//! It is entered once per machine (`arch::boot`), runs with interrupts disabled except in the idle
//! loop, and serves programs that speak Linux's x86-64 system calls. Mechanism is here; policies
//! and pure logic live in crates of their own (`gnomon-frames`, `gnomon-sched`, `gnomon-ext2`).
//!
//! | module | what it owns |
//! |---|---|
//! | `arch` | the processor: entry, traps, context switch, APIC, clocks, FPU |
//! | `mm` | frames, the heap, address spaces, copies from and to user space |
//! | `sync`, `task`, `sched`, `time`, `syscall` | locks, processes, scheduling, clocks, the call table |
//! | `fs`, `tty`, `drivers` | files, terminals, virtio devices |
//! | `ipc` | System V objects, POSIX message queues |
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
#[macro_use]
mod log;
#[cfg(target_os = "none")]
mod arch;
#[cfg(target_os = "none")]
mod drivers;
#[cfg(target_os = "none")]
mod errno;
#[cfg(target_os = "none")]
mod fs;
#[cfg(target_os = "none")]
mod init;
#[cfg(target_os = "none")]
mod ipc;
#[cfg(target_os = "none")]
mod mm;
#[cfg(target_os = "none")]
mod power;
#[cfg(target_os = "none")]
mod sched;
#[cfg(target_os = "none")]
mod symbols;
#[cfg(target_os = "none")]
mod sync;
#[cfg(target_os = "none")]
mod syscall;
#[cfg(target_os = "none")]
mod task;
#[cfg(target_os = "none")]
mod time;
#[cfg(target_os = "none")]
mod tty;

/// On a hosted target there is nothing to run: the kernel exists for `x86_64-unknown-none` alone.
#[cfg(not(target_os = "none"))]
fn main() {}
