//! Times as the calls take them.

use libc::timespec;

/// So many milliseconds, which are not negative.
pub fn milliseconds(count: i64) -> timespec {
    timespec {
        tv_sec: count / 1000,
        tv_nsec: count % 1000 * 1_000_000,
    }
}
