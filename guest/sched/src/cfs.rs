//! Completely fair scheduling: who has had least of the processor goes next.
//!
//! Each task's *virtual runtime* grows as it runs, slower the greater its weight; the queue is ordered
//! by it. `min_vruntime` follows the smallest one and never goes back: newcomers and sleepers are
//! placed relative to it, so that neither a new task nor one that slept for an hour can keep the
//! others from running. (Linux, `Documentation/scheduler/sched-design-CFS.rst`.)

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

use crate::{Arrival, Entity, NICE_0_WEIGHT, Policy, TaskId};

/// In this time everybody who can run should have run once.
const LATENCY_NS: u64 = 12_000_000;
/// Nobody's turn is shorter than this.
const MIN_SLICE_NS: u64 = 2_000_000;
/// By how much a woken task must be behind before it takes over at once.
const WAKEUP_GRANULARITY_NS: u64 = 1_000_000;
/// How far before everybody else a task that slept may be placed.
const SLEEPER_CREDIT_NS: u64 = LATENCY_NS / 2;

/// One place in the queue. The order among equal virtual runtimes is that of arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    vruntime: u64,
    arrival: u64,
    id: TaskId,
    weight: u32,
}

/// The queue of one processor, ordered by virtual runtime.
#[derive(Default)]
pub struct Cfs {
    queue: BinaryHeap<Reverse<Place>>,
    /// Sum of the weights in the queue.
    weight: u64,
    min_vruntime: u64,
    arrivals: u64,
}

impl Cfs {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// The floor that newcomers are placed by; never goes back.
    pub fn min_vruntime(&self) -> u64 {
        self.min_vruntime
    }
}

/// Virtual time in which a task of this weight runs for `ns`.
fn weighted(ns: u64, weight: u32) -> u64 {
    if weight == NICE_0_WEIGHT {
        return ns;
    }
    (u128::from(ns) * u128::from(NICE_0_WEIGHT) / u128::from(weight)).min(u128::from(u64::MAX / 4))
        as u64
}

impl Policy for Cfs {
    fn name(&self) -> &'static str {
        "cfs"
    }

    fn enqueue(&mut self, id: TaskId, entity: &mut Entity, how: Arrival) {
        // Its next turn is a whole one, be it only that a shorter one would end at once.
        entity.used = 0;
        match how {
            // One full turn behind the front: forking must not gain time.
            Arrival::New => {
                entity.vruntime = entity.vruntime.max(
                    self.min_vruntime
                        .saturating_add(weighted(MIN_SLICE_NS, entity.weight)),
                );
            }
            Arrival::Woken => {
                entity.vruntime = entity
                    .vruntime
                    .max(self.min_vruntime.saturating_sub(SLEEPER_CREDIT_NS));
            }
            Arrival::Preempted => {}
            // Behind the one who would be next: that one has the same or a smaller runtime and came
            // first.
            Arrival::Yielded => {
                if let Some(Reverse(first)) = self.queue.peek() {
                    entity.vruntime = entity.vruntime.max(first.vruntime);
                }
            }
        }
        self.arrivals += 1;
        self.weight += u64::from(entity.weight);
        self.queue.push(Reverse(Place {
            vruntime: entity.vruntime,
            arrival: self.arrivals,
            id,
            weight: entity.weight,
        }));
    }

    fn dequeue(&mut self, id: TaskId, _entity: &mut Entity) -> bool {
        let mut found = None;
        self.queue.retain(|Reverse(place)| {
            if place.id == id {
                found = Some(place.weight);
            }
            place.id != id
        });
        if let Some(weight) = found {
            self.weight -= u64::from(weight);
        }
        found.is_some()
    }

    fn pick_next(&mut self) -> Option<TaskId> {
        let Reverse(place) = self.queue.pop()?;
        self.weight -= u64::from(place.weight);
        self.min_vruntime = self.min_vruntime.max(place.vruntime);
        Some(place.id)
    }

    fn charge(&mut self, running: &mut Entity, ran_ns: u64) {
        running.used = running.used.saturating_add(ran_ns);
        running.vruntime = running
            .vruntime
            .saturating_add(weighted(ran_ns, running.weight));
        // The floor follows the one who is furthest behind: the running one, or the first in line.
        let front = match self.queue.peek() {
            Some(Reverse(first)) => first.vruntime.min(running.vruntime),
            None => running.vruntime,
        };
        self.min_vruntime = self.min_vruntime.max(front);
    }

    fn slice_ns(&self, running: &Entity) -> u64 {
        let tasks = self.queue.len() as u64 + 1;
        let period = LATENCY_NS.max(tasks * MIN_SLICE_NS);
        let total = self.weight + u64::from(running.weight);
        let slice = (u128::from(period) * u128::from(running.weight) / u128::from(total)) as u64;
        slice.max(MIN_SLICE_NS).saturating_sub(running.used)
    }

    fn preempts(&self, woken: &Entity, running: &Entity) -> bool {
        let granularity = weighted(WAKEUP_GRANULARITY_NS, woken.weight);
        woken.vruntime.saturating_add(granularity) < running.vruntime
    }

    fn len(&self) -> usize {
        self.queue.len()
    }
}
