//! An I/O APIC: 24 pins whose edges and levels become messages to local APICs.
//!
//! The model is Intel's 82093AA with the EOI register of version 0x20. Registers, reached through
//! a select register at offset 0x00 and a data window at 0x10:
//!
//! | index | register |
//! |---|---|
//! | 0 | ID (bits 24–27) |
//! | 1 | version (bits 0–7), last entry (bits 16–23) |
//! | 2 | arbitration ID (bits 24–27) |
//! | 0x10 + 2n, 0x11 + 2n | redirection entry n, low and high half |
//!
//! A redirection entry, and the message made of it (SDM volume 3, 11.11):
//!
//! ```text
//!  63    56            16   15      14       13     12      11     10  8 7    0
//! ┌────────┬───…──────┬────┬───────┬────────┬──────┬──────┬───────┬─────┬──────┐
//! │ dest.  │ reserved │mask│trigger│rem. IRR│polar.│status│logical│mode │vector│
//! └────────┴───…──────┴────┴───────┴────────┴──────┴──────┴───────┴─────┴──────┘
//! address = 0xfee00000 | dest << 12 | redirection hint << 3 | logical << 2
//! data    = trigger << 15 | 1 << 14 | mode << 8 | vector
//! ```
//!
//! An edge that comes while its pin is masked is kept and delivered at the unmask: a driver that
//! unmasks late loses nothing.

use std::sync::{Arc, Mutex};

use crate::bus::MmioDevice;
use crate::irq::MsiSink;
use crate::lock;

/// Where the I/O APIC lies on a PC.
pub const BASE: u64 = 0xfec0_0000;

/// Bytes of address space that it occupies.
pub const SIZE: u64 = 0x1000;

/// Number of pins.
pub const PINS: usize = 24;

/// Version 0x20: has an EOI register.
const VERSION: u32 = 0x20;

const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
const EOI: u64 = 0x40;

const MASKED: u64 = 1 << 16;
const LEVEL: u64 = 1 << 15;
const REMOTE_IRR: u64 = 1 << 14;
const LOGICAL: u64 = 1 << 11;
const MODE_LOWEST: u64 = 1;
/// What a write may change: all but the delivery status, the remote IRR and the reserved bits.
const WRITABLE: u64 = 0xff00_0000_0001_afff;

/// An I/O APIC. Shared by the bus and all interrupt lines.
pub struct Ioapic {
    sink: Arc<dyn MsiSink>,
    state: Mutex<State>,
}

struct State {
    select: u8,
    id: u32,
    /// Bit n: pin n has an interrupt that has not been sent.
    pending: u32,
    /// Bit n: pin n is high.
    level: u32,
    entries: [u64; PINS],
}

impl Ioapic {
    /// An I/O APIC with all pins masked, that sends its messages to `sink`.
    pub fn new(sink: Arc<dyn MsiSink>) -> Arc<Self> {
        Arc::new(Self {
            sink,
            state: Mutex::new(State {
                select: 0,
                id: 0,
                pending: 0,
                level: 0,
                entries: [MASKED; PINS],
            }),
        })
    }

    /// One edge on `pin`: high and low again. A pin of 24 or more does not exist.
    pub fn pulse(&self, pin: u8) {
        let pin = usize::from(pin);
        if pin < PINS {
            let mut state = lock(&self.state);
            state.pending |= 1 << pin;
            self.serve(&mut state, pin);
        }
    }

    /// Drive `pin` high or low. An edge-triggered pin interrupts when it goes high, a
    /// level-triggered one as long as it is high.
    pub fn set_level(&self, pin: u8, high: bool) {
        let pin = usize::from(pin);
        if pin >= PINS {
            return;
        }
        let bit = 1 << pin;
        let mut state = lock(&self.state);
        let was_high = state.level & bit != 0;
        if high {
            state.level |= bit;
            if !was_high || state.entries[pin] & LEVEL != 0 {
                state.pending |= bit;
            }
        } else {
            state.level &= !bit;
            if state.entries[pin] & LEVEL != 0 {
                state.pending &= !bit;
            }
        }
        self.serve(&mut state, pin);
    }

