//! The `gnomon` command from outside, with kernels of a few bytes: no guest is needed.

mod bad_input;
mod common;
#[cfg(feature = "builtin")]
mod compare;
mod lifecycle;
mod own_kernel;
mod terminal;
