//! Reading a kernel: what kind it is, whether it fits, and its symbols for reports.

use std::error::Error;
use std::io::{self, Cursor};
use std::ops::Range;
use std::path::Path;

use gnomon_abi::note;
use gnomon_devices::GuestMemory;
use linux_loader::loader::{Elf, KernelLoader};
use object::LittleEndian;
use object::elf::{ELFCLASS64, EM_X86_64, FileHeader64, PF_X, PT_LOAD, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use super::BootError;
use crate::memory::{HIGH_START, RAM_LOW_END};

/// Xen's note for a 32-bit PVH entry point.
const XEN_PHYS32_ENTRY: u32 = 18;

/// Size of a page of the host's.
#[cfg(feature = "builtin")]
const PAGE: usize = 4096;

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
    /// What of the file goes where.
    pieces: Vec<Piece>,
}

/// What a segment takes from the file.
#[derive(Debug)]
struct Piece {
    /// Its bytes in the file.
    file: Range<usize>,
    /// Where the first of them goes.
    gpa: u64,
}

/// A kernel image and its name, for messages.
#[derive(Clone, Debug)]
pub struct Kernel<'a> {
    name: String,
    bytes: std::borrow::Cow<'a, [u8]>,
    sensitive: Option<&'a [(u64, u8)]>,
    /// The bytes are those of the program's own file.
    built_in: bool,
}

#[cfg(feature = "builtin")]
impl Kernel<'static> {
    /// The guest's kernel.
    pub fn built_in() -> Self {
        Self {
            name: "built in".to_owned(),
            bytes: gnomon_images::KERNEL.into(),
            sensitive: Some(gnomon_images::KERNEL_SENSITIVE),
            built_in: true,
        }
    }
}

/// All of the file `path`, which must have an end: a device may have none, and a FIFO waits.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::other(
            "it is no regular file; name a kernel in ELF",
        ));
    }
    std::fs::read(path)
}

impl<'a> Kernel<'a> {
    /// A kernel that is in memory already.
    pub fn from_bytes(name: &str, bytes: &'a [u8]) -> Self {
        Self {
            name: name.to_owned(),
            bytes: bytes.into(),
            sensitive: None,
            built_in: false,
        }
    }

    /// All its sensitive instructions (`gnomon_shadow::patch`), if they are known: the gpa of each,
    /// and its length.
    pub fn sensitive(&self) -> Option<&[(u64, u8)]> {
        self.sensitive
    }

    /// Read the kernel in the file `path`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path) -> Result<Self, BootError> {
        let name = path.display().to_string();
        match read_file(path) {
            Ok(bytes) => Ok(Self {
                name,
                bytes: bytes.into(),
                sensitive: None,
                built_in: false,
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

    /// Put the kernel's segments where `placement`, which is this kernel's, wants them in `mem`.
    ///
    /// # Errors
    /// The loader finds what [`place`](Self::place) did not, or the host has no memory.
    pub fn load(&self, placement: &Placement, mem: &GuestMemory) -> Result<(), BootError> {
        let broken = |error: Box<dyn Error>| self.broken(error.to_string());
        if self.built_in && self.lay(placement, mem).map_err(broken)? {
            return Ok(());
        }
        Elf::load(mem, None, &mut Cursor::new(self.bytes()), None)
            .map_err(|error| self.broken(error.to_string()))?;
        Ok(())
    }

    /// Map the built-in kernel's pages into `mem`: a page is copied when it is first written. False
    /// if the host cannot.
    #[cfg(feature = "builtin")]
    fn lay(&self, placement: &Placement, mem: &GuestMemory) -> Result<bool, Box<dyn Error>> {
        for Piece { file, gpa } in &placement.pieces {
            // Beyond the last whole page the file goes on with something else.
            let whole = file.len() & !(PAGE - 1);
            if whole > 0 {
                let slice = mem.get_slice(GuestAddress(*gpa), whole)?;
                // SAFETY: the range is guest memory, which is a private mapping and is accessed
                // only as volatile memory; no guest runs in it yet.
                let laid = unsafe {
                    gnomon_images::lay_kernel(
                        file.start..file.start + whole,
                        slice.ptr_guard_mut().as_ptr(),
                    )
                };
                if !laid? {
                    return Ok(false);
                }
            }
            mem.write_slice(
                &self.bytes()[file.start + whole..file.end],
                GuestAddress(*gpa + whole as u64),
            )?;
        }
        Ok(true)
    }

    #[cfg(not(feature = "builtin"))]
    fn lay(&self, _: &Placement, _: &GuestMemory) -> Result<bool, Box<dyn Error>> {
        Ok(false)
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
        let (mut loaded, mut pieces) = (Vec::new(), Vec::new());
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
                    let (offset, len) = segment.file_range(LittleEndian);
                    pieces.push(Piece {
                        file: offset as usize..(offset + len) as usize,
                        gpa: start,
                    });
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
        Ok(Placement { entry, pieces })
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

#[cfg(test)]
mod tests;
