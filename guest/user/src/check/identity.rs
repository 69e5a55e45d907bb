//! Users, groups and permissions.

use crate::frame::child::isolated;
use crate::frame::descriptor::Fd;
use crate::frame::plain::zeroed;
use crate::frame::report::need_root;
use crate::frame::scratch::Scratch;
use libc::*;
use std::ffi::CString;

tests!(
    root_becomes_anybody_and_not_back,
    saved_user_can_be_taken_again,
    stranger_cannot_be_taken,
    groups_are_set_by_root_alone,
    owner_group_and_others_have_their_bits,
    owner_bits_come_first,
    root_reads_and_writes_everything,
    root_executes_only_what_somebody_may,
    directory_needs_search_permission,
    making_and_removing_names_needs_write_permission,
    sticky_directory_protects_names,
    chmod_is_for_the_owner,
    chown_is_for_root,
    chown_clears_the_set_id_bits,
    write_clears_the_set_id_bits,
    umask_takes_bits_away,
    set_group_id_directory_gives_its_group,
    access_asks_for_the_real_user,
    supplementary_group_gives_access,
    opened_file_stays_open_after_permission_is_gone,
    times_can_be_set_by_the_owner,
    new_files_belong_to_the_effective_user,
    capabilities_follow_the_user,
);

/// Two users without privileges.
const ALICE: u32 = 12345;
const BOB: u32 = 23456;

/// Run `body` as a user and group of that number.
fn as_user(user: u32, body: impl FnOnce()) {
    isolated(|| {
        ok!(SYS_setgroups, 0, 0);
        ok!(SYS_setresgid, user, user, user);
        ok!(SYS_setresuid, user, user, user);
        body();
    });
}

/// A scratch directory that everybody may enter and change.
fn open_to_all() -> Scratch {
    need_root();
    let scratch = Scratch::new();
    ok!(SYS_chmod, scratch.c(".").as_c_str(), 0o777);
    scratch
}

/// A file of Alice's.
fn file_of_alice(scratch: &Scratch, mode: u32) -> CString {
    let path = scratch.file("f", "contents");
    ok!(SYS_chown, path.as_c_str(), ALICE, ALICE);
    ok!(SYS_chmod, path.as_c_str(), mode);
    path
}

fn open(path: &CString, flags: i32) -> Result<(), i32> {
    call!(SYS_open, path.as_c_str(), flags, 0)
        .map(drop)
        .map_err(|error| error.0)
}

fn status(path: &CString) -> stat64 {
    let mut status = zeroed();
    ok!(SYS_lstat, path.as_c_str(), &mut status);
    status
}

fn users() -> [u32; 3] {
    let mut ids = [0u32; 3];
    let [real, effective, saved] = &mut ids;
    ok!(SYS_getresuid, real, effective, saved);
    ids
}

fn root_becomes_anybody_and_not_back() {
    need_root();
    isolated(|| {
        ok!(SYS_setuid, ALICE);
        assert_eq!(users(), [ALICE; 3]);
        fails!(EPERM, SYS_setuid, 0);
        fails!(EPERM, SYS_setgid, 0xfff);
    });
}

fn saved_user_can_be_taken_again() {
    need_root();
    isolated(|| {
        ok!(SYS_setresuid, ALICE, BOB, 0);
        assert_eq!(users(), [ALICE, BOB, 0]);
        ok!(SYS_setresuid, -1, 0, -1);
        assert_eq!(ok!(SYS_geteuid), 0);
        ok!(SYS_setreuid, ALICE, BOB);
        assert_eq!(users(), [ALICE, BOB, BOB]);
        ok!(SYS_setreuid, BOB, ALICE);
        assert_eq!(users(), [BOB, ALICE, ALICE]);
    });
}

fn stranger_cannot_be_taken() {
    need_root();
    as_user(ALICE, || {
        fails!(EPERM, SYS_setresuid, BOB, -1, -1);
        fails!(EPERM, SYS_setreuid, -1, BOB);
        fails!(EPERM, SYS_setresgid, BOB, -1, -1);
        ok!(SYS_setresuid, ALICE, ALICE, ALICE);
    });
}

fn groups_are_set_by_root_alone() {
    need_root();
    isolated(|| {
        ok!(SYS_setgroups, 3, &[5u32, 7, 9]);
        let mut groups = [0u32; 8];
        assert_eq!(ok!(SYS_getgroups, 8, &mut groups), 3);
        assert_eq!(groups[..3], [5, 7, 9]);
        assert_eq!(ok!(SYS_getgroups, 0, 0), 3);
        fails!(EINVAL, SYS_getgroups, 2, &mut groups);
        ok!(SYS_setuid, ALICE);
        fails!(EPERM, SYS_setgroups, 0, 0);
    });
}

