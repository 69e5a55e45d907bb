//! What this program does when a test executes it again: `guest-tests --as ROLE ARGUMENTS…`.

use std::io::Write as _;

/// Play a role.
pub fn play(role: &str, arguments: &[&str]) -> libc::c_int {
    let mut out = std::io::stdout().lock();
    let written = match role {
        // The arguments, one a line.
        "arguments" => arguments.iter().try_for_each(|a| writeln!(out, "{a}")),
        // The environment, one a line.
        "environment" => std::env::vars().try_for_each(|(k, v)| writeln!(out, "{k}={v}")),
        // What the kernel gives a new program, by type: `AT_RANDOM` as the bytes there.
        "auxiliary" => auxiliary()
            .iter()
            .try_for_each(|(k, v)| writeln!(out, "{k} {v}")),
        // What of the signals' state outlives exec: mask, pending, and whether SIGUSR1 is ignored.
        "signals" => writeln!(
            out,
            "{:x} {:x} {}",
            mask(),
            pending(),
            disposition(libc::SIGUSR1)
        ),
        // Which of the descriptors are open.
        "descriptors" => writeln!(out, "{:?}", open_descriptors(arguments)),
        // Soft and hard limit of descriptors.
        "limits" => {
            let mut limit = [0u64; 2];
            ok!(libc::SYS_getrlimit, libc::RLIMIT_NOFILE, &mut limit);
            writeln!(out, "{} {}", limit[0], limit[1])
        }
        "dumpable" => writeln!(out, "{}", ok!(libc::SYS_prctl, libc::PR_GET_DUMPABLE)),
        "pid" => writeln!(out, "{}", std::process::id()),
        "threads" => writeln!(
            out,
            "{}",
            std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
        ),
        "stack" => writeln!(out, "{}", (&raw const arguments).addr() >> 12),
        _ => return 2,
    };
    written.is_err().into()
}

use crate::frame::signals::{mask, pending};

/// `default`, `ignored` or `handled`.
fn disposition(signal: i32) -> &'static str {
    let mut action = [0usize; 4];
    ok!(libc::SYS_rt_sigaction, signal, 0, &mut action, 8);
    match action[0] {
        libc::SIG_DFL => "default",
        libc::SIG_IGN => "ignored",
        _ => "handled",
    }
}

fn open_descriptors(list: &[&str]) -> Vec<i32> {
    list.iter()
        .filter_map(|fd| fd.parse().ok())
        .filter(|fd: &i32| call!(libc::SYS_fcntl, *fd, libc::F_GETFD).is_ok())
        .collect()
}

/// The types of the auxiliary vector that are asked for.
const TYPES: [libc::c_ulong; 9] = [
    libc::AT_PAGESZ,
    libc::AT_CLKTCK,
    libc::AT_UID,
    libc::AT_EUID,
    libc::AT_GID,
    libc::AT_SECURE,
    libc::AT_PHNUM,
    libc::AT_ENTRY,
    libc::AT_RANDOM,
];

fn auxiliary() -> Vec<(u64, u64)> {
    TYPES
        .iter()
        .map(|kind| {
            // SAFETY: reads the vector.
            let value = unsafe { libc::getauxval(*kind) };
            match *kind {
                // SAFETY: the kernel's promise: sixteen bytes.
                libc::AT_RANDOM => (*kind, unsafe { (value as *const u64).read_unaligned() }),
                _ => (*kind, value),
            }
        })
        .collect()
}
