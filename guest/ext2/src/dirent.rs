//! Directory blocks: a chain of entries that covers the block exactly.
//!
//! ```text
//! u32 inode (0: unused)   u16 length of the entry   u8 length of the name   u8 type   name …
//! ```
//!
//! Lengths are multiples of 4; what an entry does not need itself is room for another one.

use crate::layout::{put_u16, put_u32, u16_at, u32_at};

/// Bytes before the name.
const HEADER: usize = 8;

/// The message for a broken chain.
pub(crate) const BROKEN: &str = "a directory block is damaged";

/// One entry of a block.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub offset: usize,
    pub ino: u32,
    pub len: usize,
    pub kind: u8,
    pub name: &'a [u8],
}

/// The entries of a block, unused ones included; ends after an Err.
pub(crate) struct Entries<'a> {
    data: &'a [u8],
    offset: usize,
    inodes: u32,
}

/// Walk through a directory block of a file system with `inodes` inodes.
pub(crate) fn entries(data: &[u8], inodes: u32) -> Entries<'_> {
    Entries {
        data,
        offset: 0,
        inodes,
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, &'static str>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (data, offset) = (self.data, self.offset);
        if offset >= data.len() {
            return None;
        }
        self.offset = data.len();
        if offset + HEADER > data.len() {
            return Some(Err(BROKEN));
        }
        let ino = u32_at(data, offset);
        let len = usize::from(u16_at(data, offset + 4));
        let name_len = usize::from(data[offset + 6]);
        if len < HEADER + name_len
            || len < HEADER + 4
            || !len.is_multiple_of(4)
            || offset + len > data.len()
            || ino > self.inodes
        {
            return Some(Err(BROKEN));
        }
        self.offset = offset + len;
        Some(Ok(Entry {
            offset,
            ino,
            len,
            kind: data[offset + 7],
            name: &data[offset + HEADER..offset + HEADER + name_len],
        }))
    }
}

/// The first entry called `name` in a block, from the entry at `start` on.
///
/// This is what a path costs, so it looks at no more than it must: at each entry's lengths, and at
/// the name if the length fits.
pub(crate) fn find<'a>(
    data: &'a [u8],
    start: usize,
    inodes: u32,
    name: &[u8],
) -> Result<Option<Entry<'a>>, &'static str> {
    let Some(&last) = name.last() else {
        return Ok(None);
    };
    let mut offset = start;
    while let Some(header) = data.get(offset..offset + HEADER) {
        let len = usize::from(u16_at(header, 4));
        let end = offset + len;
        if len < HEADER + 4 || !len.is_multiple_of(4) || end > data.len() {
            return Err(BROKEN);
        }
        if usize::from(header[6]) == name.len() {
            // Names that begin alike are more common than names that end alike.
            let here = &data[offset + HEADER..end];
            if here.get(name.len() - 1) == Some(&last)
                && here.starts_with(name)
                && u32_at(header, 0) != 0
            {
                return entries(&data[offset..], inodes)
                    .next()
                    .transpose()
                    .map(|entry| entry.map(|entry| Entry { offset, ..entry }));
            }
        }
        offset = end;
    }
    match offset == data.len() {
        true => Ok(None),
        false => Err(BROKEN),
    }
}

/// Bytes that an entry needs.
pub(crate) fn needed(name_len: usize) -> usize {
    (HEADER + name_len).next_multiple_of(4)
}

/// Where in the block an entry with a name of `name_len` bytes fits, from the entry at `start` on.
pub(crate) fn room(
    data: &[u8],
    start: usize,
    inodes: u32,
    name_len: usize,
) -> Result<Option<usize>, &'static str> {
    let need = needed(name_len);
    let mut walk = entries(data, inodes);
    walk.offset = start;
    for entry in walk {
        let entry = entry?;
        let taken = match entry.ino {
            0 => 0,
            _ => needed(entry.name.len()),
        };
        if entry.len - taken >= need {
            return Ok(Some(entry.offset));
        }
    }
    Ok(None)
}

/// Put an entry where [`room`] has found some; returns its offset.
pub(crate) fn insert(data: &mut [u8], at: usize, name: &[u8], ino: u32, kind: u8) -> usize {
    let len = usize::from(u16_at(data, at + 4));
    let (offset, len) = if u32_at(data, at) == 0 {
        (at, len)
    } else {
        let taken = needed(usize::from(data[at + 6]));
        put_u16(data, at + 4, taken as u16);
        (at + taken, len - taken)
    };
    write(data, offset, len, name, ino, kind);
    offset
}

