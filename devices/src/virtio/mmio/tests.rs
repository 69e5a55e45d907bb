//! Tests of the transport, on a device that gives every chain back as it is.

use proptest::prelude::*;

use super::*;
use crate::virtio::testing::*;

/// Completes every chain with a length of its choice.
#[derive(Default)]
struct Echo {
    features: u64,
    resets: u32,
}

impl VirtioDevice for Echo {
    fn device_type(&self) -> u32 {
        42
    }
    fn features(&self) -> u64 {
        1
    }
    fn queue_sizes(&self) -> &'static [u16] {
        &[64, 16]
    }
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        super::super::copy_config(&[1, 2, 3, 4, 5, 6, 7, 8], offset, data);
    }
    fn activate(&mut self, features: u64) {
        self.features = features;
    }
    fn reset(&mut self) {
        self.resets += 1;
    }
    fn process(&mut self, _index: usize, queue: &mut ActiveQueue<'_>) -> Result<(), DriverError> {
        while let Some(head) = queue.pop()? {
            queue.complete(head, 7)?;
        }
        Ok(())
    }
}

fn fresh() -> Driver<Echo> {
    Driver::new(Echo::default())
}

fn started(features: u64) -> Driver<Echo> {
    Driver::start(Echo::default(), features)
}

const READABLE: (u64, u32, u16) = (BUFFERS, 16, 0);

#[test]
fn identity_registers_tell_version_2() {
    let mut driver = fresh();
    let identity = [0, 4, 8].map(|register| driver.read(register));
    assert_eq!(identity, [0x7472_6976, 2, 42]);
}

#[test]
fn features_come_in_two_halves() {
    let mut driver = fresh();
    let halves = [0, 1, 2].map(|half| {
        driver.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, half);
        driver.read(VIRTIO_MMIO_DEVICE_FEATURES)
    });
    assert_eq!(halves, [1 | 3 << 28, 1, 0]);
}

#[test]
fn bring_up_passes_the_features_on() {
    let driver = started(1);
    assert_eq!(driver.lock().device().features, VERSION_1 | 1);
}

#[test]
fn features_without_version_1_are_refused() {
    let mut driver = fresh();
    driver.negotiate(1);
    assert_eq!(driver.status(), ACKNOWLEDGE | DRIVER);
}

#[test]
fn features_that_were_not_offered_are_refused() {
    let mut driver = fresh();
    driver.negotiate(VERSION_1 | 2);
    assert_eq!(driver.status(), ACKNOWLEDGE | DRIVER);
}

#[test]
fn refused_driver_may_try_again() {
    let mut driver = fresh();
    driver.negotiate(2);
    driver.bring_up(0);
}

#[test]
fn driver_ok_is_not_reached_with_refused_features() {
    let mut driver = fresh();
    driver.negotiate(2);
    driver.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    assert_eq!(driver.status(), ACKNOWLEDGE | DRIVER);
}

#[test]
fn skipped_status_needs_reset() {
    let mut driver = fresh();
    driver.set_status(ACKNOWLEDGE);
    driver.set_status(ACKNOWLEDGE | FEATURES_OK);
    assert_eq!(driver.status(), ACKNOWLEDGE | NEEDS_RESET);
}

#[test]
fn status_taken_back_needs_reset() {
    let mut driver = started(0);
    driver.set_status(ACKNOWLEDGE | DRIVER);
    assert_ne!(driver.status() & NEEDS_RESET, 0);
    // With DRIVER_OK set, the driver is told.
    assert_eq!(driver.interrupts(), 1);
    assert_eq!(
        driver.read(VIRTIO_MMIO_INTERRUPT_STATUS),
        VIRTIO_MMIO_INT_CONFIG
    );
}

#[test]
fn unknown_status_bit_needs_reset() {
    let mut driver = fresh();
    driver.set_status(0x100);
    assert_eq!(driver.status(), NEEDS_RESET);
}

#[test]
fn features_written_late_need_reset() {
    let mut driver = started(0);
    driver.write(VIRTIO_MMIO_DRIVER_FEATURES, 1);
    assert!(driver.lock().needs_reset());
}

#[test]
fn queue_set_up_early_needs_reset() {
    let mut driver = fresh();
    driver.write(VIRTIO_MMIO_QUEUE_NUM, 8);
    assert!(driver.lock().needs_reset());
}