    /// A local APIC has ended the interrupt `vector`: level-triggered pins that sent it and are
    /// still high send it again.
    pub fn end_of_interrupt(&self, vector: u8) {
        let mut state = lock(&self.state);
        for pin in 0..PINS {
            let entry = state.entries[pin];
            if entry as u8 == vector && entry & (LEVEL | REMOTE_IRR) == LEVEL | REMOTE_IRR {
                state.entries[pin] &= !REMOTE_IRR;
                state.pending |= state.level & 1 << pin;
                self.serve(&mut state, pin);
            }
        }
    }

    /// The redirection entry of `pin` (0 to 23), for reports and for routing tables.
    pub fn entry(&self, pin: u8) -> Option<u64> {
        lock(&self.state).entries.get(usize::from(pin)).copied()
    }

    /// Send what `pin` has pending, if it may.
    fn serve(&self, state: &mut State, pin: usize) {
        let entry = state.entries[pin];
        let level = entry & LEVEL != 0;
        let waits = entry & MASKED != 0 || level && entry & REMOTE_IRR != 0;
        if state.pending & 1 << pin == 0 || waits {
            return;
        }
        state.pending &= !(1 << pin);
        if level {
            state.entries[pin] |= REMOTE_IRR;
        }
        let (address, data) = message(entry);
        self.sink.send(address, data);
    }

    fn read_register(&self, state: &State) -> u32 {
        match state.select {
            0 | 2 => state.id << 24,
            1 => VERSION | (PINS as u32 - 1) << 16,
            index => match entry_half(index) {
                Some((pin, high)) => (state.entries[pin] >> (32 * u32::from(high))) as u32,
                None => u32::MAX,
            },
        }
    }

    fn write_register(&self, state: &mut State, value: u32) {
        match state.select {
            0 => state.id = value >> 24 & 0xf,
            index => {
                let Some((pin, high)) = entry_half(index) else {
                    return;
                };
                let shift = 32 * u32::from(high);
                let mask = WRITABLE & 0xffff_ffff << shift;
                let entry = &mut state.entries[pin];
                *entry = *entry & !mask | u64::from(value) << shift & mask;
                if *entry & LEVEL == 0 {
                    *entry &= !REMOTE_IRR;
                }
                self.serve(state, pin);
            }
        }
    }
}

/// The pin and the half (true: high) of the redirection entry behind register `index`.
fn entry_half(index: u8) -> Option<(usize, bool)> {
    let half = index.checked_sub(0x10)?;
    let pin = usize::from(half / 2);
    (pin < PINS).then_some((pin, half % 2 == 1))
}

/// The message that a redirection entry stands for.
fn message(entry: u64) -> (u64, u32) {
    let destination = entry >> 56;
    let logical = u64::from(entry & LOGICAL != 0);
    let mode = entry >> 8 & 7;
    let hint = u64::from(mode == MODE_LOWEST);
    let trigger = entry >> 15 & 1;
    (
        0xfee0_0000 | destination << 12 | hint << 3 | logical << 2,
        (trigger << 15 | 1 << 14 | mode << 8 | entry & 0xff) as u32,
    )
}

impl MmioDevice for Arc<Ioapic> {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        if data.len() != 4 {
            return;
        }
        let state = lock(&self.state);
        let value = match offset {
            SELECT => state.select.into(),
            WINDOW => self.read_register(&state),
            _ => return,
        };
        data.copy_from_slice(&value.to_le_bytes());
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let Some(&low) = data.first() else {
            return;
        };
        match (offset, data.try_into().map(u32::from_le_bytes)) {
            (SELECT, _) => lock(&self.state).select = low,
            (WINDOW, Ok(value)) => self.write_register(&mut lock(&self.state), value),
            (EOI, _) => self.end_of_interrupt(low),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
