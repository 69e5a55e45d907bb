//! The allocator: blocks in sizes that are powers of two, cut from memory that the program is
//! loaded with.
//!
//! Most applets live for a millisecond and need a few KiB. The C library's allocator makes a
//! handful of system calls before it gives the first byte, and more for each size; this one makes
//! none for the first MiB and touches no page before it is used. A block that is freed goes to the
//! list of its size. Large blocks come from the C library, which can give them back to the kernel.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;

/// The smallest block holds a list link, and what x86-64 wants aligned to 16 bytes.
const SMALLEST: usize = 16;
/// Anything larger than this is the C library's.
const LARGEST: usize = 64 << 10;
/// Blocks are aligned to their size, up to this.
const PAGE: usize = 4096;
/// One list for each power of two from [`SMALLEST`] to [`LARGEST`].
const CLASSES: usize = (LARGEST / SMALLEST).trailing_zeros() as usize + 1;
/// What the program is loaded with, and the size of each further piece.
const PIECE: usize = 1 << 20;

#[repr(align(4096))]
struct First(UnsafeCell<[u8; PIECE]>);

struct State {
    free: [*mut u8; CLASSES],
    /// The part of the current piece that has not been given out.
    next: *mut u8,
    left: usize,
}

struct Arena {
    first: First,
    state: UnsafeCell<State>,
}

// SAFETY: this program has one thread, and its signal handlers do not allocate.
unsafe impl Sync for Arena {}

#[global_allocator]
static ARENA: Arena = Arena {
    first: First(UnsafeCell::new([0; PIECE])),
    state: UnsafeCell::new(State {
        free: [ptr::null_mut(); CLASSES],
        next: ptr::null_mut(),
        left: 0,
    }),
};

/// The block size for a layout; `None` if it is the C library's.
fn block_size(layout: Layout) -> Option<usize> {
    let size = layout.size().max(layout.align()).max(SMALLEST);
    (size <= LARGEST && layout.align() <= PAGE).then(|| size.next_power_of_two())
}

fn class(size: usize) -> usize {
    (size / SMALLEST).trailing_zeros() as usize
}

impl State {
    /// Takes a block from its list, or cuts a new one, which is all zero: true then.
    fn take(&mut self, first: &First, size: usize) -> (*mut u8, bool) {
        let head = &mut self.free[class(size)];
        if head.is_null() {
            return (self.cut(first, size), true);
        }
        let block = *head;
        // SAFETY: a free block starts with the address of the next one.
        *head = unsafe { block.cast::<*mut u8>().read() };
        (block, false)
    }

    /// Cuts a new block; null if memory has run out.
    fn cut(&mut self, first: &First, size: usize) -> *mut u8 {
        let align = size.min(PAGE);
        let gap = self.next.align_offset(align);
        if self.next.is_null() {
            (self.next, self.left) = (first.0.get().cast(), PIECE);
        } else if gap.saturating_add(size) <= self.left {
            self.next = self.next.wrapping_add(gap);
            self.left -= gap;
        } else {
            // SAFETY: an anonymous mapping at an address of the kernel's choice.
            let piece = unsafe {
                libc::mmap(
                    ptr::null_mut(),
                    PIECE,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                )
            };
            if piece == libc::MAP_FAILED {
                return ptr::null_mut();
            }
            (self.next, self.left) = (piece.cast(), PIECE);
        }
        let block = self.next;
        self.next = block.wrapping_add(size);
        self.left -= size;
        block
    }
}

// SAFETY: a block is on a free list, in the uncut rest, or given out, never two of these; it is
// at least as large and as aligned as its layout asks (layouts aligned to more than a page's size
// go to the C library).
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(size) = block_size(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        };
        // SAFETY: one thread, and no reference to the state outlives this call.
        let state = unsafe { &mut *self.state.get() };
        state.take(&self.first, size).0
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(size) = block_size(layout) else {
            // SAFETY: the caller's promise; the same test sent the allocation there.
            return unsafe { System.dealloc(block, layout) };
        };
        // SAFETY: one thread; the block is the caller's no more, and has room for the link.
        unsafe {
            let head = &mut (*self.state.get()).free[class(size)];
            block.cast::<*mut u8>().write(*head);
            *head = block;
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size makes a valid layout.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (block_size(layout), block_size(new_layout)) {
            (None, None) => {
                // SAFETY: the caller's promise; the block came from the C library.
                return unsafe { System.realloc(block, layout, new_size) };
            }
            (old, new) if old == new => return block,
            _ => {}
        }
        // SAFETY: both blocks are valid for the smaller of the sizes, and distinct.
        unsafe {
            let new_block = self.alloc(new_layout);
            if !new_block.is_null() {
                ptr::copy_nonoverlapping(block, new_block, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            new_block
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(size) = block_size(layout) else {
            // SAFETY: the caller's promise. Fresh pages need no zeroing, and the library knows.
            return unsafe { System.alloc_zeroed(layout) };
        };
        // SAFETY: one thread, and no reference to the state outlives this call.
        let state = unsafe { &mut *self.state.get() };
        let (block, zero) = state.take(&self.first, size);
        if !zero {
            // SAFETY: the block is valid for `size` bytes, and the layout's size is no more.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }
}
