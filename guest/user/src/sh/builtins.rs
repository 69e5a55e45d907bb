//! Built-in commands: what must run in the shell's own process, and what is so frequent that a
//! process for it would be a waste.

use super::options::OPTIONS;
use super::{Flow, Shell, Unwind, directory, getopts, lexer, limits, parser};
use crate::{cli, sys, tools};

/// A built-in command.
#[derive(Clone, Copy)]
pub struct Builtin {
    name: &'static str,
    /// Found before functions; assignments before it stay; its errors end a script.
    pub special: bool,
    /// Takes the arguments without the name.
    pub run: fn(&mut Shell, &[Vec<u8>]) -> Flow,
}

const fn special(name: &'static str, run: fn(&mut Shell, &[Vec<u8>]) -> Flow) -> Builtin {
    Builtin {
        name,
        special: true,
        run,
    }
}

const fn regular(name: &'static str, run: fn(&mut Shell, &[Vec<u8>]) -> Flow) -> Builtin {
    Builtin {
        name,
        special: false,
        run,
    }
}

/// All of them.
const BUILTINS: &[Builtin] = &[
    special(".", dot),
    special(":", |_, _| Ok(0)),
    regular("[", |_, args| Ok(tools::test::bracket(args))),
    regular("bg", |shell, args| Ok(shell.builtin_resume(args, false))),
    special("break", |shell, args| {
        leave_loop(shell, args, Unwind::Break)
    }),
    regular("cd", directory::cd),
    regular("command", command),
    special("continue", |shell, args| {
        leave_loop(shell, args, Unwind::Continue)
    }),
    regular("echo", |_, args| Ok(tools::echo::main(args))),
    special("eval", |shell, args| shell.run_string(&args.join(&b' '))),
    special("exec", exec),
    special("exit", exit),
    special("export", |shell, args| mark(shell, args, Mark::Export)),
    regular("false", |_, _| Ok(1)),
    regular("fg", |shell, args| Ok(shell.builtin_resume(args, true))),
    regular("getopts", getopts::getopts),
    regular("hash", |_, _| Ok(0)),
    regular("jobs", |shell, args| Ok(shell.builtin_jobs(args))),
    regular("kill", kill),
    regular("local", local),
    regular("printf", |_, args| Ok(tools::printf::main(args))),
    regular("pwd", directory::pwd),
    regular("read", Shell::builtin_read),
    special("readonly", |shell, args| mark(shell, args, Mark::Readonly)),
    special("return", r#return),
    special("set", set),
    special("shift", shift),
    regular("test", |_, args| Ok(tools::test::main(args))),
    special("times", times),
    special("trap", |shell, args| Ok(shell.builtin_trap(args))),
    regular("true", |_, _| Ok(0)),
    regular("type", r#type),
    regular("ulimit", limits::ulimit),
    regular("umask", limits::umask),
    special("unset", unset),
    regular("wait", |shell, args| Ok(shell.builtin_wait(args))),
];

/// The built-in of that name.
pub fn find(name: &[u8]) -> Option<Builtin> {
    BUILTINS.iter().find(|b| b.name.as_bytes() == name).copied()
}

fn dot(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    let Some(name) = args.first() else {
        return Err(shell.fatal(format_args!(".: filename argument required")));
    };
    let mut file = name.clone();
    if !name.contains(&b'/') {
        let path = shell.variables.get(b"PATH").unwrap_or_default();
        let mut candidates = path.split(|&b| b == b':').map(|d| [d, b"/", name].concat());
        if let Some(found) = candidates.find(|c| cli::path(c).is_file()) {
            file = found;
        }
    }
    let text = match std::fs::read(cli::path(&file)) {
        Ok(text) => text,
        Err(error) => {
            let error = cli::error_text(&error);
            return Err(shell.fatal(format_args!(".: {}: {error}", cli::show(name))));
        }
    };
    match shell.run_string(&text) {
        Err(Unwind::Return(status)) => Ok(status),
        other => other,
    }
}

fn leave_loop(shell: &mut Shell, args: &[Vec<u8>], unwind: fn(u32) -> Unwind) -> Flow {
    let levels = match args.first() {
        None => 1,
        Some(arg) => match cli::number::<u32>(arg).filter(|n| *n > 0) {
            Some(levels) => levels,
            None => return Err(shell.fatal(format_args!("Illegal number: {}", cli::show(arg)))),
        },
    };
    if shell.loops == 0 {
        return Ok(0);
    }
    Err(unwind(levels.min(shell.loops)))
}

/// `command -v`, `command -V`; `command NAME` is dealt with where commands are run.
fn command(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    match args.first().map(|a| &a[..]) {
        Some(b"-v") => {
            let mut status = 0;
            for name in &args[1..] {
                let known = find(name).is_some() || shell.functions.contains_key(name);
                let found = if known || is_reserved(name) {
                    Some(name.clone())
                } else {
                    shell.find_program(name)
                };
                status |= match found {
                    Some(found) => shell.print(&[found]),
                    None => 127,
                };
            }
            Ok(status)
        }
        Some(b"-V") => r#type(shell, &args[1..]),
        _ => Ok(0),
    }
}

fn is_reserved(name: &[u8]) -> bool {
    parser::RESERVED.iter().any(|word| word.as_bytes() == name)
}

fn r#type(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    let mut status = 0;
    for name in args {
        let shown = cli::show(name);
        let text = if is_reserved(name) {
            format!("{shown} is a shell keyword")
        } else if let Some(builtin) = find(name) {
            let kind = if builtin.special { "special " } else { "" };
            format!("{shown} is a {kind}shell builtin")
        } else if shell.functions.contains_key(name) {
            format!("{shown} is a shell function")
        } else if let Some(path) = shell.find_program(name) {
            format!("{shown} is {}", cli::show(&path))
        } else {
            status = 127;
            format!("{shown}: not found")
        };
        status |= shell.print(&[text.into_bytes()]);
    }
    Ok(status)
}

fn exec(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    if args.is_empty() {
        shell.keep_redirects = true;
        return Ok(0);
    }
    if shell.interactive {
        shell.set_job_control(false);
        for signal in [
            libc::SIGINT,
            libc::SIGQUIT,
            libc::SIGTERM,
            libc::SIGTSTP,
            libc::SIGTTIN,
            libc::SIGTTOU,
        ] {
            let _ = sys::set_signal(signal, sys::Disposition::Default);
        }
    }
    shell.exec(&[], args)
}

/// The numeric argument of `exit` and `return`.
fn status_argument(shell: &mut Shell, args: &[Vec<u8>]) -> Result<i32, Unwind> {
    match args.first() {
        None => Ok(shell.status),
        Some(arg) => match cli::number::<i32>(arg).filter(|n| *n >= 0) {
            Some(status) => Ok(status),
            None => Err(shell.fatal(format_args!("Illegal number: {}", cli::show(arg)))),
        },
    }
}

fn exit(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    let status = status_argument(shell, args)?;
    Err(Unwind::Exit(status))
}

fn r#return(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    let status = status_argument(shell, args)?;
    Err(Unwind::Return(status))
}

