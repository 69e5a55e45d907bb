//! Files of the guest's for the host.

use crate::{
    ImageError, RootImage,
    tree::{NOW, StoreError},
};
use gnomon_ext2::{Access, Ext2, InodeNumber};

/// The contents of the regular file `path`, an absolute path without symbolic links, in `image`.
///
/// # Errors
/// In one line: there is no such file.
pub fn read_file(image: &RootImage, path: &str) -> Result<Vec<u8>, ImageError> {
    let failed = |error| ImageError::from(StoreError::new(path, error));
    let mut fs = Ext2::mount(image.to_device(), Access::ReadOnly, NOW).map_err(failed)?;
    let mut ino = InodeNumber::ROOT;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        ino = fs.lookup(ino, name.as_bytes()).map_err(failed)?;
    }
    let mut bytes = vec![0; fs.inode(ino).map_err(failed)?.size as usize];
    let mut done = 0;
    while done < bytes.len() {
        match fs.read_at(ino, done as u64, &mut bytes[done..]) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(bytes)
}
