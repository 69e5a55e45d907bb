//! Reading a kernel: what kind it is, whether it fits, and its symbols for reports.

use std::io::Cursor;
use std::ops::Range;
use std::path::Path;

use gnomon_abi::note;
use gnomon_devices::GuestMemory;
use linux_loader::loader::{Elf, KernelLoader};
use object::LittleEndian;
use object::elf::{ELFCLASS64, EM_X86_64, FileHeader64, PF_X, PT_LOAD, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use vm_memory::{GuestAddress, GuestMemoryBackend};

use super::BootError;
use crate::memory::{HIGH_START, RAM_LOW_END};

/// Xen's note for a 32-bit PVH entry point.
const XEN_PHYS32_ENTRY: u32 = 18;

/// Size of a page of the host's.
const PAGE: u64 = 4096;

/// How a kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// In 64-bit mode at this physical address, as [`gnomon_abi::boot`] says.
    Long(u64),
    /// In 32-bit protected mode at this physical address, as Xen's PVH protocol says.
    Pvh(u32),
}

/// Where a kernel goes.
#[derive(Debug)]
pub struct Placement {
    /// How it is to be entered.
    pub entry: Entry,
    /// Where the file's contents go.
    filled: Vec<Range<u64>>,
}

/// A kernel image and its name, for messages.
#[derive(Clone, Debug)]
pub struct Kernel<'a> {
    name: String,
    bytes: std::borrow::Cow<'a, [u8]>,
    sensitive: Option<&'a [(u64, u8)]>,
}

impl<'a> Kernel<'a> {
    /// A kernel that is in memory already.
    pub fn from_bytes(name: &str, bytes: &'a [u8]) -> Self {
        Self {
            name: name.to_owned(),
            bytes: bytes.into(),
            sensitive: None,
        }
    }

    /// All its sensitive instructions (`gnomon_shadow::patch`) are known: the gpa of each, and its
    /// length.
    pub fn with_sensitive(mut self, sensitive: &'a [(u64, u8)]) -> Self {
        self.sensitive = Some(sensitive);
        self
    }

    /// Its sensitive instructions, if they are known.
    pub fn sensitive(&self) -> Option<&[(u64, u8)]> {
        self.sensitive
    }

