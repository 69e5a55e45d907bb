//! One process watches and changes another (`ptrace(2)`).
//!
//! | file | what |
//! |---|---|
//! | `state` | what a tracer holds of a thread: [`Tracing`] |
//! | `attach` | how a tracer comes and goes; who may |
//! | `stop` | the stops of a traced thread, and where it makes them |
//! | `call` | stops at system calls |
//! | `child` | stops at clone, exec and exit; children are traced as well |
//! | `wait` | how the tracer learns of stops and ends |
//! | `request`, `registers` | what the tracer asks of a stopped thread |
//!
//! The tracer is a process: any of its threads may make requests and wait. A traced thread stops by
//! itself, on its way to ring 3 or inside a system call, with all registers put aside
//! (`sched::put_aside`); the tracer then reads and writes them where they lie. A thread without a
//! tracer pays a test of a flag where it is about to stop, end or take a signal, and nothing where
//! it makes a system call (`syscall::follow`).

mod attach;
mod call;
mod child;
pub mod registers;
mod request;
mod state;
mod stop;
mod wait;

pub use attach::{forget_leader, may_access, release_all, tracer_pid};
pub use call::{at_entry, at_exit};
pub use child::{
    became_leader, denies_privileges, ended, event, executed, exiting, follow_child, vfork_done,
};
pub use request::request;
pub use state::Tracing;
pub use stop::{
    before_signal, continued, in_group_stop, leave_step, runs_in_stop, stepped_into_handler, trap,
    trap_due,
};
pub use wait::{Look, is_held, is_held_by_tracer, leader_is_traced_by, look, tell_tracer_of_end};
