//! The virtual processor: what the guest believes the state of its processor to be.
//!
//! Plain data with one owner. What the true processor keeps for the guest while it runs (FPU
//! registers, the bases of FS and GS) is reached through [`crate::emulate::Platform`].

use crate::tables::walk::{Mode, Paging};

/// Numbers of the general registers, as instructions encode them.
pub mod reg {
    #![allow(missing_docs)]
    pub const RAX: usize = 0;
    pub const RCX: usize = 1;
    pub const RDX: usize = 2;
    pub const RBX: usize = 3;
    pub const RSP: usize = 4;
    pub const RBP: usize = 5;
    pub const RSI: usize = 6;
    pub const RDI: usize = 7;
    pub const R11: usize = 11;
}

/// Bits of RFLAGS.
pub mod flag {
    #![allow(missing_docs)]
    pub const CF: u64 = 1 << 0;
    pub const ONE: u64 = 1 << 1;
    pub const PF: u64 = 1 << 2;
    pub const AF: u64 = 1 << 4;
    pub const ZF: u64 = 1 << 6;
    pub const SF: u64 = 1 << 7;
    pub const TF: u64 = 1 << 8;
    pub const IF: u64 = 1 << 9;
    pub const DF: u64 = 1 << 10;
    pub const OF: u64 = 1 << 11;
    pub const IOPL: u64 = 3 << 12;
    pub const NT: u64 = 1 << 14;
    pub const RF: u64 = 1 << 16;
    pub const VM: u64 = 1 << 17;
    pub const AC: u64 = 1 << 18;
    pub const VIF: u64 = 1 << 19;
    pub const VIP: u64 = 1 << 20;
    pub const ID: u64 = 1 << 21;
    /// The flags that arithmetic sets.
    pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
    /// All flags that exist.
    pub const ALL: u64 = STATUS | ONE | TF | IF | DF | IOPL | NT | RF | VM | AC | VIF | VIP | ID;
}

/// Bits of CR0.
pub mod cr0 {
    #![allow(missing_docs)]
    pub const PE: u64 = 1 << 0;
    pub const MP: u64 = 1 << 1;
    pub const EM: u64 = 1 << 2;
    pub const TS: u64 = 1 << 3;
    pub const ET: u64 = 1 << 4;
    pub const NE: u64 = 1 << 5;
    pub const WP: u64 = 1 << 16;
    pub const AM: u64 = 1 << 18;
    pub const NW: u64 = 1 << 29;
    pub const CD: u64 = 1 << 30;
    pub const PG: u64 = 1 << 31;
    pub const ALL: u64 = PE | MP | EM | TS | ET | NE | WP | AM | NW | CD | PG;
}

/// Bits of CR4.
pub mod cr4 {
    #![allow(missing_docs)]
    pub const TSD: u64 = 1 << 2;
    pub const DE: u64 = 1 << 3;
    pub const PSE: u64 = 1 << 4;
    pub const PAE: u64 = 1 << 5;
    pub const MCE: u64 = 1 << 6;
    pub const PGE: u64 = 1 << 7;
    pub const PCE: u64 = 1 << 8;
    pub const OSFXSR: u64 = 1 << 9;
    pub const OSXMMEXCPT: u64 = 1 << 10;
    pub const UMIP: u64 = 1 << 11;
    pub const FSGSBASE: u64 = 1 << 16;
    pub const OSXSAVE: u64 = 1 << 18;
    pub const SMEP: u64 = 1 << 20;
    /// What the shadow mode offers: no VME, 5-level paging, PCID, SMAP, PKE, VMX.
    pub const OFFERED: u64 = TSD
        | DE
        | PSE
        | PAE
        | MCE
        | PGE
        | PCE
        | OSFXSR
        | OSXMMEXCPT
        | UMIP
        | FSGSBASE
        | OSXSAVE
        | SMEP;
}

/// Bits of EFER.
pub mod efer {
    #![allow(missing_docs)]
    pub const SCE: u64 = 1 << 0;
    pub const LME: u64 = 1 << 8;
    pub const LMA: u64 = 1 << 10;
    pub const NXE: u64 = 1 << 11;
    pub const OFFERED: u64 = SCE | LME | LMA | NXE;
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableRegister {
    /// Linear address of the table.
    pub base: u64,
    /// Its last byte's offset.
    pub limit: u16,
}

/// LDTR or TR: selector and what the descriptor said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemSegment {
    /// Selector.
    pub selector: u16,
    /// Linear address of the segment.
    pub base: u64,
    /// Its last byte's offset.
    pub limit: u32,
}

