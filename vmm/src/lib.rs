//! gnomon: a virtual machine monitor on KVM.
//!
//! | module | what it is for |
//! |---|---|
//! | [`cli`] | the command, one file a subcommand |
//! | [`session`] | one run from beginning to end |
//! | [`host`] | what this machine's KVM can do |
//! | [`memory`], [`boot`] | guest memory; a kernel in it |
//! | [`vm`], [`vcpu`], [`mmu`] | the virtual machine, its processor, its paging mode |
//! | [`root`] | the root disk |
//! | [`devices`] | which devices there are, and where |
//! | [`events`], [`input`], [`terminal`] | the world outside while the guest runs |
//! | [`tell`] | words that may be lost |
//! | [`clock`] | the host's time |
//! | [`report`], [`walk`] | what is told of a guest that has died |
//! | [`stats`] | counters |
//! | [`mode`] | paging modes as the command line names them, for runs of this very program |
//! | [`compare`], `testing` | what `gnomon compare` and `gnomon test` do |

pub mod boot;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod devices;
pub mod events;
pub mod host;
pub mod input;
pub mod logger;
pub mod memory;
pub mod mmu;
pub mod mode;
pub mod report;
pub mod resident;
pub mod root;
pub mod session;
pub mod stats;
pub mod tell;
pub mod terminal;
#[cfg(feature = "builtin")]
pub mod testing;
pub mod vcpu;
pub mod vm;
pub mod walk;
