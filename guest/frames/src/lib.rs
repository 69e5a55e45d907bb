//! The guest kernel's allocators as pure logic: frames of physical memory ([`Buddy`]), small
//! objects ([`Slab`]) and pages of swap space ([`SwapMap`]).
//!
//! The first two keep their state in one array with 16 bytes a frame, the *memory map* ([`MemMap`]). An
//! all-zero entry is valid and means "not in the allocator", so that nothing is initialised per
//! frame at boot.
#![no_std]

extern crate alloc;

mod buddy;
mod meta;
mod slab;
pub mod swap_header;
mod swap_map;

pub use buddy::{Buddy, MAX_ORDER};
pub use meta::{FrameMeta, MemMap};
pub use slab::{Memory, Slab};
pub use swap_map::SwapMap;

/// Bytes of a frame.
pub const FRAME_SIZE: usize = 4096;
