//! The files in `/proc/PID`.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::sync::atomic::Ordering;

use super::maps;
use crate::errno::{Errno, KResult};
use crate::fs::perm::Who;
use crate::fs::{Dentry, File, FileType, mount};
use crate::task::rlimit::RLimits;
use crate::task::{self, Creds, Process, Task, core_dump, find_task, oom, ptrace};
use crate::time;

/// Bytes of a page.
const PAGE: usize = 4096;

/// Most bytes of arguments that `cmdline` shows.
const MAX_ARGS: usize = 64 * 1024;

/// What takes text written to a file, for the process, and the thread with that number.
pub type Write = fn(&Arc<Process>, u32, &str) -> KResult<()>;

/// A file in `/proc/PID`.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Its permission bits.
    pub perm: u32,
    /// Whether only the owner and root may look.
    pub private: bool,
    /// Makes its text, for the process, and the thread with that number.
    pub make: fn(&Arc<Process>, u32) -> KResult<Vec<u8>>,
    /// Takes what is written.
    pub writes: Option<Write>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self, other)
    }
}

impl Eq for Entry {}

impl core::fmt::Debug for Entry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name)
    }
}

/// A link in `/proc/PID` that leads to a place in the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The program.
    Exe,
    /// The working directory.
    Cwd,
    /// The root directory.
    Root,
}

/// The links by name.
pub const LINKS: [(&str, Link); 3] = [("exe", Link::Exe), ("cwd", Link::Cwd), ("root", Link::Root)];

const fn public(name: &'static str, make: fn(&Arc<Process>, u32) -> KResult<Vec<u8>>) -> Entry {
    Entry {
        name,
        perm: 0o444,
        private: false,
        make,
        writes: None,
    }
}

const fn private(name: &'static str, make: fn(&Arc<Process>, u32) -> KResult<Vec<u8>>) -> Entry {
    Entry {
        name,
        perm: 0o400,
        private: true,
        make,
        writes: None,
    }
}

const fn setting(
    name: &'static str,
    make: fn(&Arc<Process>, u32) -> KResult<Vec<u8>>,
    write: Write,
) -> Entry {
    Entry {
        name,
        perm: 0o644,
        private: false,
        make,
        writes: Some(write),
    }
}

/// The files.
pub static ENTRIES: &[Entry] = &[
    private("auxv", |process, _| core_dump::auxiliary_vector(process)),
    public("cmdline", cmdline),
    setting("comm", comm, set_comm),
    private("environ", environ),
    public("limits", limits),
    public("maps", maps::maps),
    public("mountinfo", |_, _| Ok(mount::describe_tree().into_bytes())),
    public("mounts", |_, _| Ok(mount::describe().into_bytes())),
    public("oom_score", oom_score),
    setting("oom_score_adj", oom_adjustment, set_oom_adjustment),
    public("smaps", maps::smaps),
    public("smaps_rollup", maps::smaps_rollup),
    public("stat", stat),
    public("statm", statm),
    public("status", status),
    private("syscall", super::state::syscall),
    public("wchan", super::state::wchan),
];

/// Whether the running process may look into `process`: its own user's, or all for root. EACCES.
pub fn check_inspect(process: &Process) -> KResult<()> {
    if ptrace::may_access(process) {
        Ok(())
    } else {
        Err(Errno::EACCES)
    }
}

/// Where a link leads. ENOENT for a process that has ended.
pub fn link(process: &Arc<Process>, link: Link) -> KResult<Arc<Dentry>> {
    check_inspect(process)?;
    if process.is_dead() {
        return Err(Errno::ENOENT);
    }
    match link {
        Link::Exe => process.exe.lock().clone().ok_or(Errno::ENOENT),
        Link::Cwd => Ok(process.fs.lock().cwd.clone()),
        Link::Root => Ok(process.fs.lock().root.clone()),
    }
}

/// What the link of a descriptor says: a path, or `pipe:[123]`.
pub fn describe_file(file: &File) -> Vec<u8> {
    if let Some(dentry) = file.dentry() {
        return dentry.display_path();
    }
    let ino = file.inode().metadata().ino;
    match file.kind() {
        FileType::Fifo => format!("pipe:[{ino}]").into_bytes(),
        FileType::Socket => format!("socket:[{ino}]").into_bytes(),
        _ => b"anon_inode:[file]".to_vec(),
    }
}

/// Copy of the process's memory from `start` to `end`, at most [`MAX_ARGS`] bytes.
fn memory(process: &Process, start: usize, end: usize) -> Vec<u8> {
    let Some(space) = process.space() else {
        return Vec::new();
    };
    let len = end.saturating_sub(start).min(MAX_ARGS);
    let mut bytes = alloc::vec![0; len];
    let n = space.peek(start, &mut bytes);
    bytes.truncate(n);
    bytes
}

