//! `ls [-1AaCdFhiLlnRrSst] [PATH…]`.

use std::cmp::Reverse;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{mode, names};
use crate::cli::{self, Options, Out};
use crate::sys;

/// Files older than half a year, or newer than now, show the year rather than the time.
const RECENT_SECONDS: i64 = 182 * 24 * 3600;

struct Entry {
    name: Vec<u8>,
    path: Vec<u8>,
    /// Asked for only if an option needs it.
    metadata: Option<Metadata>,
}

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "1AaCdFfHhikLlnoRrSstUpq") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let here = [b".".to_vec()];
    let operands = if options.operands.is_empty() {
        &here[..]
    } else {
        &options.operands
    };
    let mut listing = Listing {
        columns: match options.last_of(b"1Cl") {
            Some(b'C') => Some(sys::window_size(1).0),
            Some(_) => None,
            None => sys::isatty(1).then(|| sys::window_size(1).0),
        },
        long: options.has(b'l') || options.has(b'n') || options.has(b'o'),
        out: Out::stdout(),
        status: 0,
        now: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |t| t.as_secs() as i64),
        options: &options,
    };
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for operand in operands {
        let path = cli::path(operand);
        let followed = !listing.long || options.has(b'L') || options.has(b'H');
        let found = match fs::metadata(path) {
            Ok(metadata) if followed || metadata.is_dir() && operand.ends_with(b"/") => {
                Ok(metadata)
            }
            _ => fs::symlink_metadata(path),
        };
        match found {
            Ok(metadata) if metadata.is_dir() && !options.has(b'd') => {
                directories.push(operand.clone())
            }
            Ok(metadata) => files.push(Entry {
                name: operand.clone(),
                path: operand.clone(),
                metadata: Some(metadata),
            }),
            Err(error) => listing.fail(operand, &error),
        }
    }
    let mut first = files.is_empty();
    if !first {
        listing.show(files);
    }
    directories.sort();
    let titled = operands.len() > 1 || options.has(b'R');
    for directory in directories {
        listing.directory(&directory, titled, &mut first);
    }
    listing.status | listing.out.finish()
}

struct Listing<'o> {
    options: &'o Options,
    columns: Option<usize>,
    long: bool,
    out: Out,
    status: i32,
    now: i64,
}

