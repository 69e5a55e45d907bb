//! What the tests are written with.

#[macro_use]
pub mod call;
pub mod child;
pub mod descriptor;
pub mod fault;
pub mod gate;
pub mod mapping;
pub mod message;
pub mod names;
pub mod plain;
pub mod program;
pub mod report;
pub mod scratch;
pub mod semaphore;
pub mod signals;
pub mod state;
pub mod synchronisation;
pub mod sysv;
pub mod thread;
pub mod time;
pub mod trace;

/// `tests!(a, b)` lists a module's tests as its `TESTS`; `tests!(a, b; guest: c)` has some that only
/// run in the guest. A function that is not listed is reported as unused.
macro_rules! tests {
    ($($name:ident),* $(,)? $(; guest: $($guest:ident),* $(,)?)?) => {
        /// The tests of this area.
        pub const TESTS: &[$crate::registry::Test] = &[
            $($crate::registry::Test { name: stringify!($name), run: $name, guest_only: false },)*
            $($($crate::registry::Test { name: stringify!($guest), run: $guest, guest_only: true },)*)?
        ];
    };
}
