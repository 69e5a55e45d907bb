//! What sits in ring 0 of the virtual machine: descriptor tables, stubs, gadgets, table pages.
//!
//! A memory slot of its own, far above the guest's RAM, seen only through one PML4 slot of the
//! true tables, supervisor-only but for the system-call gate:
//!
//! ```text
//!  page  0..2   code: a stub a vector, the ways back
//!        2      IDT
//!        3      GDT, TSS
//!        4      stack for NMI, double fault, machine check
//!        5      the frame: stack for every trap from ring 3
//!        6      the system-call gate (ring 3 may execute it)
//!        7..10  PDPT, PD, PT of the window itself
//!        16..32 the list that a slow way back works through
//!        512..  true table pages
//! ```
//!
//! A trap is one instruction, `out VECTOR, al`: it leaves the virtual machine with the general
//! registers in KVM's shared page and the frame in page 5. The way back is `iretq`, or a chain of
//! gadgets, each ended by `ret`, that RSP leads through (see [`super::resume`]).

use std::ptr;

use gnomon_shadow::deliver::has_error_code;
use gnomon_shadow::tables::memory::TablePages;
use kvm_bindings::{kvm_segment, kvm_sregs, kvm_userspace_memory_region};
use kvm_ioctls::VmFd;

use crate::host::HostError;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// PML4 slot of the window. Known to work on hosts that keep some slots for themselves.
pub const SLOT: usize = 384;
/// Linear address of the window.
const WINDOW: u64 = 0xffff_c000_0000_0000;
/// Guest-physical address of the memory slot: above any RAM, below 2^39.
pub const GPA: u64 = 0x40_0000_0000;
/// KVM's number for the memory slot.
const MEMORY_SLOT: u32 = 16;

/// Number of true table pages.
pub const TABLES: u32 = 4096;
/// Page number of the first one.
const FIRST_TABLE: u64 = 512;
/// Guest-physical address of the first one.
pub const TABLES_GPA: u64 = GPA + FIRST_TABLE * PAGE;
/// Size of the memory slot.
const SIZE: usize = (FIRST_TABLE as usize + TABLES as usize) * PAGE as usize;

/// Size of its mapping here: a page that cannot be accessed lies before it and behind it.
const RESERVED: usize = SIZE + 2 * PAGE as usize;

const CODE: u64 = 0;
const IDT: u64 = 2 * PAGE;
const GDT: u64 = 3 * PAGE;
const TSS: u64 = GDT + 0x200;
const IST_TOP: u64 = 5 * PAGE;
const FRAME_TOP: u64 = 6 * PAGE;
const GATE_PAGE: u64 = 6 * PAGE;
const PDPT: u64 = 7 * PAGE;
const PD: u64 = 8 * PAGE;
const PT: u64 = 9 * PAGE;
const LIST: u64 = 16 * PAGE;

/// Words that the list holds.
pub const LIST_WORDS: usize = 16 * 512;

/// Linear address of the list.
pub const LIST_VA: u64 = WINDOW + LIST;
/// Linear address of the frame (RIP, CS, RFLAGS, RSP, SS) that a trap from ring 3 leaves.
pub const FRAME_VA: u64 = WINDOW + FRAME_TOP - 40;
/// Linear address of the system-call gate, the true LSTAR.
pub const GATE_VA: u64 = WINDOW + GATE_PAGE;

/// The port that the gate writes.
pub const PORT_GATE: u16 = 0x7f;
/// The port of a chain that is to go on with another list.
pub const PORT_MORE: u16 = 0x7e;
/// The vector, and the port, with which the monitor interrupts ring 3.
pub const KICK: u8 = 0x20;

