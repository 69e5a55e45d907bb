//! Why an operation failed.

/// Why an operation on the file system failed. `E` is the device's error.
///
/// Each kind corresponds to one `errno`, named in its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The device failed (EIO).
    Device(E),
    /// The image contradicts itself; the text says where (EIO, or EUCLEAN).
    Corrupt(&'static str),
    /// This is not an ext2 file system, or one with features that are not understood (EINVAL).
    Unsupported(&'static str),
    /// There is no such entry (ENOENT).
    NotFound,
    /// The name is taken (EEXIST).
    Exists,
    /// The inode is no directory (ENOTDIR).
    NotDirectory,
    /// The inode is a directory (EISDIR).
    IsDirectory,
    /// The directory has entries (ENOTEMPTY).
    NotEmpty,
    /// No free block or no free inode (ENOSPC).
    NoSpace,
    /// The name is longer than 255 bytes, or a link's target than a block (ENAMETOOLONG).
    NameTooLong,
    /// The inode has 32,000 links (EMLINK).
    TooManyLinks,
    /// The file would be larger than the format can express (EFBIG).
    FileTooBig,
    /// The file system is mounted read-only (EROFS).
    ReadOnly,
    /// The arguments make no sense: a name that is empty or contains `/`, a directory moved below
    /// itself (EINVAL).
    Invalid,
    /// The inode is not in use (ESTALE).
    Stale,
}

impl<E> From<E> for Error<E> {
    fn from(error: E) -> Self {
        Error::Device(error)
    }
}

impl<E: core::fmt::Display> core::fmt::Display for Error<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Error::Device(error) => write!(f, "device error: {error}"),
            Error::Corrupt(what) => write!(f, "corrupt file system: {what}"),
            Error::Unsupported(what) => write!(f, "{what}"),
            Error::NotFound => f.write_str("no such file or directory"),
            Error::Exists => f.write_str("file exists"),
            Error::NotDirectory => f.write_str("not a directory"),
            Error::IsDirectory => f.write_str("is a directory"),
            Error::NotEmpty => f.write_str("directory not empty"),
            Error::NoSpace => f.write_str("no space left on the file system"),
            Error::NameTooLong => f.write_str("file name too long"),
            Error::TooManyLinks => f.write_str("too many links"),
            Error::FileTooBig => f.write_str("file too large"),
            Error::ReadOnly => f.write_str("read-only file system"),
            Error::Invalid => f.write_str("invalid argument"),
            Error::Stale => f.write_str("stale inode"),
        }
    }
}

impl<E: core::fmt::Display + core::fmt::Debug> core::error::Error for Error<E> {}
