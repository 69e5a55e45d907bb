//! Finding the kernel's sensitive instructions ahead of time: the shadow mode has to replace them,
//! and decoding the whole kernel takes longer than all else that happens before the first entry.

use std::fmt::Write;

use gnomon_shadow::patch::scan;
use object::LittleEndian;
use object::elf::{FileHeader64, PF_X, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

/// A Rust expression: where each of them lies in guest-physical memory, and its length.
pub fn list(elf: &[u8]) -> Result<String, String> {
    let broken = |error| format!("kernel ELF: {error}");
    let header = FileHeader64::<LittleEndian>::parse(elf).map_err(broken)?;
    let segments = header.program_headers(LittleEndian, elf).map_err(broken)?;
    let mut list = String::from("&[");
    for segment in segments {
        let executable = segment.p_flags(LittleEndian) & PF_X != 0;
        if segment.p_type(LittleEndian) != PT_LOAD || !executable {
            continue;
        }
        let code = segment
            .data(LittleEndian, elf)
            .map_err(|()| "kernel ELF: a segment is outside the file")?;
        for site in scan(code, segment.p_paddr(LittleEndian)) {
            let _ = write!(list, "({:#x}, {}), ", site.va, site.original.len());
        }
    }
    list.push(']');
    Ok(list)
}
