//! Tests of chains: every way in which one can be broken.

use proptest::prelude::*;

use super::*;
use crate::virtio::VirtioDevice;
use crate::virtio::testing::*;

/// Remembers the chains that came.
#[derive(Default)]
struct Recorder(Vec<(Vec<Segment>, Vec<Segment>)>);

impl VirtioDevice for Recorder {
    fn device_type(&self) -> u32 {
        42
    }
    fn features(&self) -> u64 {
        0
    }
    fn queue_sizes(&self) -> &'static [u16] {
        &[256, 16]
    }
    fn read_config(&self, _offset: u64, _data: &mut [u8]) {}
    fn process(&mut self, _index: usize, queue: &mut ActiveQueue<'_>) -> Result<(), DriverError> {
        while let Some(head) = queue.pop()? {
            self.0
                .push((queue.readable().to_vec(), queue.writable().to_vec()));
            queue.complete(head, 0)?;
        }
        Ok(())
    }
}

fn started() -> Driver<Recorder> {
    Driver::start(Recorder::default(), INDIRECT_DESC)
}

const TABLE: u64 = 0x4000;

/// The descriptors at 0 and on are made available from `head`: what comes of it?
fn offer(descriptors: &[(u64, u32, u16, u16)], head: u16) -> Driver<Recorder> {
    let mut driver = started();
    for (index, descriptor) in descriptors.iter().enumerate() {
        driver.descriptor(TABLE, index as u16, *descriptor);
    }
    driver.offer(0, head);
    driver.notify(0);
    driver
}

fn assert_broken(mut driver: Driver<Recorder>) {
    assert!(driver.lock().needs_reset());
    assert!(driver.lock().device().0.is_empty());
    assert!(driver.used(0).is_empty());
}

fn segment(addr: u64, len: u32) -> Segment {
    Segment {
        addr: GuestAddress(addr),
        len,
    }
}

#[test]
fn chain_is_split_into_readable_and_writable() {
    let mut driver = started();
    driver.chain(
        0,
        &[
            (BUFFERS, 16, 0),
            (BUFFERS + 0x100, 8, 0),
            (BUFFERS + 0x200, 1, WRITE),
        ],
    );
    driver.notify(0);
    let chains = std::mem::take(&mut driver.lock().device_mut().0);
    let readable = vec![segment(BUFFERS, 16), segment(BUFFERS + 0x100, 8)];
    assert_eq!(chains, [(readable, vec![segment(BUFFERS + 0x200, 1)])]);
}

#[test]
fn empty_descriptors_are_left_out() {
    let driver = offer(&[(u64::MAX, 0, NEXT, 1), (BUFFERS, 4, 0, 0)], 0);
    let chains = std::mem::take(&mut driver.lock().device_mut().0);
    assert_eq!(chains, [(vec![segment(BUFFERS, 4)], vec![])]);
}

#[test]
fn indirect_table_is_followed() {
    let driver = started();
    driver.descriptor(BUFFERS, 0, (BUFFERS + 0x1000, 4, NEXT, 2));
    driver.descriptor(BUFFERS, 2, (BUFFERS + 0x2000, 5, WRITE, 0));
    driver.descriptor(TABLE, 3, (BUFFERS, 48, INDIRECT, 0));
    let mut driver = driver;
    driver.offer(0, 3);
    driver.notify(0);
    let chains = std::mem::take(&mut driver.lock().device_mut().0);
    let expected = (
        vec![segment(BUFFERS + 0x1000, 4)],
        vec![segment(BUFFERS + 0x2000, 5)],
    );
    assert_eq!(chains, [expected]);
}

#[test]
fn loop_breaks_the_device() {
    assert_broken(offer(&[(BUFFERS, 4, NEXT, 1), (BUFFERS, 4, NEXT, 0)], 0));
    assert_broken(offer(&[(BUFFERS, 4, NEXT, 0)], 0));
    assert_broken(offer(&[(BUFFERS, 0, NEXT, 0)], 0));
}

#[test]
fn head_outside_the_table_breaks_the_device() {
    assert_broken(offer(&[], 16));
    assert_broken(offer(&[], u16::MAX));
}

#[test]
fn next_outside_the_table_breaks_the_device() {
    assert_broken(offer(&[(BUFFERS, 4, NEXT, 16)], 0));
}

#[test]
fn readable_after_writable_breaks_the_device() {
    assert_broken(offer(
        &[(BUFFERS, 4, NEXT | WRITE, 1), (BUFFERS, 4, 0, 0)],
        0,
    ));
}

#[test]
fn buffer_outside_memory_breaks_the_device() {
    for (addr, len) in [
        (LOW, 1),
        (LOW - 1, 2),
        (HIGH_START - 1, 1),
        (HIGH_END - 1, 2),
        (0, LOW as u32 + 1),
        (u64::MAX, 1),
        (u64::MAX, 2),
        (u64::MAX - 3, u32::MAX),
        (0, u32::MAX),
    ] {
        for flags in [0, WRITE] {
            assert_broken(offer(&[(addr, len, flags, 0)], 0));
        }
    }
}

#[test]
fn chain_of_more_than_4_gib_breaks_the_device() {
    assert_broken(offer(
        &[(BUFFERS, u32::MAX, NEXT, 1), (BUFFERS, u32::MAX, 0, 0)],
        0,
    ));
}

#[test]
fn indirect_table_outside_memory_breaks_the_device() {
    for addr in [LOW, LOW - 8, u64::MAX - 7, HIGH_END] {
        assert_broken(offer(&[(addr, 16, INDIRECT, 0)], 0));
    }
}

