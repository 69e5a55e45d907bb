//! What is told of a guest that has died. (Small kernels of all kinds of ends: `vmm/tests`.)

use std::time::Duration;

use gnomon_tests::gnomon::{End, Gnomon};
use gnomon_tests::in_every_mode;
use gnomon_tests::mode::Mode;
use gnomon_tests::scratch::Scratch;

in_every_mode!(
    kernel_without_a_root_is_reported,
    kernel_that_gives_up_names_its_place,
    damaged_kernel_is_reported,
    statistics_come_after_the_program,
);

fn kernel_without_a_root_is_reported(mode: Mode) {
    let files = Scratch::new().unwrap();
    let kernel = files.file("kernel", gnomon_images::KERNEL).unwrap();
    let finished = Gnomon::new(mode)
        .options([std::ffi::OsStr::new("--kernel"), kernel.as_os_str()])
        .run();
    assert_eq!(finished.end, End::Status(125));
    let errors = finished.errors();
    assert!(
        errors.contains("gnomon: the guest kernel has no root"),
        "{errors}"
    );
}

/// The report has the cause, the place with its symbol, registers and the kernel's last messages.
fn kernel_that_gives_up_names_its_place(mode: Mode) {
    let files = Scratch::new().unwrap();
    let root = files.path("root");
    std::fs::create_dir(&root).unwrap();
    let finished = Gnomon::new(mode).root(&root).run();
    assert_eq!(finished.end, End::Status(125));
    let errors = finished.errors();
    for word in [
        "gnomon: ",
        "at rip 0xffffffff8",
        "power::",
        "rax ",
        "cr3 ",
        "last messages",
    ] {
        assert!(errors.contains(word), "{word:?} is not in: {errors}");
    }
    assert_eq!(finished.text(), "");
}

/// A kernel whose code has been overwritten dies in one way or another: never silently, never for
/// ever.
fn damaged_kernel_is_reported(mode: Mode) {
    let files = Scratch::new().unwrap();
    let entry = entry_offset(gnomon_images::KERNEL);
    // ud2; a jump to itself would be no end.
    for damage in [[0x0f, 0x0b, 0x0f, 0x0b], [0xf4, 0xf4, 0xf4, 0xf4]] {
        let mut bytes = gnomon_images::KERNEL.to_vec();
        bytes[entry..entry + 4].copy_from_slice(&damage);
        let kernel = files.file("kernel", &bytes).unwrap();
        let finished = Gnomon::new(mode)
            .options([std::ffi::OsStr::new("--kernel"), kernel.as_os_str()])
            .timeout(Duration::from_secs(60))
            .run();
        assert_eq!(finished.end, End::Status(125), "{}", finished.errors());
        let errors = finished.errors();
        assert!(
            errors.contains("at rip ") && !errors.contains("panicked"),
            "{errors}"
        );
    }
}

/// Where the code at the entry point is in the ELF file (`Elf64_Ehdr`, `Elf64_Phdr`).
fn entry_offset(elf: &[u8]) -> usize {
    let word = |at: usize| u64::from_le_bytes(elf[at..at + 8].try_into().unwrap());
    let half = |at: usize| usize::from(u16::from_le_bytes(elf[at..at + 2].try_into().unwrap()));
    let entry = word(24);
    let (table, size, count) = (word(32) as usize, half(54), half(56));
    (0..count)
        .map(|n| table + n * size)
        .find_map(|header| {
            let (offset, physical, len) = (word(header + 8), word(header + 24), word(header + 32));
            let is_load = elf[header] == 1;
            let within = entry
                .checked_sub(physical)
                .filter(|&at| is_load && at < len);
            within.map(|at| (offset + at) as usize)
        })
        .expect("the entry point lies in a segment")
}

fn statistics_come_after_the_program(mode: Mode) {
    let files = Scratch::new().unwrap();
    let json = files.path("stats");
    let finished = Gnomon::new(mode)
        .options(["--stats", "--stats-json"])
        .options([&json])
        .shell("echo out; exit 3")
        .run();
    assert_eq!(finished.end, End::Status(3));
    assert_eq!(finished.text(), "out\n");
    assert!(finished.errors().contains("exits"), "{}", finished.errors());
    let json = std::fs::read_to_string(json).unwrap();
    assert!(
        json.trim_start().starts_with('{') && json.contains("exits"),
        "{json}"
    );
}
