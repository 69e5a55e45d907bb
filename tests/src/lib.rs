//! What the whole-system tests are made of.
//!
//! | module | what it offers |
//! |---|---|
//! | [`terminal`] | a program in a terminal: type, and wait for what it shows |
//! | [`qemu`] | the guest on another machine monitor, as an oracle for gnomon |
//! | [`scratch`] | files that are gone after the test |

pub mod qemu;
pub mod scratch;
pub mod terminal;
