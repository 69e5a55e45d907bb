//! Tests of the console.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use virtio_bindings::virtio_mmio::{VIRTIO_MMIO_CONFIG_GENERATION, VIRTIO_MMIO_INTERRUPT_STATUS};

use super::*;
use crate::bus::MmioDevice;
use crate::virtio::testing::*;

/// Output that is looked at by the test.
struct Out(Sender<Vec<u8>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .send(bytes.to_vec())
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn started() -> (Driver<Console>, ConsoleInput, Receiver<Vec<u8>>) {
    let (sender, receiver) = channel();
    let console = Console::new(Box::new(Out(sender)), 80, 25);
    let driver = Driver::start(console, 0);
    let input = ConsoleInput::new(&driver.device);
    (driver, input, receiver)
}

fn output(receiver: &Receiver<Vec<u8>>) -> Vec<u8> {
    receiver.try_iter().flatten().collect()
}

#[test]
fn output_is_written_before_the_notification_returns() {
    let (mut driver, _, receiver) = started();
    driver.put(BUFFERS, b"hello, world");
    driver.chain(1, &[(BUFFERS, 5, 0), (BUFFERS + 5, 7, 0)]);
    driver.notify(1);
    assert_eq!(output(&receiver), b"hello, world");
    assert_eq!(driver.used(1), [(0, 0)]);
}

#[test]
fn notification_does_not_allocate() {
    let mut driver = Driver::start(Console::new(Box::new(io::sink()), 0, 0), 0);
    let input = ConsoleInput::new(&driver.device);
    input.push(b"abc").unwrap();
    driver.chain(0, &[(BUFFERS, 64, WRITE)]);
    driver.chain(1, &[(BUFFERS, 64, 0)]);
    let count = allocations(|| {
        driver.notify(0);
        driver.notify(1);
    });
    assert_eq!(count, 0);
    assert_eq!((driver.used(0).len(), driver.used(1).len()), (1, 1));
}

#[test]
fn output_larger_than_the_bounce_buffer_is_whole() {
    let (mut driver, _, receiver) = started();
    let bytes: Vec<u8> = (0..150_000_u32).map(|i| (i / 7) as u8).collect();
    driver.put(BUFFERS, &bytes);
    driver.chain(1, &[(BUFFERS, 50_001, 0), (BUFFERS + 50_001, 99_999, 0)]);
    driver.notify(1);
    assert!(output(&receiver) == bytes);
}

#[test]
fn output_nobody_reads_is_lost_without_harm() {
    let (mut driver, _, receiver) = started();
    drop(receiver);
    driver.chain(1, &[(BUFFERS, 5, 0)]);
    driver.chain(1, &[(BUFFERS, 5, 0)]);
    driver.notify(1);
    assert_eq!(driver.used(1).len(), 2);
}

#[test]
fn input_goes_into_buffers_that_wait() {
    let (mut driver, input, _) = started();
    driver.chain(0, &[(BUFFERS, 2, WRITE), (BUFFERS + 0x100, 2, WRITE)]);
    driver.chain(0, &[(BUFFERS + 0x200, 64, WRITE)]);
    driver.notify(0);
    input.push(b"abcdef").unwrap();
    assert_eq!(driver.used(0), [(0, 4), (2, 2)]);
    assert_eq!(driver.get(BUFFERS, 2), b"ab");
    assert_eq!(driver.get(BUFFERS + 0x100, 2), b"cd");
    assert_eq!(driver.get(BUFFERS + 0x200, 3), b"ef\0");
    assert_eq!(driver.interrupts(), 1);
}

#[test]
fn input_waits_for_buffers() {
    let (mut driver, input, _) = started();
    input.push(b"abc").unwrap();
    driver.chain(0, &[(BUFFERS, 64, WRITE)]);
    driver.notify(0);
    assert_eq!(driver.used(0), [(0, 3)]);
}

#[test]
fn input_before_the_driver_is_kept() {
    let console = Console::new(Box::new(io::sink()), 0, 0);
    let mut driver = Driver::new(console);
    ConsoleInput::new(&driver.device).push(b"early").unwrap();
    driver.bring_up(0);
    driver.chain(0, &[(BUFFERS, 64, WRITE)]);
    driver.notify(0);
    assert_eq!(driver.get(BUFFERS, 5), b"early");
}

#[test]
fn end_of_input_is_one_empty_buffer_after_all_input() {
    let (mut driver, input, _) = started();
    input.push(b"abc").unwrap();
    input.close();
    input.close();
    for _ in 0..3 {
        driver.chain(0, &[(BUFFERS, 64, WRITE)]);
    }
    driver.notify(0);
    driver.notify(0);
    assert_eq!(driver.used(0), [(0, 3), (1, 0)]);
}

#[test]
fn end_of_input_reaches_a_waiting_buffer() {
    let (mut driver, input, _) = started();
    driver.chain(0, &[(BUFFERS, 64, WRITE)]);
    driver.notify(0);
    input.close();
    assert_eq!((driver.used(0), driver.interrupts()), (vec![(0, 0)], 1));
}

#[test]
fn end_of_input_is_told_again_after_a_reset() {
    let (mut driver, input, _) = started();
    input.close();
    for _ in 0..2 {
        driver.bring_up(0);
        driver.chain(0, &[(BUFFERS, 64, WRITE)]);
        driver.notify(0);
        assert_eq!(driver.used(0), [(0, 0)]);
    }
}

#[test]
fn closed_input_takes_no_more() {
    let (_driver, input, _) = started();
    input.close();
    assert_eq!(input.push(b"x"), Err(Closed));
    assert_eq!(input.try_push(b"x"), Err(Closed));
}

#[test]
fn empty_receive_buffer_needs_reset() {
    let (mut driver, input, _) = started();
    driver.chain(0, &[(BUFFERS, 0, WRITE)]);
    input.push(b"x").unwrap();
    assert!(driver.lock().needs_reset());
    assert!(driver.used(0).is_empty());
}

#[test]
fn full_queue_takes_only_a_part() {
    let (_driver, input, _) = started();
    let bytes = vec![0; INPUT_ROOM + 10];
    assert_eq!(input.try_push(&bytes), Ok(INPUT_ROOM));
    assert_eq!(input.try_push(&bytes), Ok(0));
}

#[test]
fn push_waits_until_the_guest_has_taken_all() {
    let (mut driver, input, _) = started();
    let sent: Vec<u8> = (0..500_000_u32).map(|i| (i / 3) as u8).collect();
    let expected = sent.clone();
    let thread = thread::spawn(move || {
        input.push(&sent).unwrap();
        input.close();
    });
    let mut received = Vec::new();
    driver.chain(0, &[(BUFFERS, 10_000, WRITE)]);
    driver.notify(0);
    loop {
        match driver.used(0).as_slice() {
            [] => thread::yield_now(),
            [(_, 0)] => break,
            [(_, len)] => {
                received.extend(driver.get(BUFFERS, *len as usize));
                driver.chain(0, &[(BUFFERS, 10_000, WRITE)]);
                driver.notify(0);
            }
            more => panic!("{more:?}"),
        }
    }
    thread.join().unwrap();
    assert!(received == expected);
}

#[test]
fn stop_frees_a_push_that_waits() {
    let (_driver, input, _) = started();
    let waiting = input.clone();
    let thread = thread::spawn(move || waiting.push(&vec![0; 2 * INPUT_ROOM]));
    thread::sleep(Duration::from_millis(20));
    input.stop();
    assert_eq!(thread.join().unwrap(), Err(Closed));
}

#[test]
fn size_is_in_the_configuration() {
    let (mut driver, ..) = started();
    assert_eq!(driver.config::<4>(0), [80, 0, 25, 0]);
}

#[test]
fn resize_interrupts_once() {
    let (mut driver, input, _) = started();
    input.resize(80, 25);
    assert_eq!(driver.interrupts(), 0);
    input.resize(132, 50);
    assert_eq!(driver.interrupts(), 1);
    assert_eq!(driver.read(VIRTIO_MMIO_INTERRUPT_STATUS), 2);
    assert_eq!(driver.read(VIRTIO_MMIO_CONFIG_GENERATION), 1);
    assert_eq!(driver.config::<4>(0), [132, 0, 50, 0]);
}

#[test]
fn emergency_write_needs_no_driver() {
    let (sender, receiver) = channel();
    let driver = Driver::new(Console::new(Box::new(Out(sender)), 0, 0));
    driver.lock().write(0x108, &u32::from(b'!').to_le_bytes());
    assert_eq!(output(&receiver), b"!");
}

proptest! {
    #[test]
    fn input_arrives_byte_for_byte_however_it_is_cut(
        pushes in prop::collection::vec(0_usize..300, 0..20),
        buffers in prop::collection::vec(1_u32..100, 1..8),
    ) {
        let (mut driver, input, _) = started();
        let total: usize = pushes.iter().sum();
        let sent: Vec<u8> = (0..total).map(|i| (i / 2) as u8).collect();
        let mut rest = sent.as_slice();
        let mut received = Vec::new();
        let mut sizes = buffers.iter().cycle();
        let mut offered = 0;
        let mut offer = |driver: &mut Driver<Console>| {
            offered = *sizes.next().unwrap();
            driver.chain(0, &[(BUFFERS, offered, WRITE)]);
            driver.notify(0);
        };
        offer(&mut driver);
        let mut pushes = pushes.into_iter();
        loop {
            match driver.used(0).as_slice() {
                [] => match pushes.next() {
                    Some(len) => {
                        input.push(&rest[..len]).unwrap();
                        rest = &rest[len..];
                    }
                    None => input.close(),
                },
                [(_, 0)] => break,
                [(_, len)] => {
                    received.extend(driver.get(BUFFERS, *len as usize));
                    offer(&mut driver);
                }
                more => panic!("{more:?}"),
            }
        }
        prop_assert!(received == sent);
    }
}
