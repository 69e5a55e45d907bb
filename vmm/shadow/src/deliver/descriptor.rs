//! Segment descriptors in the guest's GDT (SDM volume 3, sections 3.4.5 and 3.5).

use super::{Exception, vector};
use crate::cpu::VirtCpu;
use crate::emulate::{Platform, read_u64};

/// The error code that names a selector.
pub const fn selector_error(selector: u16) -> u32 {
    selector as u32 & 0xfffc
}

/// An 8-byte descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor(pub u64);

impl Descriptor {
    /// Reads the descriptor that `selector` names. `external`: 1 if an event from outside needs it.
    ///
    /// # Errors
    /// `#GP(selector)` if it lies beyond the table's limit, or in an LDT that there is not; `#PF`.
    pub fn read(
        cpu: &mut VirtCpu,
        platform: &mut impl Platform,
        selector: u16,
        external: u32,
    ) -> Result<Self, Exception> {
        let address = Self::address(cpu, selector, 8, external)?;
        Ok(Descriptor(read_u64(cpu, platform, address, false)?))
    }

    /// Where the descriptor that `selector` names lies, if all its `len` bytes are in the table.
    ///
    /// # Errors
    /// As [`Descriptor::read`].
    pub fn address(
        cpu: &VirtCpu,
        selector: u16,
        len: u64,
        external: u32,
    ) -> Result<u64, Exception> {
        let (base, limit) = if selector & 4 == 0 {
            (cpu.gdtr.base, u64::from(cpu.gdtr.limit))
        } else if cpu.ldtr.selector & !3 != 0 {
            (cpu.ldtr.base, u64::from(cpu.ldtr.limit))
        } else {
            (0, 0)
        };
        let offset = u64::from(selector & !7);
        if limit == 0 || offset + len - 1 > limit {
            let error = selector_error(selector) | external;
            return Err(Exception::with_error(vector::GP, error));
        }
        Ok(base.wrapping_add(offset))
    }

    /// Present.
    pub fn present(self) -> bool {
        self.0 & (1 << 47) != 0
    }

    /// Privilege level.
    pub fn dpl(self) -> u8 {
        ((self.0 >> 45) & 3) as u8
    }

    /// Type field, with the S bit as bit 4.
    pub fn kind(self) -> u8 {
        ((self.0 >> 40) & 0x1f) as u8
    }

    /// A code segment.
    pub fn is_code(self) -> bool {
        self.kind() & 0x18 == 0x18
    }

    /// A code segment that keeps its caller's privilege.
    pub fn is_conforming(self) -> bool {
        self.kind() & 0x1c == 0x1c
    }

    /// A data segment that may be written.
    pub fn is_writable_data(self) -> bool {
        self.kind() & 0x1a == 0x12
    }

    /// A data segment, or a code segment that may be read.
    pub fn is_readable(self) -> bool {
        self.kind() & 0x18 == 0x10 || self.kind() & 0x1a == 0x1a
    }

    /// 64-bit code: L set and D clear.
    pub fn is_long(self) -> bool {
        self.0 & (3 << 53) == 1 << 53
    }

    /// Bits 31:0 of the base.
    pub fn base(self) -> u64 {
        ((self.0 >> 16) & 0xff_ffff) | ((self.0 >> 32) & 0xff00_0000)
    }

    /// Offset of the last byte.
    pub fn limit(self) -> u32 {
        let limit = (self.0 & 0xffff) as u32 | ((self.0 >> 32) & 0xf_0000) as u32;
        if self.0 & (1 << 55) != 0 {
            (limit << 12) | 0xfff
        } else {
            limit
        }
    }
}