/// Write an entry of `len` bytes.
pub(crate) fn write(data: &mut [u8], offset: usize, len: usize, name: &[u8], ino: u32, kind: u8) {
    put_u32(data, offset, ino);
    put_u16(data, offset + 4, len as u16);
    data[offset + 6] = name.len() as u8;
    data[offset + 7] = kind;
    data[offset + HEADER..offset + HEADER + name.len()].copy_from_slice(name);
}

/// Let the entry at `offset` name another inode.
pub(crate) fn retarget(data: &mut [u8], offset: usize, ino: u32, kind: u8) {
    put_u32(data, offset, ino);
    data[offset + 7] = kind;
}

/// Remove the entries at `offsets`: their space goes to their predecessors.
pub(crate) fn remove(data: &mut [u8], inodes: u32, offsets: &[u16]) -> Result<(), &'static str> {
    let mut before: Option<usize> = None;
    let mut offset = 0;
    while offset < data.len() {
        let Some(entry) = entries(&data[offset..], inodes).next() else {
            return Err(BROKEN);
        };
        let len = entry?.len;
        if offsets.contains(&(offset as u16)) {
            match before {
                Some(before) => {
                    let joined = usize::from(u16_at(data, before + 4)) + len;
                    put_u16(data, before + 4, joined as u16);
                }
                None => {
                    put_u32(data, offset, 0);
                    before = Some(offset);
                }
            }
        } else {
            before = Some(offset);
        }
        offset += len;
    }
    Ok(())
}

/// The first block of a new directory.
pub(crate) fn first_block(data: &mut [u8], own: u32, parent: u32, kind: u8) {
    let len = data.len();
    write(data, 0, 12, b".", own, kind);
    write(data, 12, len - 12, b"..", parent, kind);
}

/// A block without entries.
pub(crate) fn empty_block(data: &mut [u8]) {
    let len = data.len();
    write(data, 0, len, b"", 0, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    fn names(data: &[u8]) -> Vec<&[u8]> {
        entries(data, 100)
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.ino != 0)
            .map(|entry| entry.name)
            .collect()
    }

    fn add(data: &mut [u8], name: &[u8], ino: u32) -> Option<usize> {
        let at = room(data, 0, 100, name.len()).unwrap()?;
        Some(insert(data, at, name, ino, 1))
    }

    #[test]
    fn entries_come_and_go_within_a_block() {
        let mut data = vec![0; 1024];
        first_block(&mut data, 11, 2, 2);
        let first = add(&mut data, b"first", 12).unwrap();
        let second = add(&mut data, b"second", 13).unwrap();
        let third = add(&mut data, b"third", 14).unwrap();
        assert_eq!(
            names(&data),
            [&b"."[..], b"..", b"first", b"second", b"third"]
        );
        remove(&mut data, 100, &[first as u16, third as u16]).unwrap();
        assert_eq!(names(&data), [&b"."[..], b"..", b"second"]);
        let found = find(&data, 0, 100, b"second").unwrap().unwrap();
        assert_eq!((found.offset, found.ino), (second, 13));
        assert!(find(&data, 0, 100, b"first").unwrap().is_none());
        remove(&mut data, 100, &[second as u16]).unwrap();
        assert_eq!(names(&data), [&b"."[..], b".."]);
    }

    #[test]
    fn first_entry_of_a_block_can_be_removed_and_its_room_used() {
        let mut data = vec![0; 1024];
        empty_block(&mut data);
        let offset = add(&mut data, b"only", 12).unwrap();
        remove(&mut data, 100, &[offset as u16]).unwrap();
        assert!(names(&data).is_empty());
        assert_eq!(add(&mut data, &[b'x'; 255], 13), Some(0));
    }

    #[test]
    fn full_block_has_no_room() {
        let mut data = vec![0; 1024];
        empty_block(&mut data);
        while add(&mut data, &[b'n'; 100], 5).is_some() {}
        assert_eq!(names(&data).len(), 1024 / 108);
        assert_eq!(room(&data, 0, 100, 100), Ok(None));
    }

    #[test]
    fn damaged_chain_ends_in_an_error() {
        for (offset, value) in [(4, 0), (4, 7), (4, 8), (5, 0xff), (6, 0xff), (3, 1)] {
            let mut data = vec![0; 1024];
            first_block(&mut data, 11, 2, 2);
            data[offset] = value;
            assert!(entries(&data, 100).any(|entry| entry.is_err()));
            if offset >= 4 && value != 0xff {
                assert!(find(&data, 0, 100, b"name").is_err());
            }
        }
    }
}
