//! Random operations on a file system, and on a model of one in memory.

use crate::common::*;
use gnomon_ext2::{BlockDevice, Error, Ext2, InodeNumber, NewInode};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// One operation. Directories and names are picked from few, so that they collide often.
#[derive(Clone, Debug)]
pub enum Op {
    Create {
        dir: u8,
        name: u8,
    },
    Mkdir {
        dir: u8,
        name: u8,
    },
    Symlink {
        dir: u8,
        name: u8,
        len: u16,
    },
    Link {
        from: (u8, u8),
        to: (u8, u8),
    },
    Unlink {
        dir: u8,
        name: u8,
        keep_open: bool,
    },
    Rmdir {
        dir: u8,
        name: u8,
    },
    Rename {
        from: (u8, u8),
        to: (u8, u8),
    },
    Write {
        dir: u8,
        name: u8,
        offset: u32,
        len: u16,
        seed: u8,
    },
    Resize {
        dir: u8,
        name: u8,
        len: u32,
    },
    Commit,
}

pub fn op() -> impl Strategy<Value = Op> {
    let place = || (0..6u8, 0..8u8);
    // Small offsets mostly; some beyond the direct blocks.
    let offset = || prop_oneof![0..6000u32, 0..40_000u32, 0..2_000_000u32];
    prop_oneof![
        4 => place().prop_map(|(dir, name)| Op::Create { dir, name }),
        3 => place().prop_map(|(dir, name)| Op::Mkdir { dir, name }),
        1 => (place(), 1..200u16).prop_map(|((dir, name), len)| Op::Symlink { dir, name, len }),
        2 => (place(), place()).prop_map(|(from, to)| Op::Link { from, to }),
        3 => (place(), any::<bool>()).prop_map(|((dir, name), keep_open)| Op::Unlink { dir, name, keep_open }),
        3 => place().prop_map(|(dir, name)| Op::Rmdir { dir, name }),
        6 => (place(), place()).prop_map(|(from, to)| Op::Rename { from, to }),
        6 => (place(), offset(), 1..9000u16, any::<u8>())
            .prop_map(|((dir, name), offset, len, seed)| Op::Write { dir, name, offset, len, seed }),
        2 => (place(), offset()).prop_map(|((dir, name), len)| Op::Resize { dir, name, len }),
        1 => Just(Op::Commit),
    ]
}

/// A name: some are long, so that directories grow and entries do not fit everywhere.
pub fn name(n: u8) -> String {
    match n {
        0..=3 => format!("n{n}"),
        _ => format!("{n}{}", "-long".repeat(usize::from(n) * 5)),
    }
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A file: an index into the model's files.
    File(usize),
    Symlink(Vec<u8>),
    Dir(BTreeMap<String, Node>),
}

/// The whole tree, and the contents of files (which may have several names).
#[derive(Clone, Debug)]
pub struct Model {
    pub root: BTreeMap<String, Node>,
    pub files: Vec<Vec<u8>>,
}

impl Model {
    pub fn new() -> Self {
        Self {
            root: BTreeMap::from([("lost+found".into(), Node::Dir(BTreeMap::new()))]),
            files: Vec::new(),
        }
    }

    /// The paths of all directories, in order; the root first.
    fn directories(&self) -> Vec<Vec<String>> {
        fn collect(at: &BTreeMap<String, Node>, path: &[String], all: &mut Vec<Vec<String>>) {
            all.push(path.to_vec());
            for (name, node) in at {
                if let Node::Dir(dir) = node
                    && name != "lost+found"
                {
                    let mut path = path.to_vec();
                    path.push(name.clone());
                    collect(dir, &path, all);
                }
            }
        }
        let mut all = Vec::new();
        collect(&self.root, &[], &mut all);
        all
    }

    fn dir(&mut self, path: &[String]) -> &mut BTreeMap<String, Node> {
        let mut at = &mut self.root;
        for name in path {
            at = match at.get_mut(name) {
                Some(Node::Dir(dir)) => dir,
                _ => panic!("the model has lost a directory"),
            };
        }
        at
    }
}

/// A file system and its model, run in step.
pub struct Pair<D: BlockDevice> {
    pub fs: Ext2<D>,
    pub model: Model,
    /// Unlinked files that are still open.
    open: Vec<(InodeNumber, usize)>,
}

