//! `umask` and `ulimit`: what the kernel takes off new files, and grants a process.

use super::{Flow, Shell};
use crate::cli::{self, Out};
use crate::{sys, tools};

/// `umask [-S] [MODE]`.
pub fn umask(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    let symbolic = args.first().is_some_and(|a| a == b"-S");
    let Some(arg) = args.get(usize::from(symbolic)) else {
        let mask = sys::umask(0);
        sys::umask(mask);
        if symbolic {
            let rights = |shift: u32| -> String {
                let bits = !mask >> shift;
                let letters = [('r', 4), ('w', 2), ('x', 1)];
                letters
                    .iter()
                    .filter(|(_, bit)| bits & bit != 0)
                    .map(|(l, _)| l)
                    .collect()
            };
            let text = format!("u={},g={},o={}", rights(6), rights(3), rights(0));
            return Ok(shell.print(&[text.into_bytes()]));
        }
        return Ok(shell.print(&[format!("{mask:04o}").into_bytes()]));
    };
    let text = std::str::from_utf8(arg).unwrap_or_default();
    let mask = match u32::from_str_radix(text, 8) {
        Ok(mask) => Some(mask & 0o777),
        Err(_) => {
            let current = sys::umask(0);
            sys::umask(current);
            tools::chmod::parse_mode(arg, !current & 0o777, false).map(|mode| !mode & 0o777)
        }
    };
    match mask {
        Some(mask) => {
            sys::umask(mask);
            Ok(0)
        }
        None => Err(shell.fatal(format_args!("umask: illegal mode: {text}"))),
    }
}

/// Letter, what it limits, unit in bytes, name.
const LIMITS: &[(u8, u32, u64, &str)] = &[
    (b't', libc::RLIMIT_CPU as _, 1, "time (seconds)"),
    (b'f', libc::RLIMIT_FSIZE as _, 512, "file (blocks)"),
    (b'd', libc::RLIMIT_DATA as _, 1024, "data (kbytes)"),
    (b's', libc::RLIMIT_STACK as _, 1024, "stack (kbytes)"),
    (b'c', libc::RLIMIT_CORE as _, 512, "coredump (blocks)"),
    (b'v', libc::RLIMIT_AS as _, 1024, "vmemory (kbytes)"),
    (b'u', libc::RLIMIT_NPROC as _, 1, "process"),
    (b'n', libc::RLIMIT_NOFILE as _, 1, "nofiles"),
];

/// `ulimit [-HSa] [-cdfnstuv] [LIMIT]`.
pub fn ulimit(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    let (mut soft_only, mut hard_only, mut all) = (false, false, false);
    let mut which = b'f';
    let mut value = None;
    for arg in args {
        match arg.strip_prefix(b"-") {
            Some(letters) => {
                for &letter in letters {
                    match letter {
                        b'S' => soft_only = true,
                        b'H' => hard_only = true,
                        b'a' => all = true,
                        _ => which = letter,
                    }
                }
            }
            None => value = Some(arg),
        }
    }
    let show = |limit: u64, unit: u64| match limit {
        libc::RLIM_INFINITY => "unlimited".to_owned(),
        limit => (limit / unit).to_string(),
    };
    let pick = |(soft, hard): (u64, u64)| if hard_only { hard } else { soft };
    if all {
        let mut out = Out::stdout();
        for &(_, resource, unit, name) in LIMITS {
            let limit = sys::getrlimit(resource)
                .map(pick)
                .unwrap_or(libc::RLIM_INFINITY);
            out.line(format!("{name:<20}{}", show(limit, unit)).as_bytes());
        }
        return Ok(out.finish());
    }
    let Some(&(_, resource, unit, _)) = LIMITS.iter().find(|(letter, ..)| *letter == which) else {
        return Err(shell.fatal(format_args!("ulimit: Illegal option -{}", which as char)));
    };
    let current = shell.attempt(b"ulimit", sys::getrlimit(resource))?;
    let Some(value) = value else {
        return Ok(shell.print(&[show(pick(current), unit).into_bytes()]));
    };
    let limit = match &value[..] {
        b"unlimited" => Some(libc::RLIM_INFINITY),
        text => cli::number::<u64>(text).and_then(|n| n.checked_mul(unit)),
    };
    let Some(limit) = limit else {
        return Err(shell.fatal(format_args!("ulimit: bad number")));
    };
    let soft = if hard_only {
        current.0.min(limit)
    } else {
        limit
    };
    let hard = if soft_only { current.1 } else { limit };
    match sys::setrlimit(resource, soft, hard) {
        Ok(()) => Ok(0),
        Err(error) => {
            shell.complain(b"ulimit: error setting limit", &error);
            Ok(2)
        }
    }
}