#[derive(Clone, Copy)]
enum Mark {
    Export,
    Readonly,
}

fn mark(shell: &mut Shell, args: &[Vec<u8>], mark: Mark) -> Flow {
    let (word, names) = match mark {
        Mark::Export => ("export", args),
        Mark::Readonly => ("readonly", args),
    };
    if names.is_empty() || names == [b"-p"] {
        let mut lines = Vec::new();
        for (name, variable) in shell.variables.iter() {
            let marked = match mark {
                Mark::Export => variable.exported,
                Mark::Readonly => variable.readonly,
            };
            if marked {
                let mut line = format!("{word} {}", cli::show(name)).into_bytes();
                if let Some(value) = &variable.value {
                    line.push(b'=');
                    line.extend(super::quote(value));
                }
                lines.push(line);
            }
        }
        return Ok(shell.print(&lines));
    }
    let (unexport, names) = match names.split_first() {
        Some((option, rest)) if option == b"-n" => (true, rest),
        _ => (false, names),
    };
    for arg in names {
        let name = assign_argument(shell, word, arg)?;
        match mark {
            Mark::Export => shell.variables.export(&name, !unexport),
            Mark::Readonly => shell.variables.make_readonly(&name),
        }
    }
    Ok(0)
}

/// Carries out `NAME=value` and gives the name.
fn assign_argument(shell: &mut Shell, word: &str, arg: &[u8]) -> Result<Vec<u8>, Unwind> {
    let at = arg.iter().position(|&b| b == b'=');
    let name = &arg[..at.unwrap_or(arg.len())];
    if !lexer::is_name(name) {
        return Err(shell.fatal(format_args!(
            "{word}: {}: bad variable name",
            cli::show(name)
        )));
    }
    if let Some(at) = at {
        shell.set_variable(name, &arg[at + 1..])?;
    }
    Ok(name.to_vec())
}

