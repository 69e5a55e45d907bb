//! The first stack of a program: arguments, environment and auxiliary vector (System V ABI, AMD64,
//! section 3.4; `getauxval(3)`).
//!
//! ```text
//! high   0 (8 bytes)  name of the file  environment strings  argument strings
//!        platform string  16 random bytes
//!        auxiliary vector, AT_NULL last
//!        0  pointers to the environment
//!        0  pointers to the arguments
//! rsp ▶  argc                                                   (16-byte aligned)
//! ```

use alloc::vec::Vec;

use super::elf::{self, Loaded};
use super::{Creds, signal};
use crate::arch::cpu;
use crate::drivers::random;
use crate::errno::{Errno, KResult};
use crate::mm;
use crate::mm::layout::PAGE;
use crate::mm::{AddressSpace, Backing, Fixed, MapKind, Prot, user};
use crate::time;

/// Longest single string (`MAX_ARG_STRLEN`).
pub const MAX_STRING: usize = 32 * PAGE;
/// Least room for strings, whatever the stack's limit.
const MIN_TOTAL: usize = 32 * PAGE;
/// Most room for strings.
const MAX_TOTAL: usize = 6 << 20;
/// Stack that is mapped from the start; more comes by faults.
const INITIAL: usize = 32 * PAGE;

const AT_NULL: usize = 0;
const AT_PHDR: usize = 3;
const AT_PHENT: usize = 4;
const AT_PHNUM: usize = 5;
const AT_PAGESZ: usize = 6;
const AT_BASE: usize = 7;
const AT_FLAGS: usize = 8;
const AT_ENTRY: usize = 9;
const AT_UID: usize = 11;
const AT_EUID: usize = 12;
const AT_GID: usize = 13;
const AT_EGID: usize = 14;
const AT_PLATFORM: usize = 15;
const AT_HWCAP: usize = 16;
const AT_CLKTCK: usize = 17;
const AT_SECURE: usize = 23;
const AT_RANDOM: usize = 25;
const AT_HWCAP2: usize = 26;
const AT_EXECFN: usize = 31;
const AT_MINSIGSTKSZ: usize = 51;

/// Strings, one after the other, each with its NUL.
#[derive(Default)]
pub struct Strings {
    bytes: Vec<u8>,
    count: usize,
}

impl Strings {
    /// No strings.
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            count: 0,
        }
    }

    /// Number of strings.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes with all NULs.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Append a string.
    ///
    /// # Errors
    /// ENOMEM: memory is short.
    pub fn push(&mut self, string: &[u8]) -> KResult<()> {
        self.bytes
            .try_reserve(string.len() + 1)
            .map_err(|_| Errno::ENOMEM)?;
        self.bytes.extend_from_slice(string);
        self.bytes.push(0);
        self.count += 1;
        Ok(())
    }

    /// The strings of a NULL-ended array of pointers in user memory; a null array is empty. `used`
    /// counts bytes and pointers of all arrays together.
    ///
    /// # Errors
    /// E2BIG: too much. EFAULT: a bad pointer.
    pub fn from_user(array: usize, used: &mut usize, limit: usize) -> KResult<Self> {
        let mut strings = Self::new();
        if array == 0 {
            return Ok(strings);
        }
        let mut at = array;
        loop {
            let pointer: usize = user::read_user(at)?;
            if pointer == 0 {
                return Ok(strings);
            }
            let string = user::read_user_string(pointer, MAX_STRING).map_err(|e| match e {
                Errno::ENAMETOOLONG => Errno::E2BIG,
                other => other,
            })?;
            *used += string.len() + 1 + size_of::<usize>();
            if *used > limit {
                return Err(Errno::E2BIG);
            }
            mm::require_reserve()?;
            strings.push(&string)?;
            at = at.checked_add(size_of::<usize>()).ok_or(Errno::EFAULT)?;
        }
    }

    /// Put strings in the place of the first one (a script's interpreter and its argument).
    ///
    /// # Errors
    /// ENOMEM: memory is short.
    pub fn replace_first(&mut self, with: &[&[u8]]) -> KResult<()> {
        let rest = self
            .bytes
            .iter()
            .position(|&b| b == 0)
            .map_or(self.bytes.len(), |nul| nul + 1);
        let mut new = Self::new();
        for string in with {
            new.push(string)?;
        }
        new.bytes
            .try_reserve(self.bytes.len() - rest)
            .map_err(|_| Errno::ENOMEM)?;
        new.bytes.extend_from_slice(&self.bytes[rest..]);
        new.count += self.count.saturating_sub(1);
        *self = new;
        Ok(())
    }

    /// Append the address of each string to `words`; the first one lies at `base`.
    fn addresses(&self, base: usize, words: &mut Vec<usize>) {
        let mut at = base;
        for string in self.bytes.split_inclusive(|&b| b == 0) {
            words.push(at);
            at += string.len();
        }
    }
}

