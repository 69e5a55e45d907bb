//! The first tasks: the idle task, which the boot code becomes, and init.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;

use gnomon_abi::ports::FatalReason;
use gnomon_sched::Entity;

use super::creds::Creds;
use super::exec;
use super::kstack::KernelStack;
use super::process::{self, Process};
use super::rlimit::RLimits;
use super::signal::SIGCHLD;
use super::signal::action::Actions;
use super::signal::state::ProcessSignals;
use super::stack::ImageRange;
use super::table::table;
use super::thread::{self, Task, state};
use super::{COMM_LEN, current};
use crate::arch::context::Context;
use crate::arch::fpu::FpuState;
use crate::arch::{TrapFrame, boot_info, percpu, syscall_entry};
use crate::errno::KResult;
use crate::fs::{self, Dentry, FdTable, FileType, FsContext, Inode, Metadata, OpenFlags};
use crate::sync::SpinLock;
use crate::{power, sched, tty};

fn comm(name: &[u8]) -> [u8; COMM_LEN] {
    let mut comm = [0; COMM_LEN];
    comm[..name.len()].copy_from_slice(name);
    comm
}

/// A word `name=value` of the kernel's command line.
fn option(name: &str) -> Option<&'static str> {
    boot_info::command_line()
        .split_ascii_whitespace()
        .rev()
        .find_map(|word| {
            word.strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('='))
        })
}

/// A directory with nothing in it: where the boot code stands before there is a root file system.
struct Nowhere;

impl Inode for Nowhere {
    fn metadata(&self) -> Metadata {
        Metadata::synthetic(0, 0, FileType::Directory, 0o555)
    }

    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
}

fn no_files() -> FsContext {
    let root = Dentry::new_root(Arc::new(Nowhere), None);
    FsContext {
        cwd: root.clone(),
        root,
        umask: 0o022,
    }
}

/// Make the boot code the idle task of this processor. It cannot have files before there is a root
/// file system: its process has a context without one until then.
pub fn init() {
    let task = Task::new(thread::Parts {
        tid: 0,
        process: kernel_process(),
        entity: Entity::new(0),
        stack: None,
        context: Context::empty(),
        fpu: FpuState::new(),
        fs_base: 0,
        gs_base: 0,
        blocked: 0,
        comm: comm(b"swapper"),
    });
    task.state.store(state::RUNNING, Ordering::Relaxed);
    task.on_cpu.store(true, Ordering::Relaxed);
    // The idle task is never dropped.
    let idle: &'static Task = leak(task);
    percpu::set_current(core::ptr::from_ref(idle).cast());
    sched::init(option("sched").unwrap_or("cfs"), idle);
}

/// A process without memory and files, for tasks that never leave the kernel.
fn kernel_process() -> Arc<Process> {
    Process::new(process::Parts {
        pid: 0,
        parent: Weak::new(),
        ppid: 0,
        pgid: 0,
        sid: 0,
        exit_signal: 0,
        creds: Creds::root(),
        space: None,
        files: Arc::new(SpinLock::new(FdTable::new())),
        fs: Arc::new(SpinLock::new(no_files())),
        rlimits: RLimits::initial(),
        signals: ProcessSignals::new(Actions::new()),
        ctty: None,
        exe: None,
        image: ImageRange::default(),
        vfork: None,
        dumpable: 0,
        no_new_privs: false,
        oom_adjustment: 0,
        personality: 0,
    })
}

/// Start a thread of the kernel that lives for ever. Like the idle task it is in no table: no signal
/// reaches it, and `/proc` does not show it.
///
/// # Errors
/// ENOMEM: memory is short.
pub fn start_kernel_thread(name: &[u8], run: fn() -> !) -> KResult<()> {
    let stack = KernelStack::new()?;
    // SAFETY: the context lies below the place of the trap frame on a fresh stack.
    let context = unsafe {
        let top = stack.frame() as usize & !15;
        Context::for_new_task(top, kernel_thread_start, run as usize)
    };
    let task = Task::new(thread::Parts {
        tid: 0,
        process: kernel_process(),
        entity: Entity::new(0),
        stack: Some(stack),
        context,
        fpu: FpuState::new(),
        fs_base: 0,
        gs_base: 0,
        blocked: u64::MAX,
        comm: comm(name),
    });
    sched::start(leak(task));
    Ok(())
}