impl<D: BlockDevice> Pair<D>
where
    D::Error: std::fmt::Debug + PartialEq + Copy,
{
    pub fn new(fs: Ext2<D>) -> Self {
        Self {
            fs,
            model: Model::new(),
            open: Vec::new(),
        }
    }

    fn pick(&mut self, dir: u8) -> (Vec<String>, InodeNumber) {
        let all = self.model.directories();
        let path = all[usize::from(dir) % all.len()].clone();
        let ino = walk(&mut self.fs, &path.join("/")).unwrap();
        (path, ino)
    }

    /// Whether the file system had no space; then both are as before.
    pub fn apply(&mut self, op: &Op) {
        match *op {
            Op::Create { dir, name: n } => {
                let (path, ino) = self.pick(dir);
                let result = self
                    .fs
                    .create(ino, name(n).as_bytes(), &NewInode::file(0o644), NOW);
                let new = self.model.files.len();
                if self.add(&path, n, Node::File(new), result.map(|_| ())) {
                    self.model.files.push(Vec::new());
                }
            }
            Op::Mkdir { dir, name: n } => {
                let (path, ino) = self.pick(dir);
                let result =
                    self.fs
                        .mkdir(ino, name(n).as_bytes(), &NewInode::directory(0o755), NOW);
                self.add(&path, n, Node::Dir(BTreeMap::new()), result.map(|_| ()));
            }
            Op::Symlink { dir, name: n, len } => {
                let (path, ino) = self.pick(dir);
                let target = vec![b't'; usize::from(len)];
                let result =
                    self.fs
                        .symlink(ino, name(n).as_bytes(), &target, &NewInode::file(0), NOW);
                self.add(&path, n, Node::Symlink(target), result.map(|_| ()));
            }
            Op::Link { from, to } => {
                let (path, ino) = self.pick(from.0);
                let Some(Node::File(file)) = self.model.dir(&path).get(&name(from.1)).cloned()
                else {
                    return;
                };
                let file_ino = self.fs.lookup(ino, name(from.1).as_bytes()).unwrap();
                let (path, ino) = self.pick(to.0);
                let result = self.fs.link(ino, name(to.1).as_bytes(), file_ino, NOW);
                self.add(&path, to.1, Node::File(file), result);
            }
            Op::Unlink {
                dir,
                name: n,
                keep_open,
            } => {
                let (path, ino) = self.pick(dir);
                let result = self.fs.unlink(ino, name(n).as_bytes(), NOW);
                let dir = self.model.dir(&path);
                match dir.get(&name(n)) {
                    None => assert_eq!(result, Err(Error::NotFound)),
                    Some(Node::Dir(_)) => assert_eq!(result, Err(Error::IsDirectory)),
                    Some(node) => {
                        let node = node.clone();
                        dir.remove(&name(n));
                        self.gone(result.unwrap(), &node, keep_open);
                    }
                }
            }
            Op::Rmdir { dir, name: n } => {
                let (path, ino) = self.pick(dir);
                let result = self.fs.rmdir(ino, name(n).as_bytes(), NOW);
                let dir = self.model.dir(&path);
                match dir.get(&name(n)) {
                    None => assert_eq!(result, Err(Error::NotFound)),
                    Some(Node::Dir(inner)) if inner.is_empty() => {
                        dir.remove(&name(n));
                        self.fs.release(result.unwrap().inode, NOW).unwrap();
                    }
                    Some(Node::Dir(_)) => assert_eq!(result, Err(Error::NotEmpty)),
                    Some(_) => assert_eq!(result, Err(Error::NotDirectory)),
                }
            }
            Op::Rename { from, to } => self.rename(from, to),
            Op::Write {
                dir,
                name: n,
                offset,
                len,
                seed,
            } => {
                let (path, ino) = self.pick(dir);
                let Some(&Node::File(file)) = self.model.dir(&path).get(&name(n)) else {
                    return;
                };
                let ino = self.fs.lookup(ino, name(n).as_bytes()).unwrap();
                let data = pattern(u64::from(seed), usize::from(len));
                let done = match self.fs.write_at(ino, u64::from(offset), &data, NOW) {
                    Ok(()) => data.len(),
                    Err(Error::NoSpace) => {
                        // What fitted is there.
                        let size = self.fs.inode(ino).unwrap().size as usize;
                        self.model.files[file] = read(&mut self.fs, ino).unwrap();
                        assert!(size >= self.model.files[file].len());
                        0
                    }
                    Err(error) => panic!("{error:?}"),
                };
                let contents = &mut self.model.files[file];
                let end = offset as usize + done;
                if done > 0 {
                    if contents.len() < end {
                        contents.resize(end, 0);
                    }
                    contents[offset as usize..end].copy_from_slice(&data);
                }
            }
            Op::Resize { dir, name: n, len } => {
                let (path, ino) = self.pick(dir);
                let Some(&Node::File(file)) = self.model.dir(&path).get(&name(n)) else {
                    return;
                };
                let ino = self.fs.lookup(ino, name(n).as_bytes()).unwrap();
                self.fs.resize(ino, u64::from(len), NOW).unwrap();
                self.model.files[file].resize(len as usize, 0);
            }
            Op::Commit => self.fs.commit().unwrap(),
        }
    }

    /// Add to the model what was added to the file system.
    fn add(
        &mut self,
        path: &[String],
        n: u8,
        node: Node,
        result: Result<(), Error<D::Error>>,
    ) -> bool {
        let dir = self.model.dir(path);
        if result == Err(Error::NoSpace) {
            return false;
        }
        if dir.contains_key(&name(n)) {
            assert_eq!(result, Err(Error::Exists));
            return false;
        }
        result.unwrap();
        dir.insert(name(n), node);
        true
    }

    fn gone(&mut self, unlinked: gnomon_ext2::Unlinked, node: &Node, keep_open: bool) {
        if unlinked.links > 0 {
            return;
        }
        match node {
            Node::File(file) if keep_open => self.open.push((unlinked.inode, *file)),
            _ => self.fs.release(unlinked.inode, NOW).unwrap(),
        }
    }

    fn rename(&mut self, from: (u8, u8), to: (u8, u8)) {
        let (old_path, old_dir) = self.pick(from.0);
        let (new_path, new_dir) = self.pick(to.0);
        let (old_name, new_name) = (name(from.1), name(to.1));
        let result = self.fs.rename(
            old_dir,
            old_name.as_bytes(),
            new_dir,
            new_name.as_bytes(),
            NOW,
        );
        if result == Err(Error::NoSpace) {
            return;
        }
        let Some(node) = self.model.dir(&old_path).get(&old_name).cloned() else {
            assert_eq!(result, Err(Error::NotFound));
            return;
        };
        let moves_dir = matches!(node, Node::Dir(_));
        let target = self.model.dir(&new_path).get(&new_name).cloned();
        let same = match (&node, &target) {
            (Node::File(a), Some(Node::File(b))) => a == b,
            _ => old_path == new_path && old_name == new_name,
        };
        if same {
            assert_eq!(result.unwrap().replaced, None);
            return;
        }
        match (&target, moves_dir) {
            (Some(Node::Dir(_)), false) => return assert_eq!(result, Err(Error::IsDirectory)),
            (Some(Node::File(_) | Node::Symlink(_)), true) => {
                return assert_eq!(result, Err(Error::NotDirectory));
            }
            _ => {}
        }
        let mut below = old_path.clone();
        below.push(old_name.clone());
        if moves_dir && new_path.starts_with(&below) {
            return assert_eq!(result, Err(Error::Invalid));
        }
        if let Some(Node::Dir(inner)) = &target
            && !inner.is_empty()
        {
            return assert_eq!(result, Err(Error::NotEmpty));
        }
        let done = result.unwrap();
        self.model.dir(&old_path).remove(&old_name);
        self.model.dir(&new_path).insert(new_name, node);
        if let Some(target) = target {
            self.gone(done.replaced.unwrap(), &target, false);
        }
    }

    /// The file system must hold what the model holds.
    pub fn compare(&mut self) {
        compare_dir(&mut self.fs, ROOT, &self.model.root, &self.model.files);
        for (ino, file) in self.open.clone() {
            assert_eq!(read(&mut self.fs, ino).unwrap(), self.model.files[file]);
        }
    }
}