/// The selectors in the segment registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selectors {
    /// Code.
    pub cs: u16,
    /// Stack.
    pub ss: u16,
    /// Data.
    pub ds: u16,
    /// Extra data.
    pub es: u16,
    /// FS.
    pub fs: u16,
    /// GS.
    pub gs: u16,
}

/// The virtual processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtCpu {
    /// General registers, numbered as in [`reg`].
    pub gpr: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags as the guest has set them, IF and IOPL among them.
    pub rflags: u64,
    /// Current privilege level, 0 or 3.
    pub cpl: u8,
    /// No interrupt before the next instruction has been carried out (after STI, MOV SS).
    pub interrupt_shadow: bool,
    /// Segment registers.
    pub selectors: Selectors,
    /// GDTR.
    pub gdtr: TableRegister,
    /// IDTR.
    pub idtr: TableRegister,
    /// LDTR.
    pub ldtr: SystemSegment,
    /// TR.
    pub tr: SystemSegment,
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// Bits of CR4 that the guest may set.
    pub cr4_offered: u64,
    /// EFER.
    pub efer: u64,
    /// SYSCALL's selectors.
    pub star: u64,
    /// SYSCALL's target in 64-bit mode.
    pub lstar: u64,
    /// SYSCALL's target in compatibility mode.
    pub cstar: u64,
    /// Flags that SYSCALL clears.
    pub fmask: u64,
    /// SYSENTER's CS, ESP, EIP.
    pub sysenter: [u64; 3],
    /// IA32_PAT.
    pub pat: u64,
    /// IA32_APIC_BASE.
    pub apic_base: u64,
    /// IA32_TSC_AUX.
    pub tsc_aux: u64,
    /// DR0 to DR3, DR6 and DR7 (4 and 5 unused).
    pub dr: [u64; 8],
    /// Extended control register 0.
    pub xcr0: u64,
    /// Width of a physical address in bits.
    pub physical_bits: u8,
    /// Pages of 1 GiB are offered.
    pub gigabyte_pages: bool,
}

impl VirtCpu {
    /// A processor in 64-bit mode with paging on, as a kernel is entered: flat segments, no
    /// interrupts, empty IDT.
    pub fn long_mode(rip: u64, cr3: u64) -> Self {
        VirtCpu {
            gpr: [0; 16],
            rip,
            rflags: flag::ONE,
            cpl: 0,
            interrupt_shadow: false,
            selectors: Selectors {
                cs: 0x08,
                ss: 0x10,
                ds: 0x10,
                es: 0x10,
                fs: 0x10,
                gs: 0x10,
            },
            gdtr: TableRegister::default(),
            idtr: TableRegister::default(),
            ldtr: SystemSegment::default(),
            tr: SystemSegment::default(),
            cr0: cr0::PE | cr0::ET | cr0::NE | cr0::WP | cr0::PG,
            cr2: 0,
            cr3,
            cr4: cr4::PAE,
            cr4_offered: cr4::OFFERED,
            efer: efer::LME | efer::LMA | efer::NXE,
            star: 0,
            lstar: 0,
            cstar: 0,
            fmask: 0,
            sysenter: [0; 3],
            pat: 0x0007_0406_0007_0406,
            apic_base: 0xfee0_0000 | 1 << 8 | 1 << 11,
            tsc_aux: 0,
            dr: [0, 0, 0, 0, 0, 0, 0xffff_0ff0, 0x400],
            xcr0: 1,
            physical_bits: 46,
            gigabyte_pages: false,
        }
    }

    /// What paging depends on.
    pub fn paging(&self) -> Paging {
        Paging {
            cr3: self.cr3,
            mode: Mode {
                wp: self.cr0 & cr0::WP != 0,
                nxe: self.efer & efer::NXE != 0,
                smep: self.cr4 & cr4::SMEP != 0,
                physical_bits: self.physical_bits,
                gigabyte_pages: self.gigabyte_pages,
            },
        }
    }

    /// Whether the processor runs a program of the guest, not its kernel.
    pub fn is_user(&self) -> bool {
        self.cpl == 3
    }

    /// Whether an external interrupt may be delivered before the next instruction.
    pub fn takes_interrupts(&self) -> bool {
        self.rflags & flag::IF != 0 && !self.interrupt_shadow
    }
}
