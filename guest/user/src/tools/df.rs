//! `df [-hk] [PATH…]`: space on file systems.

use crate::cli::{self, Options, Out};
use crate::sys;

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "hkPa") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let table = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounts: Vec<(&str, &str)> = table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            Some((fields.next()?, fields.next()?))
        })
        .collect();
    let human = options.has(b'h');
    let show = |kib: u64| {
        if human {
            cli::human(kib)
        } else {
            kib.to_string()
        }
    };
    let mut out = Out::stdout();
    let size = if human { "Size" } else { "1K-blocks" };
    out.line(
        format!(
            "{:<20} {size:>10} {:>10} {:>10} {:>4} Mounted on",
            "Filesystem", "Used", "Available", "Use%"
        )
        .as_bytes(),
    );
    let mut status = 0;
    let mut line = |source: &str, place: &str, of: &[u8]| match sys::statvfs(of) {
        Ok(space) => {
            if space.f_blocks == 0 && options.operands.is_empty() && !options.has(b'a') {
                return;
            }
            let kib = |blocks: u64| (u128::from(blocks) * u128::from(space.f_frsize) / 1024) as u64;
            let used = space.f_blocks.saturating_sub(space.f_bfree);
            let total = (used + space.f_bavail).max(1);
            let percent = (used * 100).div_ceil(total);
            let (all, used, free) = (kib(space.f_blocks), kib(used), kib(space.f_bavail));
            out.line(
                format!(
                    "{source:<20} {:>10} {:>10} {:>10} {percent:>3}% {place}",
                    show(all),
                    show(used),
                    show(free)
                )
                .as_bytes(),
            );
        }
        Err(error) => {
            cli::warn_error(of, &error);
            status = 1;
        }
    };
    if options.operands.is_empty() {
        for (source, place) in &mounts {
            line(source, place, place.as_bytes());
        }
    }
    for operand in &options.operands {
        let full = std::fs::canonicalize(cli::path(operand)).unwrap_or_default();
        let holds = mounts.iter().filter(|(_, place)| full.starts_with(place));
        let best = holds.max_by_key(|(_, place)| place.len());
        let (source, place) = best.copied().unwrap_or(("-", "-"));
        line(source, place, operand);
    }
    status | out.finish()
}
