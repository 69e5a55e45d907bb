//! The notes of a core image: `struct elf_prstatus`, `struct elf_prpsinfo` and others, as Linux lays
//! them out on x86-64 (`include/uapi/linux/elfcore.h`, `core(5)`).

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::errno::{Errno, KResult};
use crate::mm::area::AreaInfo;
use crate::mm::layout::PAGE;
use crate::task::ptrace::registers;
use crate::task::signal::SigInfo;
use crate::task::{Process, Task, current, current_process, mapped};
use crate::time::SECOND;

const NT_PRSTATUS: u32 = 1;
const NT_FPREGSET: u32 = 2;
const NT_PRPSINFO: u32 = 3;
const NT_AUXV: u32 = 6;
const NT_SIGINFO: u32 = 0x5349_4749;
const NT_FILE: u32 = 0x4649_4c45;
const NT_X86_XSTATE: u32 = 0x202;

/// Bytes of `struct elf_prstatus`; the registers lie at 112.
const PRSTATUS: usize = 336;
const PRSTATUS_REGISTERS: usize = 112;
/// Bytes of `struct elf_prpsinfo`; name and arguments lie at 40 and 56.
const PRPSINFO: usize = 136;
const PRPSINFO_NAME: usize = 40;
const PRPSINFO_ARGS: usize = 56;
/// Bytes of arguments in it.
const ARGS: usize = 80;
/// Pairs of the auxiliary vector that are looked for at most.
const MAX_AUXV: usize = 64;
/// Pointers of a program's first stack that are passed over at most.
const MAX_POINTERS: usize = 1 << 20;

/// Notes, one after the other.
pub struct Notes {
    /// Their bytes.
    pub bytes: Vec<u8>,
}

impl Notes {
    /// The notes of the running process, which `info` ends, with the threads `others` beside the
    /// running one.
    ///
    /// # Errors
    /// ENOMEM: memory is short.
    pub fn collect(info: &SigInfo, others: &[Arc<Task>], areas: &[AreaInfo]) -> KResult<Self> {
        let me = current();
        let process = current_process();
        let mut notes = Self { bytes: Vec::new() };
        notes.push(b"CORE", NT_PRSTATUS, &prstatus(me, info))?;
        notes.push(b"CORE", NT_PRPSINFO, &prpsinfo(process))?;
        notes.push(b"CORE", NT_SIGINFO, &info.to_bytes())?;
        notes.push(b"CORE", NT_AUXV, &auxiliary_vector(process)?)?;
        notes.push(b"CORE", NT_FILE, &files(process, areas)?)?;
        notes.push_float(me)?;
        for task in others {
            notes.push(b"CORE", NT_PRSTATUS, &prstatus(task, info))?;
            notes.push_float(task)?;
        }
        Ok(notes)
    }

    fn push(&mut self, name: &[u8], kind: u32, contents: &[u8]) -> KResult<()> {
        let size = 12 + (name.len() + 1).next_multiple_of(4) + contents.len().next_multiple_of(4);
        self.bytes.try_reserve(size).map_err(|_| Errno::ENOMEM)?;
        for word in [name.len() as u32 + 1, contents.len() as u32, kind] {
            self.bytes.extend_from_slice(&word.to_le_bytes());
        }
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend_from_slice(contents);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        Ok(())
    }

