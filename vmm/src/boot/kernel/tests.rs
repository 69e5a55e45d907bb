use super::*;

/// `e_type` ET_EXEC.
const EXEC: u16 = 2;

/// An ELF with one segment of `code` at `load`, entered there, and the note `note` if any.
fn elf(load: u64, code: &[u8], memsz: u64, notes: &[u8]) -> Vec<u8> {
    let headers = 64 + 2 * 56;
    let mut image = Vec::new();
    image.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    image.extend(EXEC.to_le_bytes());
    image.extend(EM_X86_64.to_le_bytes());
    image.extend(1_u32.to_le_bytes());
    for word in [load, 64, 0] {
        image.extend(word.to_le_bytes());
    }
    image.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 2, 64, 0, 0] {
        image.extend(half.to_le_bytes());
    }
    let code_at = (headers + notes.len()) as u64;
    let segments = [
        (PT_LOAD, code_at, load, code.len() as u64, memsz),
        (
            PT_NOTE,
            headers as u64,
            0,
            notes.len() as u64,
            notes.len() as u64,
        ),
    ];
    for (kind, offset, address, filesz, memsz) in segments {
        image.extend(kind.to_le_bytes());
        image.extend(7_u32.to_le_bytes());
        for word in [offset, address, address, filesz, memsz, 4] {
            image.extend(word.to_le_bytes());
        }
    }
    image.extend(notes);
    image.extend(code);
    image
}

fn note(name: &[u8], kind: u32, descriptor: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [name.len() as u32, descriptor.len() as u32, kind] {
        bytes.extend(word.to_le_bytes());
    }
    for part in [name, descriptor] {
        bytes.extend(part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn ours() -> Vec<u8> {
    note(note::NAME, note::TYPE_ENTRY64, &[])
}

fn pvh() -> Vec<u8> {
    note(b"Xen\0", XEN_PHYS32_ENTRY, &0x20_0000_u32.to_le_bytes())
}

fn load(image: &[u8]) -> Result<Entry, BootError> {
    load_into_memory(&Kernel::from_bytes("k", image)).map(|(entry, _)| entry)
}

/// How `kernel` is entered, and memory with it.
fn load_into_memory(kernel: &Kernel<'_>) -> Result<(Entry, GuestMemory), BootError> {
    let memory = GuestMemory::from_ranges(&[(vm_memory::GuestAddress(0), 8 << 20)]).unwrap();
    let placement = kernel.place(&memory)?;
    kernel.load(&placement, &memory)?;
    Ok((placement.entry, memory))
}

fn loaded(kernel: &Kernel<'_>) -> GuestMemory {
    load_into_memory(kernel).unwrap().1
}

fn message(image: &[u8]) -> String {
    load(image).unwrap_err().to_string()
}

#[test]
fn our_note_gives_the_64_bit_entry() {
    let image = elf(0x20_0000, &[0xf4; 16], 16, &[pvh(), ours()].concat());
    assert_eq!(load(&image).unwrap(), Entry::Long(0x20_0000));
}

#[test]
fn pvh_note_alone_gives_the_32_bit_entry() {
    let image = elf(0x20_0000, &[0xf4; 16], 16, &pvh());
    assert_eq!(load(&image).unwrap(), Entry::Pvh(0x20_0000));
}

#[test]
fn segment_is_copied_to_its_address() {
    let image = elf(0x20_0000, b"kernel", 6, &ours());
    let memory = loaded(&Kernel::from_bytes("k", &image));
    let mut copied = [0; 6];
    vm_memory::Bytes::read_slice(&memory, &mut copied, vm_memory::GuestAddress(0x20_0000)).unwrap();
    assert_eq!(&copied, b"kernel");
}

#[cfg(feature = "builtin")]
fn contents(memory: &GuestMemory) -> Vec<u8> {
    let mut bytes = vec![0; 8 << 20];
    vm_memory::Bytes::read_slice(memory, &mut bytes, vm_memory::GuestAddress(0)).unwrap();
    bytes
}

#[cfg(feature = "builtin")]
#[test]
fn built_in_kernel_is_laid_as_it_would_be_copied() {
    let copied = loaded(&Kernel::from_bytes("k", gnomon_images::KERNEL));
    assert!(contents(&loaded(&Kernel::built_in())) == contents(&copied));
}

#[cfg(feature = "builtin")]
#[test]
fn guest_writes_to_its_own_copy_of_the_built_in_kernel() {
    let before = gnomon_images::KERNEL.to_vec();
    let (first, second) = (loaded(&Kernel::built_in()), loaded(&Kernel::built_in()));
    let untouched = contents(&second);
    let zeros = vec![0; 8 << 20];
    vm_memory::Bytes::write_slice(&first, &zeros, vm_memory::GuestAddress(0)).unwrap();
    assert!(gnomon_images::KERNEL == before);
    assert!(contents(&second) == untouched);
}

#[test]
fn kernel_without_a_note_is_refused() {
    let image = elf(0x20_0000, &[0xf4; 16], 16, &[]);
    assert!(message(&image).contains("neither gnomon's note nor a PVH one"));
}

#[test]
fn text_is_no_kernel() {
    assert_eq!(
        message(b"#!/bin/sh\n"),
        "the kernel k is not usable: it is no ELF file"
    );
}

#[test]
fn every_truncation_is_an_error() {
    let image = elf(0x20_0000, &[0xf4; 16], 16, &ours());
    for len in 0..image.len() {
        assert!(load(&image[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn kernel_beyond_memory_is_refused() {
    let image = elf(0x20_0000, &[0xf4; 16], 64 << 20, &ours());
    assert!(message(&image).contains("does not fit"));
}

#[test]
fn segment_that_wraps_is_refused() {
    let image = elf(u64::MAX - 8, &[0xf4; 4], 16, &ours());
    assert!(message(&image).contains("passes the end of memory"));
}

#[test]
fn kernel_over_the_boot_data_is_refused() {
    let image = elf(0x8000, &[0xf4; 16], 16, &ours());
    assert!(message(&image).contains("below 1 MiB"));
}

#[test]
fn entry_outside_of_the_kernel_is_refused() {
    let mut image = elf(0x20_0000, &[0xf4; 16], 16, &ours());
    image[24..32].copy_from_slice(&0x30_0000_u64.to_le_bytes());
    assert!(message(&image).contains("entry point 0x300000"));
}

#[test]
fn other_machine_is_refused() {
    let mut image = elf(0x20_0000, &[0xf4; 16], 16, &ours());
    image[18] = 0xb7; // EM_AARCH64
    assert!(message(&image).contains("not for x86-64"));
}
