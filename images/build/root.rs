//! The root file system.

use crate::{
    ImageDevice,
    tree::{NOW, StoreError, Tree},
};
use gnomon_ext2::{Ext2, InodeNumber, MkfsOptions, NewInode, SetAttr};

/// Length of the image: as much as one group of blocks can hold. (A second group would have to
/// begin with structures of its own, far behind the last byte that is not zero now.)
pub const SIZE: u64 = 128 << 20;

/// Directories and their permissions.
const DIRECTORIES: [(&str, u16); 18] = [
    ("/bin", 0o755),
    ("/sbin", 0o755),
    ("/dev", 0o755),
    ("/proc", 0o555),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/etc", 0o755),
    ("/root", 0o700),
    ("/home", 0o755),
    ("/mnt", 0o755),
    ("/run", 0o755),
    ("/usr", 0o755),
    ("/usr/bin", 0o755),
    ("/usr/sbin", 0o755),
    ("/var", 0o755),
    ("/var/log", 0o755),
    ("/var/run", 0o755),
    ("/var/tmp", 0o1777),
];

/// Files and their contents.
const FILES: [(&str, &str); 6] = [
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    ("/etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
    ("/etc/hostname", "gnomon\n"),
    ("/etc/hosts", "127.0.0.1\tlocalhost\n"),
    (
        "/etc/profile",
        "export PATH=/bin:/sbin:/usr/bin:/usr/sbin\nexport HOME=/root\n",
    ),
    ("/etc/os-release", "NAME=Gnomon\nID=gnomon\n"),
];

/// The programs that go into the image.
pub struct Programs {
    /// All of the userland in one.
    pub user: Vec<u8>,
    /// The guest's tests.
    pub tests: Vec<u8>,
    /// The tracer of system calls.
    pub strace: Vec<u8>,
    /// The workloads of `gnomon compare`.
    pub bench: Vec<u8>,
    /// The names of the userland's applets, one a line.
    pub applets: String,
}

/// Make the image; returns it up to its last byte that is not zero.
pub fn build(programs: &Programs) -> Result<Vec<u8>, StoreError> {
    let options = MkfsOptions {
        label: *b"gnomon-root\0\0\0\0\0",
        now: NOW,
        ..MkfsOptions::default()
    };
    let fs = Ext2::mkfs(ImageDevice::new(Vec::new(), SIZE), &options)
        .map_err(|error| StoreError::new("/", error))?;
    let mut tree = Tree { fs, now: NOW };
    for (path, permissions) in DIRECTORIES {
        let ino = tree.directory(path)?;
        let attr = SetAttr {
            permissions: Some(permissions),
            ..SetAttr::default()
        };
        tree.fs
            .set_attr(ino, &attr)
            .map_err(|error| StoreError::new(path, error))?;
    }
    for (path, contents) in FILES {
        write_file(&mut tree, path, 0o644, contents.as_bytes())?;
    }
    let user = write_file(&mut tree, "/bin/gnomon-user", 0o755, &programs.user)?;
    write_file(&mut tree, "/bin/guest-tests", 0o755, &programs.tests)?;
    write_file(&mut tree, "/bin/strace", 0o755, &programs.strace)?;
    write_file(&mut tree, "/bin/bench", 0o755, &programs.bench)?;
    for applet in programs.applets.lines().map(str::trim) {
        if applet.is_empty() || applet.starts_with('#') {
            continue;
        }
        let dir = match applet {
            "init" | "poweroff" => "/sbin",
            _ => "/bin",
        };
        link(&mut tree, dir, applet, user)?;
    }
    // Scripts begin with `#!/usr/bin/env`.
    link(&mut tree, "/usr/bin", "env", user)?;
    let etc = tree.directory("/etc")?;
    tree.fs
        .symlink(etc, b"mtab", b"/proc/mounts", &NewInode::file(0o777), NOW)
        .map_err(|error| StoreError::new("/etc/mtab", error))?;
    Ok(tree.finish()?.into_bytes())
}

fn link(
    tree: &mut Tree<ImageDevice>,
    dir: &str,
    name: &str,
    ino: InodeNumber,
) -> Result<(), StoreError> {
    let parent = tree.directory(dir)?;
    tree.fs
        .link(parent, name.as_bytes(), ino, NOW)
        .map_err(|error| StoreError::new(&format!("{dir}/{name}"), error))
}

/// A regular file of root's.
fn write_file(
    tree: &mut Tree<ImageDevice>,
    path: &str,
    permissions: u16,
    contents: &[u8],
) -> Result<InodeNumber, StoreError> {
    let (dir, name) = tree.place(path, b"")?;
    let ino = tree.new_file(dir, &name, &NewInode::file(permissions))?;
    tree.fs
        .write_at(ino, 0, contents, NOW)
        .map_err(|error| StoreError::new(path, error))?;
    Ok(ino)
}