/// Compare a directory with what it should hold.
fn compare_dir<D: BlockDevice>(
    fs: &mut Ext2<D>,
    dir: InodeNumber,
    expected: &BTreeMap<String, Node>,
    files: &[Vec<u8>],
) where
    D::Error: std::fmt::Debug + PartialEq + Copy,
{
    let found = list(fs, dir).unwrap();
    let names: Vec<&String> = found.iter().map(|(name, _, _)| name).collect();
    assert_eq!(names, expected.keys().collect::<Vec<_>>());
    for (name, ino, kind) in &found {
        assert_eq!(fs.inode(*ino).unwrap().kind, kind.unwrap());
        match &expected[name] {
            Node::File(file) => assert!(
                read(fs, *ino).unwrap() == files[*file],
                "contents of {name}"
            ),
            Node::Symlink(target) => assert_eq!(&fs.readlink(*ino).unwrap(), target),
            Node::Dir(inner) => {
                let subdirs = inner
                    .values()
                    .filter(|node| matches!(node, Node::Dir(_)))
                    .count();
                assert_eq!(usize::from(fs.inode(*ino).unwrap().links), 2 + subdirs);
                assert_eq!(fs.lookup(*ino, b"..").unwrap(), dir);
                compare_dir(fs, *ino, inner, files);
            }
        }
    }
}
