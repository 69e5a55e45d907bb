//! The guest's root disk: the built-in image, an image of the user's, or a directory.

#[cfg(feature = "builtin")]
use std::fs::File;
use std::path::{Path, PathBuf};

#[cfg(feature = "builtin")]
use gnomon_devices::virtio::block::Overlay;
use gnomon_devices::virtio::block::{BlockBackend, DiskError, DiskFile};
#[cfg(feature = "builtin")]
use gnomon_images::{FileDevice, ImageDevice, ImageError, ROOT, add_file, root_from_dir};
use thiserror::Error;

/// `--file HOST[:GUEST]`.
#[derive(Clone, Debug)]
pub struct FileSpec {
    /// The file on the host.
    pub host: PathBuf,
    /// Its absolute path in the guest; a directory if it ends with a slash.
    pub guest: String,
}

/// Why there is no root disk.
#[derive(Debug, Error)]
pub enum RootError {
    /// Neither a file nor a directory.
    #[error("--root {path}: {source}")]
    Missing {
        /// What was named.
        path: String,
        /// What the host says.
        source: std::io::Error,
    },
    /// The image file cannot be a disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// This gnomon cannot make images.
    #[cfg(not(feature = "builtin"))]
    #[error(
        "this gnomon has been built without its guest: name an ext2 image with --root, and do without --file"
    )]
    NotBuiltIn,
    /// Files cannot be put into the image.
    #[cfg(feature = "builtin")]
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// The root disk for `--root` and `--file`.
///
/// An image of the user's is changed by the guest, and `--file` changes it, too. What is made of a
/// directory, and the built-in image, are forgotten at the end.
///
/// # Errors
/// One line that names the file.
#[cfg(feature = "builtin")]
pub fn disk(root: Option<&Path>, files: &[FileSpec]) -> Result<Box<dyn BlockBackend>, RootError> {
    let Some(path) = root else {
        if files.is_empty() {
            let root = Overlay::new(ROOT.bytes, ROOT.size);
            return Ok(Box::new(root.letting_go(gnomon_images::let_go)));
        }
        return scratch(ROOT.to_device(), files);
    };
    let missing = |source| RootError::Missing {
        path: path.display().to_string(),
        source,
    };
    if std::fs::metadata(path).map_err(missing)?.is_dir() {
        return scratch(root_from_dir(path)?, files);
    }
    // Opened first: it takes the lock that keeps other virtual machines away.
    let disk = DiskFile::open(path, false)?;
    for spec in files {
        let file = File::options().read(true).write(true).open(path);
        let device = file.and_then(FileDevice::new).map_err(missing)?;
        add_file(device, &spec.host, &spec.guest)?;
    }
    Ok(Box::new(disk))
}

/// The root disk for `--root`, which must be an image.
///
/// # Errors
/// One line that names the file.
#[cfg(not(feature = "builtin"))]
pub fn disk(root: Option<&Path>, files: &[FileSpec]) -> Result<Box<dyn BlockBackend>, RootError> {
    let path = root.filter(|_| files.is_empty());
    let path = path.ok_or(RootError::NotBuiltIn)?;
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(RootError::NotBuiltIn),
        Ok(_) => Ok(Box::new(DiskFile::open(path, false)?)),
        Err(source) => Err(RootError::Missing {
            path: path.display().to_string(),
            source,
        }),
    }
}

/// A disk on `image` with `files` put in, that is forgotten at the end.
#[cfg(feature = "builtin")]
fn scratch(mut image: ImageDevice, files: &[FileSpec]) -> Result<Box<dyn BlockBackend>, RootError> {
    for spec in files {
        add_file(&mut image, &spec.host, &spec.guest)?;
    }
    let size = gnomon_ext2::BlockDevice::size(&image);
    // For the rest of the process's life, which is the guest's.
    let bytes = Box::leak(image.into_bytes().into_boxed_slice());
    Ok(Box::new(Overlay::new(bytes, size)))
}
