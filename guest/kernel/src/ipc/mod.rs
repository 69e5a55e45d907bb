//! Communication between processes beyond pipes and sockets: System V's shared memory, semaphores
//! and message queues (`sysvipc(7)`), and POSIX message queues (`mq_overview(7)`).
//!
//! | file | what |
//! |---|---|
//! | `table`, `perm` | System V objects by key and number; who may use them |
//! | `shm`, `sem`, `msg` | the three kinds |
//! | `mqueue`, `mqueue_fs` | POSIX message queues; the file system that names them |

pub mod mqueue;
pub mod mqueue_fs;
pub mod msg;
mod perm;
pub mod sem;
pub mod shm;
mod table;

pub use perm::{Perm, PermRecord};

/// `IPC_CREAT`: make the object if there is none with the key.
pub const CREATE: usize = 0o1000;
/// `IPC_EXCL`: with [`CREATE`], there must be none.
pub const EXCLUSIVE: usize = 0o2000;
/// `IPC_NOWAIT`: an error instead of a sleep.
pub const NO_WAIT: usize = 0o4000;

/// Seconds since 1970, for the times that objects record.
fn now() -> i64 {
    crate::time::wall_seconds() as i64
}

/// Number of the running process.
fn me() -> u32 {
    crate::task::current_process().pid()
}
