//! `cd` and `pwd`: the working directory, by the name that led there.

use super::{Flow, Shell};
use crate::{cli, tools};

/// `cd [-L | -P] [DIRECTORY | -]`.
pub fn cd(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    let args = match args.first() {
        Some(option) if option == b"-P" || option == b"-L" || option == b"--" => &args[1..],
        _ => args,
    };
    let (target, say) = match args.first() {
        Some(dash) if dash == b"-" => (shell.variables.get(b"OLDPWD"), true),
        Some(directory) => (Some(&directory[..]), false),
        None => (shell.variables.get(b"HOME"), false),
    };
    let Some(target) = target.map(<[u8]>::to_vec) else {
        shell.error(format_args!("cd: no directory"));
        return Ok(2);
    };
    if let Err(error) = std::env::set_current_dir(cli::path(&target)) {
        let error = cli::error_text(&error);
        shell.error(format_args!(
            "cd: can't cd to {}: {error}",
            cli::show(&target)
        ));
        return Ok(2);
    }
    let old = shell.variables.get(b"PWD").unwrap_or_default().to_vec();
    let new = logical_directory(&old, &target);
    shell.set_variable(b"OLDPWD", &old)?;
    shell.set_variable(b"PWD", &new)?;
    if say { Ok(shell.print(&[new])) } else { Ok(0) }
}

/// The name of the directory that `target` leads to from `old`, symbolic links kept, if that is
/// where we are; otherwise the true name.
fn logical_directory(old: &[u8], target: &[u8]) -> Vec<u8> {
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::MetadataExt;
    let full = if target.starts_with(b"/") {
        target.to_vec()
    } else {
        [old, b"/", target].concat()
    };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in full.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let logical = [b"/", &parts.join(&b'/')[..]].concat();
    let identity = |path: &[u8]| {
        let metadata = cli::path(path).metadata().ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    if identity(&logical).is_some() && identity(&logical) == identity(b".") {
        return logical;
    }
    std::env::current_dir().map_or(logical, |d| d.into_os_string().into_vec())
}

/// `pwd [-L | -P]`.
pub fn pwd(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    let logical = shell.variables.get(b"PWD").map(<[u8]>::to_vec);
    match logical.filter(|_| args.first().is_none_or(|a| a != b"-P")) {
        Some(directory) => Ok(shell.print(&[directory])),
        None => Ok(tools::names::pwd(args)),
    }
}
