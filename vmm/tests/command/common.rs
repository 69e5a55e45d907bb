//! What the tests of the command share: tiny kernels, and runs of gnomon with a time limit.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where the tiny kernels are loaded and entered.
pub const LOAD: u64 = 0x20_0000;

/// No run of these tests takes this long.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How a run of gnomon has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ended {
    /// The one line that a mistake has to be told in.
    pub fn one_line(&self) -> &str {
        assert_eq!(self.status, 125, "{self:?}");
        let mut lines = self.stderr.lines();
        let line = lines.next().expect("a message");
        assert_eq!(lines.next(), None, "more than one line: {}", self.stderr);
        line
    }
}

/// Run gnomon with `args` and `input` on its standard input.
pub fn gnomon<S: AsRef<OsStr>>(args: &[S], input: &[u8]) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_gnomon"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gnomon starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // A guest need not read what it is given.
    thread::spawn(move || drop(stdin.write_all(&input)));
    let mut stdout = child.stdout.take().expect("piped");
    let out = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).expect("readable");
        bytes
    });
    let mut stderr = child.stderr.take().expect("piped");
    let err = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).expect("text");
        text
    });
    let status = wait(&mut child, TIMEOUT);
    Ended {
        status: status.code().expect("an exit status"),
        stdout: out.join().expect("read"),
        stderr: err.join().expect("read"),
    }
}

/// Wait for the end of `gnomon`, which must come within `limit`.
pub fn wait(gnomon: &mut Child, limit: Duration) -> ExitStatus {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = gnomon.try_wait().expect("waitable") {
            return status;
        }
        if Instant::now() > deadline {
            let _ = gnomon.kill();
            panic!("gnomon did not end in {limit:?}");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// A file that goes away with the value.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A file of this test's own with `contents`.
    pub fn new(name: &str, contents: &[u8]) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let path = dir.join(format!("{}-{name}", std::process::id()));
        std::fs::write(&path, contents).expect("writable");
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A kernel of a few bytes that is entered in 64-bit mode at its first byte.
pub fn kernel(name: &str, code: &[u8]) -> Scratch {
    Scratch::new(name, &elf(code, code.len() as u64))
}

/// The same as bytes, with `memsz` bytes in memory.
pub fn elf(code: &[u8], memsz: u64) -> Vec<u8> {
    elf_with_note(code, memsz, b"\x07\0\0\0\0\0\0\0\x01\0\0\0Gnomon\0\0")
}

/// A kernel that is entered in 32-bit mode, as Xen's PVH protocol says.
pub fn pvh_elf(code: &[u8]) -> Vec<u8> {
    let mut note = b"\x04\0\0\0\x04\0\0\0\x12\0\0\0Xen\0".to_vec();
    note.extend((LOAD as u32).to_le_bytes());
    elf_with_note(code, code.len() as u64, &note)
}

fn elf_with_note(code: &[u8], memsz: u64, note: &[u8]) -> Vec<u8> {
    let mut image = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for word in [LOAD, 64, 0] {
        image.extend(word.to_le_bytes());
    }
    image.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 2, 64, 0, 0] {
        image.extend(half.to_le_bytes());
    }
    let note_at = 64 + 2 * 56;
    let code_at = note_at + note.len() as u64;
    let segments = [
        (1_u32, code_at, LOAD, code.len() as u64, memsz),
        (4, note_at, 0, note.len() as u64, note.len() as u64),
    ];
    for (kind, offset, address, filesz, memsz) in segments {
        image.extend(kind.to_le_bytes());
        image.extend(7_u32.to_le_bytes());
        for word in [offset, address, address, filesz, memsz, 4] {
            image.extend(word.to_le_bytes());
        }
    }
    image.extend(note);
    image.extend(code);
    image
}

/// [`elf`] with a symbol for its code.
pub fn elf_with_symbol(code: &[u8], symbol: &str) -> Vec<u8> {
    const SECTION: usize = 64;
    let mut image = elf(code, code.len() as u64);
    let strings_at = image.len() as u64;
    image.push(0);
    image.extend(symbol.as_bytes());
    image.push(0);
    let strings_len = image.len() as u64 - strings_at;
    image.resize(image.len().next_multiple_of(8), 0);
    let symbols_at = image.len() as u64;
    // Elf64_Sym: none, then the function, global, of no section.
    image.extend([0; 24]);
    image.extend(1_u32.to_le_bytes());
    image.extend([0x12, 0, 0xf1, 0xff]);
    image.extend(LOAD.to_le_bytes());
    image.extend((code.len() as u64).to_le_bytes());
    let sections_at = image.len() as u64;
    // Elf64_Shdr: none, the symbols (1 local one, entries of 24 bytes), their names.
    for (kind, offset, len, link, info, entry) in [
        (0_u32, 0, 0, 0_u32, 0_u32, 0_u64),
        (2, symbols_at, 48, 2, 1, 24),
        (3, strings_at, strings_len, 0, 0, 0),
    ] {
        image.extend(0_u32.to_le_bytes());
        image.extend(kind.to_le_bytes());
        for word in [0, 0, offset, len] {
            image.extend(word.to_le_bytes());
        }
        image.extend(link.to_le_bytes());
        image.extend(info.to_le_bytes());
        for word in [1, entry] {
            image.extend(word.to_le_bytes());
        }
    }
    // e_shoff; e_shentsize, e_shnum, e_shstrndx.
    image[40..48].copy_from_slice(&sections_at.to_le_bytes());
    for (at, half) in [(58, SECTION as u16), (60, 3), (62, 2)] {
        image[at..at + 2].copy_from_slice(&half.to_le_bytes());
    }
    image
}