/// The true selectors. High ones: a guest's own lie below, and loading one of those traps.
pub mod selector {
    /// Ring 0 code; SYSCALL's too.
    pub const CODE: u16 = 0x80;
    /// Ring 0 stack: CODE + 8, as SYSCALL wants it.
    pub const STACK: u16 = 0x88;
    /// Ring 3 code.
    pub const USER_CODE: u16 = 0x90 | 3;
    /// Ring 3 stack.
    pub const USER_STACK: u16 = 0x98 | 3;
    /// The task state segment, two entries.
    pub const TSS: u16 = 0xa0;
}

const GDT_LIMIT: u16 = 0xaf;
const TSS_LIMIT: u32 = 0x67;

/// The ways back, as offsets into the code pages.
pub mod gadget {
    /// `swapgs; iretq`
    pub const FAST_SWAP: u64 = 0x240;
    /// `iretq`
    pub const FAST: u64 = FAST_SWAP + 3;
    /// `swapgs; mov cr3, rax; pop rax; iretq`
    pub const CR3_SWAP: u64 = 0x250;
    /// `mov cr3, rax; pop rax; iretq`
    pub const CR3: u64 = CR3_SWAP + 3;
    /// `swapgs; ret`
    pub const CHAIN_SWAP: u64 = 0x260;
    /// `pop rax; mov cr3, rax; ret`
    pub const CHAIN_CR3: u64 = 0x268;
    /// `pop rdi; invlpg [rdi]; ret`
    pub const CHAIN_INVLPG: u64 = 0x270;
    /// `pop rax; mov cr0, rax; ret`
    pub const CHAIN_CR0: u64 = 0x278;
    /// `pop rax; mov cr4, rax; ret`
    pub const CHAIN_CR4: u64 = 0x280;
    /// `pop rcx; pop rax; pop rdx; wrmsr; ret`
    pub const CHAIN_WRMSR: u64 = 0x288;
    /// `pop rdi; pop rcx; pop rax; rep stosq; ret`
    pub const CHAIN_CLEAR: u64 = 0x290;
    /// `pop rdx; pop rcx; pop rax; pop rdi; iretq`
    pub const CHAIN_END: u64 = 0x298;
    /// `out PORT_MORE, al`
    pub const CHAIN_MORE: u64 = 0x2a0;
    /// `pop rdi; pop [rdi]` as often as [`WRITES`] says, then `ret`.
    pub const CHAIN_WRITES: u64 = 0x400;
    /// Writes that one entry into [`CHAIN_WRITES`] can make.
    pub const WRITES: usize = 512;
    /// Bytes of one of them.
    pub const WRITE_LEN: u64 = 3;
}

const CODE_BYTES: [(u64, &[u8]); 11] = [
    (gadget::FAST_SWAP, &[0x0f, 0x01, 0xf8, 0x48, 0xcf]),
    (
        gadget::CR3_SWAP,
        &[0x0f, 0x01, 0xf8, 0x0f, 0x22, 0xd8, 0x58, 0x48, 0xcf],
    ),
    (gadget::CHAIN_SWAP, &[0x0f, 0x01, 0xf8, 0xc3]),
    (gadget::CHAIN_CR3, &[0x58, 0x0f, 0x22, 0xd8, 0xc3]),
    (gadget::CHAIN_INVLPG, &[0x5f, 0x0f, 0x01, 0x3f, 0xc3]),
    (gadget::CHAIN_CR0, &[0x58, 0x0f, 0x22, 0xc0, 0xc3]),
    (gadget::CHAIN_CR4, &[0x58, 0x0f, 0x22, 0xe0, 0xc3]),
    (gadget::CHAIN_WRMSR, &[0x59, 0x58, 0x5a, 0x0f, 0x30, 0xc3]),
    (
        gadget::CHAIN_CLEAR,
        &[0x5f, 0x59, 0x58, 0xf3, 0x48, 0xab, 0xc3],
    ),
    (gadget::CHAIN_END, &[0x5a, 0x59, 0x58, 0x5f, 0x48, 0xcf]),
    (gadget::CHAIN_MORE, &[0xe6, PORT_MORE as u8]),
];

/// Offset of the stub of vectors from 32.
const INTERRUPT_STUB: u64 = 0x200;