#[test]
fn reset_makes_a_broken_device_whole() {
    let mut driver = fresh();
    driver.set_status(FEATURES_OK);
    driver.bring_up(0);
    driver.chain(0, &[READABLE]);
    driver.notify(0);
    assert_eq!(driver.used(0), [(0, 7)]);
}

#[test]
fn broken_device_ignores_notifications() {
    let mut driver = started(0);
    driver.set_status(ACKNOWLEDGE);
    driver.chain(0, &[READABLE]);
    driver.notify(0);
    assert!(driver.used(0).is_empty());
}

#[test]
fn reset_forgets_everything() {
    let mut driver = started(1);
    driver.chain(0, &[READABLE]);
    driver.notify(0);
    driver.set_status(0);
    driver.write(VIRTIO_MMIO_QUEUE_SEL, 0);
    let state = [
        VIRTIO_MMIO_STATUS,
        VIRTIO_MMIO_INTERRUPT_STATUS,
        VIRTIO_MMIO_QUEUE_READY,
    ]
    .map(|register| driver.read(register));
    assert_eq!((state, driver.lock().driver_features), ([0; 3], 0));
}

#[test]
fn queue_size_that_is_invalid_needs_reset() {
    for size in [0, 3, 128, 0x1_0000, 0x1_0010, u32::MAX] {
        let mut driver = fresh();
        driver.negotiate(VERSION_1);
        driver.write(VIRTIO_MMIO_QUEUE_NUM, size);
        assert!(driver.lock().needs_reset(), "{size}");
    }
}

#[test]
fn rings_that_are_invalid_need_reset() {
    let rings = [
        [0x4008, 0x5000, 0x6000],
        [0x4000, 0x5001, 0x6000],
        [0x4000, 0x5000, 0x6002],
        [LOW, 0x5000, 0x6000],
        [LOW - 0x10, 0x5000, 0x6000],
        [0x4000, LOW - 2, 0x6000],
        [0x4000, 0x5000, LOW - 4],
        [!0xf, 0x5000, 0x6000],
        [0x4000, !1, 0x6000],
        [0x4000, 0x5000, !3],
        [1 << 32 | 0x4000, 0x5000, 0x6000],
    ];
    for addresses in rings {
        let mut driver = fresh();
        driver.negotiate(VERSION_1);
        driver.write_queue(0, 16, addresses);
        driver.write(VIRTIO_MMIO_QUEUE_READY, 1);
        assert!(driver.lock().needs_reset(), "{addresses:x?}");
        assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_READY), 0);
    }
}

#[test]
fn queue_that_does_not_exist_has_size_zero() {
    let mut driver = fresh();
    driver.write(VIRTIO_MMIO_QUEUE_SEL, 2);
    assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
    driver.write(VIRTIO_MMIO_QUEUE_SEL, u32::MAX);
    assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_READY), 0);
    assert_eq!(driver.status(), 0);
}

#[test]
fn set_up_of_a_queue_that_does_not_exist_needs_reset() {
    let mut driver = fresh();
    driver.negotiate(VERSION_1);
    driver.write_queue(2, 16, [0x4000, 0x5000, 0x6000]);
    assert!(driver.lock().needs_reset());
}

#[test]
fn ready_queue_cannot_be_changed() {
    let mut driver = started(0);
    driver.write(VIRTIO_MMIO_QUEUE_SEL, 1);
    driver.write(VIRTIO_MMIO_QUEUE_DESC_LOW, 0x8000);
    assert!(driver.lock().needs_reset());
}

#[test]
fn queue_can_be_stopped_and_started() {
    let mut driver = started(0);
    driver.write(VIRTIO_MMIO_QUEUE_SEL, 0);
    driver.write(VIRTIO_MMIO_QUEUE_READY, 0);
    assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_READY), 0);
    driver.set_up_queue(0, 8);
    driver.chain(0, &[READABLE]);
    driver.notify(0);
    assert_eq!(driver.used(0), [(0, 7)]);
}

#[test]
fn notification_of_a_queue_that_does_not_exist_needs_reset() {
    let mut driver = started(0);
    driver.notify(2);
    assert!(driver.lock().needs_reset());
}

#[test]
fn notification_of_a_stopped_queue_needs_reset() {
    let mut driver = started(0);
    driver.write(VIRTIO_MMIO_QUEUE_SEL, 0);
    driver.write(VIRTIO_MMIO_QUEUE_READY, 0);
    driver.notify(0);
    assert!(driver.lock().needs_reset());
}

