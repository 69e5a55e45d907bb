//! The policies against the course's worked examples, and against what any policy must keep.

use gnomon_replacement::{NAMES, Pages, Policy, Slot, by_name};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Hardware as a simulation sees it.
#[derive(Default)]
struct Machine {
    accessed: BTreeSet<Slot>,
    dirty: BTreeSet<Slot>,
    now: u64,
}

impl Pages for Machine {
    fn take_accessed(&mut self, slot: Slot) -> bool {
        self.accessed.remove(&slot)
    }
    fn dirty(&self, slot: Slot) -> bool {
        self.dirty.contains(&slot)
    }
    fn now(&self) -> u64 {
        self.now
    }
}

/// How many of `references` miss with `frames` frames.
fn misses(policy: &mut dyn Policy, frames: usize, references: &[Slot]) -> usize {
    let mut machine = Machine::default();
    let mut resident = BTreeSet::new();
    let mut misses = 0;
    for &page in references {
        machine.now += 1;
        if resident.contains(&page) {
            policy.touch(page);
        } else {
            misses += 1;
            if resident.len() == frames {
                let victim = policy.evict(&mut machine).expect("there is a page");
                assert!(resident.remove(&victim), "a page that is not there");
                machine.accessed.remove(&victim);
            }
            resident.insert(page);
            policy.admit(page);
        }
        machine.accessed.insert(page);
    }
    misses
}

/// Belady's optimal policy, which knows the future: the bound for all others.
fn optimal_misses(frames: usize, references: &[Slot]) -> usize {
    let mut resident: Vec<Slot> = Vec::new();
    let mut misses = 0;
    for (at, &page) in references.iter().enumerate() {
        if resident.contains(&page) {
            continue;
        }
        misses += 1;
        if resident.len() == frames {
            let next_use = |slot: &Slot| {
                references[at..]
                    .iter()
                    .position(|r| r == slot)
                    .unwrap_or(usize::MAX)
            };
            let farthest = (0..frames).max_by_key(|&i| next_use(&resident[i])).unwrap();
            resident.swap_remove(farthest);
        }
        resident.push(page);
    }
    misses
}

const BELADY: [Slot; 12] = [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5];

fn named(name: &str) -> Box<dyn Policy> {
    by_name(name, 7).expect("a known name")
}

#[test]
fn fifo_misses_nine_of_twelve_with_three_frames() {
    assert_eq!(misses(&mut *named("fifo"), 3, &BELADY), 9);
}

#[test]
fn fifo_misses_more_with_four_frames_beladys_anomaly() {
    assert_eq!(misses(&mut *named("fifo"), 4, &BELADY), 10);
}

#[test]
fn optimal_misses_seven() {
    assert_eq!(optimal_misses(3, &BELADY), 7);
}

/// Exact LRU: told of each use, with hardware bits that say nothing.
#[test]
fn lru_misses_ten() {
    let mut lru = gnomon_replacement::lru::Lru::new();
    let mut machine = Machine::default();
    let mut resident = BTreeSet::new();
    let mut misses = 0;
    for page in BELADY {
        if resident.contains(&page) {
            lru.touch(page);
            continue;
        }
        misses += 1;
        if resident.len() == 3 {
            resident.remove(&lru.evict(&mut machine).unwrap());
        }
        resident.insert(page);
        lru.admit(page);
    }
    assert_eq!(misses, 10);
}

#[test]
fn clock_spares_a_page_that_was_used() {
    let mut clock = named("clock");
    let mut machine = Machine::default();
    (0..3).for_each(|slot| clock.admit(slot));
    machine.accessed.insert(0);
    assert_eq!(clock.evict(&mut machine), Some(1));
}

#[test]
fn second_chance_prefers_a_clean_page() {
    let mut policy = named("second-chance");
    let mut machine = Machine::default();
    (0..3).for_each(|slot| policy.admit(slot));
    machine.dirty.extend([0, 1]);
    assert_eq!(policy.evict(&mut machine), Some(2));
}

#[test]
fn second_chance_takes_an_unused_dirty_page_before_a_used_clean_one() {
    let mut policy = named("second-chance");
    let mut machine = Machine::default();
    (0..2).for_each(|slot| policy.admit(slot));
    machine.accessed.insert(0);
    machine.dirty.insert(1);
    assert_eq!(policy.evict(&mut machine), Some(1));
}

#[test]
fn aging_keeps_the_page_with_the_newer_use() {
    let mut policy = named("aging");
    let mut machine = Machine::default();
    (0..3).for_each(|slot| policy.admit(slot));
    machine.accessed.extend([0, 2]);
    assert_eq!(policy.evict(&mut machine), Some(1));
    machine.accessed.insert(2);
    assert_eq!(policy.evict(&mut machine), Some(0));
}

