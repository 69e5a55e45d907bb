//! What the virtual machine monitor and the guest kernel share.
#![no_std]
pub mod boot;
pub mod note;
pub mod ports;
pub mod symbols;
pub mod test_report;
