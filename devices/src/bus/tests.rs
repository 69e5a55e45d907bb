//! Tests of the bus.

use proptest::prelude::*;

use super::*;

/// Remembers what it was asked, and reads as the offset.
#[derive(Default)]
struct Probe(Vec<(u64, Vec<u8>)>);

impl PioDevice for Probe {
    fn read(&mut self, offset: u16, data: &mut [u8]) {
        data.fill(offset as u8);
    }
    fn write(&mut self, offset: u16, data: &[u8]) {
        self.0.push((offset.into(), data.to_vec()));
    }
}

impl MmioDevice for Probe {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(offset as u8);
    }
    fn write(&mut self, offset: u64, data: &[u8]) {
        self.0.push((offset, data.to_vec()));
    }
}

fn probe() -> Arc<Mutex<Probe>> {
    Arc::default()
}

#[test]
fn device_sees_offsets_only() {
    let (mut bus, device) = (Bus::new(), probe());
    bus.add_mmio(0x1000, 0x100, device.clone()).unwrap();
    assert!(bus.mmio_write(0x10fc, &[1, 2, 3, 4]));
    assert_eq!(lock(&device).0, [(0xfc, vec![1, 2, 3, 4])]);
}

#[test]
fn unmapped_address_reads_all_ones() {
    let bus = Bus::new();
    let mut data = [0; 8];
    assert!(!bus.mmio_read(0x1000, &mut data));
    assert_eq!(data, [0xff; 8]);
}

#[test]
fn unmapped_port_reads_all_ones() {
    let bus = Bus::new();
    let mut data = [0; 4];
    assert!(!bus.pio_read(0x80, 4, &mut data));
    assert_eq!(data, [0xff; 4]);
}

#[test]
fn access_across_the_end_belongs_to_nobody() {
    let mut bus = Bus::new();
    bus.add_mmio(0x1000, 0x100, probe()).unwrap();
    let mut data = [0; 4];
    assert!(!bus.mmio_read(0x10fe, &mut data));
    assert!(!bus.mmio_write(0xffe, &data));
    assert_eq!(data, [0xff; 4]);
}

#[test]
fn access_at_the_last_address_does_not_overflow() {
    let mut bus = Bus::new();
    bus.add_mmio(u64::MAX, 1, probe()).unwrap();
    assert!(bus.mmio_read(u64::MAX, &mut [0]));
    assert!(!bus.mmio_read(u64::MAX, &mut [0; 2]));
}

#[test]
fn empty_access_belongs_to_nobody() {
    let mut bus = Bus::new();
    bus.add_mmio(0, 1, probe()).unwrap();
    assert!(!bus.mmio_read(0, &mut []));
}

#[test]
fn empty_range_is_refused() {
    let mut bus = Bus::new();
    assert_eq!(bus.add_pio(5, 0, probe()), Err(BusError::Empty { base: 5 }));
}

#[test]
fn range_past_the_end_is_refused() {
    let mut bus = Bus::new();
    assert!(matches!(
        bus.add_pio(0xffff, 2, probe()),
        Err(BusError::TooLarge { .. })
    ));
    assert!(matches!(
        bus.add_mmio(u64::MAX, 2, probe()),
        Err(BusError::TooLarge { .. })
    ));
    assert!(bus.add_pio(0xffff, 1, probe()).is_ok());
}

#[test]
fn string_write_comes_element_by_element() {
    let (mut bus, device) = (Bus::new(), probe());
    bus.add_pio(0x10, 4, device.clone()).unwrap();
    assert!(bus.pio_write(0x12, 2, &[1, 2, 3, 4]));
    assert_eq!(lock(&device).0, [(2, vec![1, 2]), (2, vec![3, 4])]);
}

#[test]
fn string_read_fills_every_element() {
    let mut bus = Bus::new();
    bus.add_pio(0x10, 4, probe()).unwrap();
    let mut data = [0; 6];
    assert!(bus.pio_read(0x13, 1, &mut data));
    assert_eq!(data, [3; 6]);
}

proptest! {
    #[test]
    fn ranges_never_overlap_and_are_all_found(ranges in prop::collection::vec((0_u64..200, 0_u64..20), 0..40)) {
        let mut bus = Bus::new();
        let mut owner = [None; 256];
        for (index, (base, len)) in ranges.into_iter().enumerate() {
            let cells = &mut owner[base as usize..(base + len) as usize];
            let free = len > 0 && cells.iter().all(Option::is_none);
            prop_assert_eq!(bus.add_mmio(base, len, probe()).is_ok(), free);
            if free {
                cells.fill(Some((index, base)));
            }
        }
        for (address, cell) in owner.iter().enumerate() {
            let mut data = [0];
            let found = bus.mmio_read(address as u64, &mut data);
            prop_assert_eq!(found, cell.is_some());
            if let Some((_, base)) = cell {
                prop_assert_eq!(u64::from(data[0]), address as u64 - base);
            }
        }
    }
}
