//! Tests of the ext2 crate against e2fsprogs, a model, crashes and damage.

mod common;
mod crash;
mod damage;
mod interop;
mod model;
mod ops;
