//! Random sequences of allocations against a model: no overlap, nothing lost.

use std::collections::BTreeMap;

use gnomon_frames::{Buddy, FRAME_SIZE, FrameMeta, MemMap, Memory, Slab};
use proptest::prelude::*;

/// Frames of the machine that is played.
const FRAMES: u32 = 256;

fn map() -> MemMap {
    let entries: Vec<FrameMeta> = (0..FRAMES).map(|_| FrameMeta::default()).collect();
    // SAFETY: leaked, zero, used by one allocator.
    unsafe { MemMap::new(entries.leak().as_mut_ptr(), FRAMES) }
}

/// Physical memory of the machine that is played.
struct Arena(*mut u8);

impl Arena {
    fn new() -> Arena {
        let layout =
            std::alloc::Layout::from_size_align(FRAMES as usize * FRAME_SIZE, FRAME_SIZE).unwrap();
        // SAFETY: the size is not zero.
        Arena(unsafe { std::alloc::alloc_zeroed(layout) })
    }
}

impl Memory for Arena {
    fn address(&self, frame: u32) -> *mut u8 {
        self.0.wrapping_add(frame as usize * FRAME_SIZE)
    }
    fn frame(&self, address: *mut u8) -> u32 {
        ((address as usize - self.0 as usize) / FRAME_SIZE) as u32
    }
}

#[derive(Clone, Debug)]
enum Step {
    Alloc(usize),
    Free(usize),
}

fn steps(max: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..max).prop_map(Step::Alloc),
        any::<usize>().prop_map(Step::Free)
    ];
    proptest::collection::vec(step, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn buddy_blocks_never_overlap_and_all_come_back(steps in steps(6), start in 0u32..40, end in 100u32..FRAMES) {
        let mut buddy = Buddy::new(map());
        buddy.add(start, end);
        let total = buddy.free_frames();
        let mut held: BTreeMap<u32, usize> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Alloc(order) => {
                    let Some(frame) = buddy.alloc(order) else { continue };
                    prop_assert_eq!(frame % (1 << order), 0);
                    prop_assert!(frame >= start.max(1) && frame + (1 << order) <= end);
                    let before = held.range(..frame + (1 << order)).next_back();
                    prop_assert!(before.is_none_or(|(&f, &o)| f + (1 << o) <= frame));
                    held.insert(frame, order);
                }
                Step::Free(n) if !held.is_empty() => {
                    let frame = *held.keys().nth(n % held.len()).unwrap();
                    let order = held.remove(&frame).unwrap();
                    // SAFETY: allocated above, with this order.
                    unsafe { buddy.free(frame, order) };
                }
                Step::Free(_) => {}
            }
            let used: usize = held.values().map(|o| 1 << o).sum();
            prop_assert_eq!(buddy.free_frames(), total - used);
        }
        for (frame, order) in held {
            // SAFETY: allocated above.
            unsafe { buddy.free(frame, order) };
        }
        let mut fresh = Buddy::new(map());
        fresh.add(start, end);
        for order in 0..=8 {
            prop_assert_eq!(buddy.free_blocks(order), fresh.free_blocks(order));
        }
    }

    #[test]
    fn slab_objects_never_overlap_and_frames_come_back(
        steps in steps(2),
        size in prop_oneof![Just(16usize), Just(24), Just(48), Just(96), Just(1024), Just(2048)],
    ) {
        let (map, arena) = (map(), Arena::new());
        let mut buddy = Buddy::new(map);
        buddy.add(1, FRAMES);
        let total = buddy.free_frames();
        let mut slab = Slab::new(size);
        let mut held: BTreeMap<usize, u8> = BTreeMap::new();
        let mut mark = 0u8;
        for step in steps {
            match step {
                Step::Alloc(_) => {
                    let object = match slab.alloc(map, &arena) {
                        Some(object) => object,
                        None => {
                            let frame = buddy.alloc(0).unwrap();
                            // SAFETY: fresh from the buddy allocator.
                            unsafe { slab.grow(map, frame) };
                            slab.alloc(map, &arena).unwrap()
                        }
                    };
                    mark = mark.wrapping_add(1);
                    // SAFETY: the object is ours.
                    unsafe { object.write_bytes(mark, size) };
                    prop_assert!(held.insert(object as usize, mark).is_none());
                }
                Step::Free(n) if !held.is_empty() => {
                    let object = *held.keys().nth(n % held.len()).unwrap();
                    let mark = held.remove(&object).unwrap();
                    // SAFETY: ours, written above.
                    let bytes = unsafe { std::slice::from_raw_parts(object as *const u8, size) };
                    prop_assert!(bytes.iter().all(|&b| b == mark));
                    // SAFETY: allocated above.
                    if let Some(frame) = unsafe { slab.free(map, &arena, object as *mut u8) } {
                        // SAFETY: the slab gave it up.
                        unsafe { buddy.free(frame, 0) };
                    }
                }
                Step::Free(_) => {}
            }
            prop_assert_eq!(slab.used(), held.len());
            prop_assert_eq!(buddy.free_frames() + slab.frames(), total);
        }
        for object in held.into_keys() {
            // SAFETY: allocated above.
            if let Some(frame) = unsafe { slab.free(map, &arena, object as *mut u8) } {
                // SAFETY: the slab gave it up.
                unsafe { buddy.free(frame, 0) };
            }
        }
        prop_assert!(slab.frames() <= 1);
    }
}