fn cmdline(process: &Arc<Process>, _id: u32) -> KResult<Vec<u8>> {
    let image = *process.image.lock();
    Ok(memory(process, image.args, image.args_end))
}

fn environ(process: &Arc<Process>, _id: u32) -> KResult<Vec<u8>> {
    let image = *process.image.lock();
    Ok(memory(process, image.env, image.env_end))
}

/// The thread that a directory is about; none if it has ended.
pub(super) fn thread(process: &Process, id: u32) -> Option<Arc<Task>> {
    find_task(id).or_else(|| process.first_thread())
}

fn name(process: &Process, id: u32) -> String {
    match thread(process, id) {
        Some(thread) => {
            let (comm, len) = thread.comm();
            String::from_utf8_lossy(&comm[..len]).into_owned()
        }
        None => String::from("defunct"),
    }
}

fn comm(process: &Arc<Process>, id: u32) -> KResult<Vec<u8>> {
    Ok(format!("{}\n", name(process, id)).into_bytes())
}

/// A thread renames itself and its siblings, and nobody else does.
fn set_comm(process: &Arc<Process>, id: u32, text: &str) -> KResult<()> {
    if !core::ptr::eq(&**process, task::current_process()) {
        return Err(Errno::EINVAL);
    }
    let thread = thread(process, id).ok_or(Errno::ESRCH)?;
    thread.set_comm(text.as_bytes());
    Ok(())
}

/// How likely it is to be killed when memory runs out: 1000, with all of it and nothing adjusted.
fn oom_score(process: &Arc<Process>, _id: u32) -> KResult<Vec<u8>> {
    let score = oom::score(process);
    Ok(format!("{score}\n").into_bytes())
}

fn oom_adjustment(process: &Arc<Process>, _id: u32) -> KResult<Vec<u8>> {
    let adjustment = process.oom_adjustment().load(Ordering::Relaxed);
    Ok(format!("{adjustment}\n").into_bytes())
}

/// EINVAL: beyond -1000 … 1000. EACCES: only root protects a process.
fn set_oom_adjustment(process: &Arc<Process>, _id: u32, text: &str) -> KResult<()> {
    let new: i32 = text.parse().map_err(|_| Errno::EINVAL)?;
    if !(-1000..=1000).contains(&new) {
        return Err(Errno::EINVAL);
    }
    let old = process.oom_adjustment().load(Ordering::Relaxed);
    if new < old.min(0) && !Who::current().is_root() {
        return Err(Errno::EACCES);
    }
    process.oom_adjustment().store(new, Ordering::Relaxed);
    Ok(())
}

fn state_letter(process: &Process, id: u32) -> char {
    if process.is_dead() {
        return 'Z';
    }
    thread(process, id).map_or('Z', |thread| char::from(thread.state_letter()))
}

fn stat(process: &Arc<Process>, id: u32) -> KResult<Vec<u8>> {
    let usage = process.usage();
    let children = process.child_usage();
    let (tty, foreground) = match &*process.ctty.lock() {
        Some(tty) => (tty.device(), tty.foreground() as i32),
        None => (0, -1),
    };
    let memory = process
        .space()
        .map(|space| space.usage())
        .unwrap_or_default();
    let image = *process.image.lock();
    let nice = thread(process, id).map_or(0, |thread| thread.nice());
    let mut text = format!(
        "{id} ({}) {} {} {} {} {tty} {foreground} 0 {} {} {} {} {} {} {} {} {} {nice} {} 0 {} {} {} \
         18446744073709551615",
        name(process, id),
        state_letter(process, id),
        process.ppid(),
        process.pgid(),
        process.sid(),
        usage.minor_faults,
        children.minor_faults,
        usage.major_faults,
        children.major_faults,
        time::ns_to_ticks(usage.user_ns),
        time::ns_to_ticks(usage.system_ns),
        time::ns_to_ticks(children.user_ns),
        time::ns_to_ticks(children.system_ns),
        20 + i32::from(nice),
        process.thread_count(),
        time::ns_to_ticks(process.start_ns),
        memory.size * PAGE,
        memory.resident,
    );
    // startcode endcode startstack kstkesp kstkeip signal blocked sigignore sigcatch wchan nswap
    // cnswap exit_signal processor rt_priority policy delayacct guest cguest start_data end_data
    // start_brk arg_start arg_end env_start env_end exit_code
    let _ = writeln!(
        text,
        " 0 0 {} 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 {} {} {} {} {}",
        image.stack,
        image.args,
        image.args_end,
        image.env,
        image.env_end,
        process.exit_status(),
    );
    Ok(text.into_bytes())
}

