//! Builds the guest: two kernels, two programs, and the root file system.

#[path = "src/device.rs"]
mod device;
#[path = "build/guest.rs"]
mod guest;
#[path = "build/root.rs"]
mod root;
#[path = "build/sensitive.rs"]
mod sensitive;
#[path = "build/symbols.rs"]
mod symbols;
#[path = "src/tree.rs"]
mod tree;

use device::ImageDevice;
use std::{env, fs, path::Path, thread};

fn main() {
    if let Err(message) = build() {
        eprintln!("{message}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    let out = env::var("OUT_DIR").map_err(|_| "OUT_DIR is not set: run this by cargo")?;
    let out = Path::new(&out);
    let guest = guest::Guest::new(out)?;
    guest.watch();

    // Linking takes most of the time and one processor, so both are built at once.
    let (kernels, programs) = thread::scope(|scope| {
        let kernels = scope.spawn(|| guest.kernels(["gnomon-kernel", "gnomon-nano"]));
        let programs = guest.programs(
            &["gnomon-user", "gnomon-bench"],
            ["gnomon-user", "guest-tests", "strace", "gnomon-bench"],
        );
        (kernels.join(), programs)
    });
    let [mut kernel, nano] = kernels.map_err(|_| "the kernels' build has panicked")??;
    symbols::fill(&mut kernel)?;
    write(&out.join("kernel.elf"), &kernel)?;
    write(
        &out.join("sensitive.rs"),
        sensitive::list(&kernel)?.as_bytes(),
    )?;
    write(&out.join("nano.elf"), &nano)?;

    let [user, tests, strace, bench] = programs?;
    let programs = root::Programs {
        user,
        tests,
        strace,
        bench,
        applets: guest.read("user/applets.txt")?,
    };
    let image = root::build(&programs).map_err(|error| error.to_string())?;
    write(&out.join("root.img"), &image)?;
    write(&out.join("root_size.rs"), root::SIZE.to_string().as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
