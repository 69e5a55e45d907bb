//! Debian's Linux kernel on QEMU's `microvm`, with one program in memory: beside the guest's kernel
//! on the same machine.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::busybox;
use crate::gnomon::finish;
use crate::qemu::{COUNTING, MACHINE};
use crate::scratch::Scratch;

/// Linux as fast as its command line makes it: without what guards against faults of processors and
/// of its own (page tables apart, cleared memory, checked copies, security modules, audit), without
/// accounting by groups, and without preemption in the kernel.
pub const CMDLINE: &str = "console=ttyS0 quiet panic=-1 reboot=t mitigations=off nopti \
    init_on_alloc=0 init_on_free=0 randomize_kstack_offset=off hardened_usercopy=off \
    lsm= audit=0 cgroup_disable=memory preempt=none nowatchdog nokaslr norandmaps tsc=reliable \
    random.trust_cpu=on";

/// What process 1 does: the file systems of the guest, the program, the end.
const INIT: &str = "#!/busybox sh
b=/busybox
$b mkdir -p /proc /dev /tmp
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
$b mount -t tmpfs tmp /tmp
$b stty -F /dev/ttyS0 raw
echo begin
/program ARGS
echo \"status $?\"
$b reboot -f
";

/// Linux with a program.
#[derive(Debug)]
pub struct Linux {
    kernel: PathBuf,
    files: Scratch,
}

impl Linux {
    /// Debian's kernel, which is fetched if it is not there, and a static `program` with its
    /// arguments, words for a shell.
    ///
    /// # Errors
    /// There is no kernel, or a tool is missing.
    pub fn new(program: &[u8], args: &str) -> io::Result<Self> {
        let files = Scratch::new()?;
        let root = files.path("root");
        fs::create_dir(&root)?;
        fs::copy(busybox::path(), root.join("busybox"))?;
        let init = INIT.replace("ARGS", args);
        for (name, bytes) in [("init", init.as_bytes()), ("program", program)] {
            let path = root.join(name);
            fs::write(&path, bytes)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        said(
            Command::new("sh")
                .args(["-c", "find . | cpio --quiet -o -H newc >../initrd"])
                .current_dir(root),
        )?;
        let box_ = Path::new(env!("CARGO_MANIFEST_DIR")).join("kvmhost");
        let kernel = said(Command::new(box_).arg("--kernel"))?.trim().into();
        Ok(Self { kernel, files })
    }

    /// Its version, as Debian names it.
    pub fn version(&self) -> String {
        let name = self.kernel.file_name().unwrap_or_default();
        name.to_string_lossy().replace("vmlinux-", "")
    }

    /// Run the program for at most `timeout`, and give what it said. The time stamp counter
    /// counts instructions.
    ///
    /// # Errors
    /// The program has failed, or has not ended in time.
    pub fn count(&self, timeout: Duration) -> io::Result<String> {
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(MACHINE)
            .args(COUNTING)
            .args(["-m", "256M", "-serial", "stdio"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(self.files.path("initrd"))
            .args(["-append", CMDLINE]);
        let finished = finish(command, b"", timeout)?;
        let console = finished.text().replace('\r', "");
        let after = console.split_once("begin\n").map(|(_, after)| after);
        match after.and_then(|after| after.split_once("status 0\n")) {
            Some((output, _)) => Ok(output.to_owned()),
            None => Err(io::Error::other(format!(
                "the program has not ended well:\n{console}{}",
                finished.errors()
            ))),
        }
    }
}

/// What a command that must succeed has said.
fn said(command: &mut Command) -> io::Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(io::Error::other(format!("{command:?} has failed")))
    }
}
