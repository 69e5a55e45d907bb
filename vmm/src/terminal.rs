//! The user's terminal: raw while the guest runs, restored whatever happens.
//!
//! The settings to go back to are kept in one place of the process, so that a panic in any thread
//! and a signal find them, too.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// The terminal that is raw, and how it was.
static SAVED: Mutex<Option<(RawFd, libc::termios)>> = Mutex::new(None);

/// A terminal is raw at the moment.
static RAW: AtomicBool = AtomicBool::new(false);

/// A raw terminal; dropped, it is as it was.
pub struct RawTerminal(());

impl RawTerminal {
    /// Put the terminal behind `fd` into raw mode: no echo, no lines, no signals from keys, no
    /// change of what is written.
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn enter(fd: RawFd) -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                before(info);
            }));
        });
        let settings = get(fd)?;
        *lock() = Some((fd, settings));
        make_raw(fd, settings)?;
        Ok(Self(()))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Whether a terminal is raw now: then a line written to it must end with CR LF.
pub fn is_raw() -> bool {
    RAW.load(Ordering::Relaxed)
}

/// Put the terminal back as it was, if it is raw.
pub fn restore() {
    if let Some((fd, settings)) = lock().take() {
        RAW.store(false, Ordering::Relaxed);
        // SAFETY: `settings` came from the terminal itself; a failure changes nothing.
        unsafe { libc::tcsetattr(fd, libc::TCSADRAIN, &settings) };
    }
}

/// Make the terminal raw again after another program (a shell, on `fg`) has changed it.
pub fn resume() {
    let saved = *lock();
    if let Some((fd, settings)) = saved {
        let _ = make_raw(fd, settings);
    }
}

/// Columns and rows of the terminal behind `fd`; zeros if it has none.
pub fn size(fd: RawFd) -> (u16, u16) {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: TIOCGWINSZ fills one `winsize`.
    let result = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, size.as_mut_ptr()) };
    // SAFETY: all-zero is a valid value of this plain structure.
    let size = unsafe { size.assume_init() };
    if result == 0 {
        (size.ws_col, size.ws_row)
    } else {
        (0, 0)
    }
}

fn get(fd: RawFd) -> io::Result<libc::termios> {
    let mut settings = MaybeUninit::uninit();
    // SAFETY: tcgetattr fills the structure if it succeeds.
    if unsafe { libc::tcgetattr(fd, settings.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it has succeeded.
    Ok(unsafe { settings.assume_init() })
}

fn make_raw(fd: RawFd, mut settings: libc::termios) -> io::Result<()> {
    // SAFETY: changes the fields of the structure alone.
    unsafe { libc::cfmakeraw(&mut settings) };
    // SAFETY: the structure is valid.
    if unsafe { libc::tcsetattr(fd, libc::TCSADRAIN, &settings) } != 0 {
        return Err(io::Error::last_os_error());
    }
    RAW.store(true, Ordering::Relaxed);
    Ok(())
}

fn lock() -> MutexGuard<'static, Option<(RawFd, libc::termios)>> {
    SAVED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes lines to `out`; to a raw terminal with CR LF.
pub struct LineWriter<W>(pub W);

impl<W: io::Write> io::Write for LineWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if is_raw() {
            let mut text = Vec::with_capacity(bytes.len() + 8);
            for &byte in bytes {
                if byte == b'\n' {
                    text.push(b'\r');
                }
                text.push(byte);
            }
            self.0.write_all(&text)?;
        } else {
            self.0.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
