//! KVM's own counters, through KVM_GET_STATS_FD (KVM API, 4.133).
//!
//! ```text
//!  header: flags, name_size, num_desc, id_offset, desc_offset, data_offset   (u32 each)
//!  descriptor: flags u32, exponent i16, size u16, offset u32, bucket u32, name [name_size]
//!  data: size × u64 at data_offset + offset
//! ```

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

use vmm_sys_util::ioctl::ioctl;

mod request {
    #![allow(missing_docs, reason = "the macro makes a public function without any")]
    vmm_sys_util::ioctl_io_nr!(KVM_GET_STATS_FD, 0xae, 0xce);
}
use request::KVM_GET_STATS_FD;

/// Bytes of the header.
const HEADER: usize = 24;
/// Bytes of a descriptor before its name.
const DESCRIPTOR: usize = 16;
/// No file of statistics is as large as this; a larger one is not believed.
const LIMIT: usize = 1 << 20;

/// The counters of the virtual machine or processor behind `fd`: those that have a single value.
/// Empty where KVM has none (before Linux 5.14).
pub fn read<T: AsRawFd>(fd: &T) -> Vec<(String, u64)> {
    // SAFETY: this ioctl takes no argument and returns a new file descriptor or an error.
    let stats = unsafe { ioctl(fd, KVM_GET_STATS_FD()) };
    if stats < 0 {
        return Vec::new();
    }
    // SAFETY: the descriptor is new and nobody else's.
    let file = unsafe { File::from_raw_fd(stats) };
    read_file(&file).unwrap_or_default()
}

fn read_file(file: &File) -> Option<Vec<(String, u64)>> {
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0).ok()?;
    let [_, name_size, count, _, descriptors, data] = header
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| u32::from_le_bytes(*word) as usize)
        .collect::<Vec<_>>()[..]
    else {
        return None;
    };
    let stride = DESCRIPTOR.checked_add(name_size)?;
    let mut table = vec![0; stride.checked_mul(count).filter(|size| *size < LIMIT)?];
    file.read_exact_at(&mut table, descriptors as u64).ok()?;
    let single = table.chunks_exact(stride).filter_map(|descriptor| {
        let (fixed, name) = descriptor.split_at(DESCRIPTOR);
        let size = u16::from_le_bytes([fixed[6], fixed[7]]);
        let offset = u32::from_le_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]);
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        (size == 1).then(|| (String::from_utf8_lossy(name).into_owned(), offset as usize))
    });
    let single: Vec<_> = single.collect();
    let size = single
        .iter()
        .map(|(_, offset)| offset + 8)
        .max()
        .unwrap_or(0);
    // All at once: a read of its own for each counter would cost more than the whole rest.
    let mut values = vec![0; Some(size).filter(|size| *size < LIMIT)?];
    file.read_exact_at(&mut values, data as u64).ok()?;
    let counters = single.into_iter().filter_map(|(name, offset)| {
        let bytes = values.get(offset..offset + 8)?;
        Some((name, u64::from_le_bytes(bytes.try_into().ok()?)))
    });
    Some(counters.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A file as KVM makes it, with two counters, the second a histogram.
    fn sample() -> File {
        let mut bytes = Vec::new();
        for word in [0_u32, 8, 2, 24, 24, 24 + 2 * 24] {
            bytes.extend(word.to_le_bytes());
        }
        for (name, size, offset) in [(b"exits\0\0\0", 1_u16, 0_u32), (b"hist\0\0\0\0", 2, 8)] {
            bytes.extend([0; 6]);
            bytes.extend(size.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
            bytes.extend([0; 4]);
            bytes.extend(name);
        }
        for value in [42_u64, 1, 2] {
            bytes.extend(value.to_le_bytes());
        }
        let mut file = vmm_sys_util::tempfile::TempFile::new().unwrap().into_file();
        file.write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn single_values_are_read() {
        assert_eq!(read_file(&sample()), Some(vec![("exits".to_owned(), 42)]));
    }

    #[test]
    fn truncated_file_gives_nothing() {
        let file = sample();
        file.set_len(60).unwrap();
        assert_eq!(read_file(&file), None);
    }
}
