//! What a table of calls cannot say: new processes and threads, programs, returns from signals that
//! never came.

use super::raw;
use super::worker::Worker;

const PAGE: usize = 4096;
/// Flag of clone3: signals that are caught get their default.
const CLEAR_SIGHAND: u64 = 1 << 32;
const SIGCHLD: usize = libc::SIGCHLD as usize;
/// Bytes of the smallest program that there is, with a little room.
const PROGRAM: usize = 192;

impl Worker {
    /// One act. Not in a child of a child: their number is limited.
    pub fn act(&mut self) {
        match self.maker.random.below(10) {
            0..=2 => self.fork(),
            3 => self.clone_process(),
            4 | 5 => self.thread(),
            6 => self.clone3(),
            7 => self.damaged_program(),
            8 => self.forged_signal_frame(),
            _ => self.program_by_name(),
        }
    }

    fn fork(&mut self) {
        // SAFETY: both go on in memory of their own.
        let pid = unsafe { raw::call(libc::SYS_fork as usize, [0; 6]) };
        self.after_fork(pid);
    }

    /// In the child: some calls, then its end. In the parent: a child more.
    fn after_fork(&mut self, pid: isize) {
        if pid == 0 {
            self.run_as_child();
        }
        if pid > 0 {
            let place = self.maker.random.below(8);
            self.maker.children[place] = pid as i32;
        }
    }

