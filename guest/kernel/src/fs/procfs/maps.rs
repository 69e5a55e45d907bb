//! The areas of a process's memory: `/proc/PID/maps`, `smaps` and `smaps_rollup`.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::process::check_inspect;
use crate::errno::{Errno, KResult};
use crate::mm::layout::PAGE;
use crate::mm::{AreaInfo, AreaUsage, Prot};
use crate::task::{Process, mapped};

/// `line` with a label in the column where `maps` has it.
fn labelled(line: &str, label: &str) -> String {
    format!("{line:<73}{label}")
}

fn describe_area(process: &Process, area: &AreaInfo) -> String {
    let flag = |prot: Prot, letter: char| {
        if area.prot.contains(prot) {
            letter
        } else {
            '-'
        }
    };
    let (dev, ino) = match &area.inode {
        Some(inode) => {
            let meta = inode.metadata();
            (meta.dev, meta.ino)
        }
        None => (0, 0),
    };
    let (major, minor) = crate::fs::device::split_dev(dev);
    let mut line = format!(
        "{:08x}-{:08x} {}{}{}{} {:08x} {major:02x}:{minor:02x} {ino} ",
        area.start,
        area.end,
        flag(Prot::READ, 'r'),
        flag(Prot::WRITE, 'w'),
        flag(Prot::EXEC, 'x'),
        if area.shared { 's' } else { 'p' },
        area.offset,
    );
    let label = if area.stack {
        Some(String::from("[stack]"))
    } else if area.heap {
        Some(String::from("[heap]"))
    } else {
        let path = area.inode.as_ref();
        path.and_then(|inode| mapped::path(process, inode))
            .map(|path| String::from_utf8_lossy(&path).into_owned())
    };
    if let Some(label) = label {
        line = labelled(&line, &label);
    }
    line.push('\n');
    line
}

/// `/proc/PID/maps`.
pub fn maps(process: &Arc<Process>, _id: u32) -> KResult<Vec<u8>> {
    check_inspect(process)?;
    let mut text = String::new();
    if let Some(space) = process.space() {
        for area in space.areas() {
            text.push_str(&describe_area(process, &area));
        }
    }
    Ok(text.into_bytes())
}

/// What is in memory of an area, or of several, by name; in bytes.
fn amounts(usage: &AreaUsage, locked: bool) -> [(&'static str, usize); 10] {
    [
        ("Rss", usage.resident),
        ("Pss", usage.proportional),
        ("Shared_Clean", usage.shared_clean),
        ("Shared_Dirty", usage.shared_dirty),
        ("Private_Clean", usage.private_clean),
        ("Private_Dirty", usage.private_dirty),
        ("Referenced", usage.referenced),
        ("Anonymous", usage.anonymous),
        ("Swap", usage.swapped),
        ("Locked", if locked { usage.resident } else { 0 }),
    ]
}

fn write_amount(text: &mut String, label: &str, bytes: usize) {
    let label = format!("{label}:");
    let _ = writeln!(text, "{label:<15} {:>8} kB", bytes / 1024);
}

/// `/proc/PID/smaps`: the areas, and what is in memory of each.
pub fn smaps(process: &Arc<Process>, _id: u32) -> KResult<Vec<u8>> {
    check_inspect(process)?;
    let mut text = String::new();
    if let Some(space) = process.space() {
        for area in space.areas() {
            text.push_str(&describe_area(process, &area));
            write_amount(&mut text, "Size", area.end - area.start);
            write_amount(&mut text, "KernelPageSize", PAGE);
            write_amount(&mut text, "MMUPageSize", PAGE);
            for (label, bytes) in amounts(&space.area_usage(area.start), area.locked) {
                write_amount(&mut text, label, bytes);
            }
        }
    }
    Ok(text.into_bytes())
}

/// `/proc/PID/smaps_rollup`: the sums over all areas.
pub fn smaps_rollup(process: &Arc<Process>, _id: u32) -> KResult<Vec<u8>> {
    check_inspect(process)?;
    let space = process.space().ok_or(Errno::ESRCH)?;
    let areas = space.areas();
    let (Some(first), Some(last)) = (areas.first(), areas.last()) else {
        return Ok(Vec::new());
    };
    let range = format!(
        "{:08x}-{:08x} ---p 00000000 00:00 0 ",
        first.start, last.end
    );
    let mut text = labelled(&range, "[rollup]\n");
    let mut sums = amounts(&AreaUsage::default(), false);
    for area in &areas {
        let parts = amounts(&space.area_usage(area.start), area.locked);
        for (sum, part) in sums.iter_mut().zip(parts) {
            sum.1 += part.1;
        }
    }
    for (label, bytes) in sums {
        write_amount(&mut text, label, bytes);
    }
    Ok(text.into_bytes())
}
