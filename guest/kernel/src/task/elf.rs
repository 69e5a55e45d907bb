//! ELF64 executables (`elf(5)`): what is in the headers, checked, and the segments mapped.
//!
//! Nothing in a file is believed: offsets may lie past its end, sizes may wrap, segments may overlap
//! or leave the program's half. All of that is ENOEXEC.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::errno::{Errno, KResult};
use crate::fs::{Inode, ReadBuf};
use crate::mm::layout::{PAGE, USER_END, USER_START};
use crate::mm::{AddressSpace, Backing, Fixed, MapKind, Prot, user};

/// Bytes of the ELF header.
pub const HEADER: usize = 64;
/// Bytes of a program header.
pub const PHENT: usize = 56;
/// Program headers that a file may have: one page of them, as in Linux.
const MAX_PHNUM: usize = PAGE / PHENT;
/// Longest name of an interpreter.
const MAX_INTERP: usize = 4096;

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_STACK: u32 = 0x6474_e551;

const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// A loadable segment.
#[derive(Clone, Copy, Debug)]
struct Segment {
    flags: u32,
    offset: usize,
    vaddr: usize,
    file_size: usize,
    mem_size: usize,
    align: usize,
}

/// The headers of an executable.
pub struct Elf {
    inode: Arc<dyn Inode>,
    fixed: bool,
    entry: usize,
    phoff: usize,
    /// Address of the program headers if a PT_PHDR names it.
    phdr: Option<usize>,
    phnum: usize,
    segments: Vec<Segment>,
    /// Name of the interpreter, if the program needs one.
    pub interpreter: Option<Vec<u8>>,
    /// The program wants an executable stack.
    pub executable_stack: bool,
}

/// Where a program has been put.
pub struct Loaded {
    /// Added to the file's addresses.
    pub bias: usize,
    /// First instruction.
    pub entry: usize,
    /// Program headers in memory (`AT_PHDR`).
    pub phdr: usize,
    /// Their number.
    pub phnum: usize,
    /// One past the last byte in memory.
    pub end: usize,
    /// Ranges to be filled with zeros once the address space is in use: from the end of a
    /// segment's file part to the end of its page.
    zero: Vec<(usize, usize)>,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> usize {
    u32_at(bytes, at) as usize | (u32_at(bytes, at + 4) as usize) << 32
}

/// Fill `buf` from `offset`; ENOEXEC if the file is too short.
fn read_exact(inode: &Arc<dyn Inode>, offset: usize, buf: &mut [u8]) -> KResult<()> {
    let mut done = 0;
    while done < buf.len() {
        let at = offset.checked_add(done).ok_or(Errno::ENOEXEC)?;
        let n = inode.read_at(at as u64, &mut ReadBuf::kernel(&mut buf[done..]))?;
        if n == 0 {
            return Err(Errno::ENOEXEC);
        }
        done += n;
    }
    Ok(())
}

impl Elf {
    /// Read and check the headers. `start` is the file's first bytes.
    ///
    /// # Errors
    /// ENOEXEC: no executable for this machine, or its headers make no sense.
    pub fn parse(inode: &Arc<dyn Inode>, start: &[u8]) -> KResult<Self> {
        // Class 64, little endian, version 1.
        if start.len() < HEADER
            || start[..4] != *b"\x7fELF"
            || start[4] != 2
            || start[5] != 1
            || start[6] != 1
        {
            return Err(Errno::ENOEXEC);
        }
        let kind = u16_at(start, 16);
        let phnum = usize::from(u16_at(start, 56));
        let phoff = u64_at(start, 32);
        if (kind != ET_EXEC && kind != ET_DYN)
            || u16_at(start, 18) != EM_X86_64
            || usize::from(u16_at(start, 54)) != PHENT
            || phnum == 0
            || phnum > MAX_PHNUM
        {
            return Err(Errno::ENOEXEC);
        }
        let mut elf = Self {
            inode: inode.clone(),
            fixed: kind == ET_EXEC,
            entry: u64_at(start, 24),
            phoff,
            phdr: None,
            phnum,
            segments: Vec::new(),
            interpreter: None,
            executable_stack: false,
        };
        let mut headers = [0; PAGE];
        let headers = &mut headers[..phnum * PHENT];
        read_exact(inode, phoff, headers)?;
        for header in headers.chunks_exact(PHENT) {
            elf.program_header(header)?;
        }
        elf.check_segments()?;
        Ok(elf)
    }

    fn program_header(&mut self, header: &[u8]) -> KResult<()> {
        let segment = Segment {
            flags: u32_at(header, 4),
            offset: u64_at(header, 8),
            vaddr: u64_at(header, 16),
            file_size: u64_at(header, 32),
            mem_size: u64_at(header, 40),
            align: u64_at(header, 48),
        };
        match u32_at(header, 0) {
            PT_LOAD if segment.mem_size != 0 => self.segments.push(segment),
            PT_PHDR => self.phdr = Some(segment.vaddr),
            PT_GNU_STACK => self.executable_stack = segment.flags & PF_X != 0,
            PT_INTERP => {
                if segment.file_size < 2
                    || segment.file_size > MAX_INTERP
                    || self.interpreter.is_some()
                {
                    return Err(Errno::ENOEXEC);
                }
                let mut name = alloc::vec![0; segment.file_size];
                read_exact(&self.inode, segment.offset, &mut name)?;
                if name.pop() != Some(0) || name.contains(&0) {
                    return Err(Errno::ENOEXEC);
                }
                self.interpreter = Some(name);
            }
            _ => {}
        }
        Ok(())
    }

