//! What every policy promises, and what each promises by itself.

use std::collections::BTreeMap;

use gnomon_sched::{Arrival, Cfs, Entity, Policy, RoundRobin, TaskId, by_name, nice_to_weight};
use proptest::prelude::*;

/// One processor on which tasks run to completion; time in nanoseconds.
struct Machine<'a> {
    policy: &'a mut dyn Policy,
    tasks: BTreeMap<TaskId, (Entity, u64)>,
    now: u64,
    /// When each task first ran, and when it was done.
    first_run: BTreeMap<TaskId, u64>,
    done: BTreeMap<TaskId, u64>,
    ran: BTreeMap<TaskId, u64>,
}

impl<'a> Machine<'a> {
    fn new(policy: &'a mut dyn Policy) -> Self {
        Self {
            policy,
            tasks: BTreeMap::new(),
            now: 0,
            first_run: BTreeMap::new(),
            done: BTreeMap::new(),
            ran: BTreeMap::new(),
        }
    }

    fn arrive(&mut self, id: TaskId, nice: i8, length: u64) {
        let mut entity = Entity::new(nice);
        self.policy.enqueue(id, &mut entity, Arrival::New);
        self.tasks.insert(id, (entity, length));
    }

    /// Run until everybody is done or `end` is reached.
    fn run_until(&mut self, end: u64) {
        while self.now < end {
            let Some(id) = self.policy.pick_next() else {
                return;
            };
            self.first_run.entry(id).or_insert(self.now);
            let (entity, left) = self.tasks.get_mut(&id).unwrap();
            let slice = self.policy.slice_ns(entity).max(1).min(*left);
            self.policy.charge(entity, slice);
            *left -= slice;
            self.now += slice;
            *self.ran.entry(id).or_default() += slice;
            if *left == 0 {
                self.done.insert(id, self.now);
            } else {
                // A new turn begins with the next pick, as after any pass through the queue.
                self.policy.enqueue(id, entity, Arrival::Woken);
            }
        }
    }
}

#[test]
fn round_robin_gives_the_textbook_turnaround_and_response() {
    let mut policy = RoundRobin::new(3);
    let mut machine = Machine::new(&mut policy);
    for (id, length) in [(1, 5), (2, 3), (3, 8)] {
        machine.arrive(id, 0, length);
    }
    machine.run_until(u64::MAX);
    assert_eq!(
        machine.done.values().copied().collect::<Vec<_>>(),
        [11, 6, 16]
    );
    assert_eq!(
        machine.first_run.values().copied().collect::<Vec<_>>(),
        [0, 3, 6]
    );
}

#[test]
fn cfs_shares_by_weight_between_nice_0_and_nice_1() {
    let mut policy = Cfs::new();
    let mut machine = Machine::new(&mut policy);
    machine.arrive(1, 0, u64::MAX);
    machine.arrive(2, 1, u64::MAX);
    machine.run_until(20_000_000_000);
    let share = machine.ran[&1] as f64 / machine.now as f64;
    assert!((share - 0.555).abs() < 0.005, "nice 0 got {share}");
}

#[test]
fn cfs_lets_a_sleeper_take_over_from_a_hog() {
    let mut cfs = Cfs::new();
    let mut hog = Entity::new(0);
    cfs.enqueue(1, &mut hog, Arrival::New);
    assert_eq!(cfs.pick_next(), Some(1));
    cfs.charge(&mut hog, 1_000_000_000);
    let mut sleeper = Entity::new(0);
    cfs.enqueue(2, &mut sleeper, Arrival::Woken);
    assert!(cfs.preempts(&sleeper, &hog));
    assert!(!cfs.preempts(&hog, &sleeper));
}

#[test]
fn cfs_gives_a_long_sleeper_no_more_than_its_credit() {
    let mut cfs = Cfs::new();
    let mut hog = Entity::new(0);
    cfs.enqueue(1, &mut hog, Arrival::New);
    cfs.pick_next();
    cfs.charge(&mut hog, 3_600_000_000_000);
    let mut sleeper = Entity::new(0);
    cfs.enqueue(2, &mut sleeper, Arrival::Woken);
    assert!(hog.vruntime() - sleeper.vruntime() <= 6_000_000);
}

#[test]
fn cfs_yield_lets_the_other_go_first() {
    let mut cfs = Cfs::new();
    let (mut a, mut b) = (Entity::new(0), Entity::new(0));
    cfs.enqueue(1, &mut a, Arrival::New);
    cfs.enqueue(2, &mut b, Arrival::New);
    assert_eq!(cfs.pick_next(), Some(1));
    cfs.enqueue(1, &mut a, Arrival::Yielded);
    assert_eq!(cfs.pick_next(), Some(2));
}

#[test]
fn an_unknown_policy_is_none() {
    assert!(by_name("lottery of the gods").is_none());
}

#[test]
fn policies_are_found_by_their_names() {
    for name in ["rr", "cfs"] {
        assert_eq!(by_name(name).unwrap().name(), name);
    }
}

