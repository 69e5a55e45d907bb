//! ELF files: what makes a program and what does not.

use crate::frame::child::{Exit, fork};
use crate::frame::program::{execute, execution_error};
use crate::frame::scratch::Scratch;
use libc::*;

tests!(
    smallest_program_runs,
    program_with_zeroed_memory_behind_its_file_runs,
    truncated_header_is_enoexec,
    wrong_class_or_machine_is_enoexec,
    object_file_is_enoexec,
    header_size_of_another_kind_is_enoexec,
    no_program_headers_is_enoexec,
    program_headers_past_the_end_are_an_error,
    missing_program_interpreter_is_enoent,
    interpreter_name_without_end_is_enoexec,
    segment_longer_in_the_file_than_in_memory_is_an_error,
    segment_whose_size_wraps_is_an_error,
    segment_at_a_kernel_address_is_an_error,
    entry_outside_of_all_segments_faults,
    any_flipped_header_byte_leaves_the_kernel_well;
    // Linux lets the later segment hide the earlier one, and kills the program where it notices a
    // mistake late.
    guest: segments_that_overlap_are_enoexec,
    headers_that_make_no_sense_are_enoexec,
);

/// Where the program is loaded.
const BASE: u64 = 0x40_0000;
/// Where its code begins in the file.
const CODE: usize = 64 + 56 * 2;

// mov eax, 60; xor edi, edi; mov dil, 42; syscall
const EXIT_42: [u8; 12] = [0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x40, 0xb7, 42, 0x0f, 0x05];

/// A program of one loadable segment, and room for another program header.
struct Image(Vec<u8>);

