//! What a kernel finds in memory when it is entered: start info, memory map, boot facts, command
//! line, arguments, descriptor table and page tables.

use gnomon_abi::boot::BootFacts;
use gnomon_devices::GuestMemory;
use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_start_info};
use vm_memory::{Bytes, GuestAddress};

use super::{BootError, layout};
use crate::memory::memory_map;

/// `hvm_start_info`'s magic: "xEn3" with the 0x80 bit of the "E" set.
const START_MAGIC: u32 = 0x336e_c578;

/// Present, writable.
const TABLE: u64 = 0b11;
/// Present, writable, 2 MiB.
const LARGE_PAGE: u64 = 0b1000_0011;

/// Selector of the code segment.
pub const CODE_SELECTOR: u16 = 0x08;
/// Selector of the data segment.
pub const DATA_SELECTOR: u16 = 0x10;
/// Selector of the task state segment.
pub const TSS_SELECTOR: u16 = 0x18;

/// The descriptors at [`layout::GDT`]; `long` tells 64-bit code from 32-bit code.
const fn gdt(long: bool) -> [u64; 5] {
    let code = if long {
        0x00af_9b00_0000_ffff
    } else {
        0x00cf_9b00_0000_ffff
    };
    [0, code, 0x00cf_9300_0000_ffff, 0x0000_8b00_0000_0067, 0]
}

/// What is told to the kernel about the run.
#[derive(Clone, Debug)]
pub struct BootData {
    /// The kernel's command line.
    pub cmdline: String,
    /// Init's arguments; empty: the kernel's default.
    pub args: Vec<Vec<u8>>,
    /// Init's environment, `NAME=value`.
    pub env: Vec<Vec<u8>>,
    /// Bytes of guest memory.
    pub ram: u64,
    /// The facts; the places of arguments and environment are filled in here.
    pub facts: BootFacts,
    /// Entered in 64-bit mode.
    pub long_mode: bool,
}

impl BootData {
    /// Write everything into `mem`.
    ///
    /// # Errors
    /// Something is too long, or memory too small.
    pub fn write(mut self, mem: &GuestMemory) -> Result<(), BootError> {
        let cmdline = zero_terminated([self.cmdline.as_bytes()].into_iter());
        let args = zero_terminated(self.args.iter().map(Vec::as_slice));
        let env = zero_terminated(self.env.iter().map(Vec::as_slice));
        for (what, bytes, gpa, max) in [
            (
                "the kernel's command line",
                &cmdline,
                layout::CMDLINE,
                layout::CMDLINE_MAX,
            ),
            (
                "PROGRAM with its arguments",
                &args,
                layout::ARGS,
                layout::ARGS_MAX,
            ),
            ("the environment", &env, layout::ENV, layout::ENV_MAX),
        ] {
            if bytes.len() > max {
                let len = bytes.len();
                return Err(BootError::TooLong { what, len, max });
            }
            mem.write_slice(bytes, GuestAddress(gpa))?;
        }
        self.facts.init_args = layout::ARGS;
        self.facts.init_args_len = args.len() as u64;
        self.facts.init_env = layout::ENV;
        self.facts.init_env_len = env.len() as u64;
        mem.write_slice(&facts_bytes(&self.facts), GuestAddress(layout::BOOT_FACTS))?;

        let map = memory_map(self.ram);
        for (i, entry) in map.iter().enumerate() {
            let at = layout::MEMMAP + (i * size_of::<hvm_memmap_table_entry>()) as u64;
            mem.write_obj(*entry, GuestAddress(at))?;
        }
        let info = hvm_start_info {
            magic: START_MAGIC,
            version: 1,
            cmdline_paddr: layout::CMDLINE,
            memmap_paddr: layout::MEMMAP,
            memmap_entries: map.len() as u32,
            ..Default::default()
        };
        mem.write_obj(info, GuestAddress(layout::START_INFO))?;

        for (i, descriptor) in gdt(self.long_mode).iter().enumerate() {
            mem.write_obj(*descriptor, GuestAddress(layout::GDT + 8 * i as u64))?;
        }
        if self.long_mode {
            mem.write_obj(layout::PDPT | TABLE, GuestAddress(layout::PML4))?;
            mem.write_obj(layout::PD | TABLE, GuestAddress(layout::PDPT))?;
            let mut directory = [0; 4096];
            for (i, entry) in directory.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                *entry = ((i as u64) << 21 | LARGE_PAGE).to_le_bytes();
            }
            mem.write_slice(&directory, GuestAddress(layout::PD))?;
        }
        Ok(())
    }
}