/// Bytes of arguments and environment that a program may get, by its limit of the stack.
pub fn max_strings(stack_limit: u64) -> usize {
    usize::try_from(stack_limit / 4)
        .unwrap_or(MAX_TOTAL)
        .clamp(MIN_TOTAL, MAX_TOTAL)
}

/// What the auxiliary vector tells.
pub struct Program<'a> {
    /// The program.
    pub loaded: &'a Loaded,
    /// Load address of its interpreter; 0: none.
    pub interpreter_base: usize,
    /// The name that was executed.
    pub name: &'a [u8],
    /// Whose it is now.
    pub creds: &'a Creds,
    /// Arguments.
    pub args: &'a Strings,
    /// Environment.
    pub env: &'a Strings,
    /// The stack is to be executable.
    pub executable: bool,
}

/// Addresses of the arguments and the environment on the stack, for `/proc/[pid]/cmdline`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImageRange {
    /// First byte of `argv[0]`.
    pub args: usize,
    /// One past the last argument's NUL.
    pub args_end: usize,
    /// First byte of the environment.
    pub env: usize,
    /// One past the last variable's NUL.
    pub env_end: usize,
    /// Stack pointer at the start of the program.
    pub stack: usize,
}

/// Map the stack of a program, before the address space is in use.
///
/// # Errors
/// ENOMEM: memory is short.
pub fn map(space: &AddressSpace, program: &Program<'_>) -> KResult<()> {
    let strings = program.args.len() + program.env.len() + program.name.len();
    let words = program.args.count() + program.env.count() + 64;
    let size = (strings + words * size_of::<usize>() + INITIAL).next_multiple_of(PAGE);
    let mut prot = Prot::READ.with(Prot::WRITE);
    if program.executable {
        prot = prot.with(Prot::EXEC);
    }
    let kind = MapKind {
        shared: false,
        backing: Backing::Stack,
    };
    space.map(Some(space.stack_top() - size), Fixed::Yes, size, prot, kind)?;
    Ok(())
}

/// Fill the stack; the address space is in use. Gives the stack pointer and where the strings are.
///
/// # Errors
/// EFAULT, ENOMEM: memory is short.
pub fn build(space: &AddressSpace, program: &Program<'_>) -> KResult<ImageRange> {
    const PLATFORM: &[u8] = b"x86_64\0";
    let mut at = space.stack_top() - size_of::<usize>();
    let mut put = |bytes: &[u8]| -> KResult<usize> {
        at -= bytes.len();
        user::copy_to_user(at, bytes)?;
        Ok(at)
    };
    put(&[0])?;
    let name = put(program.name)?;
    let env = put(&program.env.bytes)?;
    let args = put(&program.args.bytes)?;
    let platform = put(PLATFORM)?;
    let mut seed = [0; 16];
    random::fill(&mut seed);
    let seed = put(&seed)?;

    let loaded = program.loaded;
    let creds = program.creds;
    let secure = creds.uid != creds.euid || creds.gid != creds.egid;
    let vector = [
        (AT_HWCAP, cpu::cpuid(1, 0).edx as usize),
        (AT_PAGESZ, PAGE),
        (AT_CLKTCK, time::TICKS_PER_SECOND as usize),
        (AT_PHDR, loaded.phdr),
        (AT_PHENT, elf::PHENT),
        (AT_PHNUM, loaded.phnum),
        (AT_BASE, program.interpreter_base),
        (AT_FLAGS, 0),
        (AT_ENTRY, loaded.entry),
        (AT_UID, creds.uid as usize),
        (AT_EUID, creds.euid as usize),
        (AT_GID, creds.gid as usize),
        (AT_EGID, creds.egid as usize),
        (AT_SECURE, usize::from(secure)),
        (AT_RANDOM, seed),
        (AT_HWCAP2, 0),
        (AT_EXECFN, name),
        (AT_PLATFORM, platform),
        (AT_MINSIGSTKSZ, signal::max_frame_size()),
        (AT_NULL, 0),
    ];
    let count = 1 + program.args.count() + 1 + program.env.count() + 1 + vector.len() * 2;
    let mut words = Vec::new();
    words.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    words.push(program.args.count());
    program.args.addresses(args, &mut words);
    words.push(0);
    program.env.addresses(env, &mut words);
    words.push(0);
    for (kind, value) in vector {
        words.extend([kind, value]);
    }
    let stack = (seed - words.len() * size_of::<usize>()) & !15;
    // SAFETY: words are plain bytes, and the slice covers exactly them.
    let bytes = unsafe {
        core::slice::from_raw_parts(
            words.as_ptr().cast::<u8>(),
            words.len() * size_of::<usize>(),
        )
    };
    user::copy_to_user(stack, bytes)?;
    Ok(ImageRange {
        args,
        args_end: args + program.args.len(),
        env,
        env_end: env + program.env.len(),
        stack,
    })
}
