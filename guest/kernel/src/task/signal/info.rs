//! What a signal tells its receiver: `siginfo_t` (`sigaction(2)`).
//!
//! ```text
//!  0 si_signo  4 si_errno  8 si_code  12 (pad)
//! 16 by si_code:  kill, tgkill   pid u32, uid u32
//!                 sigqueue, mq   pid u32, uid u32, value u64
//!                 timer          timer id i32, overrun i32, value u64
//!                 SIGCHLD        pid u32, uid u32, status i32, (pad), utime u64, stime u64
//!                 faults         address u64
//!                 SIGIO          band i64, fd i32
//! ```

/// Bytes of `siginfo_t`.
pub const SIZE: usize = 128;

/// `si_code`: sent by kill(2).
pub const SI_USER: i32 = 0;
/// `si_code`: sent by the kernel.
pub const SI_KERNEL: i32 = 0x80;
/// `si_code`: sent by sigqueue(3).
pub const SI_QUEUE: i32 = -1;
/// `si_code`: a POSIX timer expired.
pub const SI_TIMER: i32 = -2;
/// `si_code`: sent by tkill(2) or tgkill(2).
pub const SI_TKILL: i32 = -6;

/// `si_code` of SIGCHLD: the child exited.
pub const CLD_EXITED: i32 = 1;
/// `si_code` of SIGCHLD: a signal killed the child.
pub const CLD_KILLED: i32 = 2;
/// `si_code` of SIGCHLD: a signal killed the child, which dumped core.
pub const CLD_DUMPED: i32 = 3;
/// `si_code` of SIGCHLD: a traced thread has stopped.
pub const CLD_TRAPPED: i32 = 4;
/// `si_code` of SIGCHLD: the child stopped.
pub const CLD_STOPPED: i32 = 5;
/// `si_code` of SIGCHLD: the child continued.
pub const CLD_CONTINUED: i32 = 6;

/// A signal and what it tells; the first 48 bytes of `siginfo_t`, the only ones that Linux uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SigInfo {
    /// Number of the signal, 1 to 64.
    pub signo: u32,
    /// `si_errno`, mostly 0.
    pub errno: i32,
    /// `si_code`: where the signal comes from.
    pub code: i32,
    pad: u32,
    /// The fields that depend on `code`.
    pub fields: [u64; 4],
}

// SAFETY: integers without padding; any bit pattern is valid.
unsafe impl crate::mm::user::Pod for SigInfo {}

impl SigInfo {
    /// A signal from the kernel that tells nothing more.
    pub const fn kernel(signo: u32) -> Self {
        Self::new(signo, SI_KERNEL, [0; 4])
    }

    /// A signal with the given `si_code` and fields.
    pub const fn new(signo: u32, code: i32, fields: [u64; 4]) -> Self {
        Self {
            signo,
            errno: 0,
            code,
            pad: 0,
            fields,
        }
    }

    /// A signal that process `pid` of user `uid` sent by a call.
    pub const fn from_sender(signo: u32, code: i32, pid: u32, uid: u32) -> Self {
        Self::new(signo, code, [pid as u64 | (uid as u64) << 32, 0, 0, 0])
    }

    /// A fault at a user address.
    pub const fn fault(signo: u32, code: i32, addr: u64) -> Self {
        Self::new(signo, code, [addr, 0, 0, 0])
    }

    /// What a parent learns of a child. Times in clock ticks.
    pub const fn child(code: i32, pid: u32, uid: u32, status: i32, utime: u64, stime: u64) -> Self {
        Self::new(
            super::SIGCHLD,
            code,
            [
                pid as u64 | (uid as u64) << 32,
                status as u32 as u64,
                utime,
                stime,
            ],
        )
    }

    /// `siginfo_t` as a program sees it.
    pub fn to_bytes(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[0..4].copy_from_slice(&self.signo.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.errno.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.code.to_le_bytes());
        for (chunk, field) in bytes[16..48].chunks_exact_mut(8).zip(self.fields) {
            chunk.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }
}

const _: () = assert!(size_of::<SigInfo>() == 48);