    /// Segments ascend, do not overlap, stay in the program's half, and their file parts are in
    /// the file.
    fn check_segments(&self) -> KResult<()> {
        let size = usize::try_from(self.inode.size()).unwrap_or(usize::MAX);
        let mut last_end = 0;
        for s in &self.segments {
            let end = s.vaddr.checked_add(s.mem_size).ok_or(Errno::ENOEXEC)?;
            let file_end = s.offset.checked_add(s.file_size).ok_or(Errno::ENOEXEC)?;
            if s.file_size > s.mem_size
                || end > USER_END
                || file_end > size
                || s.vaddr % PAGE != s.offset % PAGE
                || s.vaddr & !(PAGE - 1) < last_end
                || (self.fixed && s.vaddr < USER_START)
                || (s.align > 1 && !s.align.is_power_of_two())
            {
                return Err(Errno::ENOEXEC);
            }
            last_end = end.next_multiple_of(PAGE);
        }
        if self.segments.is_empty() {
            return Err(Errno::ENOEXEC);
        }
        Ok(())
    }

    /// Map the segments into `space`: where they say, or at `base` if the program can be anywhere.
    ///
    /// # Errors
    /// ENOEXEC: they do not fit. ENOMEM: memory, or a limit.
    pub fn load(&self, space: &AddressSpace, base: usize) -> KResult<Loaded> {
        let (Some(first), Some(last)) = (self.segments.first(), self.segments.last()) else {
            return Err(Errno::ENOEXEC);
        };
        let lowest = first.vaddr & !(PAGE - 1);
        let end = last.vaddr + last.mem_size;
        let bias = if self.fixed {
            0
        } else {
            let align = self
                .segments
                .iter()
                .map(|s| s.align)
                .max()
                .unwrap_or(PAGE)
                .clamp(PAGE, 1 << 30);
            (base & !(align - 1)).wrapping_sub(lowest & !(align - 1))
        };
        let top = bias.wrapping_add(end);
        if top > USER_END || top < bias.wrapping_add(lowest) {
            return Err(Errno::ENOEXEC);
        }
        let mut zero = Vec::new();
        for s in &self.segments {
            self.map(space, s, bias, &mut zero)?;
        }
        let phdr = match self.phdr {
            Some(vaddr) => bias.wrapping_add(vaddr),
            None => self
                .segments
                .iter()
                .find(|s| s.offset <= self.phoff && self.phoff < s.offset + s.file_size)
                .map_or(0, |s| bias.wrapping_add(self.phoff - s.offset + s.vaddr)),
        };
        Ok(Loaded {
            bias,
            entry: bias.wrapping_add(self.entry),
            phdr,
            phnum: self.phnum,
            end: top,
            zero,
        })
    }

    fn map(
        &self,
        space: &AddressSpace,
        s: &Segment,
        bias: usize,
        zero: &mut Vec<(usize, usize)>,
    ) -> KResult<()> {
        let mut prot = Prot::NONE;
        for (flag, bit) in [(PF_R, Prot::READ), (PF_W, Prot::WRITE), (PF_X, Prot::EXEC)] {
            if s.flags & flag != 0 {
                prot = prot.with(bit);
            }
        }
        let start = bias.wrapping_add(s.vaddr);
        let page = start & !(PAGE - 1);
        let file_end = start + s.file_size;
        let end = (start + s.mem_size).next_multiple_of(PAGE);
        let mut anonymous = page;
        if s.file_size > 0 {
            let backing = Backing::File {
                inode: self.inode.clone(),
                offset: (s.offset & !(PAGE - 1)) as u64,
                writable: false,
            };
            space.map(
                Some(page),
                Fixed::NoReplace,
                file_end - page,
                prot,
                MapKind {
                    shared: false,
                    backing,
                },
            )?;
            anonymous = file_end.next_multiple_of(PAGE);
            // The rest of the page belongs to the file; in memory it is zero. A segment that
            // cannot be written is left as it is, as in Linux.
            if s.mem_size > s.file_size && file_end < anonymous && prot.contains(Prot::WRITE) {
                zero.push((file_end, anonymous - file_end));
            }
        }
        if end > anonymous {
            let kind = MapKind {
                shared: false,
                backing: Backing::Anonymous,
            };
            space.map(
                Some(anonymous),
                Fixed::NoReplace,
                end - anonymous,
                prot,
                kind,
            )?;
        }
        Ok(())
    }
}

impl Loaded {
    /// Fill what is neither in the file nor a page of its own. The address space is in use.
    ///
    /// # Errors
    /// EFAULT: memory is short.
    pub fn clear_tails(&self) -> KResult<()> {
        for &(at, len) in &self.zero {
            user::zero_user(at, len)?;
        }
        Ok(())
    }
}