fn owner_group_and_others_have_their_bits() {
    let scratch = open_to_all();
    let path = file_of_alice(&scratch, 0o640);
    as_user(ALICE, || assert_eq!(open(&path, O_RDWR), Ok(())));
    as_user(BOB, || assert_eq!(open(&path, O_RDONLY), Err(EACCES)));
    ok!(SYS_chown, path.as_c_str(), ALICE, BOB);
    as_user(BOB, || {
        assert_eq!(open(&path, O_RDONLY), Ok(()));
        assert_eq!(open(&path, O_WRONLY), Err(EACCES));
    });
}

fn owner_bits_come_first() {
    let scratch = open_to_all();
    let path = file_of_alice(&scratch, 0o066);
    as_user(ALICE, || assert_eq!(open(&path, O_RDONLY), Err(EACCES)));
    as_user(BOB, || assert_eq!(open(&path, O_RDWR), Ok(())));
}

fn root_reads_and_writes_everything() {
    let scratch = open_to_all();
    assert_eq!(open(&file_of_alice(&scratch, 0), O_RDWR), Ok(()));
}

fn root_executes_only_what_somebody_may() {
    let scratch = open_to_all();
    let path = file_of_alice(&scratch, 0o644);
    fails!(EACCES, SYS_access, path.as_c_str(), X_OK);
    ok!(SYS_chmod, path.as_c_str(), 0o001);
    ok!(SYS_access, path.as_c_str(), X_OK);
}

fn directory_needs_search_permission() {
    let scratch = open_to_all();
    file_of_alice(&scratch, 0o666);
    let path = scratch.c("f");
    ok!(SYS_chmod, scratch.c(".").as_c_str(), 0o766);
    as_user(BOB, || {
        assert_eq!(open(&path, O_RDONLY), Err(EACCES));
        fails!(EACCES, SYS_chdir, scratch.c("").as_c_str());
    });
    ok!(SYS_chmod, scratch.c(".").as_c_str(), 0o711);
    as_user(BOB, || assert_eq!(open(&path, O_RDONLY), Ok(())));
}

fn making_and_removing_names_needs_write_permission() {
    let scratch = open_to_all();
    let path = file_of_alice(&scratch, 0o666);
    ok!(SYS_chmod, scratch.c(".").as_c_str(), 0o755);
    as_user(ALICE, || {
        let new = scratch.c("new");
        fails!(EACCES, SYS_unlink, path.as_c_str());
        fails!(EACCES, SYS_mkdir, new.as_c_str(), 0o700);
        fails!(EACCES, SYS_rename, path.as_c_str(), new.as_c_str());
        fails!(EACCES, SYS_open, new.as_c_str(), O_CREAT | O_RDWR, 0o600);
        fails!(EACCES, SYS_symlink, c"x", new.as_c_str());
    });
}

fn sticky_directory_protects_names() {
    let scratch = open_to_all();
    let path = file_of_alice(&scratch, 0o666);
    ok!(SYS_chmod, scratch.c(".").as_c_str(), 0o1777);
    as_user(BOB, || {
        fails!(EPERM, SYS_unlink, path.as_c_str());
        fails!(
            EPERM,
            SYS_rename,
            path.as_c_str(),
            scratch.c("g").as_c_str()
        );
    });
    as_user(ALICE, || drop(ok!(SYS_unlink, path.as_c_str())));
}

fn chmod_is_for_the_owner() {
    let scratch = open_to_all();
    let path = file_of_alice(&scratch, 0o666);
    as_user(BOB, || fails!(EPERM, SYS_chmod, path.as_c_str(), 0o600));
    as_user(ALICE, || drop(ok!(SYS_chmod, path.as_c_str(), 0o600)));
    assert_eq!(status(&path).st_mode, S_IFREG | 0o600);
}

fn chown_is_for_root() {
    let scratch = open_to_all();
    let path = file_of_alice(&scratch, 0o600);
    as_user(ALICE, || {
        fails!(EPERM, SYS_chown, path.as_c_str(), BOB, -1);
        fails!(EPERM, SYS_chown, path.as_c_str(), -1, BOB);
        ok!(SYS_chown, path.as_c_str(), -1, ALICE);
        ok!(SYS_chown, path.as_c_str(), -1, -1);
    });
    ok!(SYS_chown, path.as_c_str(), BOB, -1);
    assert_eq!((status(&path).st_uid, status(&path).st_gid), (BOB, ALICE));
}

fn chown_clears_the_set_id_bits() {
    let scratch = open_to_all();
    let path = file_of_alice(&scratch, 0o6755);
    as_user(ALICE, || drop(ok!(SYS_chown, path.as_c_str(), -1, ALICE)));
    assert_eq!(status(&path).st_mode & 0o7777, 0o755);
}

fn write_clears_the_set_id_bits() {
    let scratch = open_to_all();
    let path = file_of_alice(&scratch, 0o4777);
    as_user(BOB, || drop(Fd::open(&path, O_WRONLY).write("x")));
    assert_eq!(status(&path).st_mode & 0o7777, 0o777);
}

