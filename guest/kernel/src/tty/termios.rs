//! Terminal settings: `struct termios` as the kernel's ioctls exchange it (`termios(3)`).

/// Number of control characters.
pub const NCCS: usize = 19;

/// `struct termios` of the kernel (36 bytes; the C library's is larger).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Termios {
    /// Input modes.
    pub iflag: u32,
    /// Output modes.
    pub oflag: u32,
    /// Control modes.
    pub cflag: u32,
    /// Local modes.
    pub lflag: u32,
    /// Line discipline, 0.
    pub line: u8,
    /// Control characters.
    pub cc: [u8; NCCS],
}

const _: () = assert!(core::mem::size_of::<Termios>() == 36);

// SAFETY: integers only, 4 * 4 + 1 + 19 = 36 bytes without padding.
unsafe impl crate::mm::user::Pod for Termios {}

/// Strip the eighth bit.
pub const ISTRIP: u32 = 0o40;
/// NL becomes CR on input.
pub const INLCR: u32 = 0o100;
/// CR is ignored on input.
pub const IGNCR: u32 = 0o200;
/// CR becomes NL on input.
pub const ICRNL: u32 = 0o400;
/// ^S and ^Q stop and start output.
pub const IXON: u32 = 0o2000;
/// Any character restarts output.
pub const IXANY: u32 = 0o4000;
/// Bell when the line is full.
pub const IMAXBEL: u32 = 0o20000;
/// Input is UTF-8: erase whole characters.
pub const IUTF8: u32 = 0o40000;

/// Output is processed at all.
pub const OPOST: u32 = 0o1;
/// NL becomes CR NL on output.
pub const ONLCR: u32 = 0o4;
/// CR becomes NL on output.
pub const OCRNL: u32 = 0o10;
/// No CR at column 0.
pub const ONOCR: u32 = 0o20;
/// NL also returns the carriage.
pub const ONLRET: u32 = 0o40;

/// Characters make signals.
pub const ISIG: u32 = 0o1;
/// Line editing.
pub const ICANON: u32 = 0o2;
/// Echo input.
pub const ECHO: u32 = 0o10;
/// Erase visibly.
pub const ECHOE: u32 = 0o20;
/// Echo NL after KILL.
pub const ECHOK: u32 = 0o40;
/// Echo NL even without ECHO.
pub const ECHONL: u32 = 0o100;
/// No flush after signals.
pub const NOFLSH: u32 = 0o200;
/// Background writers are stopped.
pub const TOSTOP: u32 = 0o400;
/// Echo control characters as ^X.
pub const ECHOCTL: u32 = 0o1000;
/// KILL erases visibly.
pub const ECHOKE: u32 = 0o4000;
/// Extended editing characters.
pub const IEXTEN: u32 = 0o100000;

/// Interrupt: ^C.
pub const VINTR: usize = 0;
/// Quit: ^\.
pub const VQUIT: usize = 1;
/// Erase a character.
pub const VERASE: usize = 2;
/// Erase the line: ^U.
pub const VKILL: usize = 3;
/// End of file: ^D.
pub const VEOF: usize = 4;
/// Time-out of non-canonical reads, in tenths of a second.
pub const VTIME: usize = 5;
/// Least number of bytes of non-canonical reads.
pub const VMIN: usize = 6;
/// Start output: ^Q.
pub const VSTART: usize = 8;
/// Stop output: ^S.
pub const VSTOP: usize = 9;
/// Suspend: ^Z.
pub const VSUSP: usize = 10;
/// Another end of line.
pub const VEOL: usize = 11;
/// Print the line again: ^R.
pub const VREPRINT: usize = 12;
/// Erase a word: ^W.
pub const VWERASE: usize = 14;
/// The next character is literal: ^V.
pub const VLNEXT: usize = 15;
/// Yet another end of line.
pub const VEOL2: usize = 16;

impl Termios {
    /// What Linux gives a fresh terminal.
    pub const fn initial() -> Self {
        let mut cc = [0; NCCS];
        cc[VINTR] = 3;
        cc[VQUIT] = 0o34;
        cc[VERASE] = 0o177;
        cc[VKILL] = 0o25;
        cc[VEOF] = 4;
        cc[VMIN] = 1;
        cc[VSTART] = 0o21;
        cc[VSTOP] = 0o23;
        cc[VSUSP] = 0o32;
        cc[VREPRINT] = 0o22;
        cc[VWERASE] = 0o27;
        cc[VLNEXT] = 0o26;
        Self {
            iflag: ICRNL | IXON | IUTF8,
            oflag: OPOST | ONLCR,
            // B38400, CS8, CREAD, HUPCL.
            cflag: 0o17 | 0o60 | 0o200 | 0o2000,
            lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
            line: 0,
            cc,
        }
    }

    /// Whether input flag `flag` is on.
    pub fn input(&self, flag: u32) -> bool {
        self.iflag & flag != 0
    }

    /// Whether output flag `flag` is on.
    pub fn output(&self, flag: u32) -> bool {
        self.oflag & flag != 0
    }

    /// Whether local flag `flag` is on.
    pub fn local(&self, flag: u32) -> bool {
        self.lflag & flag != 0
    }

    /// Whether `byte` is the control character `index` (a NUL there disables it).
    pub fn is_cc(&self, index: usize, byte: u8) -> bool {
        self.cc[index] != 0 && self.cc[index] == byte
    }
}

/// `struct winsize` (`ioctl_tty(2)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct WinSize {
    /// Rows of characters.
    pub rows: u16,
    /// Columns of characters.
    pub columns: u16,
    /// Width in pixels, 0.
    pub x_pixels: u16,
    /// Height in pixels, 0.
    pub y_pixels: u16,
}

// SAFETY: four integers without padding.
unsafe impl crate::mm::user::Pod for WinSize {}
