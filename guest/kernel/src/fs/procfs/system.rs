//! The files of `/proc` that belong to no process.

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use crate::arch::cpu;
use crate::errno::{Errno, KResult};
use crate::fs::{cache, device};
use crate::mm::{self, frame, heap, stat as counters, swap};
use crate::task::{self, table};
use crate::{drivers, sched, time};

/// What takes text written to a file.
pub type Write = fn(&str) -> KResult<()>;

/// What a name leads to.
pub enum Content {
    /// A text.
    Text(fn() -> String),
    /// A text that can be changed.
    Setting(fn() -> String, Write),
    /// A parameter that is only read: not even root may open it for writing.
    ReadOnly(fn() -> String),
    /// Further names.
    Directory(&'static Directory),
}

/// A name.
pub struct Entry {
    /// The name.
    pub name: &'static str,
    /// What it leads to.
    pub content: Content,
}

impl Entry {
    /// Whether writes may be tried.
    pub fn writable(&self) -> bool {
        matches!(self.content, Content::Setting(..))
    }
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

/// A directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its names.
    pub entries: &'static [Entry],
}

/// A file to be read.
pub const fn text(name: &'static str, make: fn() -> String) -> Entry {
    Entry {
        name,
        content: Content::Text(make),
    }
}

/// A file to be read and written.
pub const fn setting(name: &'static str, make: fn() -> String, write: Write) -> Entry {
    Entry {
        name,
        content: Content::Setting(make, write),
    }
}

/// A parameter that is only read.
pub const fn read_only(name: &'static str, make: fn() -> String) -> Entry {
    Entry {
        name,
        content: Content::ReadOnly(make),
    }
}

/// A directory below.
pub const fn directory(name: &'static str, directory: &'static Directory) -> Entry {
    Entry {
        name,
        content: Content::Directory(directory),
    }
}

/// `/proc`, but for what belongs to processes.
pub static ROOT: Directory = Directory {
    entries: &[
        text("buddyinfo", buddyinfo),
        text("cmdline", || {
            format!("{}\n", crate::arch::boot_info::command_line())
        }),
        text("cpuinfo", cpuinfo),
        text("devices", devices),
        text("filesystems", || {
            "\text2\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tdevpts\nnodev\tmqueue\n"
                .into()
        }),
        text("interrupts", interrupts),
        text("kmsg", crate::log::ring::text),
        text("loadavg", loadavg),
        text("meminfo", meminfo),
        directory("net", &NET),
        text("partitions", partitions),
        text("slabinfo", slabinfo),
        text("stat", stat),
        text("swaps", swaps),
        directory("sys", &super::sysctl::SYS),
        setting("sysrq-trigger", String::new, sysrq),
        directory("sysvipc", &super::ipc::SYSVIPC),
        text("uptime", uptime),
        text("version", version),
        text("vmstat", vmstat),
    ],
};

static NET: Directory = Directory {
    entries: &[
        text("dev", || {
            "Inter-|   Receive                                                |  Transmit\n \
             face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets \
             errs drop fifo colls carrier compressed\n"
                .into()
        }),
        text("route", || {
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
                .into()
        }),
        text("unix", || {
            "Num       RefCount Protocol Flags    Type St Inode Path\n".into()
        }),
    ],
};

/// A line of text.
pub fn with_newline(mut text: String) -> String {
    text.push('\n');
    text
}

/// What root may ask of the kernel by a letter (Documentation/admin-guide/sysrq.rst): `c` crashes it,
/// to see what becomes of that; `s` writes everything back.
fn sysrq(text: &str) -> KResult<()> {
    match text.bytes().next() {
        Some(b'c') => panic!("sysrq: a crash was asked for"),
        Some(b's') => crate::fs::sync_all(),
        _ => Err(Errno::EINVAL),
    }
}

fn buddyinfo() -> String {
    let mut text = String::from("Node 0, zone   Normal ");
    for order in 0..=10 {
        let _ = write!(text, "{:>6} ", frame::free_blocks(order));
    }
    with_newline(text)
}

fn cpuinfo() -> String {
    let khz = crate::arch::tsc::khz();
    format!(
        "processor\t: 0\nvendor_id\t: {}\nmodel name\t: {}\ncpu MHz\t\t: {}.{:03}\nflags\t\t: fpu\n\n",
        cpuid_text(&[(0, [1, 3, 2])]),
        cpuid_text(&BRAND_LEAVES),
        khz / 1000,
        khz % 1000,
    )
}

/// The leaves that tell the processor's brand, and the order of their registers.
const BRAND_LEAVES: [(u32, [usize; 4]); 3] = [
    (0x8000_0002, [0, 1, 2, 3]),
    (0x8000_0003, [0, 1, 2, 3]),
    (0x8000_0004, [0, 1, 2, 3]),
];

/// Text that CPUID tells: in each leaf, registers (EAX to EDX are 0 to 3) in the given order.
fn cpuid_text<const N: usize>(leaves: &[(u32, [usize; N])]) -> String {
    let mut bytes = alloc::vec::Vec::new();
    for (leaf, order) in leaves {
        let base = leaf & 0x8000_0000;
        if cpu::cpuid(base, 0).eax < *leaf {
            return "unknown".into();
        }
        let found = cpu::cpuid(*leaf, 0);
        let registers = [found.eax, found.ebx, found.ecx, found.edx];
        for register in order {
            bytes.extend_from_slice(&registers[*register].to_le_bytes());
        }
    }
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from(String::from_utf8_lossy(&bytes[..end]).trim())
}

fn devices() -> String {
    "Character devices:\n  1 mem\n  4 ttyS\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 pts\n\
     229 hvc\n\nBlock devices:\n254 virtblk\n"
        .into()
}

fn interrupts() -> String {
    let mut text = String::from("           CPU0\n");
    for (n, count) in drivers::interrupt_counts() {
        let _ = writeln!(text, "{n:>4}: {count:>10}   virtio{n}");
    }
    let ticks = time::timer_interrupts();
    let _ = writeln!(text, " LOC: {ticks:>10}   Local timer interrupts");
    text
}

fn loadavg() -> String {
    let tasks = table::table().task_count();
    let last = table::table().last_pid();
    let mut text = String::new();
    for load in task::loadavg::fixed_point() {
        // 16 fractional bits, as sysinfo(2) has them.
        let _ = write!(text, "{}.{:02} ", load >> 16, ((load & 0xffff) * 100) >> 16);
    }
    let _ = writeln!(text, "{}/{tasks} {last}", sched::runnable().max(1));
    text
}

fn meminfo() -> String {
    const KIB: usize = 4;
    let total = frame::total_frames() * KIB;
    let free = frame::free_frames() * KIB;
    let cached = cache::cached_pages() * KIB;
    let dirty = cache::dirty_pages() * KIB;
    let shmem = cache::shared_memory_pages() * KIB;
    let slab: usize = heap::slabs().map(|slab| slab.frames * KIB).sum();
    let available = free + (cached - shmem.min(cached)) - dirty.min(cached - shmem.min(cached));
    let stacks = table::table().task_count();
    let mut text = String::new();
    for (name, value) in [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", available),
        ("Buffers", 0),
        ("Cached", cached),
        ("SwapCached", swap::attached_frames() * KIB),
        ("SwapTotal", swap::total_pages() * KIB),
        ("SwapFree", swap::free_pages() * KIB),
        ("Dirty", dirty),
        ("Writeback", 0),
        ("Shmem", shmem),
        ("Slab", slab),
        ("SReclaimable", 0),
        ("SUnreclaim", slab),
        ("KernelStack", stacks * task::kstack::SIZE / 1024),
        ("PageTables", mm::table_frames() * KIB),
        // Not Linux's: the kernel's image and the table of frames.
        ("KernelStatic", mm::static_frames() * KIB),
    ] {
        let label = format!("{name}:");
        let _ = writeln!(text, "{label:<15}{value:>9} kB");
    }
    text
}

fn partitions() -> String {
    let mut text = String::from("major minor  #blocks  name\n\n");
    for (name, (dev, sectors)) in device::disk::all() {
        let (major, minor) = device::split_dev(dev);
        let _ = writeln!(text, "{major:>4} {minor:>8} {:>10} {name}", sectors / 2);
    }
    text
}

fn slabinfo() -> String {
    let mut text = String::from(
        "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> \
         <objperslab> <pagesperslab>\n",
    );
    for slab in heap::slabs() {
        let per_frame = 4096 / slab.size.max(1);
        let _ = writeln!(
            text,
            "kmalloc-{:<9} {:>6} {:>6} {:>6} {per_frame:>4} 1",
            slab.size,
            slab.used,
            slab.frames * per_frame,
            slab.size,
        );
    }
    text
}

fn stat() -> String {
    let up = time::now_ns();
    let idle = time::ns_to_ticks(sched::idle_ns());
    let busy = up.saturating_sub(sched::idle_ns());
    let (user, system) = time::account::MACHINE.of(busy);
    let (user, system) = (time::ns_to_ticks(user), time::ns_to_ticks(system));
    let boot = time::wall_seconds().saturating_sub(up / 1_000_000_000);
    let devices = drivers::interrupt_counts();
    let interrupts = time::timer_interrupts() + devices.iter().map(|(_, n)| n).sum::<u64>();
    let (forks, running) = (table::table().forks(), sched::runnable().max(1));
    format!(
        "cpu  {user} 0 {system} {idle} 0 0 0 0 0 0\ncpu0 {user} 0 {system} {idle} 0 0 0 0 0 0\n\
         intr {interrupts}\nctxt {}\n\
         btime {boot}\nprocesses {forks}\nprocs_running {running}\nprocs_blocked 0\n",
        sched::context_switches(),
    )
}

fn swaps() -> String {
    let mut text = String::from("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    for space in swap::spaces() {
        let name = format!("/dev/{}", space.name);
        let _ = writeln!(
            text,
            "{name:<40}partition\t{}\t\t{}\t\t{}",
            space.pages * 4,
            space.used * 4,
            space.priority,
        );
    }
    text
}

fn uptime() -> String {
    let hundredths = |ns: u64| (ns / 1_000_000_000, ns / 10_000_000 % 100);
    let (up, up_part) = hundredths(time::now_ns());
    let (idle, idle_part) = hundredths(sched::idle_ns());
    format!("{up}.{up_part:02} {idle}.{idle_part:02}\n")
}

fn version() -> String {
    format!(
        "Linux version {} (gnomon) {}\n",
        crate::syscall::RELEASE,
        crate::syscall::VERSION
    )
}

fn vmstat() -> String {
    let mut text = String::new();
    for (name, value) in [
        ("nr_free_pages", frame::free_frames() as u64),
        ("nr_file_pages", cache::cached_pages() as u64),
        ("nr_dirty", cache::dirty_pages() as u64),
        ("nr_swapcached", swap::attached_frames() as u64),
        ("workingset_refault_anon", counters::REFAULTS_ANON.get()),
        ("workingset_refault_file", counters::REFAULTS_FILE.get()),
        ("pgpgin", counters::KIB_IN.get()),
        ("pgpgout", counters::KIB_OUT.get()),
        ("pswpin", counters::SWAP_IN.get()),
        ("pswpout", counters::SWAP_OUT.get()),
        ("pgfault", counters::FAULTS.get()),
        ("pgmajfault", counters::MAJOR_FAULTS.get()),
        ("pgcopy", counters::COPIES.get()),
        ("allocstall", counters::STALLS.get()),
        ("pgscan_kswapd", counters::SCANNED_BACKGROUND.get()),
        ("pgsteal_kswapd", counters::STOLEN_BACKGROUND.get()),
        ("pgscan_direct", counters::SCANNED.get()),
        ("pgsteal_direct", counters::STOLEN.get()),
        ("oom_kill", counters::OOM_KILLS.get()),
    ] {
        let _ = writeln!(text, "{name} {value}");
    }
    text
}