    /// A stack for a child: the top page of a mapping of its own. 0 if there is none.
    fn stack(&mut self) -> usize {
        const LEN: usize = 16 * PAGE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice.
        let at = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            raw::call(
                libc::SYS_mmap as usize,
                [0, LEN, prot as usize, flags as usize, usize::MAX, 0],
            )
        };
        if at < 0 { 0 } else { at as usize + LEN }
    }

    fn clone_process(&mut self) {
        let flags = [
            libc::CLONE_FS as u64,
            libc::CLONE_FILES as u64,
            libc::CLONE_VM as u64 | libc::CLONE_VFORK as u64,
            libc::CLONE_PARENT as u64,
            libc::CLONE_PARENT_SETTID as u64,
            libc::CLONE_CHILD_CLEARTID as u64,
            libc::CLONE_PIDFD as u64,
            libc::CLONE_SIGHAND as u64,
            libc::CLONE_UNTRACED as u64,
        ];
        let flags = self.maker.random.some(&flags) as usize | SIGCHLD;
        self.clone_with(flags);
    }

    fn thread(&mut self) {
        let base = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
        let more = [
            libc::CLONE_FS as u64,
            libc::CLONE_FILES as u64,
            libc::CLONE_SYSVSEM as u64,
            libc::CLONE_PARENT_SETTID as u64,
            libc::CLONE_CHILD_SETTID as u64,
            libc::CLONE_CHILD_CLEARTID as u64,
        ];
        let flags = base as usize | self.maker.random.some(&more) as usize;
        self.clone_with(flags);
    }

    fn clone_with(&mut self, flags: usize) {
        let top = self.stack();
        if top == 0 {
            return;
        }
        let words = [
            self.maker.value(super::arguments::Kind::Word),
            self.maker.value(super::arguments::Kind::Word),
            0,
        ];
        // The body gets the seed of its numbers: its memory may be the parent's, which goes on.
        let seed = self.maker.random.word() as usize;
        // SAFETY: the stack is fresh.
        let pid = unsafe { raw::clone(flags, top, words, super::worker::clone_body, seed) };
        let thread = flags & libc::CLONE_THREAD as usize != 0;
        if pid > 0 && !thread {
            self.after_fork(pid);
        }
    }

    fn clone3(&mut self) {
        let flags = [
            libc::CLONE_FS as u64,
            libc::CLONE_FILES as u64,
            libc::CLONE_PIDFD as u64,
            libc::CLONE_PARENT_SETTID as u64,
            CLEAR_SIGHAND,
            1 << 40,
        ];
        let flags = self.maker.random.some(&flags);
        let at = self.maker.memory(128);
        let random = &mut self.maker.random;
        let signal = random.of(&[SIGCHLD as u64, SIGCHLD as u64, 0, 10, 300]);
        let words = [
            flags,
            at as u64 + 96,
            at as u64 + 96,
            at as u64 + 96,
            signal,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        for (n, word) in words.iter().enumerate() {
            // SAFETY: 128 bytes of the arguments' memory.
            unsafe { ((at + 8 * n) as *mut u64).write(*word) };
        }
        let size = random.of(&[88, 88, 64, 80, 63, 4096]);
        // SAFETY: without CLONE_VM both go on in memory of their own.
        let pid = unsafe { raw::call(libc::SYS_clone3 as usize, [at, size, 0, 0, 0, 0]) };
        self.after_fork(pid);
    }

    /// Writes the smallest program to `f2`, with some bytes changed, and runs it.
    fn damaged_program(&mut self) {
        let mut program = smallest_program();
        for _ in 0..self.maker.random.below(4) {
            let place = self.maker.random.below(PROGRAM);
            let byte = match self.maker.random.chance(50) {
                true => self.maker.random.word() as u8,
                false => self.maker.random.of(&[0, 0xff, 0x7f, 0x80, 1]),
            };
            program[place] = byte;
        }
        let len = match self.maker.random.chance(80) {
            true => PROGRAM,
            false => self.maker.random.below(PROGRAM),
        };
        let name = c"f2".as_ptr() as usize;
        // SAFETY: the name and the program are valid for the calls; the descriptor is closed.
        unsafe {
            let flags = (libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC) as usize;
            let fd = raw::call(libc::SYS_open as usize, [name, flags, 0o755, 0, 0, 0]);
            if fd < 0 {
                return;
            }
            let at = program.as_ptr() as usize;
            raw::call(libc::SYS_write as usize, [fd as usize, at, len, 0, 0, 0]);
            raw::call(libc::SYS_close as usize, [fd as usize, 0, 0, 0, 0, 0]);
        }
        self.run_program(name);
    }

    fn program_by_name(&mut self) {
        let names = [c"/bin/true", c"f2", c"f0", c"d0"];
        let name = self.maker.random.of(&names).as_ptr() as usize;
        self.run_program(name);
    }

    /// Runs a program in a child, with arguments that may be bad.
    fn run_program(&mut self, name: usize) {
        let good = [name, 0];
        let (argv, envp) = match self.maker.random.chance(80) {
            true => (good.as_ptr() as usize, 0),
            false => (
                self.maker.value(super::arguments::Kind::Vector),
                self.maker.value(super::arguments::Kind::Buf),
            ),
        };
        // SAFETY: the child goes on in memory of its own.
        let pid = unsafe { raw::call(libc::SYS_fork as usize, [0; 6]) };
        if pid == 0 {
            // SAFETY: it does not return, or the child ends.
            unsafe { raw::call(libc::SYS_execve as usize, [name, argv, envp, 0, 0, 0]) };
            raw::exit(1);
        }
        self.after_fork(pid);
    }

    /// A child returns from a signal that it never got.
    fn forged_signal_frame(&mut self) {
        // SAFETY: the child goes on in memory of its own.
        let pid = unsafe { raw::call(libc::SYS_fork as usize, [0; 6]) };
        if pid == 0 {
            let at = self.maker.memory(PAGE);
            for n in 0..128 {
                let word = match self.maker.random.below(6) {
                    0 => self.maker.random.word(),
                    1 => 0x33,
                    2 => 0x2b_0000_0000_0033,
                    3 => at as u64,
                    4 => super::worker::restorer_address() as u64,
                    _ => 0x202,
                };
                // SAFETY: a page of the arguments' memory.
                unsafe { ((at + 8 * n) as *mut u64).write(word) };
            }
            // SAFETY: the process is to be spent.
            unsafe { raw::sigreturn(at + 8 * self.maker.random.below(16)) };
        }
        self.after_fork(pid);
    }
}

/// A static program of one segment that exits with status 0.
fn smallest_program() -> [u8; PROGRAM] {
    const BASE: u64 = 0x40_0000;
    const CODE: u64 = 120;
    let mut bytes = [0; PROGRAM];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &2u16.to_le_bytes()); // ET_EXEC
    put(18, &62u16.to_le_bytes()); // x86-64
    put(20, &1u32.to_le_bytes());
    put(24, &(BASE + CODE).to_le_bytes());
    put(32, &64u64.to_le_bytes()); // program headers
    put(52, &64u16.to_le_bytes());
    put(54, &56u16.to_le_bytes());
    put(56, &1u16.to_le_bytes());
    put(64, &1u32.to_le_bytes()); // PT_LOAD
    put(68, &5u32.to_le_bytes());
    put(80, &BASE.to_le_bytes());
    put(88, &BASE.to_le_bytes());
    put(96, &(PROGRAM as u64).to_le_bytes());
    put(104, &(PROGRAM as u64).to_le_bytes());
    put(112, &0x1000u64.to_le_bytes());
    // mov eax, SYS_exit_group; xor edi, edi; syscall
    put(CODE as usize, &[0xb8, 231, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]);
    bytes
}