const P: u64 = 1;
const W: u64 = 1 << 1;
const U: u64 = 1 << 2;
const AD: u64 = 1 << 5 | 1 << 6;
const PS: u64 = 1 << 7;
const NX: u64 = 1 << 63;

/// The monitor's memory, mapped here and known to KVM.
pub struct Monitor {
    host: *mut u8,
}

// SAFETY: the mapping belongs to this value alone; accesses are volatile.
unsafe impl Send for Monitor {}

/// The part of the monitor's memory that holds true tables.
pub struct Tables {
    host: *mut u64,
}

// SAFETY: as for `Monitor`, which outlives it: both are fields of one structure.
unsafe impl Send for Tables {}

impl Tables {
    /// Where an entry lies.
    fn at(&self, page: u32, index: usize) -> *mut u64 {
        assert!(page < TABLES && index < 512, "a table page of the pool");
        // SAFETY: the entry lies within the mapping, just checked.
        unsafe { self.host.add(page as usize * 512 + index) }
    }
}

impl TablePages for Tables {
    fn read(&self, page: u32, index: usize) -> u64 {
        // SAFETY: an aligned word within the mapping.
        unsafe { self.at(page, index).read_volatile() }
    }

    fn write(&mut self, page: u32, index: usize, value: u64) {
        // SAFETY: an aligned word within the mapping.
        unsafe { self.at(page, index).write_volatile(value) };
    }
}

