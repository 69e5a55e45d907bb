//! HLT, CPUID, RDTSC and their kin.

use iced_x86::{Instruction, Mnemonic};

use super::{DONE, NOT_MINE, Outcome, Platform, Step, require_kernel};
use crate::cpu::{VirtCpu, cr4, reg};
use crate::deliver::Exception;

pub(super) fn execute(cpu: &mut VirtCpu, platform: &mut impl Platform, i: &Instruction) -> Outcome {
    match i.mnemonic() {
        Mnemonic::Hlt => {
            require_kernel(cpu)?;
            Ok(Some(Step::Halt))
        }
        Mnemonic::Cpuid => {
            let [a, b, c, d] = platform.cpuid(cpu.gpr[reg::RAX] as u32, cpu.gpr[reg::RCX] as u32);
            cpu.gpr[reg::RAX] = u64::from(a);
            cpu.gpr[reg::RBX] = u64::from(b);
            cpu.gpr[reg::RCX] = u64::from(c);
            cpu.gpr[reg::RDX] = u64::from(d);
            DONE
        }
        Mnemonic::Rdtsc | Mnemonic::Rdtscp => {
            if cpu.cr4 & cr4::TSD != 0 {
                require_kernel(cpu)?;
            }
            let tsc = platform.tsc();
            cpu.gpr[reg::RAX] = tsc & 0xffff_ffff;
            cpu.gpr[reg::RDX] = tsc >> 32;
            if i.mnemonic() == Mnemonic::Rdtscp {
                cpu.gpr[reg::RCX] = cpu.tsc_aux & 0xffff_ffff;
            }
            DONE
        }
        // No performance counters are offered.
        Mnemonic::Rdpmc => Err(Exception::GP0.into()),
        Mnemonic::Monitor | Mnemonic::Mwait => Err(Exception::UD.into()),
        Mnemonic::Prefetcht0
        | Mnemonic::Prefetchw
        | Mnemonic::Prefetchnta
        | Mnemonic::Clflush
        | Mnemonic::Clflushopt
        | Mnemonic::Clwb => DONE,
        _ => NOT_MINE,
    }
}
