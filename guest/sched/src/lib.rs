//! Scheduling policies: who of those that could run on one processor does.
//!
//! The kernel keeps the mechanism (states, context switches, timers) and asks a [`Policy`] three
//! questions: who is next, for how long, and whether one who just woke up should take over at once.
//! A policy is plain data without clocks or locks, so that the same code runs in the kernel, in
//! property tests on the host, and in a simulation.
//!
//! | policy | idea |
//! |---|---|
//! | [`RoundRobin`] | a queue; each runs for one quantum |
//! | [`Cfs`] | who has had least, weighted by nice value, goes next |
#![cfg_attr(not(test), no_std)]
#![warn(missing_docs)]

extern crate alloc;

mod cfs;
mod rr;
mod weight;

use alloc::boxed::Box;

pub use cfs::Cfs;
pub use rr::RoundRobin;
pub use weight::{NICE_0_WEIGHT, nice_to_weight};

/// Names a task to the one who owns it; policies only hand it back.
pub type TaskId = u64;

/// What a policy knows about one task. It lives in the task; a policy sees it while it is told about
/// that task, and nobody else changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Nice value, -20 (most) to 19 (least).
    nice: i8,
    /// Weight of that nice value.
    weight: u32,
    /// Weighted time run, in nanoseconds at nice 0 (CFS).
    vruntime: u64,
    /// Time run since the present turn began, in nanoseconds.
    used: u64,
}

impl Entity {
    /// A task that has not run yet. `nice` is clamped to -20..=19.
    pub fn new(nice: i8) -> Self {
        let nice = nice.clamp(-20, 19);
        Self {
            nice,
            weight: nice_to_weight(nice),
            vruntime: 0,
            used: 0,
        }
    }

    /// The entity of a child: the parent's nice value and position, with a turn of its own.
    pub fn fork(&self) -> Self {
        Self { used: 0, ..*self }
    }

    /// A turn begins: nothing of it is used.
    pub fn begin_turn(&mut self) {
        self.used = 0;
    }

    /// Nice value, -20 to 19.
    pub fn nice(&self) -> i8 {
        self.nice
    }

    /// Change the nice value (clamped to -20..=19). Not while the entity is in a queue.
    pub fn set_nice(&mut self, nice: i8) {
        self.nice = nice.clamp(-20, 19);
        self.weight = nice_to_weight(self.nice);
    }

    /// Weighted time run, in nanoseconds at nice 0. Only meaningful with [`Cfs`].
    pub fn vruntime(&self) -> u64 {
        self.vruntime
    }
}

/// Why a task comes into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It has just been created.
    New,
    /// It slept, and what it waited for has happened.
    Woken,
    /// It ran and could go on running, but its turn is over or another goes first.
    Preempted,
    /// It ran and asked that others go first.
    Yielded,
}

/// Chooses among the runnable tasks of one processor.
///
/// The running task is not in the queue: [`Policy::pick_next`] takes it out, and the caller puts it
/// back with [`Policy::enqueue`] if it stops running without going to sleep.
pub trait Policy: Send {
    /// The name by which the policy is chosen.
    fn name(&self) -> &'static str;

    /// `id` can run now. It must not be in the queue.
    fn enqueue(&mut self, id: TaskId, entity: &mut Entity, how: Arrival);

    /// Take `id` out without running it. False: it was not in the queue.
    fn dequeue(&mut self, id: TaskId, entity: &mut Entity) -> bool;

    /// Take out the task that runs next; None: nobody can run.
    fn pick_next(&mut self) -> Option<TaskId>;

    /// The running task has run for another `ran_ns` nanoseconds.
    fn charge(&mut self, running: &mut Entity, ran_ns: u64);

    /// For how many more nanoseconds the running task may go on while others wait; 0: its turn is
    /// over.
    fn slice_ns(&self, running: &Entity) -> u64;

    /// Whether `woken`, which has just been put into the queue, should take over from `running`, all
    /// of whose time has been charged.
    fn preempts(&self, woken: &Entity, running: &Entity) -> bool;

    /// Number of tasks in the queue.
    fn len(&self) -> usize;

    /// True if nobody waits for the processor.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The policy called `name` (`rr`, `cfs`), empty; None: there is none of that name.
pub fn by_name(name: &str) -> Option<Box<dyn Policy>> {
    match name {
        "rr" => Some(Box::new(RoundRobin::new(rr::DEFAULT_QUANTUM_NS))),
        "cfs" => Some(Box::new(Cfs::new())),
        _ => None,
    }
}