fn statm(process: &Arc<Process>, _id: u32) -> KResult<Vec<u8>> {
    let memory = process
        .space()
        .map(|space| space.usage())
        .unwrap_or_default();
    Ok(format!(
        "{} {} {} {} 0 {} 0\n",
        memory.size,
        memory.resident,
        memory.shared,
        memory.text,
        memory.data + memory.stack,
    )
    .into_bytes())
}

fn status(process: &Arc<Process>, id: u32) -> KResult<Vec<u8>> {
    const KIB: usize = PAGE / 1024;
    let letter = state_letter(process, id);
    let word = match letter {
        'R' => "running",
        'S' => "sleeping",
        'D' => "disk sleep",
        'T' => "stopped",
        't' => "tracing stop",
        'Z' => "zombie",
        _ => "dead",
    };
    let creds = process.creds.lock().clone();
    let umask = process.fs.lock().umask;
    let fds = process.files.lock().capacity();
    let mut text = format!(
        "Name:\t{}\nUmask:\t{umask:04o}\nState:\t{letter} ({word})\nTgid:\t{}\nNgid:\t0\nPid:\t{id}\n\
         PPid:\t{}\nTracerPid:\t{}\nUid:\t{}\t{}\t{}\t{}\nGid:\t{}\t{}\t{}\t{}\nFDSize:\t{fds}\n\
         Groups:\t",
        name(process, id),
        process.pid(),
        process.ppid(),
        thread(process, id).map_or(0, |thread| ptrace::tracer_pid(&thread)),
        creds.uid,
        creds.euid,
        creds.suid,
        creds.fsuid,
        creds.gid,
        creds.egid,
        creds.sgid,
        creds.fsgid,
    );
    for group in creds.groups.iter() {
        let _ = write!(text, "{group} ");
    }
    text.push('\n');
    if let Some(space) = process.space() {
        let memory = space.usage();
        for (label, pages) in [
            ("VmSize", memory.size),
            ("VmLck", memory.locked),
            ("VmHWM", space.peak().max(memory.resident)),
            ("VmRSS", memory.resident),
            ("RssAnon", memory.resident.saturating_sub(memory.shared)),
            ("RssFile", memory.shared),
            ("VmData", memory.data),
            ("VmStk", memory.stack),
            ("VmExe", memory.text),
            ("VmSwap", memory.swapped),
        ] {
            let _ = writeln!(text, "{label}:\t{:>8} kB", pages * KIB);
        }
    }
    let _ = writeln!(text, "Threads:\t{}", process.thread_count());
    if let Some(thread) = thread(process, id) {
        text.push_str(&super::state::signals(process, &thread));
        let capabilities = creds.capabilities();
        let _ = writeln!(
            text,
            "CapInh:\t{:016x}\nCapPrm:\t{capabilities:016x}\nCapEff:\t{capabilities:016x}\n\
             CapBnd:\t{:016x}\nCapAmb:\t{:016x}\nNoNewPrivs:\t{}\nSeccomp:\t0\n\
             Cpus_allowed:\t1\nCpus_allowed_list:\t0",
            0,
            Creds::root().capabilities(),
            0,
            u32::from(process.no_new_privs()),
        );
        let usage = thread.usage();
        let _ = writeln!(
            text,
            "voluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}",
            usage.voluntary_switches, usage.involuntary_switches
        );
    }
    Ok(text.into_bytes())
}

fn limits(process: &Arc<Process>, _id: u32) -> KResult<Vec<u8>> {
    const NAMES: [(&str, &str); 16] = [
        ("Max cpu time", "seconds"),
        ("Max file size", "bytes"),
        ("Max data size", "bytes"),
        ("Max stack size", "bytes"),
        ("Max core file size", "bytes"),
        ("Max resident set", "bytes"),
        ("Max processes", "processes"),
        ("Max open files", "files"),
        ("Max locked memory", "bytes"),
        ("Max address space", "bytes"),
        ("Max file locks", "locks"),
        ("Max pending signals", "signals"),
        ("Max msgqueue size", "bytes"),
        ("Max nice priority", ""),
        ("Max realtime priority", ""),
        ("Max realtime timeout", "us"),
    ];
    let limits: RLimits = *process.rlimits.lock();
    let mut text = format!(
        "{:<25} {:<20} {:<20} {:<10}\n",
        "Limit", "Soft Limit", "Hard Limit", "Units"
    );
    let show = |value: u64| {
        if value == u64::MAX {
            String::from("unlimited")
        } else {
            format!("{value}")
        }
    };
    for (number, (name, unit)) in NAMES.iter().enumerate() {
        let limit = limits.get(number)?;
        let _ = writeln!(
            text,
            "{name:<25} {:<20} {:<20} {unit:<10}",
            show(limit.cur),
            show(limit.max)
        );
    }
    Ok(text.into_bytes())
}
