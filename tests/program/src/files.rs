//! Files and directories.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Try everything once below `directory`, and print what came of it.
pub fn run(directory: &Path) {
    let work = directory.join("files-test");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).unwrap();
    contents(&work).unwrap();
    positions(&work).unwrap();
    large(&work).unwrap();
    names(&work).unwrap();
    directories(&work).unwrap();
    attributes(&work).unwrap();
    errors(&work);
    devices().unwrap();
    fs::remove_dir_all(&work).unwrap();
    println!("gone {}", !work.exists());
}

fn contents(work: &Path) -> io::Result<()> {
    let path = work.join("lines");
    let mut file = File::create(&path)?;
    for n in 0..1000 {
        writeln!(file, "line {n}")?;
    }
    file.sync_all()?;
    let lines = BufReader::new(File::open(&path)?).lines();
    let total: usize = lines.map(|line| line.unwrap().len()).sum();
    let mut file = OpenOptions::new().append(true).open(&path)?;
    file.write_all(b"more")?;
    let copied = fs::copy(&path, work.join("copy"))?;
    let same = fs::read(&path)? == fs::read(work.join("copy"))?;
    println!("contents {total} {copied} {same}");
    Ok(())
}

fn positions(work: &Path) -> io::Result<()> {
    let path = work.join("positions");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    file.write_all(b"0123456789")?;
    file.seek(SeekFrom::Start(3))?;
    file.write_all(b"abc")?;
    let end = file.seek(SeekFrom::End(-2))?;
    let mut rest = String::new();
    file.read_to_string(&mut rest)?;
    let at = file.stream_position()?;
    file.write_all_at(b"!", 20)?;
    let mut hole = [1; 4];
    file.read_exact_at(&mut hole, 12)?;
    println!(
        "positions {end} {rest} {at} {hole:?} {}",
        file.metadata()?.len()
    );
    file.set_len(5)?;
    println!("cut {:?}", fs::read_to_string(&path)?);
    file.set_len(8)?;
    println!("grown {:?}", fs::read(&path)?);
    Ok(())
}

fn large(work: &Path) -> io::Result<()> {
    let path = work.join("large");
    let mut file = File::create(&path)?;
    let block: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for _ in 0..60 {
        file.write_all(&block)?;
    }
    file.sync_data()?;
    let read = fs::read(&path)?;
    let same = read.chunks(block.len()).all(|chunk| chunk == block);
    println!("large {} {same}", read.len());
    fs::remove_file(path)
}

fn names(work: &Path) -> io::Result<()> {
    let path = |name: &str| work.join(name);
    fs::write(path("one"), "1")?;
    fs::hard_link(path("one"), path("two"))?;
    symlink("one", path("three"))?;
    let links = fs::metadata(path("one"))?.nlink();
    let same = fs::metadata(path("three"))?.ino() == fs::metadata(path("two"))?.ino();
    fs::rename(path("one"), path("four"))?;
    let target = fs::read_link(path("three"))?;
    let dangling = !path("three").exists() && path("three").is_symlink();
    fs::write(path("five"), "5")?;
    fs::rename(path("five"), path("four"))?;
    println!(
        "names {links} {same} {} {dangling} {} {}",
        target.display(),
        fs::read_to_string(path("four"))?,
        fs::read_to_string(path("two"))?
    );
    let long = "n".repeat(255);
    fs::write(path(&long), "")?;
    let too_long = fs::write(path(&(long.clone() + "n")), "");
    println!("long name {:?}", too_long.map_err(|e| e.raw_os_error()));
    // A file that is open lives on without its name.
    let mut file = OpenOptions::new().read(true).open(path("four"))?;
    fs::remove_file(path("four"))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    println!("nameless {text} {}", file.metadata()?.nlink());
    Ok(())
}

fn directories(work: &Path) -> io::Result<()> {
    let top = work.join("top");
    fs::create_dir_all(top.join("a/b/c"))?;
    for n in 0..200 {
        fs::write(
            top.join(format!("a/file-with-a-longer-name-{n}")),
            n.to_string(),
        )?;
    }
    let mut names: Vec<_> = fs::read_dir(top.join("a"))?
        .map(|entry| entry.map(|entry| entry.file_name().into_string().unwrap()))
        .collect::<Result<_, _>>()?;
    names.sort();
    println!("directory {} {} {}", names.len(), names[0], names[200]);
    println!("links {}", fs::metadata(top.join("a"))?.nlink());
    fs::rename(top.join("a/b"), top.join("moved"))?;
    println!("moved {}", top.join("moved/c").is_dir());
    let up = fs::canonicalize(top.join("moved/c/../../a/.."))?;
    println!("canonical {}", up == fs::canonicalize(&top)?);
    std::env::set_current_dir(&top)?;
    println!("relative {}", fs::metadata("a")?.is_dir());
    std::env::set_current_dir("/")?;
    Ok(())
}

fn attributes(work: &Path) -> io::Result<()> {
    let path = work.join("attributes");
    let file = File::create(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4751))?;
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.set_modified(then)?;
    let metadata = fs::metadata(&path)?;
    println!(
        "attributes {:o} {} {}",
        metadata.mode(),
        metadata.modified()? == then,
        metadata.len()
    );
    let sparse = File::create(work.join("sparse"))?;
    sparse.set_len(50 << 20)?;
    println!("sparse {}", sparse.metadata()?.blocks() < 100);
    Ok(())
}

fn errors(work: &Path) {
    let path = |name: &str| work.join(name);
    let kind = |result: io::Result<()>| result.map_err(|error| error.kind());
    fs::create_dir(path("full")).unwrap();
    fs::write(path("full/file"), "").unwrap();
    println!("missing {:?}", kind(File::open(path("no")).map(drop)));
    println!(
        "exists {:?}",
        kind(File::create_new(path("lines")).map(drop))
    );
    println!(
        "no directory {:?}",
        kind(File::open(path("lines/x")).map(drop))
    );
    println!("is directory {:?}", kind(fs::write(path("full"), "")));
    println!("not empty {:?}", kind(fs::remove_dir(path("full"))));
    println!(
        "into itself {:?}",
        kind(fs::rename(path("full"), path("full/x")))
    );
    symlink("loop", path("loop")).unwrap();
    let result = File::open(path("loop")).map(drop);
    println!("loop {:?}", result.map_err(|error| error.raw_os_error()));
}

fn devices() -> io::Result<()> {
    let mut bytes = [1; 16];
    File::open("/dev/zero")?.read_exact(&mut bytes)?;
    let zero = bytes == [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let random = bytes != [0; 16];
    let end = File::open("/dev/null")?.read(&mut bytes)?;
    let full = OpenOptions::new()
        .write(true)
        .open("/dev/full")?
        .write(&bytes);
    let kind = fs::metadata("/dev/null")?.file_type().is_char_device();
    let full = full.map_err(|error| error.kind() == ErrorKind::StorageFull);
    println!("devices {zero} {random} {end} {full:?} {kind}");
    Ok(())
}
