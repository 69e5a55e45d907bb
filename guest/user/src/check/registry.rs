//! All tests, by area.

use std::io::Write as _;

/// One test.
pub struct Test {
    /// The function's name: the behaviour, in words.
    pub name: &'static str,
    /// The test; it panics where it fails.
    pub run: fn(),
    /// Whether Linux on the host cannot be asked.
    pub guest_only: bool,
}

/// Names areas and takes their tests.
macro_rules! areas {
    ($($area:ident),* $(,)?) => {
        /// Name and tests of each area.
        const AREAS: &[(&str, &[Test])] = &[$((stringify!($area), crate::$area::TESTS)),*];
    };
}

areas!(
    bad_pointer,
    core_dump,
    directory,
    elf,
    exec,
    extended_attribute,
    fault,
    file,
    file_descriptor,
    file_mapping,
    futex,
    futex_pi,
    identity,
    int80,
    lock,
    memory,
    message_queue,
    passing,
    pidfd,
    pipe,
    poll,
    prctl,
    proc,
    proc_mem,
    proc_pid,
    process,
    pseudo_terminal,
    ptrace,
    ptrace_attach,
    ptrace_memory,
    remap,
    rename,
    resource_limit,
    seal,
    session,
    signal,
    signal_queue,
    sigreturn,
    socket,
    socket_option,
    splice,
    swap,
    synchronisation,
    synchronisation_problem,
    sysv_memory,
    sysv_message,
    sysv_semaphore,
    thread,
    timer,
    tmpfs,
    wait,
);

/// `--list`
pub fn list() -> libc::c_int {
    let mut out = std::io::stdout().lock();
    for (area, tests) in AREAS {
        for test in *tests {
            let mark = if test.guest_only { "\tguest" } else { "" };
            if writeln!(out, "{area}::{}{mark}", test.name).is_err() {
                return 1;
            }
        }
    }
    0
}

/// The test called `name`.
pub fn find(name: &str) -> Option<&'static Test> {
    let (area, name) = name.split_once("::")?;
    let (_, tests) = AREAS.iter().find(|(known, _)| *known == area)?;
    tests.iter().find(|test| test.name == name)
}
