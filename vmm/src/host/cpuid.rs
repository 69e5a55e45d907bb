//! The CPUID that a guest is given: what KVM supports, less what the host cannot really run.

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};

use super::{Host, HostError, Module};

/// Room for the entries that most hosts have; asking with room for more is slower.
const USUAL_ENTRIES: usize = 80;

/// Leaf 1 ECX.
mod leaf1 {
    pub const MONITOR: u32 = 1 << 3;
    pub const FMA: u32 = 1 << 12;
    pub const PCID: u32 = 1 << 17;
    pub const X2APIC: u32 = 1 << 21;
    pub const XSAVE: u32 = 1 << 26;
    pub const OSXSAVE: u32 = 1 << 27;
    pub const AVX: u32 = 1 << 28;
    pub const F16C: u32 = 1 << 29;
    pub const HYPERVISOR: u32 = 1 << 31;
}

/// Leaf 7 EBX.
mod leaf7 {
    pub const AVX2: u32 = 1 << 5;
    pub const SMEP: u32 = 1 << 7;
    pub const INVPCID: u32 = 1 << 10;
    pub const AVX512: u32 = 1 << 16 | 1 << 17 | 1 << 21 | 0xf << 26 | 1 << 30 | 1 << 31;
    pub const SMAP: u32 = 1 << 20;
}

/// `RDTSCP` in leaf 0x8000_0001 EDX.
const RDTSCP: u32 = 1 << 27;

/// The CPUID for a guest with `cpus` processors, as processor number `index` sees it.
///
/// # Errors
/// KVM does not say what it supports.
pub fn guest_cpuid(host: &Host) -> Result<CpuId, HostError> {
    let refused = HostError::refused("to say which CPUID it supports");
    let supported = match host.kvm().get_supported_cpuid(USUAL_ENTRIES) {
        Err(error) if error.errno() == libc::E2BIG => {
            host.kvm().get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        }
        result => result,
    };
    let mut cpuid = supported.map_err(refused)?;
    for entry in cpuid.as_mut_slice() {
        filter(entry, host.module());
    }
    Ok(cpuid)
}

/// Describe one processor, number 0, and take away what does not work.
fn filter(entry: &mut kvm_cpuid_entry2, module: Module) {
    let emulated_ring0 = module == Module::Pvm;
    match entry.function {
        1 => {
            // Initial APIC ID 0, one logical processor.
            entry.ebx = entry.ebx & 0x0000_ffff | 1 << 16;
            entry.ecx |= leaf1::X2APIC | leaf1::HYPERVISOR;
            entry.ecx &= !(leaf1::MONITOR | leaf1::OSXSAVE);
            if emulated_ring0 {
                entry.ecx &= !(leaf1::XSAVE | leaf1::AVX | leaf1::FMA | leaf1::F16C | leaf1::PCID);
            }
        }
        // One core, one thread per core.
        4 => entry.eax &= 0x3fff,
        7 if entry.index == 0 && emulated_ring0 => {
            entry.ebx &=
                !(leaf7::AVX2 | leaf7::SMEP | leaf7::INVPCID | leaf7::AVX512 | leaf7::SMAP);
            entry.ecx = 0;
            entry.edx = 0;
        }
        7 if emulated_ring0 => clear(entry),
        0xb | 0x1f => {
            // One processor at each level; EDX is its x2APIC ID.
            entry.eax = 0;
            entry.ebx = u32::from(entry.index < 2 && entry.ecx & 0xff00 != 0);
            entry.edx = 0;
        }
        0xd if emulated_ring0 => clear(entry),
        0x8000_0001 if emulated_ring0 => entry.edx &= !RDTSCP,
        // One processor.
        0x8000_0008 => entry.ecx &= !0xff,
        _ => {}
    }
}

const fn clear(entry: &mut kvm_cpuid_entry2) {
    entry.eax = 0;
    entry.ebx = 0;
    entry.ecx = 0;
    entry.edx = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(function: u32, index: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 {
            function,
            index,
            eax: u32::MAX,
            ebx: u32::MAX,
            ecx: u32::MAX,
            edx: u32::MAX,
            ..Default::default()
        }
    }

    #[test]
    fn hardware_keeps_its_vector_extensions() {
        let mut entry = full(1, 0);
        filter(&mut entry, Module::Intel);
        assert_ne!(entry.ecx & leaf1::AVX, 0);
    }

    #[test]
    fn emulated_ring0_has_no_xsave() {
        let mut entry = full(1, 0);
        filter(&mut entry, Module::Pvm);
        assert_eq!(entry.ecx & (leaf1::XSAVE | leaf1::AVX | leaf1::PCID), 0);
    }

    #[test]
    fn emulated_ring0_has_no_smap() {
        let mut entry = full(7, 0);
        filter(&mut entry, Module::Pvm);
        assert_eq!(entry.ebx & (leaf7::SMAP | leaf7::INVPCID), 0);
    }

    #[test]
    fn processor_is_number_zero_of_one() {
        let mut entry = full(1, 0);
        filter(&mut entry, Module::Amd);
        assert_eq!(entry.ebx >> 16, 1);
    }
}