impl Image {
    fn new() -> Self {
        let mut image = Image(vec![0; CODE]);
        image.0[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        image.put16(16, 2); // ET_EXEC
        image.put16(18, 62); // EM_X86_64
        image.put16(20, 1);
        image.put64(24, BASE + CODE as u64); // e_entry
        image.put64(32, 64); // e_phoff
        image.put16(52, 64); // e_ehsize
        image.put16(54, 56); // e_phentsize
        image.put16(56, 1); // e_phnum
        image.put16(64, 1); // PT_LOAD
        image.put16(68, 5); // PF_R | PF_X
        image.put64(80, BASE);
        image.put64(88, BASE);
        image.0.extend(EXIT_42);
        let len = image.0.len() as u64;
        image.put64(96, len); // p_filesz
        image.put64(104, len); // p_memsz
        image.put64(112, 4096);
        image
    }

    fn put16(&mut self, at: usize, value: u16) {
        self.0[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn put64(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn write(&self, scratch: &Scratch) -> std::ffi::CString {
        let path = scratch.file("program", &self.0);
        ok!(SYS_chmod, path.as_c_str(), 0o755);
        path
    }

    /// The error of executing it.
    fn error(&self) -> i32 {
        let scratch = Scratch::new();
        execution_error(&self.write(&scratch))
    }

    /// How it ends; 99 where it cannot be executed.
    fn run(&self) -> Exit {
        self.run_in(&Scratch::new())
    }

    /// The same, with a directory that there is.
    fn run_in(&self, scratch: &Scratch) -> Exit {
        let path = self.write(scratch);
        let end = fork(|| {
            execute(&path, &["program"], &[]);
            crate::frame::report::exit(99)
        });
        end.wait()
    }
}

fn smallest_program_runs() {
    assert_eq!(Image::new().run(), Exit::Code(42));
}

fn program_with_zeroed_memory_behind_its_file_runs() {
    let mut image = Image::new();
    image.0.truncate(CODE);
    // movzx edi, byte [BASE + 0x2000]; mov byte [BASE + 0x2000], 1; mov eax, 60; syscall
    image
        .0
        .extend([0x0f, 0xb6, 0x3c, 0x25, 0x00, 0x20, 0x40, 0x00]);
    image
        .0
        .extend([0xc6, 0x04, 0x25, 0x00, 0x20, 0x40, 0x00, 0x01]);
    image.0.extend([0xb8, 60, 0, 0, 0, 0x0f, 0x05]);
    image.put16(68, 7);
    let len = image.0.len() as u64;
    image.put64(96, len);
    image.put64(104, 0x3000);
    assert_eq!(image.run(), Exit::Code(0));
}

fn truncated_header_is_enoexec() {
    let mut image = Image::new();
    image.0.truncate(40);
    assert_eq!(image.error(), ENOEXEC);
}

fn wrong_class_or_machine_is_enoexec() {
    let mut image = Image::new();
    image.put16(18, 183); // EM_AARCH64
    assert_eq!(image.error(), ENOEXEC);
    let mut image = Image::new();
    image.0[1] = b'X';
    assert_eq!(image.error(), ENOEXEC);
}

fn object_file_is_enoexec() {
    let mut image = Image::new();
    image.put16(16, 1); // ET_REL
    assert_eq!(image.error(), ENOEXEC);
}

fn header_size_of_another_kind_is_enoexec() {
    let mut image = Image::new();
    image.put16(54, 32);
    assert_eq!(image.error(), ENOEXEC);
}

fn no_program_headers_is_enoexec() {
    let mut image = Image::new();
    image.put16(56, 0);
    assert_eq!(image.error(), ENOEXEC);
}

fn program_headers_past_the_end_are_an_error() {
    for offset in [100_000, u64::MAX - 10, 1 << 63] {
        let mut image = Image::new();
        image.put64(32, offset);
        assert!([ENOEXEC, EIO, EINVAL].contains(&image.error()));
    }
}

/// With a second program header that names an interpreter.
fn interpreted(name: &[u8]) -> Image {
    let mut image = Image::new();
    image.put16(56, 2);
    let at = image.0.len() as u64;
    image.0.extend(name);
    image.put16(64 + 56, 3); // PT_INTERP
    image.put64(64 + 56 + 8, at);
    image.put64(64 + 56 + 32, name.len() as u64);
    image
}

fn missing_program_interpreter_is_enoent() {
    assert_eq!(interpreted(b"/no/such/interpreter\0").error(), ENOENT);
}

fn interpreter_name_without_end_is_enoexec() {
    assert_eq!(interpreted(b"/lib/ld.so").error(), ENOEXEC);
}

fn segment_longer_in_the_file_than_in_memory_is_an_error() {
    let mut image = Image::new();
    image.put64(96, 0x2000);
    image.put64(104, 0x1000);
    assert_ne!(image.run(), Exit::Code(42));
}

fn segment_whose_size_wraps_is_an_error() {
    let mut image = Image::new();
    image.put64(104, u64::MAX - 100);
    assert_ne!(image.run(), Exit::Code(42));
}

/// With a second segment of the same size at `address`.
fn two_segments(address: u64) -> Image {
    let mut image = Image::new();
    image.put16(56, 2);
    let first = image.0[64..64 + 56].to_vec();
    image.0[64 + 56..CODE].copy_from_slice(&first);
    image.put64(64 + 56 + 16, address);
    image.put64(64 + 56 + 24, address);
    image
}

fn segments_that_overlap_are_enoexec() {
    assert_eq!(two_segments(BASE + 0x1000).run(), Exit::Code(42));
    assert_eq!(two_segments(BASE).error(), ENOEXEC);
    assert_eq!(two_segments(BASE - 0x1000).error(), ENOEXEC);
}

fn headers_that_make_no_sense_are_enoexec() {
    // Place of a field of 64 bits, and its value.
    let wrong = [
        (32, 100_000),               // headers past the end of the file
        (32, u64::MAX - 10),         // … and where their end wraps
        (72, 1 << 40),               // a segment past the end
        (72, !0xfff),                // … and where its end wraps
        (80, 0xffff_ffff_8000_0000), // at a kernel address
        (80, 0x7fff_ffff_f000),      // at the end of the program's half
        (80, BASE + 1),              // not where its page would be in the file
        (96, 0x1000),                // longer in the file than in memory
        (104, u64::MAX - 100),       // whose size wraps
        (104, 1 << 47),              // larger than the program's half
        (112, 3),                    // aligned to no power of two
    ];
    for (at, value) in wrong {
        let mut image = Image::new();
        image.put64(at, value);
        assert_eq!(image.error(), ENOEXEC, "{value:#x} at {at}");
    }
}

fn segment_at_a_kernel_address_is_an_error() {
    let mut image = Image::new();
    image.put64(80, 0xffff_ffff_8000_0000);
    assert_ne!(image.run(), Exit::Code(42));
}

fn entry_outside_of_all_segments_faults() {
    let mut image = Image::new();
    image.put64(24, 0x1234_5000);
    assert_eq!(image.run().signal(), Some(SIGSEGV));
}

fn any_flipped_header_byte_leaves_the_kernel_well() {
    // The file's header and that of its segment.
    const HEADERS: usize = 64 + 56;
    let scratch = Scratch::new();
    for at in 0..HEADERS {
        let mut image = Image::new();
        image.0[at] ^= 0xff;
        // An error, a signal, or a run: never anything else.
        image.run_in(&scratch);
    }
    assert_eq!(Image::new().run(), Exit::Code(42));
}