/// First code of a thread of the kernel.
extern "C" fn kernel_thread_start(run: usize) -> ! {
    sched::finish_switch();
    // SAFETY: `start_kernel_thread` has made the number from such a function.
    let run: fn() -> ! = unsafe { core::mem::transmute::<usize, fn() -> !>(run) };
    run()
}

/// A task that lives for ever.
fn leak(task: Arc<Task>) -> &'static Task {
    // SAFETY: the reference count is never given back, so the task is never dropped.
    unsafe { &*Arc::into_raw(task) }
}

/// Make the first process. It runs as soon as the boot code becomes idle.
pub fn spawn_init() {
    if make_init().is_err() {
        power::die(
            FatalReason::NoInit,
            format_args!("not enough memory to start init"),
        );
    }
}

fn make_init() -> KResult<()> {
    let pid = table().allocate()?;
    let stack = KernelStack::new()?;
    let process = Process::new(process::Parts {
        pid,
        parent: Weak::new(),
        ppid: 0,
        pgid: 0,
        sid: 0,
        exit_signal: SIGCHLD,
        creds: Creds::root(),
        space: None,
        files: Arc::new(SpinLock::new(FdTable::new())),
        fs: Arc::new(SpinLock::new(FsContext::initial())),
        rlimits: RLimits::initial(),
        signals: ProcessSignals::new(Actions::new()),
        ctty: None,
        exe: None,
        image: ImageRange::default(),
        vfork: None,
        dumpable: 1,
        no_new_privs: false,
        oom_adjustment: 0,
        personality: 0,
    });
    // SAFETY: the context lies below the place of the trap frame on a fresh stack.
    let context = unsafe { Context::for_new_task(stack.frame() as usize & !15, init_start, 0) };
    let task = Task::new(thread::Parts {
        tid: pid,
        process: process.clone(),
        entity: Entity::new(0),
        stack: Some(stack),
        context,
        fpu: FpuState::new(),
        fs_base: 0,
        gs_base: 0,
        blocked: 0,
        comm: comm(b"init"),
    });
    process.threads.lock().push(task.clone());
    {
        let mut table = table();
        table.tasks.insert(pid, task.clone());
        table.processes.insert(pid, process);
        table.forks += 1;
    }
    sched::start(&task);
    Ok(())
}

/// Standard input, output and error of the first process.
fn open_console() -> KResult<()> {
    let names: [&[u8]; 3] = if tty::console_tty().is_some() {
        [b"/dev/console"; 3]
    } else {
        [b"/dev/hvc0", b"/dev/hvc0", b"/dev/hvc1"]
    };
    for name in names {
        let dentry = fs::lookup(name)?;
        let file = fs::open_dentry(dentry, OpenFlags::RDWR | OpenFlags::NOCTTY)?;
        current().process.install_file(file, false)?;
    }
    Ok(())
}

/// First code of the first process, in the kernel: open the console and run init.
extern "C" fn init_start(_: usize) -> ! {
    const PATH: &[u8] = b"/sbin/init";
    const ENV: [&[u8]; 2] = [
        b"HOME=/root",
        b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ];
    sched::finish_switch();
    if let Err(e) = open_console() {
        klog!("init: the console cannot be opened ({e:?}): /dev/console or /dev/hvc0 is missing");
    }
    let mut frame = TrapFrame::default();
    let mut args = boot_info::init_args().peekable();
    let mut env = boot_info::init_env().peekable();
    let result = match (args.peek().is_some(), env.peek().is_some()) {
        (true, true) => exec::exec_from_kernel(&mut frame, PATH, args, env),
        (true, false) => exec::exec_from_kernel(&mut frame, PATH, args, ENV.into_iter()),
        (false, _) => exec::exec_from_kernel(&mut frame, PATH, [PATH].into_iter(), ENV.into_iter()),
    };
    if let Err(e) = result {
        power::die(
            FatalReason::NoInit,
            format_args!("/sbin/init cannot be run: {e:?}; the root image needs one"),
        );
    }
    let Some(place) = current().frame() else {
        unreachable!("init without a kernel stack")
    };
    percpu::set_kernel_stack(current().stack_top());
    // SAFETY: the frame's place is above everything that is still needed on this stack.
    unsafe {
        place.write(frame);
        syscall_entry::return_to_user(place)
    }
}