/// What can happen to a queue.
#[derive(Clone, Debug)]
enum Step {
    Arrive(u8, i8),
    Run(u64),
    Yield,
    Remove(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (any::<u8>(), -20i8..20).prop_map(|(id, nice)| Step::Arrive(id, nice)),
        (0u64..1 << 40).prop_map(Step::Run),
        Just(Step::Yield),
        any::<u8>().prop_map(Step::Remove),
    ];
    proptest::collection::vec(step, 1..200)
}

/// Drive a policy and a model that knows only which tasks are in the queue.
fn check(policy: &mut dyn Policy, steps: &[Step]) {
    let mut waiting: BTreeMap<TaskId, Entity> = BTreeMap::new();
    for step in steps {
        match *step {
            Step::Arrive(id, nice) => {
                let id = TaskId::from(id);
                if let std::collections::btree_map::Entry::Vacant(slot) = waiting.entry(id) {
                    let mut entity = Entity::new(nice);
                    policy.enqueue(id, &mut entity, Arrival::New);
                    slot.insert(entity);
                }
            }
            Step::Run(ns) => match policy.pick_next() {
                Some(id) => {
                    let mut entity = waiting.remove(&id).expect("picked one who waits");
                    policy.charge(&mut entity, ns);
                    policy.enqueue(id, &mut entity, Arrival::Preempted);
                    waiting.insert(id, entity);
                }
                None => assert!(waiting.is_empty()),
            },
            Step::Yield => {
                if let Some(id) = policy.pick_next() {
                    let mut entity = waiting.remove(&id).expect("picked one who waits");
                    policy.enqueue(id, &mut entity, Arrival::Yielded);
                    waiting.insert(id, entity);
                }
            }
            Step::Remove(id) => {
                let id = TaskId::from(id);
                let mut gone = waiting.remove(&id);
                let mut other = Entity::new(0);
                let found = policy.dequeue(id, gone.as_mut().unwrap_or(&mut other));
                assert_eq!(found, gone.is_some());
            }
        }
        assert_eq!(policy.len(), waiting.len());
    }
    let mut left = Vec::new();
    while let Some(id) = policy.pick_next() {
        left.push(id);
    }
    left.sort_unstable();
    assert_eq!(left, waiting.keys().copied().collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn round_robin_loses_and_invents_nobody(steps in steps()) {
        check(&mut RoundRobin::new(1000), &steps);
    }

    #[test]
    fn cfs_loses_and_invents_nobody(steps in steps()) {
        check(&mut Cfs::new(), &steps);
    }

    #[test]
    fn cfs_shares_follow_the_weights(nices in proptest::collection::vec(-10i8..11, 2..6)) {
        let mut policy = Cfs::new();
        let mut machine = Machine::new(&mut policy);
        for (id, &nice) in nices.iter().enumerate() {
            machine.arrive(id as TaskId, nice, u64::MAX);
        }
        machine.run_until(50_000_000_000);
        let total: u64 = nices.iter().map(|&nice| u64::from(nice_to_weight(nice))).sum();
        for (id, &nice) in nices.iter().enumerate() {
            let want = f64::from(nice_to_weight(nice)) / total as f64;
            let got = machine.ran.get(&(id as TaskId)).copied().unwrap_or(0) as f64 / machine.now as f64;
            prop_assert!((got - want).abs() < 0.03, "nice {} got {} instead of {}", nice, got, want);
        }
    }

    #[test]
    fn cfs_floor_never_goes_back(steps in steps()) {
        let mut cfs = Cfs::new();
        let mut entities: BTreeMap<TaskId, Entity> = BTreeMap::new();
        let mut floor = 0;
        for step in steps {
            match step {
                Step::Arrive(id, nice) => {
                    let id = TaskId::from(id);
                    entities.entry(id).or_insert_with(|| {
                        let mut entity = Entity::new(nice);
                        cfs.enqueue(id, &mut entity, Arrival::New);
                        entity
                    });
                }
                Step::Run(ns) => {
                    if let Some(id) = cfs.pick_next() {
                        let entity = entities.get_mut(&id).unwrap();
                        cfs.charge(entity, ns);
                        cfs.enqueue(id, entity, Arrival::Woken);
                    }
                }
                Step::Yield | Step::Remove(_) => {}
            }
            prop_assert!(cfs.min_vruntime() >= floor);
            floor = cfs.min_vruntime();
        }
    }

    #[test]
    fn everybody_runs_within_a_bounded_number_of_turns(count in 1usize..40, name in prop_oneof![Just("rr"), Just("cfs")]) {
        let mut policy = by_name(name).unwrap();
        let mut machine = Machine::new(policy.as_mut());
        for id in 0..count {
            machine.arrive(id as TaskId, 0, u64::MAX);
        }
        machine.run_until(20_000_000 * count as u64);
        prop_assert_eq!(machine.first_run.len(), count);
    }
}
