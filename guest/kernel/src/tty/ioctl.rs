//! What `ioctl(2)` does to terminals (`ioctl_tty(2)`).

use core::sync::atomic::Ordering;

use super::termios::{Termios, WinSize};
use super::{Side, Tty, disassociate};
use crate::errno::{Errno, KResult};
use crate::fs::FIONREAD;
use crate::mm::user::{read_user, write_user};
use crate::task::signal;
use crate::task::{self, table};

const TCGETS: u32 = 0x5401;
const TCSETS: u32 = 0x5402;
const TCSETSW: u32 = 0x5403;
const TCSETSF: u32 = 0x5404;
const TCSBRK: u32 = 0x5409;
const TCXONC: u32 = 0x540a;
const TCFLSH: u32 = 0x540b;
const TIOCSCTTY: u32 = 0x540e;
const TIOCGPGRP: u32 = 0x540f;
const TIOCSPGRP: u32 = 0x5410;
const TIOCOUTQ: u32 = 0x5411;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
const TIOCNOTTY: u32 = 0x5422;
const TIOCGETD: u32 = 0x5424;
const TCSBRKP: u32 = 0x5425;
const TIOCGSID: u32 = 0x5429;

impl Tty {
    /// One terminal request. ENOTTY for an unknown one, EFAULT, EIO in an orphaned background
    /// group.
    pub(super) fn ioctl(
        self: &alloc::sync::Arc<Self>,
        side: Side,
        cmd: u32,
        arg: usize,
    ) -> KResult<usize> {
        // Who plays the terminal is never in its background, and may ask about any session.
        let check_background = || match side {
            Side::Terminal => self.check_background(signal::SIGTTOU),
            Side::Master => Ok(()),
        };
        let check_asker = || match side {
            Side::Terminal => self.check_controlling(),
            Side::Master => Ok(()),
        };
        match cmd {
            TCGETS => {
                let termios = self.discipline.lock().termios;
                write_user(arg, &termios)?;
            }
            TCSETS | TCSETSW | TCSETSF => {
                let new: Termios = read_user(arg)?;
                check_background()?;
                if cmd != TCSETS {
                    self.line.drain();
                }
                let mut discipline = self.discipline.lock();
                if cmd == TCSETSF {
                    discipline.flush_input();
                }
                discipline.set_termios(new);
                let stopped = discipline.stopped;
                drop(discipline);
                self.input.wake_all();
                if !stopped {
                    self.output.wake_all();
                }
            }
            TCSBRK | TCSBRKP => {
                check_background()?;
                self.line.drain();
            }
            TCXONC => {
                check_background()?;
                match arg {
                    0 => self.discipline.lock().stopped = true,
                    1 => {
                        self.discipline.lock().stopped = false;
                        self.output.wake_all();
                    }
                    2 | 3 => {}
                    _ => return Err(Errno::EINVAL),
                }
            }
            TCFLSH => {
                check_background()?;
                match arg {
                    0 | 2 => self.flush_input(),
                    1 => {}
                    _ => return Err(Errno::EINVAL),
                }
            }
            TIOCGWINSZ => {
                let window = *self.window.lock();
                write_user(arg, &window)?;
            }
            TIOCSWINSZ => {
                let window: WinSize = read_user(arg)?;
                self.set_window(window);
            }
            TIOCGPGRP => {
                check_asker()?;
                write_user(arg, &self.foreground())?;
            }
            TIOCSPGRP => self.set_foreground(arg)?,
            TIOCGSID => {
                check_asker()?;
                match self.session() {
                    0 => return Err(Errno::ENOTTY),
                    session => write_user(arg, &session)?,
                }
            }
            TIOCSCTTY => self.become_controlling(arg)?,
            TIOCNOTTY => {
                self.check_controlling()?;
                disassociate(task::current_process());
            }
            FIONREAD => {
                let count = self.discipline.lock().available() as u32;
                write_user(arg, &count)?;
            }
            TIOCOUTQ | TIOCGETD => write_user(arg, &0u32)?,
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }

    /// Whether this is the controlling terminal of the running process. ENOTTY.
    fn check_controlling(&self) -> KResult<()> {
        let session = self.session();
        if session != 0 && session == task::current_process().sid() {
            Ok(())
        } else {
            Err(Errno::ENOTTY)
        }
    }

    fn set_foreground(&self, arg: usize) -> KResult<()> {
        let group: u32 = read_user(arg)?;
        self.check_controlling()?;
        self.check_background(signal::SIGTTOU)?;
        if group as i32 <= 0 {
            return Err(Errno::EINVAL);
        }
        let session = task::current_process().sid();
        let (known, ours) = {
            let table = table::table();
            let mut known = false;
            let mut ours = false;
            for process in table.group(group) {
                known = true;
                ours |= process.sid() == session;
            }
            (known, ours)
        };
        if !known {
            return Err(Errno::ESRCH);
        }
        if !ours {
            return Err(Errno::EPERM);
        }
        self.foreground.store(group, Ordering::Relaxed);
        Ok(())
    }

    /// `TIOCSCTTY`: the terminal of a session leader without one; `arg` 1 lets root steal it.
    fn become_controlling(self: &alloc::sync::Arc<Self>, arg: usize) -> KResult<()> {
        let process = task::current_process();
        let sid = process.sid();
        if sid != process.pid() {
            return Err(Errno::EPERM);
        }
        if self.session() == sid {
            return Ok(());
        }
        if process.ctty.lock().is_some() {
            return Err(Errno::EPERM);
        }
        let owner = self.session();
        if owner != 0 {
            let steals = arg == 1 && process.creds.lock().is_privileged();
            if !steals {
                return Err(Errno::EPERM);
            }
            for other in table::all_processes() {
                if other.sid() == owner {
                    *other.ctty.lock() = None;
                }
            }
        }
        self.session.store(sid, Ordering::Relaxed);
        self.foreground.store(process.pgid(), Ordering::Relaxed);
        *process.ctty.lock() = Some(self.clone());
        Ok(())
    }

    /// Another size of the window: the foreground group is told by SIGWINCH.
    pub(super) fn set_window(&self, new: WinSize) {
        let changed = {
            let mut window = self.window.lock();
            core::mem::replace(&mut *window, new) != new
        };
        if changed {
            self.signal_foreground(signal::SIGWINCH);
        }
    }
}
