//! What users give by mistake: each is said in one line that names it, with status 125, and gnomon
//! never panics. (Command lines and kernels alone: `vmm/tests`.)

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use gnomon_tests::gnomon::{self, End, Finished, Gnomon, finish, patience};
use gnomon_tests::in_every_mode;
use gnomon_tests::mode::Mode;
use gnomon_tests::random::Random;
use gnomon_tests::scratch::Scratch;

in_every_mode!(
    memory_too_small_for_the_guest,
    missing_file_to_put_in,
    directory_to_put_in,
    file_larger_than_the_root,
    file_without_a_name,
    empty_root_image,
    missing_root,
    root_image_that_is_not_ext2,
    truncated_root_image,
    root_without_init,
    unwritable_statistics,
    unknown_console_word_is_ignored,
);

/// Assert that gnomon failed with one line on standard error, which has all of `words` in it.
#[track_caller]
fn assert_refused(finished: &Finished, words: &[&str]) {
    let errors = finished.errors();
    assert_eq!(finished.end, End::Status(125), "{errors}");
    assert!(
        errors.starts_with("gnomon: ") && errors.lines().count() == 1,
        "not one line of gnomon's: {errors}"
    );
    for word in words {
        assert!(errors.contains(word), "{word:?} is not in: {errors}");
    }
    assert_eq!(finished.text(), "");
}

/// Assert that the kernel gave up in order, with a report.
#[track_caller]
fn assert_reported(finished: &Finished, words: &[&str]) {
    let errors = finished.errors();
    assert_eq!(finished.end, End::Status(125), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    for word in words {
        assert!(errors.contains(word), "{word:?} is not in: {errors}");
    }
}

/// A guest too small for its kernel or its programs says so, or runs; it does not hang.
fn memory_too_small_for_the_guest(mode: Mode) {
    for mebibytes in [1, 4, 5, 6, 8] {
        let finished = Gnomon::new(mode).memory(mebibytes).shell("exit 0").run();
        let ended = matches!(finished.end, End::Status(_));
        assert!(
            ended,
            "{mebibytes} MiB: {:?} {}",
            finished.end,
            finished.errors()
        );
    }
}

fn missing_file_to_put_in(mode: Mode) {
    let finished = Gnomon::new(mode).options(["--file", "/no/such/file"]).run();
    assert_refused(&finished, &["/no/such/file"]);
}

fn directory_to_put_in(mode: Mode) {
    let finished = Gnomon::new(mode).options(["--file", "/proc:/proc2"]).run();
    assert_refused(&finished, &["/proc"]);
}

fn file_larger_than_the_root(mode: Mode) {
    let files = Scratch::new().unwrap();
    let size = gnomon_images::ROOT.size + 1;
    let large = files.zeros("large", size).unwrap();
    let finished = Gnomon::new(mode).file(&large, "/large").run();
    assert_refused(&finished, &["large"]);
}

fn file_without_a_name(mode: Mode) {
    let finished = Gnomon::new(mode).options(["--file", ".."]).run();
    assert_refused(&finished, &["--file"]);
}

fn empty_root_image(mode: Mode) {
    let files = Scratch::new().unwrap();
    let root = files.file("root", b"").unwrap();
    let finished = Gnomon::new(mode).root(&root).run();
    assert_eq!(finished.end, End::Status(125), "{}", finished.errors());
    assert!(
        !finished.errors().contains("panicked"),
        "{}",
        finished.errors()
    );
}

fn missing_root(mode: Mode) {
    let finished = Gnomon::new(mode).options(["--root", "/no/such/root"]).run();
    assert_refused(&finished, &["/no/such/root"]);
}

fn root_image_that_is_not_ext2(mode: Mode) {
    let files = Scratch::new().unwrap();
    for bytes in [
        vec![0; 1 << 20],
        Random::new(3).bytes(1 << 20),
        vec![0xff; 4096],
    ] {
        let root = files.file("root", &bytes).unwrap();
        let finished = Gnomon::new(mode).root(&root).shell("exit 0").run();
        assert_reported(&finished, &["root file system"]);
        assert!(
            fs::read(&root).unwrap() == bytes,
            "the file has been changed"
        );
    }
}

/// A file system that is larger than its file.
fn truncated_root_image(mode: Mode) {
    let files = Scratch::new().unwrap();
    for len in [1024, 4096, 1 << 20] {
        let root = files.path("root");
        fs::write(&root, &gnomon_images::ROOT.bytes[..len]).unwrap();
        let finished = Gnomon::new(mode).root(&root).shell("exit 0").run();
        assert_reported(&finished, &["root file system"]);
    }
}

fn root_without_init(mode: Mode) {
    let files = Scratch::new().unwrap();
    let root = files.path("root");
    fs::create_dir(&root).unwrap();
    let finished = Gnomon::new(mode).root(&root).shell("exit 0").run();
    assert_reported(&finished, &["no init"]);
}

fn unwritable_statistics(mode: Mode) {
    let finished = Gnomon::new(mode)
        .options(["--stats-json", "/no/such/directory/file"])
        .shell("echo runs")
        .run();
    assert_refused(&finished, &["/no/such/directory/file"]);
}

fn unknown_console_word_is_ignored(mode: Mode) {
    let finished = Gnomon::new(mode)
        .options(["--cmdline", "nonsense=1 quiet more,of=it"])
        .shell("echo runs")
        .run();
    finished.assert_status(0).assert_output("runs\n");
}

/// Run gnomon, on which `prepare` acts between fork and exec.
fn run_prepared(prepare: fn() -> io::Result<()>, binary: &std::path::Path) -> Finished {
    let mut command = Command::new(binary);
    command.args(["run", "--", "true"]);
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(prepare) };
    finish(command, b"", patience(Duration::from_secs(60))).unwrap()
}

