//! Filling the kernel's symbol table (`gnomon_abi::symbols`) after it has been linked.

use gnomon_abi::symbols::{ENTRY_SIZE, HEADER_SIZE, IMAGE_BASE, MAGIC, NAME_MAX, SECTION};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// Write the names and addresses of all functions of an ELF into its section for them.
pub fn fill(elf: &mut [u8]) -> Result<(), String> {
    let (start, len, functions) = {
        let file = object::File::parse(&*elf).map_err(|error| format!("kernel ELF: {error}"))?;
        let section = file
            .section_by_name(SECTION)
            .ok_or("the kernel has no section .ksyms")?;
        let (start, len) = section
            .file_range()
            .ok_or("the kernel's section .ksyms is not in the file")?;
        let mut functions: Vec<(u32, String)> = file
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text)
            .filter_map(|symbol| {
                let offset = u32::try_from(symbol.address().checked_sub(IMAGE_BASE)?).ok()?;
                Some((offset, demangle(symbol.name().ok()?)))
            })
            .filter(|(_, name)| !name.is_empty())
            .collect();
        functions.sort();
        functions.dedup_by_key(|&mut (offset, _)| offset);
        (start as usize, len as usize, functions)
    };
    let table = [NAME_MAX, 60, 30]
        .into_iter()
        .map(|longest| table(&functions, longest))
        .find(|table| table.len() <= len)
        .ok_or("the kernel has more symbols than its section .ksyms can hold")?;
    elf[start..start + len].fill(0);
    elf[start..start + table.len()].copy_from_slice(&table);
    Ok(())
}

/// A name without mangling, hash, and the crate that it all has in common.
fn demangle(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name)).replace("gnomon_kernel::", "")
}

/// The table with names of at most `longest` bytes.
fn table(functions: &[(u32, String)], longest: usize) -> Vec<u8> {
    let mut names = Vec::new();
    let mut table = Vec::with_capacity(HEADER_SIZE + functions.len() * ENTRY_SIZE);
    table.extend_from_slice(&MAGIC.to_le_bytes());
    table.extend_from_slice(&(functions.len() as u32).to_le_bytes());
    for (offset, name) in functions {
        table.extend_from_slice(&offset.to_le_bytes());
        table.extend_from_slice(&(names.len() as u32).to_le_bytes());
        let mut end = name.len().min(longest);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        names.extend_from_slice(&name.as_bytes()[..end]);
        names.push(0);
    }
    table.extend_from_slice(&names);
    table
}
