//! What this machine's KVM can and cannot do.
//!
//! At `run` only what is cheap is asked: which module stands behind `/dev/kvm`, and what is known
//! of that module. [`probe`] finds the same out by experiment, for `gnomon doctor`.

pub mod cpuid;
pub mod probe;

use std::ffi::CStr;
use std::path::Path;

use gnomon_abi::boot;
use kvm_ioctls::{Cap, Kvm};
use thiserror::Error;

/// The version of KVM's interface since Linux 2.6.22; there is no other.
const API_VERSION: i32 = 12;

/// Why KVM cannot be used.
#[derive(Debug, Error)]
pub enum HostError {
    /// No device node.
    #[error(
        "/dev/kvm does not exist: load a KVM module (modprobe kvm_intel or kvm_amd), or turn on virtualization in the firmware"
    )]
    Missing,
    /// No permission.
    #[error(
        "no permission to open /dev/kvm: add yourself to its group (usermod -aG kvm USER) or run as root"
    )]
    Permission,
    /// Some other reason.
    #[error("/dev/kvm cannot be used: {0}")]
    Open(kvm_ioctls::Error),
    /// An interface from another planet.
    #[error("/dev/kvm speaks version {0} of its interface, not {API_VERSION}: use a newer Linux")]
    Version(i32),
    /// Something that gnomon needs.
    #[error("this KVM lacks {0}: use a newer Linux")]
    Lacks(&'static str),
    /// A kernel that the shadow mode cannot run.
    #[error(
        "--mmu shadow: the kernel has only a 32-bit entry (PVH), and this mode begins in 64-bit mode; use --mmu nested"
    )]
    Kernel32,
    /// A request to KVM failed.
    #[error("KVM refuses {what}: {source}")]
    Refused {
        /// The request.
        what: &'static str,
        /// What KVM says.
        source: kvm_ioctls::Error,
    },
}

impl HostError {
    /// A conversion for `map_err`: KVM has refused `what`.
    pub fn refused(what: &'static str) -> impl Fn(kvm_ioctls::Error) -> Self {
        move |source| Self::Refused { what, source }
    }
}

/// The module that implements KVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// VT-x.
    Intel,
    /// AMD-V.
    Amd,
    /// Without either: ring 0 of the guest is emulated.
    Pvm,
    /// None of these can be seen.
    Unknown,
}

impl Module {
    /// Which module is loaded.
    pub fn detect() -> Self {
        let loaded = |name: &str| Path::new("/sys/module").join(name).exists();
        if loaded("kvm_pvm") {
            Self::Pvm
        } else if loaded("kvm_intel") {
            Self::Intel
        } else if loaded("kvm_amd") {
            Self::Amd
        } else {
            Self::Unknown
        }
    }

    /// The module's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intel => "kvm_intel",
            Self::Amd => "kvm_amd",
            Self::Pvm => "kvm_pvm",
            Self::Unknown => "unknown",
        }
    }

    /// Whether page tables of the guest are walked by the hardware (EPT, NPT); None if unknown.
    pub fn hardware_paging(self) -> Option<bool> {
        let parameter = match self {
            Self::Intel => "/sys/module/kvm_intel/parameters/ept",
            Self::Amd => "/sys/module/kvm_amd/parameters/npt",
            Self::Pvm => return Some(false),
            Self::Unknown => return None,
        };
        let text = std::fs::read_to_string(parameter).ok()?;
        Some(matches!(text.trim(), "Y" | "1"))
    }

    /// What [`boot::BootFacts::quirks`] has to say on this module.
    pub const fn quirks(self) -> u64 {
        match self {
            Self::Pvm => boot::SYSCALL_STAYS_IN_RING3 | boot::INT_N_IS_UD | boot::NO_XSAVE_IN_RING0,
            _ => 0,
        }
    }
}

/// KVM, open and good enough.
pub struct Host {
    kvm: Kvm,
    module: Module,
}

impl Host {
    /// Open `/dev/kvm` and check that it has what gnomon needs.
    ///
    /// # Errors
    /// It is missing, not permitted, or lacks something.
    pub fn open() -> Result<Self, HostError> {
        Self::open_at(c"/dev/kvm")
    }

    /// The same for another device node.
    fn open_at(path: &CStr) -> Result<Self, HostError> {
        let kvm = Kvm::new_with_path(path).map_err(|error| match error.errno() {
            libc::ENOENT => HostError::Missing,
            libc::EACCES | libc::EPERM => HostError::Permission,
            _ => HostError::Open(error),
        })?;
        let version = kvm.get_api_version();
        if version < 0 {
            return Err(HostError::Open(kvm_ioctls::Error::last()));
        }
        if version != API_VERSION {
            return Err(HostError::Version(version));
        }
        Ok(Self {
            kvm,
            module: Module::detect(),
        })
    }

    /// The system-wide file of KVM.
    pub const fn kvm(&self) -> &Kvm {
        &self.kvm
    }

    /// The module behind it.
    pub const fn module(&self) -> Module {
        self.module
    }

    /// Fail unless KVM has `cap`, called `name`.
    ///
    /// # Errors
    /// It has not.
    pub fn need(&self, cap: Cap, name: &'static str) -> Result<(), HostError> {
        if self.kvm.check_extension(cap) {
            Ok(())
        } else {
            Err(HostError::Lacks(name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(path: &CStr) -> String {
        match Host::open_at(path) {
            Ok(_) => panic!("{path:?} is no KVM"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn missing_kvm_is_named() {
        assert!(message(c"/nonexistent/kvm").starts_with("/dev/kvm does not exist"));
    }

    #[test]
    fn other_device_is_no_kvm() {
        assert!(message(c"/dev/null").starts_with("/dev/kvm cannot be used"));
    }
}