fn umask_takes_bits_away() {
    let scratch = Scratch::new();
    isolated(|| {
        ok!(SYS_umask, 0o27);
        ok!(SYS_open, scratch.c("f").as_c_str(), O_CREAT | O_RDWR, 0o777);
        ok!(SYS_mkdir, scratch.c("d").as_c_str(), 0o777);
        assert_eq!(status(&scratch.c("f")).st_mode & 0o777, 0o750);
        assert_eq!(status(&scratch.c("d")).st_mode & 0o777, 0o750);
        // Of the mask itself only the permission bits count.
        ok!(SYS_umask, 0o7777);
        assert_eq!(ok!(SYS_umask, 0), 0o777);
    });
}

fn set_group_id_directory_gives_its_group() {
    let scratch = open_to_all();
    ok!(SYS_chown, scratch.c(".").as_c_str(), 0, BOB);
    ok!(SYS_chmod, scratch.c(".").as_c_str(), 0o2777);
    as_user(ALICE, || {
        Fd::open(&scratch.c("new"), O_CREAT | O_RDWR);
        ok!(SYS_mkdir, scratch.c("d").as_c_str(), 0o755);
    });
    assert_eq!(
        (
            status(&scratch.c("new")).st_uid,
            status(&scratch.c("new")).st_gid
        ),
        (ALICE, BOB)
    );
    let directory = status(&scratch.c("d"));
    assert_eq!(
        (directory.st_gid, directory.st_mode & 0o2000),
        (BOB, 0o2000)
    );
}

fn access_asks_for_the_real_user() {
    let scratch = open_to_all();
    let path = file_of_alice(&scratch, 0o600);
    isolated(|| {
        ok!(SYS_setresuid, BOB, ALICE, -1);
        assert_eq!(open(&path, O_RDWR), Ok(()));
        fails!(EACCES, SYS_access, path.as_c_str(), R_OK);
        ok!(SYS_faccessat2, AT_FDCWD, path.as_c_str(), R_OK, AT_EACCESS);
        ok!(SYS_access, path.as_c_str(), F_OK);
        fails!(EINVAL, SYS_access, path.as_c_str(), 8);
    });
}

fn supplementary_group_gives_access() {
    let scratch = open_to_all();
    let path = file_of_alice(&scratch, 0o060);
    isolated(|| {
        ok!(SYS_setgroups, 2, &[77u32, ALICE]);
        ok!(SYS_setresgid, BOB, BOB, BOB);
        ok!(SYS_setresuid, BOB, BOB, BOB);
        assert_eq!(open(&path, O_RDWR), Ok(()));
    });
}

fn opened_file_stays_open_after_permission_is_gone() {
    let scratch = Scratch::new();
    let path = scratch.file("f", "contents");
    let file = Fd::open(&path, O_RDWR);
    ok!(SYS_chmod, path.as_c_str(), 0);
    assert_eq!(file.read(3).unwrap(), b"con");
    assert_eq!(file.write("x"), Ok(1));
}

fn times_can_be_set_by_the_owner() {
    let scratch = Scratch::new();
    let path = scratch.file("f", "");
    let times = [
        timespec {
            tv_sec: 1000,
            tv_nsec: 5,
        },
        timespec {
            tv_sec: 2000,
            tv_nsec: 6,
        },
    ];
    ok!(SYS_utimensat, AT_FDCWD, path.as_c_str(), &times, 0);
    assert_eq!(
        (status(&path).st_atime, status(&path).st_mtime),
        (1000, 2000)
    );
    let omit = [
        timespec {
            tv_sec: 9,
            tv_nsec: UTIME_OMIT,
        },
        timespec {
            tv_sec: 3000,
            tv_nsec: 0,
        },
    ];
    ok!(SYS_utimensat, AT_FDCWD, path.as_c_str(), &omit, 0);
    assert_eq!(
        (status(&path).st_atime, status(&path).st_mtime),
        (1000, 3000)
    );
    ok!(SYS_utimensat, AT_FDCWD, path.as_c_str(), 0, 0);
    assert!(status(&path).st_mtime > 1_000_000_000);
    let wrong = [timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000_000,
    }; 2];
    fails!(EINVAL, SYS_utimensat, AT_FDCWD, path.as_c_str(), &wrong, 0);
}

fn new_files_belong_to_the_effective_user() {
    let scratch = open_to_all();
    isolated(|| {
        ok!(SYS_setresgid, -1, BOB, -1);
        ok!(SYS_setresuid, -1, ALICE, -1);
        Fd::open(&scratch.c("new"), O_CREAT | O_RDWR);
    });
    let new = status(&scratch.c("new"));
    assert_eq!((new.st_uid, new.st_gid), (ALICE, BOB));
}

fn capabilities_follow_the_user() {
    need_root();
    let effective = || {
        let header = [0x2008_0522u32, 0];
        let mut data = [0u32; 6];
        ok!(SYS_capget, &header, &mut data);
        data[0]
    };
    isolated(|| {
        assert_ne!(effective(), 0);
        ok!(SYS_setresuid, -1, ALICE, -1);
        assert_eq!(effective(), 0);
        ok!(SYS_setresuid, -1, 0, -1);
        assert_ne!(effective(), 0);
    });
}
