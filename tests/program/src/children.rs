//! Child processes: this program again, as `program child …`.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

/// What a child does.
pub fn child(words: &[&str]) -> ExitCode {
    match words {
        ["status", status] => return ExitCode::from(status.parse::<u8>().unwrap()),
        ["echo", words @ ..] => println!("{words:?}"),
        ["upper"] => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).unwrap();
            print!("{}", text.to_uppercase());
        }
        ["env", name] => println!("{:?}", std::env::var(name).ok()),
        ["cwd"] => println!("{}", std::env::current_dir().unwrap().display()),
        ["sleep"] => thread::sleep(Duration::from_secs(1000)),
        ["both"] => {
            println!("out");
            eprintln!("err");
        }
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

fn this(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("child").args(words);
    command
}

/// Try everything once, and print what came of it.
pub fn run() {
    statuses();
    arguments();
    streams();
    surroundings();
    signals();
    large_streams();
    many();
    pipeline();
    failures();
}

fn statuses() {
    let codes = [0, 1, 7, 255].map(|n: i32| {
        let status = this(&["status", &n.to_string()]).status().unwrap();
        status.code()
    });
    println!("statuses {codes:?}");
}

fn arguments() {
    let output = this(&["echo", "", "two words", "\"quotes'", "ünïcode", "*"]).output();
    print!(
        "arguments {}",
        String::from_utf8(output.unwrap().stdout).unwrap()
    );
}

fn streams() {
    let output = this(&["both"]).output().unwrap();
    println!("streams {:?} {:?}", output.stdout, output.stderr);
    let mut child = this(&["upper"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"shout").unwrap();
    let output = child.wait_with_output().unwrap();
    println!("input {:?}", String::from_utf8(output.stdout).unwrap());
}

fn surroundings() {
    let get = |mut command: Command| {
        let output = command.output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let mut with = this(&["env", "SUBJECT"]);
    with.env("SUBJECT", "a = b");
    let mut without = this(&["env", "PATH"]);
    without.env_clear();
    let mut elsewhere = this(&["cwd"]);
    elsewhere.current_dir("/proc");
    println!(
        "surroundings {} {} {}",
        get(with),
        get(without),
        get(elsewhere)
    );
}

fn signals() {
    let mut child = this(&["sleep"]).spawn().unwrap();
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    let status = child.wait().unwrap();
    println!("killed {running} {:?} {:?}", status.code(), status.signal());
    let mut group = this(&["sleep"]);
    let mut child = group.process_group(0).spawn().unwrap();
    // SAFETY: a plain system call.
    let sent = unsafe { libc::kill(-(child.id() as i32), libc::SIGTERM) };
    println!("group {sent} {:?}", child.wait().unwrap().signal());
}

fn large_streams() {
    let text = "some text\n".repeat(50_000);
    let mut child = this(&["upper"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let expected = text.to_uppercase();
    let writer = thread::spawn(move || stdin.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    println!(
        "large streams {} {}",
        output.stdout.len(),
        output.stdout == expected.as_bytes()
    );
}

fn many() {
    let threads: Vec<_> = (0..6u8)
        .map(|n| {
            thread::spawn(move || {
                (0..3)
                    .map(|m| {
                        this(&["status", &(n * 10 + m).to_string()])
                            .status()
                            .unwrap()
                    })
                    .map(|status| status.code().unwrap())
                    .sum::<i32>()
            })
        })
        .collect();
    let sums: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    println!("many {sums:?}");
    let mut children: Vec<_> = (0..10u8)
        .map(|n| this(&["status", &n.to_string()]).spawn().unwrap())
        .collect();
    let codes: Vec<_> = children
        .iter_mut()
        .rev()
        .map(|c| c.wait().unwrap().code())
        .collect();
    println!("at once {codes:?}");
}

fn pipeline() {
    let mut first = this(&["echo", "through", "pipes"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let second = this(&["upper"])
        .stdin(first.stdout.take().unwrap())
        .output()
        .unwrap();
    first.wait().unwrap();
    print!("pipeline {}", String::from_utf8(second.stdout).unwrap());
}

fn failures() {
    let missing = Command::new("/no/such/program").spawn();
    let directory = Command::new("/proc").spawn();
    println!(
        "failures {:?} {:?}",
        missing.map(drop).map_err(|error| error.kind()),
        directory.map(drop).map_err(|error| error.kind())
    );
}