fn local(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    for arg in args {
        let length = arg.iter().position(|&b| b == b'=').unwrap_or(arg.len());
        if !shell.variables.localize(&arg[..length]) {
            return Err(shell.fatal(format_args!("local: not in a function")));
        }
        assign_argument(shell, "local", arg)?;
    }
    Ok(0)
}

fn unset(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    let (functions, names) = match args.split_first() {
        Some((option, rest)) if option == b"-f" => (true, rest),
        Some((option, rest)) if option == b"-v" => (false, rest),
        _ => (false, args),
    };
    for name in names {
        if functions {
            shell.functions.remove(name);
        } else if let Err(message) = shell.variables.unset(name) {
            return Err(shell.fatal(format_args!("unset: {message}")));
        }
    }
    Ok(0)
}

fn set(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    if args.is_empty() {
        let mut lines = Vec::new();
        for (name, variable) in shell.variables.iter() {
            if let Some(value) = &variable.value {
                lines.push([name, b"=", &super::quote(value)].concat());
            }
        }
        return Ok(shell.print(&lines));
    }
    let mut args = args.iter().peekable();
    while let Some(arg) = args.next_if(|a| a.len() > 1 && (a[0] == b'-' || a[0] == b'+')) {
        if arg == b"--" {
            shell.positional = args.cloned().collect();
            return Ok(0);
        }
        let on = arg[0] == b'-';
        for &letter in &arg[1..] {
            if letter == b'o' {
                let Some(name) = args.next() else {
                    return Ok(show_options(shell, on));
                };
                if !shell.set_long_option(name, on) {
                    return Err(Unwind::Fatal(2));
                }
                continue;
            }
            match shell.options.switch(letter) {
                Some(switch) => *switch = on,
                None => {
                    return Err(
                        shell.fatal(format_args!("set: Illegal option -{}", letter as char))
                    );
                }
            }
            if letter == b'm' {
                shell.set_job_control(on);
            }
        }
    }
    if args.peek().is_some() {
        shell.positional = args.cloned().collect();
    }
    Ok(0)
}

/// `set -o`: for people; `set +o`: as commands that set them so.
fn show_options(shell: &mut Shell, table: bool) -> i32 {
    let mut lines = Vec::new();
    if table {
        lines.push(b"Current option settings".to_vec());
    }
    for &(letter, name) in OPTIONS {
        let on = shell.options.switch(letter).is_some_and(|s| *s);
        let line = match (table, on) {
            (true, true) => format!("{name:<16}on"),
            (true, false) => format!("{name:<16}off"),
            (false, true) => format!("set -o {name}"),
            (false, false) => format!("set +o {name}"),
        };
        lines.push(line.into_bytes());
    }
    shell.print(&lines)
}

fn shift(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    let count = match args.first() {
        None => 1,
        Some(arg) => match cli::number::<usize>(arg) {
            Some(count) => count,
            None => return Err(shell.fatal(format_args!("Illegal number: {}", cli::show(arg)))),
        },
    };
    if count > shell.positional.len() {
        return Err(shell.fatal(format_args!("shift: can't shift that many")));
    }
    shell.positional.drain(..count);
    Ok(0)
}

fn times(shell: &mut Shell, _: &[Vec<u8>]) -> Flow {
    let show = |ticks: u64| {
        format!(
            "{}m{}.{:02}0000s",
            ticks / 6000,
            ticks / 100 % 60,
            ticks % 100
        )
    };
    let [user, system, child_user, child_system] = sys::times();
    Ok(shell.print(&[
        format!("{} {}", show(user), show(system)).into_bytes(),
        format!("{} {}", show(child_user), show(child_system)).into_bytes(),
    ]))
}

fn kill(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    let mut resolved: Vec<Vec<u8>> = Vec::new();
    let mut targets = Vec::new();
    for arg in args {
        if arg.starts_with(b"%") {
            // A job is a process group, a number with a minus that is no option.
            if !resolved.iter().any(|a| a == b"--") {
                resolved.push(b"--".to_vec());
            }
            let Some(target) = shell.jobs.kill_target(arg) else {
                shell.error(format_args!("kill: {}: no such job", cli::show(arg)));
                return Ok(1);
            };
            targets.push(target);
            resolved.push(target.to_string().into_bytes());
        } else {
            resolved.push(arg.clone());
        }
    }
    let status = tools::kill::main(&resolved);
    let stops = args
        .first()
        .is_some_and(|a| [&b"-STOP"[..], b"-TSTP", b"-TTIN", b"-TTOU"].contains(&&a[..]));
    for target in targets.into_iter().filter(|_| !stops) {
        shell.wake_job(target);
    }
    Ok(status)
}
