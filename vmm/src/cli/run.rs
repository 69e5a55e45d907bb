//! `gnomon run`: boot the guest and run a program in it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

use gnomon_shadow::tables::Policy;

use crate::mmu::Choice;
use crate::root::FileSpec;
use crate::session::{self, Config, DiskSpec};

/// Arguments of `gnomon run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How guest memory is translated
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    mmu: Choice,

    /// How the shadow mode notices edits of page tables: vtlb, trace or unsync
    #[arg(long, value_name = "POLICY", default_value = "unsync")]
    shadow_policy: Policy,

    /// Number of virtual processors
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        allow_negative_numbers = true
    )]
    cpus: u64,

    /// Memory of the guest, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = super::mebibytes, allow_negative_numbers = true)]
    mem: u64,

    /// Boot this kernel, an ELF file, instead of the one that is built in
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,

    /// Add this to the kernel's command line
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    cmdline: String,

    /// Root file system: an ext2 image, which the guest changes, or a directory, which it does not
    #[arg(long, value_name = "IMAGE|DIR")]
    root: Option<PathBuf>,

    /// Put a file into the guest's root, at /NAME or at GUEST; repeatable
    #[arg(long = "file", value_name = "HOST[:GUEST]")]
    files: Vec<FileSpec>,

    /// Give the guest a further disk; repeatable
    #[arg(long = "disk", value_name = "FILE[,ro]")]
    disks: Vec<DiskSpec>,

    /// Give the guest a further console, /dev/hvc2 and on, whose output goes to this file; repeatable
    #[arg(long = "console", value_name = "FILE")]
    consoles: Vec<PathBuf>,

    /// At the end, print counters to standard error
    #[arg(long)]
    stats: bool,

    /// At the end, write counters to this file as JSON
    #[arg(long, value_name = "FILE")]
    stats_json: Option<PathBuf>,

    /// Program to run in the guest, with its arguments
    #[arg(last = true, value_name = "PROGRAM")]
    pub(super) program: Vec<OsString>,
}

impl FromStr for DiskSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, read_only) = match text.rsplit_once(',') {
            None => (text, false),
            Some((path, "ro")) => (path, true),
            Some((path, "rw")) => (path, false),
            Some((_, other)) => {
                return Err(format!(
                    "unknown option '{other}' after the comma; there is ro"
                ));
            }
        };
        if path.is_empty() {
            return Err("no file given".into());
        }
        Ok(Self {
            path: path.into(),
            read_only,
        })
    }
}

impl FromStr for FileSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, guest) = match text.rsplit_once(':') {
            Some((host, guest)) if guest.starts_with('/') => (host, Some(guest.to_owned())),
            _ => (text, None),
        };
        if host.is_empty() {
            return Err("no file given".into());
        }
        let host = PathBuf::from(host);
        let guest = match guest {
            Some(guest) => guest,
            None => match host.file_name() {
                Some(name) => format!("/{}", name.to_string_lossy()),
                None => return Err("no file given".into()),
            },
        };
        if guest.ends_with('/') {
            return Err(format!(
                "the guest's name {guest} ends in a slash; name a file"
            ));
        }
        Ok(Self { host, guest })
    }
}

/// Run the guest; its status.
pub fn run(args: Args) -> Result<u8, String> {
    let started = Instant::now();
    super::writable(args.stats_json.as_deref())?;
    session::run(
        Config {
            mmu: args.mmu,
            shadow_policy: args.shadow_policy,
            cpus: args.cpus,
            mem_mib: args.mem,
            kernel: args.kernel,
            cmdline: args.cmdline,
            root: args.root,
            files: args.files,
            disks: args.disks,
            consoles: args.consoles,
            stats: args.stats,
            stats_json: args.stats_json,
            program: args.program,
            time_limit: None,
            success: None,
        },
        started,
    )
    .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_may_be_read_only() {
        let spec: DiskSpec = "a,b.img,ro".parse().unwrap();
        assert_eq!(
            (spec.path, spec.read_only),
            (PathBuf::from("a,b.img"), true)
        );
    }

    #[test]
    fn unknown_disk_option_is_refused() {
        assert!("a.img,fast".parse::<DiskSpec>().is_err());
    }

    #[test]
    fn file_goes_to_the_root_by_its_name() {
        let spec: FileSpec = "/usr/bin/busybox".parse().unwrap();
        assert_eq!(spec.guest, "/busybox");
    }

    #[test]
    fn file_goes_where_it_is_told() {
        let spec: FileSpec = "a:b:/bin/c".parse().unwrap();
        assert_eq!((spec.host, spec.guest.as_str()), ("a:b".into(), "/bin/c"));
    }

    #[test]
    fn file_without_a_name_is_refused() {
        assert!("..".parse::<FileSpec>().is_err());
        assert!(":/bin/x".parse::<FileSpec>().is_err());
    }
}