#[test]
fn chain_made_available_before_driver_ok_is_used_then() {
    let mut driver = fresh();
    driver.negotiate(VERSION_1);
    driver.set_up_queue(0, 16);
    driver.chain(0, &[READABLE]);
    driver.notify(0);
    assert!(driver.used(0).is_empty());
    driver.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    assert_eq!(driver.used(0), [(0, 7)]);
}

#[test]
fn used_chain_interrupts_once_a_notification() {
    let mut driver = started(0);
    driver.chain(0, &[READABLE]);
    driver.chain(0, &[READABLE]);
    driver.notify(0);
    assert_eq!(driver.used(0), [(0, 7), (1, 7)]);
    assert_eq!(driver.interrupts(), 1);
    assert_eq!(driver.read(VIRTIO_MMIO_INTERRUPT_STATUS), 1);
    driver.write(VIRTIO_MMIO_INTERRUPT_ACK, 1);
    assert_eq!(driver.read(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

#[test]
fn empty_queue_does_not_interrupt() {
    let mut driver = started(0);
    driver.notify(0);
    assert_eq!(driver.interrupts(), 0);
}

#[test]
fn no_interrupt_flag_is_honoured() {
    let mut driver = started(0);
    let [_, avail, _] = Driver::<Echo>::rings(0);
    driver.put(avail, &[1, 0]);
    driver.chain(0, &[READABLE]);
    driver.notify(0);
    assert_eq!((driver.used(0).len(), driver.interrupts()), (1, 0));
}

#[test]
fn used_event_is_honoured() {
    let mut driver = started(EVENT_IDX);
    let [_, avail, used] = Driver::<Echo>::rings(0);
    let used_event = avail + 4 + 2 * 16;
    driver.put(used_event, &1_u16.to_le_bytes());
    for (chains, interrupts) in [(1, 0), (2, 1), (3, 1)] {
        driver.chain(0, &[READABLE]);
        driver.notify(0);
        assert_eq!(driver.interrupts(), interrupts, "{chains}");
    }
    // The device asks to be told of the next chain: avail_event.
    assert_eq!(driver.get(used + 4 + 8 * 16, 2), [3, 0]);
}

#[test]
fn rings_wrap_around() {
    let mut driver = started(EVENT_IDX);
    for round in 0..70_000_u32 {
        driver.chain(1, &[READABLE]);
        driver.notify(1);
        assert_eq!(driver.used(1), [(round % 16, 7)]);
    }
}

#[test]
fn narrow_register_access_is_ignored() {
    let mut driver = started(0);
    driver.lock().write(VIRTIO_MMIO_STATUS.into(), &[0]);
    assert_ne!(driver.status(), 0);
    let mut data = [0xff; 2];
    driver.lock().read(VIRTIO_MMIO_VERSION.into(), &mut data);
    assert_eq!(data, [0xff; 2]);
}

#[test]
fn configuration_is_read_in_any_width() {
    let mut driver = fresh();
    assert_eq!(driver.config::<1>(3), [4]);
    assert_eq!(driver.config::<8>(0), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(driver.config::<4>(6), [7, 8, 0, 0]);
    assert_eq!(driver.config::<4>(0xe00), [0; 4]);
}

#[test]
fn write_only_registers_read_all_ones() {
    let mut driver = started(0);
    assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_NOTIFY), u32::MAX);
    assert_eq!(driver.read(0xb0), u32::MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_register_writes_leave_a_device_that_can_be_reset(
        writes in prop::collection::vec((0_u32..0x110, prop_oneof![
            any::<u32>(), 0..4_u32, Just(0xf), Just(0xb), Just(16), Just(0x4000), Just(0x5000)
        ]), 0..200)
    ) {
        let mut driver = fresh();
        for (register, value) in writes {
            driver.write(register & !3, value);
            driver.read(register);
        }
        driver.bring_up(0);
        driver.chain(0, &[READABLE]);
        driver.notify(0);
        prop_assert_eq!(driver.used(0), [(0, 7)]);
    }

    #[test]
    fn any_status_writes_never_reach_driver_ok_without_version_1(
        writes in prop::collection::vec(0_u32..16, 0..20)
    ) {
        let mut driver = fresh();
        for status in writes {
            driver.set_status(status);
            prop_assert_eq!(driver.status() & DRIVER_OK, 0);
        }
    }
}
