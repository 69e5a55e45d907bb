//! The ELF note by which gnomon knows a kernel that it may enter in 64-bit mode.
//!
//! A kernel that keeps to [`crate::boot`] carries a note of this name and type, with an empty
//! descriptor. A kernel without it is entered through its `XEN_ELFNOTE_PHYS32_ENTRY` note in
//! 32-bit protected mode; one with neither is refused.
//!
//! ```text
//!  namesz = 7 │ descsz = 0 │ type = 1 │ "Gnomon\0" + 1 byte of padding
//! ```

/// The note's name, with the NUL that ELF counts in `namesz`.
pub const NAME: &[u8; 7] = b"Gnomon\0";

/// The note's type: this kernel is entered as [`crate::boot`] says.
pub const TYPE_ENTRY64: u32 = 1;

/// A whole note, for `#[link_section = ".note.gnomon"]` in a kernel.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(4))]
pub struct Note {
    namesz: u32,
    descsz: u32,
    kind: u32,
    name: [u8; 8],
}

impl Note {
    /// The note that says [`TYPE_ENTRY64`].
    pub const ENTRY64: Self = Self {
        namesz: NAME.len() as u32,
        descsz: 0,
        kind: TYPE_ENTRY64,
        name: *b"Gnomon\0\0",
    };
}

const _: () = assert!(core::mem::size_of::<Note>() == 20);
