//! `sync` and `poweroff`.

use crate::{cli, sys};

/// `sync`: has the kernel write all that it holds back.
pub fn sync(_: &[Vec<u8>]) -> i32 {
    sys::sync();
    0
}

/// `poweroff`: writes everything back and stops the machine.
pub fn poweroff(_: &[Vec<u8>]) -> i32 {
    sys::sync();
    match sys::reboot(libc::RB_POWER_OFF) {
        Ok(()) => 0,
        Err(error) => {
            cli::warn_error(b"cannot stop the machine", &error);
            1
        }
    }
}