impl Listing<'_> {
    fn fail(&mut self, path: &[u8], error: &io::Error) {
        cli::warn_error(path, error);
        self.status = 1;
    }

    fn directory(&mut self, directory: &[u8], titled: bool, first: &mut bool) {
        let mut names = match names::entries(directory) {
            Ok(names) => names,
            Err(error) => return self.fail(directory, &error),
        };
        let all = self.options.has(b'a') || self.options.has(b'f');
        if !all && !self.options.has(b'A') {
            names.retain(|name| !name.starts_with(b"."));
        }
        if all {
            names.splice(..0, [b".".to_vec(), b"..".to_vec()]);
        }
        if titled {
            if !std::mem::take(first) {
                self.out.line(b"");
            }
            self.out.line(&[directory, b":"].concat());
        }
        let needs = b"lnoFhiRSstpk".iter().any(|l| self.options.has(*l));
        let mut entries = Vec::new();
        for name in names {
            let path = names::join(directory, &name);
            let metadata = match needs {
                false => Ok(None),
                true if self.options.has(b'L') => fs::metadata(cli::path(&path)).map(Some),
                true => fs::symlink_metadata(cli::path(&path)).map(Some),
            };
            match metadata {
                Ok(metadata) => entries.push(Entry {
                    name,
                    path,
                    metadata,
                }),
                Err(error) => self.fail(&path, &error),
            }
        }
        if self.long || self.options.has(b's') {
            let blocks: u64 = entries
                .iter()
                .filter_map(|e| e.metadata.as_ref())
                .map(|m| m.blocks())
                .sum();
            let kib = blocks.div_ceil(2);
            let total = if self.options.has(b'h') {
                cli::human(kib)
            } else {
                kib.to_string()
            };
            self.out.line(format!("total {total}").as_bytes());
        }
        let entries = self.show(entries);
        if self.options.has(b'R') {
            for entry in entries {
                let is_dir = entry.metadata.as_ref().is_some_and(Metadata::is_dir);
                if is_dir && entry.name != b"." && entry.name != b".." {
                    self.directory(&entry.path, true, first);
                }
            }
        }
    }

    /// Sorts and shows entries, gives them back in that order.
    fn show(&mut self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let of =
            |entry: &Entry, value: fn(&Metadata) -> (i64, i64)| entry.metadata.as_ref().map(value);
        match self.options.last_of(b"tSUf") {
            Some(b't') => entries.sort_by_key(|e| Reverse(of(e, |m| (m.mtime(), m.mtime_nsec())))),
            Some(b'S') => entries.sort_by_key(|e| Reverse(of(e, |m| (m.size() as i64, 0)))),
            Some(_) => {}
            None => entries.sort_by(|a, b| a.name.cmp(&b.name)),
        }
        if self.options.has(b'r') {
            entries.reverse();
        }
        if self.long {
            self.show_long(&entries);
        } else {
            let cells: Vec<Vec<u8>> = entries.iter().map(|e| self.cell(e)).collect();
            self.show_cells(&cells);
        }
        entries
    }

    /// A name with what goes before and after it.
    fn cell(&self, entry: &Entry) -> Vec<u8> {
        let mut cell = Vec::new();
        if let Some(metadata) = &entry.metadata {
            if self.options.has(b'i') {
                cell.extend(format!("{} ", metadata.ino()).as_bytes());
            }
            if self.options.has(b's') {
                cell.extend(format!("{} ", metadata.blocks().div_ceil(2)).as_bytes());
            }
        }
        cell.extend(&entry.name);
        cell.extend(self.mark(entry));
        cell
    }

    /// What `-F` and `-p` put behind a name.
    fn mark(&self, entry: &Entry) -> &'static [u8] {
        let Some(metadata) = entry.metadata.as_ref() else {
            return b"";
        };
        let kind = metadata.file_type();
        match self.options.has(b'F') {
            _ if kind.is_dir() && (self.options.has(b'F') || self.options.has(b'p')) => b"/",
            false => b"",
            true if kind.is_symlink() && self.long => b"",
            true if kind.is_symlink() => b"@",
            true if kind.is_fifo() => b"|",
            true if kind.is_socket() => b"=",
            true if metadata.mode() & 0o111 != 0 => b"*",
            true => b"",
        }
    }

    fn show_cells(&mut self, cells: &[Vec<u8>]) {
        let length = |cell: &[u8]| cell.iter().filter(|b| **b & 0xc0 != 0x80).count();
        let width = cells.iter().map(|c| length(c)).max().unwrap_or(0) + 2;
        let columns = self.columns.map_or(1, |all| (all / width).max(1));
        let rows = cells.len().div_ceil(columns);
        for row in 0..rows {
            let mut line = Vec::new();
            for (place, cell) in cells.iter().skip(row).step_by(rows).enumerate() {
                let used = length(&line);
                line.resize(line.len() + (place * width).saturating_sub(used), b' ');
                line.extend(cell);
            }
            self.out.line(&line);
        }
    }

    fn show_long(&mut self, entries: &[Entry]) {
        let mut rows = Vec::new();
        for entry in entries {
            if let Some(metadata) = &entry.metadata {
                rows.push((self.columns_of(metadata), entry));
            }
        }
        let width = |index: usize| {
            let fields = rows.iter().map(|(fields, _)| fields[index].len());
            fields.max().unwrap_or(0)
        };
        let (links, user, group, size) = (width(1), width(2), width(3), width(4));
        for ([mode, n, u, g, s, time], entry) in &rows {
            let line = format!("{mode} {n:>links$} {u:<user$} {g:<group$} {s:>size$} {time} ");
            let mut line = line.into_bytes();
            line.extend(self.cell(entry));
            let link = entry.metadata.as_ref().is_some_and(Metadata::is_symlink);
            if let (true, Ok(target)) = (link, fs::read_link(cli::path(&entry.path))) {
                line.extend(b" -> ");
                line.extend(target.as_os_str().as_bytes());
            }
            self.out.line(&line);
        }
    }

    /// Mode, links, user, group, size or device, time.
    fn columns_of(&self, metadata: &Metadata) -> [String; 6] {
        let named = |file, id: u32| match self.options.has(b'n') {
            true => id.to_string(),
            false => mode::name_of(file, id),
        };
        let kind = metadata.file_type();
        let size = if kind.is_char_device() || kind.is_block_device() {
            let (major, minor) = mode::device(metadata.rdev());
            format!("{major}, {minor}")
        } else if self.options.has(b'h') && metadata.size() >= 1024 {
            cli::human(metadata.size().div_ceil(1024))
        } else {
            metadata.size().to_string()
        };
        let age = self.now - metadata.mtime();
        let format: &[u8] = match (-60..RECENT_SECONDS).contains(&age) {
            true => b"%b %e %H:%M",
            false => b"%b %e  %Y",
        };
        let time = sys::format_time(format, &sys::broken_down(metadata.mtime(), false));
        [
            mode::letters(metadata.mode()),
            metadata.nlink().to_string(),
            named("/etc/passwd", metadata.uid()),
            named("/etc/group", metadata.gid()),
            size,
            cli::show(&time).into_owned(),
        ]
    }
}
