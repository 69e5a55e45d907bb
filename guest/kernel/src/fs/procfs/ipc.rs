//! `/proc/sysvipc` and `/proc/sys/fs/mqueue`.

use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicU32, Ordering};

use super::system::{Directory, setting, text};
use crate::errno::{Errno, KResult};
use crate::ipc::mqueue::LIMITS;
use crate::ipc::{msg, sem, shm};

/// `/proc/sysvipc`.
pub static SYSVIPC: Directory = Directory {
    entries: &[
        text("msg", msg::describe),
        text("sem", sem::describe),
        text("shm", shm::describe),
    ],
};

/// `/proc/sys/fs/mqueue`.
pub static MQUEUE: Directory = Directory {
    entries: &[
        setting(
            "msg_default",
            || show(&LIMITS.default_messages),
            |text| set(&LIMITS.default_messages, text, 1, 65536),
        ),
        setting(
            "msg_max",
            || show(&LIMITS.most_messages),
            |text| set(&LIMITS.most_messages, text, 1, 65536),
        ),
        setting(
            "msgsize_default",
            || show(&LIMITS.default_length),
            |text| set(&LIMITS.default_length, text, 128, 16 << 20),
        ),
        setting(
            "msgsize_max",
            || show(&LIMITS.most_length),
            |text| set(&LIMITS.most_length, text, 128, 16 << 20),
        ),
        setting(
            "queues_max",
            || show(&LIMITS.most_queues),
            |text| set(&LIMITS.most_queues, text, 0, i32::MAX as u32),
        ),
    ],
};

fn show(limit: &AtomicU32) -> String {
    format!("{}\n", limit.load(Ordering::Relaxed))
}

/// Set a limit to what `text` says. EINVAL.
fn set(limit: &AtomicU32, text: &str, least: u32, most: u32) -> KResult<()> {
    let value: u32 = text.parse().map_err(|_| Errno::EINVAL)?;
    if !(least..=most).contains(&value) {
        return Err(Errno::EINVAL);
    }
    limit.store(value, Ordering::Relaxed);
    Ok(())
}
