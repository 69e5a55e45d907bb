//! The pure logic of the shadow mode: shadow page tables, the virtual processor, and the patching
//! of sensitive instructions. Nothing here knows of KVM; everything runs in ordinary tests.
//!
//! A guest in shadow mode is *deprivileged*: its kernel and its programs both run in ring 3 of a
//! KVM virtual machine, on page tables that the monitor built. What the guest believes its
//! processor to be is a [`cpu::VirtCpu`]; what its page tables say is translated by [`tables`]
//! into true tables; what it tries to do and may not is carried out by [`emulate`]; what happens
//! to it (exceptions and interrupts) enters through [`deliver`], as the processor itself would
//! do it (Intel SDM volume 3, chapters 2, 4, 6, 11).
#![warn(missing_docs)]

pub mod apic;
pub mod cpu;
pub mod deliver;
pub mod emulate;
pub mod patch;
pub mod tables;