impl Monitor {
    /// Maps the monitor's memory, gives it to KVM and writes everything but the true tables.
    ///
    /// # Errors
    /// The host or KVM refuses the memory.
    pub fn new(vm: &VmFd) -> Result<Self, HostError> {
        let refused = HostError::refused("memory for the shadow mode's monitor");
        // SAFETY: a new anonymous mapping, which nobody else knows.
        let reserved = unsafe {
            libc::mmap(
                ptr::null_mut(),
                RESERVED,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if reserved == libc::MAP_FAILED {
            return Err(refused(kvm_ioctls::Error::last()));
        }
        // SAFETY: one page into the mapping.
        let host = unsafe { reserved.byte_add(PAGE as usize) };
        let monitor = Self { host: host.cast() };
        // SAFETY: the mapping without its first and its last page.
        if unsafe { libc::mprotect(host, SIZE, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
            return Err(refused(kvm_ioctls::Error::last()));
        }
        let region = kvm_userspace_memory_region {
            slot: MEMORY_SLOT,
            flags: 0,
            guest_phys_addr: GPA,
            memory_size: SIZE as u64,
            userspace_addr: host as u64,
        };
        // SAFETY: the mapping is ours and lives as long as the virtual machine runs.
        unsafe { vm.set_user_memory_region(region) }.map_err(refused)?;
        monitor.write_code();
        monitor.write_descriptors();
        monitor.write_window();
        Ok(monitor)
    }

    /// The true tables.
    pub fn tables(&self) -> Tables {
        // SAFETY: the offset lies within the mapping.
        let host = unsafe { self.host.add((FIRST_TABLE * PAGE) as usize) };
        Tables { host: host.cast() }
    }

    /// The entry for [`SLOT`] in every root.
    pub const fn window_entry() -> u64 {
        // User: the gate lies in here; the entries below say who may use what.
        (GPA + PDPT) | P | W | U | AD
    }

    /// Linear address of a true table's entry.
    pub const fn table_va(page: u32, index: u16) -> u64 {
        WINDOW + FIRST_TABLE * PAGE + page as u64 * PAGE + index as u64 * 8
    }

    /// Linear address of a way back.
    pub const fn code_va(offset: u64) -> u64 {
        WINDOW + CODE + offset
    }

    fn write(&self, offset: u64, value: u64) {
        assert!(
            offset < SIZE as u64 && offset.is_multiple_of(8),
            "within the monitor"
        );
        // SAFETY: an aligned word within the mapping, just checked.
        unsafe {
            self.host
                .add(offset as usize)
                .cast::<u64>()
                .write_volatile(value)
        };
    }

    fn read(&self, offset: u64) -> u64 {
        assert!(
            offset < SIZE as u64 && offset.is_multiple_of(8),
            "within the monitor"
        );
        // SAFETY: an aligned word within the mapping, just checked.
        unsafe { self.host.add(offset as usize).cast::<u64>().read_volatile() }
    }

    fn write_bytes(&self, offset: u64, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            let at = offset as usize + i;
            assert!(at < SIZE, "within the monitor");
            // SAFETY: within the mapping, just checked.
            unsafe { self.host.add(at).write_volatile(*byte) };
        }
    }

    /// The frame of the last trap from ring 3: RIP, CS, RFLAGS, RSP, SS.
    pub fn frame(&self) -> [u64; 5] {
        std::array::from_fn(|i| self.read(FRAME_TOP - 40 + 8 * i as u64))
    }

    /// The word `n` below the frame (1: the error code, or the first that a stub has saved).
    pub fn below_frame(&self, n: u64) -> u64 {
        self.read(FRAME_TOP - 40 - 8 * n)
    }

    /// Writes the frame that the next `iretq` takes.
    pub fn set_frame(&self, frame: [u64; 5]) {
        for (i, word) in frame.into_iter().enumerate() {
            self.write(FRAME_TOP - 40 + 8 * i as u64, word);
        }
    }

    /// Writes the word below the frame.
    pub fn set_below_frame(&self, word: u64) {
        self.write(FRAME_TOP - 48, word);
    }

    /// Writes the list.
    pub fn set_list(&self, words: &[u64]) {
        assert!(words.len() <= LIST_WORDS, "the list is full");
        for (i, word) in words.iter().enumerate() {
            self.write(LIST + 8 * i as u64, *word);
        }
    }

    fn write_code(&self) {
        for vector in 0..32_u8 {
            let at = u64::from(vector) * 16;
            if vector == 14 {
                // push rax; mov rax, cr2; out 14, al
                self.write_bytes(at, &[0x50, 0x0f, 0x20, 0xd0, 0xe6, vector]);
            } else {
                self.write_bytes(at, &[0xe6, vector]);
            }
        }
        self.write_bytes(INTERRUPT_STUB, &[0xe6, KICK]);
        for (at, bytes) in CODE_BYTES {
            self.write_bytes(at, bytes);
        }
        for i in 0..gadget::WRITES as u64 {
            self.write_bytes(
                gadget::CHAIN_WRITES + i * gadget::WRITE_LEN,
                &[0x5f, 0x8f, 0x07],
            );
        }
        let end = gadget::CHAIN_WRITES + gadget::WRITES as u64 * gadget::WRITE_LEN;
        self.write_bytes(end, &[0xc3]);
        self.write_bytes(GATE_PAGE, &[0xe6, PORT_GATE as u8]);
    }

    fn write_descriptors(&self) {
        for vector in 0..256_u64 {
            let stub = if vector < 32 {
                vector * 16
            } else {
                INTERRUPT_STUB
            };
            let va = Self::code_va(stub);
            // Breakpoints may be raised by ring 3 itself.
            let dpl = if matches!(vector, 3 | 4) { 3_u64 } else { 0 };
            let ist = u64::from(matches!(vector, 2 | 8 | 18));
            let low = (va & 0xffff)
                | u64::from(selector::CODE) << 16
                | ist << 32
                | 0x8e << 40
                | dpl << 45
                | (va >> 16 & 0xffff) << 48;
            self.write(IDT + 16 * vector, low);
            self.write(IDT + 16 * vector + 8, va >> 32);
        }
        let tss = WINDOW + TSS;
        let entries = [
            (selector::CODE, 0x00af_9b00_0000_ffff),
            (selector::STACK, 0x00cf_9300_0000_ffff),
            (selector::USER_CODE, 0x00af_fb00_0000_ffff),
            (selector::USER_STACK, 0x00cf_f300_0000_ffff),
            (
                selector::TSS,
                u64::from(TSS_LIMIT)
                    | (tss & 0xff_ffff) << 16
                    | 0x8b << 40
                    | (tss >> 24 & 0xff) << 56,
            ),
            (selector::TSS + 8, tss >> 32),
        ];
        for (selector, descriptor) in entries {
            self.write(GDT + u64::from(selector & !7), descriptor);
        }
        // RSP0 at offset 4 and IST1 at 36: not aligned to 8. No I/O permission bitmap.
        self.write_bytes(TSS + 4, &(WINDOW + FRAME_TOP).to_le_bytes());
        self.write_bytes(TSS + 36, &(WINDOW + IST_TOP).to_le_bytes());
        self.write_bytes(TSS + 0x66, &0x68_u16.to_le_bytes());
    }

    fn write_window(&self) {
        self.write(PDPT, (GPA + PD) | P | W | U | AD);
        self.write(PD, (GPA + PT) | P | W | U | AD);
        for i in 0..u64::from(TABLES) / 512 {
            let gpa = TABLES_GPA + i * (PAGE << 9);
            self.write(PD + 8 * (1 + i), gpa | P | W | PS | AD | NX);
        }
        for page in 0..32 {
            let rights = match page {
                0 | 1 => P | AD,
                2..=5 | 16.. => P | W | AD | NX,
                6 => P | U | AD,
                _ => 0,
            };
            if rights != 0 {
                self.write(PT + 8 * page, (GPA + page * PAGE) | rights);
            }
        }
    }

    /// Sets the system registers for ring 0 of the monitor.
    pub fn system(sregs: &mut kvm_sregs, cr3: u64, cr0: u64, cr4: u64) {
        let segment = |selector: u16, kind: u8, dpl: u8, long: bool| kvm_segment {
            base: 0,
            limit: u32::MAX,
            selector,
            type_: kind,
            present: 1,
            dpl,
            db: u8::from(!long),
            s: 1,
            l: u8::from(long),
            g: 1,
            ..Default::default()
        };
        let null = kvm_segment {
            unusable: 1,
            ..Default::default()
        };
        sregs.cs = segment(selector::CODE, 0xb, 0, true);
        sregs.ss = segment(selector::STACK, 0x3, 0, false);
        sregs.ds = null;
        sregs.es = null;
        sregs.fs = null;
        sregs.gs = null;
        sregs.ldt = null;
        sregs.tr = kvm_segment {
            base: WINDOW + TSS,
            limit: TSS_LIMIT,
            selector: selector::TSS,
            type_: 0xb,
            present: 1,
            ..Default::default()
        };
        sregs.gdt.base = WINDOW + GDT;
        sregs.gdt.limit = GDT_LIMIT;
        sregs.idt.base = WINDOW + IDT;
        sregs.idt.limit = 0xfff;
        sregs.cr0 = cr0;
        sregs.cr3 = cr3;
        sregs.cr4 = cr4;
        // SCE, LME, LMA, NXE
        sregs.efer = 1 | 1 << 8 | 1 << 10 | 1 << 11;
    }

    /// RSP as a trap from ring 3 with `vector` leaves it.
    pub const fn trap_rsp(vector: u8) -> u64 {
        let saved = if vector == 14 { 8 } else { 0 };
        let error = if has_error_code(vector) { 8 } else { 0 };
        FRAME_VA - error - saved
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours; KVM's processor does not run any more, and KVM itself keeps
        // no pointer that it would follow then.
        unsafe { libc::munmap(self.host.sub(PAGE as usize).cast(), RESERVED) };
    }
}

const _: () = assert!(gadget::CHAIN_WRITES + gadget::WRITES as u64 * gadget::WRITE_LEN < 2 * PAGE);
const _: () = assert!(TABLES.is_multiple_of(512));
