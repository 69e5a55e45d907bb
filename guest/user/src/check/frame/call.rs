//! System calls as the kernel knows them: a number, up to six words, a result or an error.

use std::fmt;

/// What a call failed with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.0))
    }
}

/// What fits into a register.
pub trait Argument {
    /// The register's value.
    fn word(self) -> usize;
}

macro_rules! integers {
    ($($integer:ty)*) => {
        $(impl Argument for $integer {
            fn word(self) -> usize {
                self as usize
            }
        })*
    };
}
integers!(i32 u32 i64 u64 isize usize);

impl<T: ?Sized> Argument for &T {
    fn word(self) -> usize {
        (&raw const *self).cast::<u8>() as usize
    }
}

impl<T: ?Sized> Argument for &mut T {
    fn word(self) -> usize {
        (&raw mut *self).cast::<u8>() as usize
    }
}

impl<T> Argument for *const T {
    fn word(self) -> usize {
        self as usize
    }
}

impl<T> Argument for *mut T {
    fn word(self) -> usize {
        self as usize
    }
}

/// Make a call. Tests use [`call!`].
pub fn system_call(number: libc::c_long, words: &[usize]) -> Result<usize, Errno> {
    let mut registers = [0; 6];
    registers[..words.len()].copy_from_slice(words);
    let [a, b, c, d, e, f] = registers;
    // SAFETY: a test hands the kernel memory of its own that holds no Rust value it still believes
    // in, or an address where it expects an error.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    match result {
        // SAFETY: the C library's own word of this thread.
        -1 => Err(Errno(unsafe { *libc::__errno_location() })),
        value => Ok(value as usize),
    }
}

/// `call!(SYS_read, fd, &mut bytes, 10)`: the call's `Result<usize, Errno>`. References go as
/// addresses, a path is `c"path"`.
macro_rules! call {
    ($number:expr $(, $argument:expr)* $(,)?) => {
        $crate::frame::call::system_call($number, &[$($crate::frame::call::Argument::word($argument)),*])
    };
}

/// `ok!(SYS_close, fd)`: the result of a call that must succeed.
macro_rules! ok {
    ($number:expr $(, $argument:expr)* $(,)?) => {
        match call!($number $(, $argument)*) {
            Ok(value) => value,
            Err(error) => panic!("{}: {error:?}", stringify!($number)),
        }
    };
}

/// `fails!(EBADF, SYS_close, -1)`: a call that must fail, and with what.
macro_rules! fails {
    ($errno:expr, $number:expr $(, $argument:expr)* $(,)?) => {
        assert_eq!(
            call!($number $(, $argument)*),
            Err($crate::frame::call::Errno($errno)),
            "{} must fail with {}",
            stringify!($number),
            stringify!($errno)
        )
    };
}
