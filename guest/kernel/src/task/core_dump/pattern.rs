//! Where core images go (`core(5)`, "Naming of core dump files").

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::errno::{Errno, KResult};
use crate::sync::SpinLock;
use crate::task::current;
use crate::task::rlimit::Resource;

/// Bytes of the pattern.
const MAX: usize = 128;

/// The pattern; none: `core`.
static PATTERN: SpinLock<Option<String>> = SpinLock::new(None);
static USES_PID: AtomicBool = AtomicBool::new(false);

/// `/proc/sys/kernel/core_pattern`
pub fn pattern() -> String {
    let pattern = PATTERN.lock();
    pattern.clone().unwrap_or_else(|| String::from("core"))
}

/// Set it. Programs that images are piped to do not exist here.
///
/// # Errors
/// EINVAL: a pipe, or longer than 127 bytes.
pub fn set_pattern(text: &str) -> KResult<()> {
    if text.starts_with('|') || text.len() >= MAX {
        return Err(Errno::EINVAL);
    }
    *PATTERN.lock() = Some(String::from(text));
    Ok(())
}

/// `/proc/sys/kernel/core_uses_pid`: `.PID` is appended where the pattern has no `%p`.
pub fn uses_pid() -> bool {
    USES_PID.load(Ordering::Relaxed)
}

/// Set it.
///
/// # Errors
/// EINVAL: not a number.
pub fn set_uses_pid(text: &str) -> KResult<()> {
    let value: u32 = text.parse().map_err(|_| Errno::EINVAL)?;
    USES_PID.store(value != 0, Ordering::Relaxed);
    Ok(())
}

/// The name of the image of the running process, which `signo` ends.
///
/// # Errors
/// ENOENT: the pattern is empty.
pub(super) fn file_name(signo: u32) -> KResult<Vec<u8>> {
    let me = current();
    let process = &*me.process;
    let pattern = pattern();
    let mut name = String::new();
    let mut has_pid = false;
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            name.push(c);
            continue;
        }
        // A String's buffer grows or the machine is out of memory: writing does not fail.
        let _ = match rest.next() {
            Some('%') => name.write_char('%'),
            Some('p' | 'P') => {
                has_pid = true;
                write!(name, "{}", process.pid())
            }
            Some('i' | 'I') => write!(name, "{}", me.tid()),
            Some('u') => write!(name, "{}", process.creds.lock().uid),
            Some('g') => write!(name, "{}", process.creds.lock().gid),
            Some('d') => write!(name, "1"),
            Some('s') => write!(name, "{signo}"),
            Some('t') => write!(name, "{}", crate::time::wall_seconds()),
            Some('h') => write!(
                name,
                "{}",
                String::from_utf8_lossy(crate::syscall::HOST_NAME.lock().bytes())
            ),
            Some('c') => write!(name, "{}", process.rlimit(Resource::Core)),
            Some('e') => {
                let (comm, len) = me.comm();
                push_name(&mut name, &comm[..len]);
                Ok(())
            }
            Some('f') => {
                let exe = process.exe.lock().clone();
                let path = exe.map(|exe| exe.display_path()).unwrap_or_default();
                let base = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
                push_name(&mut name, base);
                Ok(())
            }
            Some('E') => {
                let exe = process.exe.lock().clone();
                push_name(
                    &mut name,
                    &exe.map(|exe| exe.display_path()).unwrap_or_default(),
                );
                Ok(())
            }
            // An unknown letter stands for nothing, and so does one that is missing.
            _ => Ok(()),
        };
    }
    if uses_pid() && !has_pid {
        let _ = write!(name, ".{}", process.pid());
    }
    if name.is_empty() {
        return Err(Errno::ENOENT);
    }
    Ok(name.into_bytes())
}

/// A program may choose its name: it must not lead to another directory.
fn push_name(name: &mut String, part: &[u8]) {
    for c in String::from_utf8_lossy(part).chars() {
        name.push(if c == '/' { '!' } else { c });
    }
}
