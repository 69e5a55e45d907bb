//! Tests of the source of randomness.

use super::*;
use crate::virtio::testing::*;

fn started() -> Driver<Rng> {
    Driver::start(Rng::new(), 0)
}

#[test]
fn buffer_is_filled() {
    let mut driver = started();
    driver.chain(0, &[(BUFFERS, 64, WRITE), (BUFFERS + 0x100, 64, WRITE)]);
    driver.notify(0);
    assert_eq!(driver.used(0), [(0, 128)]);
    assert_ne!(driver.get(BUFFERS, 64), [0; 64]);
    assert_ne!(driver.get(BUFFERS + 0x100, 64), [0; 64]);
    assert_eq!(driver.get(BUFFERS + 64, 8), [0; 8]);
}

#[test]
fn large_request_is_served_in_part() {
    let mut driver = started();
    driver.chain(0, &[(BUFFERS, 300 << 10, WRITE)]);
    driver.notify(0);
    assert_eq!(driver.used(0), [(0, REQUEST_MAX as u32)]);
    assert_eq!(driver.get(BUFFERS + REQUEST_MAX as u64, 64), [0; 64]);
}

#[test]
fn request_without_room_needs_reset() {
    let mut driver = started();
    driver.chain(0, &[(BUFFERS, 64, 0)]);
    driver.notify(0);
    assert!(driver.lock().needs_reset());
}