/// The strings one after the other, each ended by NUL.
fn zero_terminated<'a>(strings: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for string in strings {
        bytes.extend_from_slice(string);
        bytes.push(0);
    }
    bytes
}

/// The facts as they lie in memory.
fn facts_bytes(facts: &BootFacts) -> [u8; size_of::<BootFacts>()] {
    let words = [
        facts.magic,
        facts.quirks,
        facts.tsc_khz,
        facts.apic_timer_khz,
        facts.wall_clock_ns,
        facts.init_args,
        facts.init_args_len,
        facts.init_env,
        facts.init_env_len,
        facts.cpus,
    ];
    let mut bytes = [0; size_of::<BootFacts>()];
    let (head, seed) = bytes.split_at_mut(words.len() * 8);
    for (at, word) in head.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *at = word.to_le_bytes();
    }
    seed.copy_from_slice(&facts.seed);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_abi::boot;

    fn data() -> BootData {
        BootData {
            cmdline: "console=stream".into(),
            args: vec![b"/sbin/init".to_vec(), b"ls".to_vec()],
            env: vec![b"A=1".to_vec()],
            ram: 8 << 20,
            facts: BootFacts {
                magic: boot::MAGIC,
                quirks: 1,
                tsc_khz: 2,
                apic_timer_khz: 3,
                wall_clock_ns: 4,
                init_args: 0,
                init_args_len: 0,
                init_env: 0,
                init_env_len: 0,
                cpus: 1,
                seed: [7; 32],
            },
            long_mode: true,
        }
    }

    fn memory() -> GuestMemory {
        GuestMemory::from_ranges(&[(GuestAddress(0), 8 << 20)]).unwrap()
    }

    #[test]
    fn facts_point_at_arguments_and_environment() {
        let mem = memory();
        data().write(&mem).unwrap();
        let words: [u64; 10] = std::array::from_fn(|i| {
            mem.read_obj(GuestAddress(layout::BOOT_FACTS + 8 * i as u64))
                .unwrap()
        });
        assert_eq!(
            words,
            [boot::MAGIC, 1, 2, 3, 4, layout::ARGS, 14, layout::ENV, 4, 1]
        );
        let mut args = [0; 14];
        mem.read_slice(&mut args, GuestAddress(layout::ARGS))
            .unwrap();
        assert_eq!(&args, b"/sbin/init\0ls\0");
    }

    #[test]
    fn start_info_leads_to_command_line_and_map() {
        let mem = memory();
        data().write(&mem).unwrap();
        let info: hvm_start_info = mem.read_obj(GuestAddress(layout::START_INFO)).unwrap();
        let map: hvm_memmap_table_entry =
            mem.read_obj(GuestAddress(info.memmap_paddr + 24)).unwrap();
        let mut cmdline = [0; 15];
        mem.read_slice(&mut cmdline, GuestAddress(info.cmdline_paddr))
            .unwrap();
        assert_eq!((info.magic, info.memmap_entries), (START_MAGIC, 2));
        assert_eq!((map.addr, map.size), (1 << 20, 7 << 20));
        assert_eq!(&cmdline, b"console=stream\0");
    }

    #[test]
    fn endless_command_line_is_refused() {
        let mut data = data();
        data.cmdline = "x".repeat(layout::CMDLINE_MAX);
        assert!(matches!(
            data.write(&memory()),
            Err(BootError::TooLong { .. })
        ));
    }
}
