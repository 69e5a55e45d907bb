//! `free [-hkm]`: memory in use, from `/proc/meminfo`.

use crate::cli::{self, Options, Out};

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "hkm") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let table = match std::fs::read_to_string("/proc/meminfo") {
        Ok(table) => table,
        Err(error) => {
            cli::warn_error(b"/proc/meminfo", &error);
            return 1;
        }
    };
    let field = |name: &str| {
        let value = table
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = value.and_then(|v| v.split_whitespace().next()?.parse::<u64>().ok());
        number.unwrap_or(0)
    };
    let show = |kib: u64| match options.last_of(b"hkm") {
        Some(b'h') => cli::human(kib),
        Some(b'm') => (kib >> 10).to_string(),
        _ => kib.to_string(),
    };
    let (total, free) = (field("MemTotal"), field("MemFree"));
    let cache = field("Buffers") + field("Cached");
    let used = total.saturating_sub(free + cache);
    let mut out = Out::stdout();
    out.line(
        format!(
            "{:>16} {:>11} {:>11} {:>11}",
            "total", "used", "free", "buff/cache"
        )
        .as_bytes(),
    );
    out.line(
        format!(
            "Mem: {:>11} {:>11} {:>11} {:>11}",
            show(total),
            show(used),
            show(free),
            show(cache)
        )
        .as_bytes(),
    );
    out.finish()
}
