//! ptrace requests, and the memory of the traced program.

use std::io;

/// `PTRACE_GET_SYSCALL_INFO`
const GET_SYSCALL_INFO: libc::c_uint = 0x420e;

/// A thread that is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tracee(pub i32);

/// What a stop at a system call tells.
#[derive(Clone, Copy, Debug)]
pub enum CallStop {
    /// Before the call.
    Entry {
        /// Its number.
        number: u64,
        /// Its arguments.
        arguments: [u64; 6],
    },
    /// After the call.
    Exit {
        /// What it gave: a negative errno, or the result.
        result: i64,
    },
    /// Another stop.
    Other,
}

/// `struct ptrace_syscall_info`.
#[repr(C)]
struct SyscallInfo {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    ip: u64,
    sp: u64,
    words: [u64; 8],
}

impl Tracee {
    fn ptrace(self, request: libc::c_uint, addr: usize, data: usize) -> io::Result<i64> {
        // SAFETY: the callers pass what their requests demand; no request writes to memory of
        // ours other than what `data` points to.
        let result =
            unsafe { libc::syscall(libc::SYS_ptrace, u64::from(request), self.0, addr, data) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(result)
        }
    }

    /// Become its tracer, without stopping it.
    pub fn seize(self, options: i32) -> io::Result<()> {
        self.ptrace(libc::PTRACE_SEIZE as _, 0, options as usize)
            .map(drop)
    }

    /// Have it stop.
    pub fn interrupt(self) -> io::Result<()> {
        self.ptrace(libc::PTRACE_INTERRUPT as _, 0, 0).map(drop)
    }

    /// Have it go on to the next system call, with a signal (0: none).
    pub fn resume(self, signo: i32) -> io::Result<()> {
        self.ptrace(libc::PTRACE_SYSCALL as _, 0, signo as usize)
            .map(drop)
    }

    /// Leave it in its stop, and be told what happens.
    pub fn listen(self) -> io::Result<()> {
        self.ptrace(libc::PTRACE_LISTEN as _, 0, 0).map(drop)
    }

    /// What the event that it has stopped for tells.
    pub fn event_message(self) -> io::Result<u64> {
        let mut message = 0u64;
        self.ptrace(libc::PTRACE_GETEVENTMSG as _, 0, &raw mut message as usize)?;
        Ok(message)
    }

    /// The signal that it has stopped for: `siginfo_t`.
    pub fn siginfo(self) -> io::Result<[u8; 128]> {
        let mut info = [0; 128];
        self.ptrace(libc::PTRACE_GETSIGINFO as _, 0, &raw mut info as usize)?;
        Ok(info)
    }

    /// Where in a system call it has stopped.
    pub fn call_stop(self) -> io::Result<CallStop> {
        let mut info = SyscallInfo {
            op: 0,
            pad: [0; 3],
            arch: 0,
            ip: 0,
            sp: 0,
            words: [0; 8],
        };
        let at = &raw mut info as usize;
        self.ptrace(GET_SYSCALL_INFO, size_of::<SyscallInfo>(), at)?;
        let [first, rest @ ..] = info.words;
        let [a, b, c, d, e, f, _] = rest;
        Ok(match info.op {
            1 => CallStop::Entry {
                number: first,
                arguments: [a, b, c, d, e, f],
            },
            2 => CallStop::Exit {
                result: first as i64,
            },
            _ => CallStop::Other,
        })
    }

    /// Up to `buffer.len()` bytes of its memory; gives how many there are.
    pub fn read(self, address: u64, buffer: &mut [u8]) -> usize {
        let local = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        let remote = libc::iovec {
            iov_base: address as usize as *mut libc::c_void,
            iov_len: buffer.len(),
        };
        // SAFETY: the local range is the buffer; the remote one is checked by the kernel.
        let done = unsafe { libc::process_vm_readv(self.0, &local, 1, &remote, 1, 0) };
        usize::try_from(done).unwrap_or(0)
    }

    /// Exactly `len` bytes of its memory.
    pub fn bytes(self, address: u64, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        (self.read(address, &mut bytes) == len).then_some(bytes)
    }

    /// A 64-bit word of its memory.
    pub fn word(self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        (self.read(address, &mut bytes) == 8).then(|| u64::from_le_bytes(bytes))
    }

    /// A string up to its NUL, at most `max` bytes of it, and whether it ends there. None: it
    /// cannot be read.
    pub fn string(self, address: u64, max: usize) -> Option<(Vec<u8>, bool)> {
        /// Reads do not cross a page more than they must.
        const PAGE: u64 = 4096;
        let mut string = Vec::new();
        while string.len() <= max {
            let at = address.wrapping_add(string.len() as u64);
            let len = (PAGE - at % PAGE).min(256) as usize;
            let mut chunk = vec![0; len];
            let got = self.read(at, &mut chunk);
            if got == 0 {
                return None;
            }
            chunk.truncate(got);
            if let Some(end) = chunk.iter().position(|&b| b == 0) {
                string.extend_from_slice(&chunk[..end]);
                let whole = string.len() <= max;
                string.truncate(max);
                return Some((string, whole));
            }
            string.extend_from_slice(&chunk);
        }
        string.truncate(max);
        Some((string, false))
    }
}
