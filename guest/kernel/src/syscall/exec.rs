//! Running programs: execve, execveat.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::file::get;
use super::open::read_path;
use super::stat::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW};
use crate::arch::TrapFrame;
use crate::errno::{Errno, KResult};
use crate::fs::path::{self, AT_FDCWD};
use crate::fs::{Dentry, Lookup};
use crate::task::exec::{self, Request, Strings};

/// `execve(2)`
pub fn sys_execve(frame: &mut TrapFrame) -> KResult<usize> {
    let name = read_path(frame.rdi)?;
    let file = path::lookup_exec(AT_FDCWD, &name, Lookup::Follow)?;
    let (args, env) = (frame.rsi, frame.rdx);
    run(frame, file, name, args, env)
}

/// `execveat(2)`
pub fn sys_execveat(frame: &mut TrapFrame) -> KResult<usize> {
    let (dirfd, at, args, env, flags) = (frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8);
    if flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = read_path(at)?;
    if name.is_empty() && flags & AT_EMPTY_PATH != 0 {
        let file = get(dirfd)?;
        let dentry = file.dentry().ok_or(Errno::EACCES)?.clone();
        path::check_exec(&dentry)?;
        let name = format!("/dev/fd/{}", dirfd as u32).into_bytes();
        return run(frame, dentry, name, args, env);
    }
    let lookup = if flags & AT_SYMLINK_NOFOLLOW != 0 {
        Lookup::NoFollow
    } else {
        Lookup::Follow
    };
    let file = path::lookup_exec(dirfd as i32, &name, lookup)?;
    run(frame, file, name, args, env)
}

/// Run `file` under the name `name`, with the arrays of strings at `args` and `env`.
fn run(
    frame: &mut TrapFrame,
    file: Arc<Dentry>,
    name: Vec<u8>,
    args: usize,
    env: usize,
) -> KResult<usize> {
    let limit = exec::string_limit();
    let mut used = name.len() + 1;
    let mut args = Strings::from_user(args, &mut used, limit)?;
    let env = Strings::from_user(env, &mut used, limit)?;
    if args.count() == 0 {
        // As Linux since 5.18: a program always has a name.
        args.push(b"")?;
    }
    exec::exec(
        frame,
        Request {
            file,
            name,
            args,
            env,
        },
    )?;
    Ok(0)
}
