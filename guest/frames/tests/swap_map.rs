//! Random uses of a swap map against a model.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use gnomon_frames::SwapMap;
use proptest::prelude::*;

/// Pages of the space, the header's included.
const PAGES: u32 = 24;

#[derive(Clone, Debug)]
enum Step {
    Allocate,
    Refer(usize),
    Release(usize),
    Detach(usize),
    Attach(usize),
    Pin(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<usize>();
    prop_oneof![
        3 => Just(Step::Allocate),
        4 => which.prop_map(Step::Refer),
        4 => which.prop_map(Step::Release),
        2 => which.prop_map(Step::Detach),
        1 => which.prop_map(Step::Attach),
        1 => which.prop_map(Step::Pin),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Slot {
    references: u32,
    frame: Option<NonZeroU32>,
    pinned: bool,
}

proptest! {
    #[test]
    fn no_slot_is_lost_or_given_twice(steps in prop::collection::vec(step(), 0..200), bad in 1..PAGES) {
        let mut map = SwapMap::new(PAGES).unwrap();
        map.mark_bad(bad);
        prop_assert_eq!(map.usable(), PAGES as usize - 2);
        let mut model: BTreeMap<u32, Slot> = BTreeMap::new();
        let mut frames = 1..;
        for step in steps {
            let pick = |n: usize| (!model.is_empty())
                .then(|| *model.keys().nth(n % model.len()).unwrap());
            match step {
                Step::Allocate => {
                    let frame = NonZeroU32::new(frames.next().unwrap()).unwrap();
                    let got = map.allocate(frame);
                    prop_assert_eq!(got.is_some(), model.len() < map.usable());
                    if let Some(slot) = got {
                        prop_assert!(slot != 0 && slot != bad && slot < PAGES);
                        let fresh = Slot { references: 0, frame: Some(frame), pinned: false };
                        prop_assert_eq!(model.insert(slot, fresh), None);
                    }
                }
                Step::Refer(n) => if let Some(slot) = pick(n) {
                    prop_assert!(map.refer(slot));
                    model.get_mut(&slot).unwrap().references += 1;
                },
                Step::Release(n) => if let Some(slot) = pick(n) {
                    let entry = model.get_mut(&slot).unwrap();
                    if entry.references > 0 {
                        entry.references -= 1;
                        let given = map.release(slot);
                        if entry.references == 0 && entry.pinned {
                            prop_assert_eq!(given, entry.frame);
                            model.remove(&slot);
                        } else {
                            prop_assert_eq!(given, None);
                            if entry.references == 0 && entry.frame.is_none() {
                                model.remove(&slot);
                            }
                        }
                    }
                },
                Step::Detach(n) => if let Some(slot) = pick(n).filter(|slot| !model[slot].pinned) {
                    map.detach(slot);
                    let entry = model.get_mut(&slot).unwrap();
                    entry.frame = None;
                    if entry.references == 0 {
                        model.remove(&slot);
                    }
                },
                Step::Attach(n) => if let Some(slot) = pick(n)
                    .filter(|slot| model[slot].frame.is_none())
                {
                    let frame = NonZeroU32::new(frames.next().unwrap()).unwrap();
                    map.attach(slot, frame);
                    model.get_mut(&slot).unwrap().frame = Some(frame);
                },
                Step::Pin(n) => if let Some(slot) = pick(n) {
                    let entry = model.get_mut(&slot).unwrap();
                    let can = entry.references > 0 && entry.frame.is_some();
                    prop_assert_eq!(map.pin(slot), can);
                    entry.pinned |= can;
                },
            }
            prop_assert_eq!(map.used(), model.len());
            for slot in 0..PAGES {
                prop_assert_eq!(map.is_used(slot), model.contains_key(&slot));
            }
            for (&slot, entry) in &model {
                prop_assert_eq!(map.references(slot), entry.references);
                prop_assert_eq!(map.frame(slot), entry.frame);
                prop_assert_eq!(map.is_pinned(slot), entry.pinned);
            }
            let only: Vec<u32> = model.iter()
                .filter(|(_, entry)| entry.references == 0)
                .map(|(&slot, _)| slot)
                .collect();
            match map.only_attached() {
                Some((slot, frame)) => {
                    prop_assert!(only.contains(&slot));
                    prop_assert_eq!(model[&slot].frame, Some(frame));
                }
                None => prop_assert!(only.is_empty()),
            }
        }
    }
}

#[test]
fn slots_are_handed_out_in_a_row() {
    let mut map = SwapMap::new(PAGES).unwrap();
    let frame = NonZeroU32::new(9).unwrap();
    let slots: Vec<u32> = std::iter::from_fn(|| map.allocate(frame)).collect();
    assert!(slots.iter().copied().eq(1..PAGES));
}