    fn push_float(&mut self, task: &Task) -> KResult<()> {
        // SAFETY: the thread has put its registers aside and holds still.
        let (image, xstate) = unsafe { (registers::read_fp(task), registers::read_xstate(task)?) };
        self.push(b"CORE", NT_FPREGSET, &image)?;
        if let Some(xstate) = xstate {
            self.push(b"LINUX", NT_X86_XSTATE, &xstate)?;
        }
        Ok(())
    }
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Numbers of a process: itself, its parent, its group, its session.
fn put_numbers(bytes: &mut [u8], at: usize, id: u32, process: &Process) {
    let numbers = [id, process.ppid(), process.pgid(), process.sid()];
    for (index, number) in numbers.into_iter().enumerate() {
        put32(bytes, at + index * 4, number);
    }
}

fn prstatus(task: &Task, info: &SigInfo) -> [u8; PRSTATUS] {
    let mut bytes = [0; PRSTATUS];
    put32(&mut bytes, 0, info.signo);
    put32(&mut bytes, 4, info.code as u32);
    put32(&mut bytes, 8, info.errno as u32);
    put32(&mut bytes, 12, info.signo);
    put64(&mut bytes, 16, task.signals.lock().pending.set());
    put64(&mut bytes, 24, task.blocked());
    put_numbers(&mut bytes, 32, task.tid(), &task.process);
    let (own, children) = (task.usage(), task.process.child_usage());
    let times = [
        own.user_ns,
        own.system_ns,
        children.user_ns,
        children.system_ns,
    ];
    for (index, ns) in times.into_iter().enumerate() {
        put64(&mut bytes, 48 + index * 16, ns / SECOND);
        put64(&mut bytes, 56 + index * 16, ns % SECOND / 1000);
    }
    if let Some(frame) = task.frame() {
        // SAFETY: the thread has put its registers aside and holds still.
        let words = unsafe { registers::read(task, frame) };
        for (index, word) in words.into_iter().enumerate() {
            put64(&mut bytes, PRSTATUS_REGISTERS + index * 8, word);
        }
    }
    put32(&mut bytes, 328, 1);
    bytes
}

fn prpsinfo(process: &Process) -> [u8; PRPSINFO] {
    let mut bytes = [0; PRPSINFO];
    bytes[1] = b'R';
    bytes[3] = current().nice() as u8;
    let (uid, gid) = {
        let creds = process.creds.lock();
        (creds.uid, creds.gid)
    };
    put32(&mut bytes, 16, uid);
    put32(&mut bytes, 20, gid);
    put_numbers(&mut bytes, 24, process.pid(), process);
    let (comm, len) = current().comm();
    bytes[PRPSINFO_NAME..PRPSINFO_NAME + len].copy_from_slice(&comm[..len]);
    let image = *process.image.lock();
    let len = image.args_end.saturating_sub(image.args).min(ARGS - 1);
    let args = &mut bytes[PRPSINFO_ARGS..PRPSINFO_ARGS + len];
    if let Some(space) = process.own_space() {
        space.read_remote(image.args, args, true);
    }
    if let Some((_, args)) = args.split_last_mut() {
        for byte in args.iter_mut().filter(|byte| **byte == 0) {
            *byte = b' ';
        }
    }
    bytes
}

/// The auxiliary vector of a process, from the stack that its program began with; empty if it has
/// ended.
///
/// # Errors
/// ENOMEM: memory is short.
pub fn auxiliary_vector(process: &Process) -> KResult<Vec<u8>> {
    let Some(space) = process.space() else {
        return Ok(Vec::new());
    };
    let mut at = process.image.lock().stack;
    let mut word = || {
        let mut bytes = [0; 8];
        let read = space.read_remote(at, &mut bytes, true) == 8;
        at += 8;
        read.then(|| u64::from_le_bytes(bytes))
    };
    let mut vector = Vec::new();
    let argc = word().unwrap_or(0) as usize;
    for _ in 0..argc.min(MAX_POINTERS) {
        word();
    }
    word();
    let mut pointers = 0;
    while pointers < MAX_POINTERS && word().is_some_and(|pointer| pointer != 0) {
        pointers += 1;
    }
    vector
        .try_reserve_exact(MAX_AUXV * 16)
        .map_err(|_| Errno::ENOMEM)?;
    for _ in 0..MAX_AUXV {
        let (Some(kind), Some(value)) = (word(), word()) else {
            break;
        };
        vector.extend_from_slice(&kind.to_le_bytes());
        vector.extend_from_slice(&value.to_le_bytes());
        if kind == 0 {
            break;
        }
    }
    Ok(vector)
}

/// The mapped files whose names are known: count, page size, ranges with offsets in pages, names.
fn files(process: &Process, areas: &[AreaInfo]) -> KResult<Vec<u8>> {
    let (mut ranges, mut names) = (Vec::new(), Vec::new());
    let mut count = 0u64;
    for area in areas {
        let inode = area.inode.as_ref();
        let Some(path) = inode.and_then(|inode| mapped::path(process, inode)) else {
            continue;
        };
        let room = names
            .try_reserve(path.len() + 1)
            .and(ranges.try_reserve(24));
        room.map_err(|_| Errno::ENOMEM)?;
        let offset = area.offset / PAGE as u64;
        for word in [area.start as u64, area.end as u64, offset] {
            ranges.extend_from_slice(&word.to_le_bytes());
        }
        names.extend_from_slice(&path);
        names.push(0);
        count += 1;
    }
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(16 + ranges.len() + names.len())
        .map_err(|_| Errno::ENOMEM)?;
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&(PAGE as u64).to_le_bytes());
    bytes.extend_from_slice(&ranges);
    bytes.extend_from_slice(&names);
    Ok(bytes)
}
