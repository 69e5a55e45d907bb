//! Changes to files, each announced when it must have reached the disk.
//!
//! The lines on standard output, in their order:
//!
//! ```text
//!  made N        files/N holds the N-th contents
//!  replaced N    files/current holds the N-th contents, or those of a later N
//!  removed N     files/N is gone
//! ```
//!
//! Between them the program changes other files, without a promise.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// The N-th contents: `size` bytes that depend on `number` alone.
fn contents(number: u64) -> Vec<u8> {
    let size = (number * 7919) % 30_000;
    let line = format!("contents number {number}\n");
    line.bytes().cycle().take(size as usize + 1).collect()
}

/// Change files below `directory` for ever, beginning with number `first`.
pub fn run(directory: &Path, first: &str) {
    let first = first.parse().expect("a number");
    if let Err(error) = work(directory, first) {
        eprintln!("durable: {error}");
        std::process::exit(1);
    }
}

fn work(directory: &Path, first: u64) -> io::Result<()> {
    let files = directory.join("files");
    let noise = directory.join("noise");
    fs::create_dir_all(&files)?;
    fs::create_dir_all(&noise)?;
    sync(directory)?;
    let mut out = io::stdout();
    for number in first.. {
        let name = files.join(number.to_string());
        write(&name, number)?;
        sync(&files)?;
        writeln!(out, "made {number}")?;

        make_noise(&noise, number)?;

        let new = files.join("new");
        write(&new, number)?;
        fs::rename(&new, files.join("current"))?;
        sync(&files)?;
        writeln!(out, "replaced {number}")?;

        if number % 3 == 0 {
            fs::remove_file(&name)?;
            sync(&files)?;
            writeln!(out, "removed {number}")?;
        }
    }
    Ok(())
}

/// Make or overwrite a file with the N-th contents, on the disk.
fn write(path: &Path, number: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&contents(number))?;
    file.sync_all()
}

/// A directory's entries are on the disk after this.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Changes of every kind, for which nothing is promised.
fn make_noise(noise: &Path, number: u64) -> io::Result<()> {
    let name = |n: u64| noise.join(format!("n{}", n % 50));
    let (here, there) = (name(number), name(number * 7 + 3));
    let directory = noise.join(format!("d{}", number % 5));
    match number % 6 {
        0 => fs::write(here, contents(number * 3)),
        1 => {
            let mut options = OpenOptions::new();
            let mut file = options.append(true).create(true).open(here)?;
            file.write_all(&contents(number))
        }
        2 => ignore(fs::rename(here, there)),
        3 => ignore(fs::create_dir(&directory).and_then(|()| fs::write(directory.join("x"), "x"))),
        4 => ignore(fs::remove_dir_all(directory)),
        _ => {
            ignore(fs::hard_link(&here, &there))?;
            ignore(fs::remove_file(here))
        }
    }
}

/// What is made noise with may be missing, or be there.
fn ignore(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EIO) => Err(error),
        _ => Ok(()),
    }
}
