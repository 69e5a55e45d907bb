//! What the whole-system tests are made of.
//!
//! | module | what it offers |
//! |---|---|
//! | [`mode`] | one test body, one test for each paging mode |
//! | [`gnomon`] | the `gnomon` command, run to its end or for a while |
//! | [`terminal`] | a program in a terminal: type, and wait for what it shows |
//! | [`qemu`] | the guest on another machine monitor, as an oracle for gnomon |
//! | [`linux`] | Debian's kernel on the same machine, to count its instructions |
//! | [`counts`] | tables of counts that may fall, not rise |
//! | [`image`] | root file systems, looked at with e2fsprogs |
//! | [`program`] | an ordinary program that runs on the host and in the guest |
//! | [`busybox`] | the host's busybox |
//! | [`random`] | bytes and numbers that a seed repeats |
//! | [`scratch`] | files that are gone after the test |

pub mod busybox;
pub mod counts;
pub mod gnomon;
pub mod image;
pub mod linux;
pub mod mode;
pub mod program;
pub mod qemu;
pub mod random;
pub mod scratch;
pub mod terminal;
