//! The nanobenchmarks of Adams and Agesen (*A Comparison of Software and Hardware Techniques for
//! x86 Virtualization*, ASPLOS 2006, section 6.3): a guest that takes no interrupt and runs one
//! privileged operation in a tight loop.
//!
//! The command line says which and how often: `bench=pgfault n=10000`. The answer is one line on
//! the log port, `nano: NAME ITERATIONS NANOSECONDS`, and exit status 0; 2 for a name that is unknown.
//!
//! Beside them stand reads over 256 MiB, which show what a TLB miss costs: `cold4k` and `cold2m` touch
//! page after page for the first time, `read4k` and `read2m` read at random what was touched before.
//! They need 320 MiB of memory.
//!
//! It is a kernel of its own, not a part of the guest's kernel, so that nothing but the operation
//! is measured.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod bench;
#[cfg(target_os = "none")]
mod log;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
mod reads;

#[cfg(target_os = "none")]
mod entry {
    use crate::{bench, log::Log, machine};
    use core::fmt::Write;
    use gnomon_abi::{boot, ports};

    core::arch::global_asm!(
        ".pushsection .text.entry, \"ax\"",
        ".global _start",
        "_start:",
        "lea rsp, [rip + {stack_top}]",
        "call {main}",
        ".popsection",
        stack_top = sym machine::STACK_TOP,
        main = sym main,
    );

    /// What `rdi` and `rsi` point to at entry: gnomon_abi::boot.
    extern "C" fn main(start_info: *const u8, facts: *const boot::BootFacts) -> ! {
        // SAFETY: the boot protocol: both point to structures in memory that is mapped one to one.
        let (command_line, facts) = unsafe { (command_line(start_info), facts.as_ref()) };
        let (quirks, tsc_khz) = facts.map_or((0, 1_000_000), |facts| (facts.quirks, facts.tsc_khz));
        let value = |key: &str| {
            command_line
                .split(' ')
                .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        };
        let name = value("bench").unwrap_or("");
        let iterations = value("n").and_then(|n| n.parse().ok()).unwrap_or(1000u64);
        machine::init(quirks & boot::SYSCALL_STAYS_IN_RING3 != 0);
        let status = match bench::by_name(name) {
            Some(bench) => {
                (bench.prepare)();
                let before = machine::tsc();
                (bench.run)(iterations);
                let nanoseconds = (machine::tsc() - before) * 1_000_000 / tsc_khz;
                // The log port takes everything: there is no error to report.
                let _ = writeln!(Log, "nano: {name} {iterations} {nanoseconds}");
                0
            }
            None => {
                let _ = writeln!(Log, "nano: there is no benchmark '{name}'");
                2
            }
        };
        machine::out32(ports::EXIT, status);
        machine::halt()
    }

    /// The command line that `hvm_start_info` (Xen, `public/arch-x86/hvm/start_info.h`) points to.
    ///
    /// # Safety
    /// `start_info` is such a structure, in memory mapped one to one, and stays.
    unsafe fn command_line(start_info: *const u8) -> &'static str {
        const CMDLINE_PADDR: usize = 24;
        // SAFETY: the caller's promise.
        let bytes = unsafe {
            let text = start_info.add(CMDLINE_PADDR).cast::<u64>().read_unaligned();
            if text == 0 {
                return "";
            }
            core::ffi::CStr::from_ptr(text as *const core::ffi::c_char).to_bytes()
        };
        core::str::from_utf8(bytes).unwrap_or("")
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        let _ = writeln!(Log, "nano: {info}");
        machine::out32(ports::FATAL, ports::FatalReason::Panic as u32);
        machine::halt()
    }
}

#[cfg(not(target_os = "none"))]
fn main() {}