fn is_root() -> bool {
    // SAFETY: a plain system call.
    unsafe { libc::geteuid() == 0 }
}

/// Give this process a name space of its own in which `source` lies over `/dev/kvm`.
fn cover_kvm(source: &std::ffi::CStr, target: &std::ffi::CStr) -> io::Result<()> {
    let check = |result| match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: plain system calls, with strings that end in NUL.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let (none, all) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
        check(libc::mount(none, c"/".as_ptr(), none, all, none.cast()))?;
        let (source, target) = (source.as_ptr(), target.as_ptr());
        check(libc::mount(
            source,
            target,
            none,
            libc::MS_BIND,
            none.cast(),
        ))
    }
}

/// A root user can hide /dev/kvm from one process; others cannot, and skip this.
#[test]
fn missing_kvm_is_named() {
    if !is_root() {
        eprintln!("skipped: only root can hide /dev/kvm");
        return;
    }
    let finished = run_prepared(|| cover_kvm(c"/sys", c"/dev"), &gnomon::binary());
    assert_refused(&finished, &["/dev/kvm"]);
}

#[test]
fn device_that_is_not_kvm_is_named() {
    if !is_root() {
        eprintln!("skipped: only root can cover /dev/kvm");
        return;
    }
    let finished = run_prepared(|| cover_kvm(c"/dev/null", c"/dev/kvm"), &gnomon::binary());
    assert_refused(&finished, &["/dev/kvm"]);
}

#[test]
fn forbidden_kvm_is_named() {
    if !is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let files = Scratch::new().unwrap();
    let everyone = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(&files, everyone).unwrap();
    let binary = files.path("gnomon");
    gnomon::copy_for_everyone(&binary).unwrap();
    let kvm = CString::new("/dev/kvm").unwrap();
    let mut command = Command::new(&binary);
    // Nobody, who has no groups.
    command.args(["run", "--", "true"]).uid(65534).gid(65534);
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(|| {
            libc::setgroups(0, std::ptr::null());
            Ok(())
        });
    }
    // SAFETY: a plain system call with a string that ends in NUL; an all-zero `stat` is valid.
    let open_to_all = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        libc::stat(kvm.as_ptr(), &mut stat) == 0 && stat.st_mode & 0o006 == 0o006
    };
    if open_to_all {
        eprintln!("skipped: everybody may use /dev/kvm here");
        return;
    }
    let finished = finish(command, b"", patience(Duration::from_secs(60))).unwrap();
    assert_refused(&finished, &["/dev/kvm", "ermission"]);
}
