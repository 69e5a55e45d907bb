//! The guest under QEMU's `microvm`: an oracle for gnomon.
//!
//! The kernel is booted by PVH, without gnomon's boot facts, on a machine that emulates every
//! instruction (TCG): whatever differs from gnomon is gnomon's fault or the kernel's, and never
//! KVM's. The devices are given in gnomon's order: console 0 (input and output), console 1 (errors),
//! entropy, root disk.
//!
//! What QEMU cannot do: end a console's input (a script must say `exit`), and tell statuses of 128
//! and more (its isa-debug-exit keeps 7 bits).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::gnomon::{End, finish};
use crate::scratch::Scratch;
use crate::terminal::Terminal;

const PROGRAM: &str = "qemu-system-x86_64";

/// QEMU without devices, on its machine `microvm`.
pub(crate) const MACHINE: [&str; 9] = [
    "-no-user-config",
    "-nodefaults",
    "-no-reboot",
    "-display",
    "none",
    "-monitor",
    "none",
    "-machine",
    "microvm,accel=tcg,acpi=off,ioapic2=off,auto-kernel-cmdline=off",
];

/// A processor whose time stamp counter counts instructions, each repetition of a string instruction
/// as one. It is as both kernels like it best: strings by words rather than by bytes (no ERMS), page
/// tables of four levels, no SMAP.
pub const COUNTING: [&str; 4] = [
    "-icount",
    "shift=0,sleep=off",
    "-cpu",
    "max,-erms,-smap,-la57",
];

/// Where microvm has its virtio-mmio devices with neither ACPI nor a second I/O APIC.
const MMIO_BASE: u64 = 0xfeb0_0000;
const MMIO_SIZE: u64 = 512;
const MMIO_IRQ: u64 = 5;

/// A guest for QEMU.
#[derive(Debug)]
pub struct Qemu {
    kernel: PathBuf,
    root: PathBuf,
    memory: u32,
    cmdline: String,
    counting: bool,
    files: Scratch,
}

/// What a guest left behind.
#[derive(Debug)]
pub struct Finished {
    /// init's status, 0 to 127; `None` if the machine ended otherwise: by a triple fault, or
    /// because it was killed when its time was over.
    pub status: Option<i32>,
    /// What came through console 0.
    pub stdout: Vec<u8>,
    /// What came through console 1.
    pub stderr: Vec<u8>,
    /// The kernel's log.
    pub log: String,
}

impl Qemu {
    /// A guest with 128 MiB whose kernel is the ELF file `kernel`, and whose root is on the disk
    /// image `root`, which it changes.
    ///
    /// # Errors
    /// No room for temporary files.
    pub fn new(kernel: &Path, root: &Path) -> io::Result<Self> {
        Ok(Self {
            kernel: kernel.to_owned(),
            root: root.to_owned(),
            memory: 128,
            cmdline: String::new(),
            counting: false,
            files: Scratch::new()?,
        })
    }

    /// Whether this host has a QEMU with a `microvm`.
    pub fn is_installed() -> bool {
        Command::new(PROGRAM)
            .args(["-machine", "help"])
            .output()
            .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("microvm"))
    }

    /// Give the guest `mebibytes` of memory.
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// Append `words` to the kernel's command line.
    pub fn cmdline(mut self, words: &str) -> Self {
        self.cmdline = format!("{} {words}", self.cmdline);
        self
    }

    /// Let the time stamp counter count instructions ([`COUNTING`]).
    pub fn counting(mut self) -> Self {
        self.counting = true;
        self
    }

    /// Run init with `input` on its standard input, for at most `timeout`.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn run(&self, input: &[u8], timeout: Duration) -> io::Result<Finished> {
        let finished = finish(self.command("stream"), input, timeout)?;
        Ok(Finished {
            status: guest_status(finished.end),
            stdout: finished.stdout,
            stderr: fs::read(self.files.path("stderr")).unwrap_or_default(),
            log: self.log(),
        })
    }

    /// Run init with a terminal of its own.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn terminal(&self) -> io::Result<Terminal> {
        Terminal::spawn(self.command("tty"), 80, 25)
    }

    /// What the kernel has logged so far.
    pub fn log(&self) -> String {
        let log = fs::read(self.files.path("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// QEMU with the guest, as a command to start: its standard input and output are console 0, which is
    /// a `console` (`stream` or `tty`).
    pub fn command(&self, console: &str) -> Command {
        let devices = [
            "virtio-serial-device,id=s0,max_ports=1",
            "virtio-serial-device,id=s1,max_ports=1",
            "virtio-rng-device",
            "virtio-blk-device,drive=root",
        ];
        let file = |name: &str| self.files.path(name).display().to_string();
        let mut cmdline = format!("console={console}{}", self.cmdline);
        let mut command = Command::new(PROGRAM);
        command
            .args(MACHINE)
            .args(if self.counting {
                &COUNTING[..]
            } else {
                &["-cpu", "max"]
            })
            .args(["-global", "virtio-mmio.force-legacy=false"])
            .args(["-m", &format!("{}M", self.memory)])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
            .args(["-serial", &format!("file:{}", file("log"))])
            .args(["-chardev", "stdio,id=c0,signal=off"])
            .args(["-chardev", &format!("file,id=c1,path={}", file("stderr"))])
            .args(["-drive"])
            .arg(format!(
                "if=none,id=root,format=raw,file={}",
                // QEMU's way to write a comma.
                self.root.display().to_string().replace(',', ",,")
            ));
        for (slot, device) in devices.iter().enumerate() {
            let address = MMIO_BASE + slot as u64 * MMIO_SIZE;
            let irq = MMIO_IRQ + slot as u64;
            cmdline += &format!(" virtio_mmio.device={MMIO_SIZE}@{address:#x}:{irq}");
            command.args(["-device", &format!("{device},bus=virtio-mmio-bus.{slot}")]);
        }
        command
            .args(["-device", "virtconsole,chardev=c0,bus=s0.0"])
            .args(["-device", "virtconsole,chardev=c1,bus=s1.0"])
            .arg("-kernel")
            .arg(&self.kernel)
            .args(["-append", &cmdline]);
        command
    }
}

/// init's status, from what isa-debug-exit makes of it: `(status << 1) | 1`.
pub fn guest_status(end: End) -> Option<i32> {
    match end {
        // QEMU's own errors end with 1 as well as a guest's status of 0: the log tells them apart.
        End::Status(code) if code % 2 == 1 => Some(code >> 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_taken_apart() {
        assert_eq!(guest_status(End::Status(0xf)), Some(7));
        assert_eq!(guest_status(End::Status(1)), Some(0));
        assert_eq!(guest_status(End::Status(0)), None);
        assert_eq!(guest_status(End::Signal(9)), None);
    }
}
