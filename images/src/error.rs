//! What can go wrong with an image.

use crate::tree::StoreError;
use std::{io, path::PathBuf};

/// Why an image cannot be made or changed. Each message is one line that names the file.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file or directory of the host's cannot be read.
    #[error("cannot read {path}: {error}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Only regular files can be added.
    #[error("{path} is not a regular file: put directories in with --root", path = path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// The image is not usable as an ext2 file system.
    #[error("the root image cannot be used: {0}")]
    Mount(String),
    /// The image is full.
    #[error("no space left in the root image for {0}: give a larger image with --root")]
    Full(String),
    /// The file cannot be stored in the image.
    #[error("cannot put {path} into the root image: {reason}")]
    Store {
        /// Path in the image.
        path: String,
        /// Why.
        reason: String,
    },
}

impl From<StoreError> for ImageError {
    fn from(error: StoreError) -> Self {
        match error.full {
            true => ImageError::Full(error.path),
            false => ImageError::Store {
                path: error.path,
                reason: error.reason,
            },
        }
    }
}
