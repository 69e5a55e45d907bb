//! The CMOS clock, for the wall clock where gnomon did not tell it.

use super::port;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
/// Status A: an update is in progress.
const UPDATING: u8 = 0x80;
/// Status B: values are binary, not BCD.
const BINARY: u8 = 4;

fn read(register: u8) -> u8 {
    port::outb(INDEX, register);
    port::inb(DATA)
}

/// Nanoseconds since 1970-01-01 UTC by the CMOS clock; 0 if the machine has none.
pub fn rtc_ns() -> u64 {
    // A machine without the clock reads as all ones.
    let status = read(STATUS_B);
    if status == 0xff {
        return 0;
    }
    for _ in 0..10_000 {
        if read(STATUS_A) & UPDATING == 0 {
            break;
        }
    }
    let value = |register| {
        let v = u64::from(read(register));
        if status & BINARY != 0 {
            v
        } else {
            (v >> 4) * 10 + (v & 15)
        }
    };
    let (second, minute, hour) = (value(0), value(2), value(4) & 0x7f);
    let (day, month, year) = (value(7), value(8), 2000 + value(9));
    // Days from the civil date (H. Hinnant, "chrono-compatible low-level date algorithms").
    let (y, m) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day.max(1) - 1 - 719_468;
    (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000
}
