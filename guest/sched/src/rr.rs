//! Round robin: first come, first served, for one quantum at a time.

use alloc::collections::VecDeque;

use crate::{Arrival, Entity, Policy, TaskId};

/// Quantum if none is chosen: 10 ms.
pub(crate) const DEFAULT_QUANTUM_NS: u64 = 10_000_000;

/// A queue in which everybody gets the same quantum; nice values do not matter.
pub struct RoundRobin {
    quantum_ns: u64,
    queue: VecDeque<TaskId>,
}

impl RoundRobin {
    /// An empty queue with the given quantum in nanoseconds (at least 1).
    pub fn new(quantum_ns: u64) -> Self {
        Self {
            quantum_ns: quantum_ns.max(1),
            queue: VecDeque::new(),
        }
    }
}

impl Policy for RoundRobin {
    fn name(&self) -> &'static str {
        "rr"
    }

    fn enqueue(&mut self, id: TaskId, entity: &mut Entity, _how: Arrival) {
        entity.used = 0;
        self.queue.push_back(id);
    }

    fn dequeue(&mut self, id: TaskId, _entity: &mut Entity) -> bool {
        match self.queue.iter().position(|&queued| queued == id) {
            Some(at) => {
                self.queue.remove(at);
                true
            }
            None => false,
        }
    }

    fn pick_next(&mut self) -> Option<TaskId> {
        self.queue.pop_front()
    }

    fn charge(&mut self, running: &mut Entity, ran_ns: u64) {
        running.used = running.used.saturating_add(ran_ns);
    }

    fn slice_ns(&self, running: &Entity) -> u64 {
        self.quantum_ns.saturating_sub(running.used)
    }

    fn preempts(&self, _woken: &Entity, _running: &Entity) -> bool {
        false
    }

    fn len(&self) -> usize {
        self.queue.len()
    }
}