#[test]
fn wsclock_takes_a_page_outside_the_working_set() {
    let mut policy = named("wsclock");
    let mut machine = Machine::default();
    (0..3).for_each(|slot| policy.admit(slot));
    machine.now = 1000;
    machine.accessed.extend([0, 2]);
    assert_eq!(policy.evict(&mut machine), Some(1));
}

#[test]
fn wsclock_leaves_a_dirty_page_when_a_clean_one_is_outside() {
    let mut policy = named("wsclock");
    let mut machine = Machine {
        now: 1000,
        ..Machine::default()
    };
    (0..2).for_each(|slot| policy.admit(slot));
    machine.dirty.insert(0);
    assert_eq!(policy.evict(&mut machine), Some(1));
}

#[test]
fn an_unknown_name_is_none() {
    assert!(by_name("belady", 0).is_none());
}

#[derive(Clone, Debug)]
enum Step {
    Admit(Slot),
    Remove(Slot),
    Use(Slot),
    Write(Slot),
    Evict,
}

fn step() -> impl Strategy<Value = Step> {
    let slot = 0..40u32;
    prop_oneof![
        3 => slot.clone().prop_map(Step::Admit),
        1 => slot.clone().prop_map(Step::Remove),
        2 => slot.clone().prop_map(Step::Use),
        1 => slot.prop_map(Step::Write),
        2 => Just(Step::Evict),
    ]
}

proptest! {
    /// Whatever happens, a policy evicts exactly the pages that are there, each once, and says
    /// that there is none only when there is none.
    #[test]
    fn evicts_what_is_there(steps in proptest::collection::vec(step(), 1..300), which in 0..NAMES.len()) {
        let mut policy = named(NAMES[which]);
        let mut machine = Machine::default();
        let mut model = BTreeSet::new();
        for step in steps {
            machine.now += 13;
            match step {
                Step::Admit(slot) => {
                    policy.admit(slot);
                    model.insert(slot);
                }
                Step::Remove(slot) => {
                    policy.remove(slot);
                    model.remove(&slot);
                }
                Step::Use(slot) => {
                    machine.accessed.insert(slot);
                    policy.touch(slot);
                }
                Step::Write(slot) => {
                    machine.dirty.insert(slot);
                }
                Step::Evict => match policy.evict(&mut machine) {
                    Some(slot) => prop_assert!(model.remove(&slot)),
                    None => prop_assert!(model.is_empty()),
                },
            }
            prop_assert_eq!(policy.len(), model.len());
        }
    }

    /// No policy beats the one that knows the future.
    #[test]
    fn none_beats_optimal(references in proptest::collection::vec(0..9u32, 1..200), frames in 1..6usize, which in 0..NAMES.len()) {
        prop_assert!(misses(&mut *named(NAMES[which]), frames, &references) >= optimal_misses(frames, &references));
    }
}

#[test]
fn many_at_once_are_different_pages_and_all_there_is_in_the_end() {
    for name in NAMES {
        let mut policy = by_name(name, 7).unwrap();
        let mut machine = Machine {
            now: 1000,
            accessed: (0..40).filter(|n| n % 3 == 0).collect(),
            dirty: (0..40).filter(|n| n % 2 == 0).collect(),
        };
        (0..40).for_each(|slot| policy.admit(slot));
        let mut seen = BTreeSet::new();
        while !policy.is_empty() {
            let mut chosen = Vec::new();
            policy.evict_many(&mut machine, 7, &mut chosen);
            assert!(!chosen.is_empty() && chosen.len() <= 7, "{name}");
            machine.now += 1000;
            for slot in chosen {
                assert!(seen.insert(slot), "{name} gives {slot} twice");
            }
        }
        assert_eq!(seen.len(), 40, "{name}");
    }
}

#[test]
fn pages_in_use_are_not_among_the_first_to_go() {
    for name in ["clock", "second-chance", "aging", "wsclock"] {
        let mut policy = by_name(name, 7).unwrap();
        (0..40).for_each(|slot| policy.admit(slot));
        let mut machine = Machine {
            now: 1000,
            accessed: (0..40).filter(|n| n % 2 == 0).collect(),
            ..Machine::default()
        };
        let mut chosen = Vec::new();
        policy.evict_many(&mut machine, 10, &mut chosen);
        assert_eq!(chosen.len(), 10, "{name}");
        assert!(
            chosen.iter().all(|slot| slot % 2 == 1),
            "{name}: {chosen:?}"
        );
    }
}

#[test]
fn reserved_policy_works_as_one_that_grows() {
    for name in NAMES {
        let mut reserved = by_name(name, 7).unwrap();
        reserved.reserve(8).unwrap();
        let mut grows = by_name(name, 7).unwrap();
        let references = [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5, 7, 0, 7];
        assert_eq!(
            misses(&mut *reserved, 3, &references),
            misses(&mut *grows, 3, &references),
            "{name}"
        );
    }
}
