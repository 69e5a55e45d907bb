//! What the loader tells the kernel: PVH's `hvm_start_info`, and gnomon's boot facts.
//!
//! All of it lies below 1 MiB, in memory that is never given to anybody.

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use gnomon_abi::boot::{BootFacts, MAGIC};

use crate::mm;

/// The boot facts, in the direct map; null: none.
static FACTS: AtomicPtr<BootFacts> = AtomicPtr::new(core::ptr::null_mut());
/// gpa of `hvm_start_info`.
static START_INFO: AtomicU64 = AtomicU64::new(0);

/// `hvm_start_info`, version 1 (Xen's public/arch-x86/hvm/start_info.h).
#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

/// `"xEn3"`, with the highest bit of the E set.
const START_INFO_MAGIC: u32 = 0x336e_c578;

/// One entry of the memory map.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct MemoryMapEntry {
    /// First gpa.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// 1: usable RAM.
    pub kind: u32,
    reserved: u32,
}

/// Takes note of where the loader's structures are.
///
/// # Safety
/// `start_info` is the gpa of a loader's structure, `facts` that of [`BootFacts`] or 0, and the direct
/// map can be used.
pub(super) unsafe fn init(start_info: u64, facts: u64) {
    START_INFO.store(start_info, Ordering::Relaxed);
    if facts != 0 {
        let facts = mm::phys_to_virt(facts).cast::<BootFacts>();
        // SAFETY: gnomon put it there.
        if unsafe { (*facts).magic } == MAGIC {
            FACTS.store(facts, Ordering::Relaxed);
            crate::log::use_gnomon_port();
        }
    }
    // SAFETY: the loader's structure.
    if unsafe { (*mm::phys_to_virt(start_info).cast::<StartInfo>()).magic } != START_INFO_MAGIC {
        panic!("the loader passed no hvm_start_info: use a PVH loader or gnomon");
    }
}

/// What gnomon told the kernel; None under another loader.
pub fn facts() -> Option<&'static BootFacts> {
    // SAFETY: set once, to memory below 1 MiB that is never given to anybody.
    unsafe { FACTS.load(Ordering::Relaxed).as_ref() }
}

/// Whether a quirk (`gnomon_abi::boot`) is set.
pub fn has_quirk(quirk: u64) -> bool {
    facts().is_some_and(|f| f.quirks & quirk != 0)
}

fn start_info() -> &'static StartInfo {
    // SAFETY: `init` checked the magic; the memory is below 1 MiB and never reused.
    unsafe { &*mm::phys_to_virt(START_INFO.load(Ordering::Relaxed)).cast::<StartInfo>() }
}

/// The kernel's command line.
pub fn command_line() -> &'static str {
    let gpa = start_info().command_line;
    if gpa == 0 {
        return "";
    }
    // SAFETY: the loader ended it with NUL; the memory is never reused.
    let text = unsafe { core::ffi::CStr::from_ptr(mm::phys_to_virt(gpa).cast()) };
    text.to_str().unwrap_or("")
}

/// The memory map.
pub fn memory_map() -> &'static [MemoryMapEntry] {
    let info = start_info();
    // SAFETY: the loader's array, never reused.
    unsafe {
        core::slice::from_raw_parts(
            mm::phys_to_virt(info.memory_map).cast(),
            info.memory_map_entries as usize,
        )
    }
}

/// Strings at a gpa, each ended by NUL.
fn strings(gpa: u64, len: u64) -> impl Iterator<Item = &'static [u8]> {
    let bytes: &'static [u8] = if len == 0 {
        &[]
    } else {
        // SAFETY: gnomon's boot structures, below 1 MiB, never reused.
        unsafe { core::slice::from_raw_parts(mm::phys_to_virt(gpa), len as usize) }
    };
    bytes
        .split_inclusive(|&b| b == 0)
        .map(|s| s.strip_suffix(&[0]).unwrap_or(s))
}

/// init's arguments; empty under a loader that gives none.
pub fn init_args() -> impl Iterator<Item = &'static [u8]> {
    facts()
        .map(|f| strings(f.init_args, f.init_args_len))
        .into_iter()
        .flatten()
}

/// init's environment.
pub fn init_env() -> impl Iterator<Item = &'static [u8]> {
    facts()
        .map(|f| strings(f.init_env, f.init_env_len))
        .into_iter()
        .flatten()
}
