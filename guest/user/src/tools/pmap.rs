//! `pmap [-x] PID…`: what processes have mapped, from `/proc/PID/maps` and, with `-x`, `smaps`.

use std::fs::{read, read_to_string};

use crate::cli::{self, Options, Out};

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "xq") {
        Ok(options) => options,
        Err(status) => return status,
    };
    if options.operands.is_empty() {
        cli::warn(format_args!("a process number is missing"));
        return 1;
    }
    let mut out = Out::stdout();
    let mut status = 0;
    for operand in &options.operands {
        let Some(pid) = cli::number::<u32>(operand) else {
            cli::warn(format_args!("{}: no process number", cli::show(operand)));
            status = 1;
            continue;
        };
        if let Err(error) = show(pid, options.has(b'x'), &mut out) {
            cli::warn_error(operand, &error);
            status = 1;
        }
    }
    status | out.finish()
}

fn show(pid: u32, extended: bool, out: &mut Out) -> std::io::Result<()> {
    let file = if extended { "smaps" } else { "maps" };
    let text = read_to_string(format!("/proc/{pid}/{file}"))?;
    let arguments = read(format!("/proc/{pid}/cmdline"))?;
    let words: Vec<_> = arguments
        .split(|&b| b == 0)
        .filter(|word| !word.is_empty())
        .map(cli::show)
        .collect();
    out.line(format!("{pid}: {}", words.join(" ")).as_bytes());
    if extended {
        out.line(b"Address           Kbytes     RSS   Dirty    Swap Mode  Mapping");
    }
    // Size, resident, dirty, swapped, in KiB.
    let mut total = [0; 4];
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(area) = Area::parse(line) else {
            continue;
        };
        let mut numbers = [area.kib, 0, 0, 0];
        while let Some(line) = lines.next_if(|line| Area::parse(line).is_none()) {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim().trim_end_matches(" kB").parse().unwrap_or(0);
            match name {
                "Rss" => numbers[1] += value,
                "Shared_Dirty" | "Private_Dirty" => numbers[2] += value,
                "Swap" => numbers[3] += value,
                _ => {}
            }
        }
        for (sum, number) in total.iter_mut().zip(numbers) {
            *sum += number;
        }
        let [kib, resident, dirty, swapped] = numbers;
        let (start, mode, name) = (area.start, area.mode, area.name);
        let line = if extended {
            format!("{start:016x} {kib:7} {resident:7} {dirty:7} {swapped:7} {mode} {name}")
        } else {
            format!("{start:016x} {kib:6}K {mode} {name}")
        };
        out.line(line.as_bytes());
    }
    let [kib, resident, dirty, swapped] = total;
    let line = if extended {
        format!("total kB         {kib:8} {resident:7} {dirty:7} {swapped:7}")
    } else {
        format!(" total           {kib:6}K")
    };
    out.line(line.as_bytes());
    Ok(())
}

/// The first line of an area.
struct Area<'a> {
    start: u64,
    kib: u64,
    mode: String,
    name: &'a str,
}

impl<'a> Area<'a> {
    /// `START-END MODE OFFSET DEVICE INODE [PATH]`; `None` for another line.
    fn parse(line: &'a str) -> Option<Self> {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let (start, end) = (hex(start)?, hex(end)?);
        let (mode, rest) = rest.split_once(' ')?;
        let mut rest = rest.splitn(4, ' ');
        let path = rest.nth(3).unwrap_or_default().trim_start();
        let name = match path {
            "" | "[heap]" => "  [ anon ]",
            "[stack]" => "  [ stack ]",
            path => path.rsplit('/').next().unwrap_or(path),
        };
        // As pmap writes it: s for shared, and no letter for private.
        let (bits, sharing) = mode.split_at_checked(3)?;
        let mode = format!("{bits}{}-", if sharing == "s" { "s" } else { "-" });
        Some(Area {
            start,
            kib: end.checked_sub(start)? / 1024,
            mode,
            name,
        })
    }
}