    /// Read the kernel in the file `path`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path) -> Result<Self, BootError> {
        let name = path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => Ok(Self {
                name,
                bytes: bytes.into(),
                sensitive: None,
            }),
            Err(source) => Err(BootError::Read { path: name, source }),
        }
    }

    /// The image's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The file's name, or what stands for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Copy the kernel's segments to where `placement`, which is this kernel's, wants them in `mem`.
    ///
    /// # Errors
    /// The loader finds what [`place`](Self::place) did not.
    pub fn load(&self, placement: &Placement, mem: &GuestMemory) -> Result<(), BootError> {
        for range in &placement.filled {
            populate(mem, range.clone());
        }
        Elf::load(mem, None, &mut Cursor::new(self.bytes()), None)
            .map_err(|error| self.broken(error.to_string()))?;
        Ok(())
    }

    /// Check everything that loading into `mem` relies on, before a byte is copied.
    ///
    /// # Errors
    /// No ELF for x86-64, a broken one, one without an entry that gnomon knows, one that does not
    /// fit.
    pub fn place(&self, mem: &GuestMemory) -> Result<Placement, BootError> {
        let bytes = self.bytes();
        if !bytes.starts_with(&object::elf::ELFMAG) {
            return Err(self.broken("it is no ELF file".into()));
        }
        let truncated = || self.broken("the file is truncated".into());
        let header = FileHeader64::<LittleEndian>::parse(bytes).map_err(|_| truncated())?;
        if header.e_ident().class != ELFCLASS64 || header.e_machine.get(LittleEndian) != EM_X86_64 {
            return Err(self.broken("it is not for x86-64".into()));
        }
        let segments = header
            .program_headers(LittleEndian, bytes)
            .map_err(|_| truncated())?;
        let ram_end = mem.last_addr().0.saturating_add(1).min(RAM_LOW_END);
        let (mut ours, mut pvh) = (false, None);
        let (mut loaded, mut filled) = (Vec::new(), Vec::new());
        for segment in segments {
            match segment.p_type(LittleEndian) {
                PT_LOAD => {
                    let start = segment.p_paddr(LittleEndian);
                    let end = start
                        .checked_add(segment.p_memsz(LittleEndian))
                        .ok_or_else(|| self.broken("a segment passes the end of memory".into()))?;
                    if segment.data(LittleEndian, bytes).is_err() {
                        return Err(truncated());
                    }
                    if segment.p_filesz(LittleEndian) > segment.p_memsz(LittleEndian) {
                        return Err(
                            self.broken("a segment is larger in the file than in memory".into())
                        );
                    }
                    if start == end {
                        continue;
                    }
                    if start < HIGH_START {
                        let path = self.name.clone();
                        return Err(BootError::TooLow { path, start });
                    }
                    if end > ram_end {
                        return Err(BootError::TooLarge {
                            path: self.name.clone(),
                            end,
                            ram: ram_end,
                        });
                    }
                    loaded.push(start..end);
                    filled.push(start..start + segment.p_filesz(LittleEndian));
                }
                PT_NOTE => self.read_notes(segment, &mut ours, &mut pvh)?,
                _ => {}
            }
        }
        if loaded.is_empty() {
            return Err(self.broken("it has nothing to load".into()));
        }
        let entry = if ours {
            Entry::Long(header.e_entry.get(LittleEndian))
        } else if let Some(address) = pvh {
            Entry::Pvh(address)
        } else {
            return Err(self.broken(
                "it has neither gnomon's note nor a PVH one, so there is no way to enter it".into(),
            ));
        };
        let address = match entry {
            Entry::Long(address) => address,
            Entry::Pvh(address) => address.into(),
        };
        if !loaded.iter().any(|range| range.contains(&address)) {
            return Err(self.broken(format!(
                "its entry point {address:#x} lies outside of its segments"
            )));
        }
        Ok(Placement { entry, filled })
    }

    /// Where the kernel's code lies in guest memory: start and length of each executable segment.
    pub fn code(&self) -> Vec<(u64, u64)> {
        let bytes = self.bytes();
        let Ok(header) = FileHeader64::<LittleEndian>::parse(bytes) else {
            return Vec::new();
        };
        let segments = header
            .program_headers(LittleEndian, bytes)
            .unwrap_or_default();
        segments
            .iter()
            .filter(|s| s.p_type(LittleEndian) == PT_LOAD && s.p_flags(LittleEndian) & PF_X != 0)
            .map(|s| (s.p_paddr(LittleEndian), s.p_filesz(LittleEndian)))
            .collect()
    }

    fn read_notes(
        &self,
        segment: &object::elf::ProgramHeader64<LittleEndian>,
        ours: &mut bool,
        pvh: &mut Option<u32>,
    ) -> Result<(), BootError> {
        let broken = |_| self.broken("its notes are truncated".into());
        let Some(mut notes) = segment.notes(LittleEndian, self.bytes()).map_err(broken)? else {
            return Ok(());
        };
        while let Some(entry) = notes.next().map_err(broken)? {
            let name = entry.name();
            if name == &note::NAME[..note::NAME.len() - 1]
                && entry.n_type(LittleEndian) == note::TYPE_ENTRY64
            {
                *ours = true;
            }
            if name == b"Xen"
                && entry.n_type(LittleEndian) == XEN_PHYS32_ENTRY
                && let Some(low) = entry.desc().first_chunk::<4>()
            {
                *pvh = Some(u32::from_le_bytes(*low));
            }
        }
        Ok(())
    }

    fn broken(&self, reason: String) -> BootError {
        BootError::Format {
            path: self.name.clone(),
            reason,
        }
    }
}

/// Have the host give memory for `range`, which lies in `mem`, all at once: it would take a page
/// fault for each page otherwise. Only a hint.
fn populate(mem: &GuestMemory, range: Range<u64>) {
    let start = range.start & !(PAGE - 1);
    let len = range.end.next_multiple_of(PAGE).saturating_sub(start) as usize;
    if let Ok(slice) = mem.get_slice(GuestAddress(start), len) {
        // SAFETY: the slice is a mapping of ours; its contents stay as they are.
        unsafe {
            libc::madvise(
                slice.ptr_guard_mut().as_ptr().cast(),
                len,
                libc::MADV_POPULATE_WRITE,
            )
        };
    }
}

#[cfg(test)]
mod tests;
