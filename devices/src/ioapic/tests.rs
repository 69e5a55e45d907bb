//! Tests of the I/O APIC.

use super::*;

#[derive(Default)]
struct Messages(Mutex<Vec<(u64, u32)>>);

impl MsiSink for Messages {
    fn send(&self, address: u64, data: u32) {
        lock(&self.0).push((address, data));
    }
}

impl Messages {
    fn take(&self) -> Vec<(u64, u32)> {
        std::mem::take(&mut lock(&self.0))
    }
}

fn ioapic() -> (Arc<Ioapic>, Arc<Messages>) {
    let messages = Arc::new(Messages::default());
    (Ioapic::new(messages.clone()), messages)
}

fn write(ioapic: &mut Arc<Ioapic>, index: u32, value: u32) {
    MmioDevice::write(ioapic, SELECT, &index.to_le_bytes());
    MmioDevice::write(ioapic, WINDOW, &value.to_le_bytes());
}

fn read(ioapic: &mut Arc<Ioapic>, index: u32) -> u32 {
    MmioDevice::write(ioapic, SELECT, &index.to_le_bytes());
    let mut data = [0xff; 4];
    MmioDevice::read(ioapic, WINDOW, &mut data);
    u32::from_le_bytes(data)
}

/// Programs `pin`: the high half first, as drivers do.
fn program(ioapic: &mut Arc<Ioapic>, pin: u32, entry: u64) {
    write(ioapic, 0x11 + 2 * pin, (entry >> 32) as u32);
    write(ioapic, 0x10 + 2 * pin, entry as u32);
}

#[test]
fn version_tells_24_pins() {
    let (mut ioapic, _) = ioapic();
    assert_eq!(read(&mut ioapic, 1), 0x0017_0020);
}

#[test]
fn pins_are_masked_at_first() {
    let (mut ioapic, messages) = ioapic();
    ioapic.pulse(5);
    assert_eq!(read(&mut ioapic, 0x10 + 10), 0x1_0000);
    assert!(messages.take().is_empty());
}

#[test]
fn edge_becomes_a_message() {
    let (mut ioapic, messages) = ioapic();
    program(&mut ioapic, 5, 3 << 56 | 0x31);
    ioapic.pulse(5);
    assert_eq!(messages.take(), [(0xfee0_3000, 0x4031)]);
}

#[test]
fn logical_lowest_priority_sets_the_hint() {
    let (mut ioapic, messages) = ioapic();
    program(
        &mut ioapic,
        0,
        0xff << 56 | LOGICAL | MODE_LOWEST << 8 | 0x40,
    );
    ioapic.pulse(0);
    assert_eq!(messages.take(), [(0xfeef_f00c, 0x4140)]);
}

#[test]
fn edge_while_masked_is_delivered_at_unmask() {
    let (mut ioapic, messages) = ioapic();
    ioapic.pulse(7);
    ioapic.pulse(7);
    program(&mut ioapic, 7, 0x37);
    assert_eq!(messages.take(), [(0xfee0_0000, 0x4037)]);
}

#[test]
fn every_edge_counts() {
    let (mut ioapic, messages) = ioapic();
    program(&mut ioapic, 1, 0x31);
    ioapic.set_level(1, true);
    ioapic.set_level(1, true);
    ioapic.set_level(1, false);
    ioapic.set_level(1, true);
    assert_eq!(messages.take().len(), 2);
}

#[test]
fn level_repeats_after_end_of_interrupt_while_high() {
    let (mut ioapic, messages) = ioapic();
    program(&mut ioapic, 9, LEVEL | 0x39);
    ioapic.set_level(9, true);
    ioapic.set_level(9, true);
    assert_eq!(messages.take(), [(0xfee0_0000, 0xc039)]);
    assert_ne!(ioapic.entry(9).unwrap() & REMOTE_IRR, 0);
    ioapic.end_of_interrupt(0x39);
    assert_eq!(messages.take().len(), 1);
    ioapic.set_level(9, false);
    MmioDevice::write(&mut ioapic, EOI, &0x39_u32.to_le_bytes());
    assert!(messages.take().is_empty());
    assert_eq!(ioapic.entry(9).unwrap() & REMOTE_IRR, 0);
}

#[test]
fn level_that_falls_while_masked_is_forgotten() {
    let (mut ioapic, messages) = ioapic();
    program(&mut ioapic, 9, MASKED | LEVEL | 0x39);
    ioapic.set_level(9, true);
    ioapic.set_level(9, false);
    program(&mut ioapic, 9, LEVEL | 0x39);
    assert!(messages.take().is_empty());
}

#[test]
fn status_bits_are_read_only() {
    let (mut ioapic, _) = ioapic();
    program(&mut ioapic, 2, !MASKED);
    assert_eq!(ioapic.entry(2), Some(WRITABLE & !MASKED));
}

#[test]
fn registers_that_do_not_exist_read_all_ones() {
    let (mut ioapic, messages) = ioapic();
    write(&mut ioapic, 0x40, 0);
    assert_eq!(read(&mut ioapic, 0x40), u32::MAX);
    assert_eq!(read(&mut ioapic, 3), u32::MAX);
    ioapic.pulse(24);
    ioapic.set_level(255, true);
    assert!(messages.take().is_empty());
}

#[test]
fn odd_accesses_are_ignored() {
    let (mut ioapic, _) = ioapic();
    MmioDevice::write(&mut ioapic, WINDOW, &[1]);
    MmioDevice::write(&mut ioapic, 0x44, &[1; 4]);
    let mut data = [0xff; 8];
    MmioDevice::read(&mut ioapic, SELECT, &mut data);
    assert_eq!(data, [0xff; 8]);
}
