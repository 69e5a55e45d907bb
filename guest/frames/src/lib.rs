//! The frame allocator (buddy) and the object allocator (slab) of the guest kernel, as pure logic.
#![no_std]