#[test]
fn indirect_table_of_odd_length_breaks_the_device() {
    for len in [0, 1, 15, 17, u32::MAX] {
        assert_broken(offer(&[(BUFFERS, len, INDIRECT, 0)], 0));
    }
}

#[test]
fn indirect_table_in_an_indirect_table_breaks_the_device() {
    let mut driver = started();
    driver.descriptor(BUFFERS, 0, (BUFFERS, 16, INDIRECT, 0));
    driver.descriptor(TABLE, 0, (BUFFERS, 16, INDIRECT, 0));
    driver.offer(0, 0);
    driver.notify(0);
    assert_broken(driver);
}

#[test]
fn indirect_table_of_64_ki_entries_breaks_the_device() {
    assert_broken(offer(&[(0, 16 << 16, INDIRECT, 0)], 0));
}

#[test]
fn indirect_chain_longer_than_the_queue_breaks_the_device() {
    for (len, broken) in [(16, false), (17, true)] {
        let mut driver = started();
        for index in 0..len - 1 {
            driver.descriptor(BUFFERS, index, (BUFFERS, 1, NEXT, index + 1));
        }
        driver.descriptor(BUFFERS, len - 1, (BUFFERS, 1, 0, 0));
        driver.descriptor(TABLE, 0, (BUFFERS, 16 * u32::from(len), INDIRECT, 0));
        driver.offer(0, 0);
        driver.notify(0);
        assert_eq!(driver.lock().needs_reset(), broken);
    }
}

#[test]
fn indirect_table_of_the_largest_size_ends() {
    let mut driver = started();
    for index in 0..u16::MAX / 4 {
        driver.descriptor(BUFFERS, index, (BUFFERS, 1, NEXT, 0));
    }
    driver.descriptor(
        TABLE,
        0,
        (BUFFERS, 16 * u32::from(u16::MAX / 4), INDIRECT, 0),
    );
    driver.offer(0, 0);
    driver.notify(0);
    assert_broken(driver);
}

#[test]
fn available_index_that_jumps_breaks_the_device() {
    let mut driver = started();
    let [_, avail, _] = Driver::<Recorder>::rings(0);
    driver.put(avail + 2, &17_u16.to_le_bytes());
    driver.notify(0);
    assert_broken(driver);
}

#[test]
fn good_chain_before_a_bad_one_is_still_completed() {
    let mut driver = started();
    let good = driver.chain(0, &[(BUFFERS, 4, 0)]);
    driver.chain(0, &[(LOW, 4, 0)]);
    driver.notify(0);
    assert_eq!(driver.used(0), [(good.into(), 0)]);
    assert!(driver.lock().needs_reset());
}

#[test]
fn part_cuts_at_both_ends() {
    let segments = [segment(0x10, 4), segment(0x20, 4), segment(0x30, 4)];
    let mut out = Vec::new();
    part(&segments, 5, 4, &mut out);
    assert_eq!(out, [segment(0x21, 3), segment(0x30, 1)]);
}

proptest! {
    #[test]
    fn part_keeps_exactly_the_bytes_asked_for(
        lens in prop::collection::vec(1_u32..50, 0..10), skip in 0_u64..300, take in 0_u64..300
    ) {
        let segments: Vec<_> = lens.iter().enumerate().map(|(i, len)| segment(i as u64 * 100, *len)).collect();
        let bytes = |segments: &[Segment]| -> Vec<u64> {
            segments.iter().flat_map(|s| s.addr.0..s.addr.0 + u64::from(s.len)).collect()
        };
        let mut out = Vec::new();
        part(&segments, skip, take, &mut out);
        let expected: Vec<u64> = bytes(&segments).into_iter().skip(skip as usize).take(take as usize).collect();
        prop_assert_eq!(bytes(&out), expected);
    }

    /// Any descriptors: the device gets only segments in memory, in order, and never hangs.
    #[test]
    fn any_descriptors_give_segments_in_memory_or_break_the_device(
        table in prop::collection::vec(descriptor(), 16),
        indirect in prop::collection::vec(descriptor(), 0..32),
        heads in prop::collection::vec(0_u16..20, 1..16),
    ) {
        let mut driver = started();
        for (index, entry) in table.iter().enumerate() {
            driver.descriptor(TABLE, index as u16, *entry);
        }
        for (index, entry) in indirect.iter().enumerate() {
            driver.descriptor(BUFFERS, index as u16, *entry);
        }
        for head in &heads {
            driver.offer(0, *head);
        }
        driver.notify(0);
        let used = driver.used(0).len();
        let device = driver.lock();
        prop_assert_eq!(device.device().0.len(), used);
        prop_assert_eq!(device.needs_reset(), used < heads.len());
        for (readable, writable) in &device.device().0 {
            prop_assert!(readable.len() + writable.len() <= 16);
            for segment in readable.iter().chain(writable) {
                prop_assert!(driver.mem.check_range(segment.addr, segment.len as usize));
            }
        }
    }
}

/// A descriptor that is often good.
fn descriptor() -> impl Strategy<Value = (u64, u32, u16, u16)> {
    let addr = prop_oneof![
        4 => Just(BUFFERS),
        1 => Just(LOW - 8),
        1 => Just(HIGH_START),
        1 => any::<u64>()
    ];
    let len = prop_oneof![
        4 => (0_u32..8).prop_map(|n| n * 16),
        1 => Just(16 << 16),
        1 => any::<u32>()
    ];
    let flags = prop_oneof![8 => 0_u16..4, 2 => Just(INDIRECT), 1 => any::<u16>()];
    (addr, len, flags, 0_u16..18)
}
