//! Input for a console from outside the virtual machine.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use thiserror::Error;

use super::{Console, End, INPUT_ROOM, RECEIVE};
use crate::lock;
use crate::virtio::mmio::VirtioMmio;

/// The console takes no more input: it was closed or stopped.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the console takes no more input")]
pub struct Closed;

/// The outside end of a console's input. For any thread; may be cloned.
#[derive(Clone)]
pub struct ConsoleInput {
    console: Arc<Mutex<VirtioMmio<Console>>>,
    room: Arc<Condvar>,
}

impl ConsoleInput {
    /// The input of `console`.
    pub fn new(console: &Arc<Mutex<VirtioMmio<Console>>>) -> Self {
        Self {
            room: Arc::clone(&lock(console).device().room),
            console: Arc::clone(console),
        }
    }

    /// Give all of `bytes` to the guest, waiting for it to take them.
    ///
    /// # Errors
    /// The input was closed, or [stopped](Self::stop) meanwhile: the rest is lost.
    pub fn push(&self, mut bytes: &[u8]) -> Result<(), Closed> {
        let mut console = lock(&self.console);
        loop {
            let taken = push_some(&mut console, bytes)?;
            bytes = &bytes[taken..];
            if bytes.is_empty() {
                return Ok(());
            }
            console = self
                .room
                .wait(console)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Give as many of `bytes` to the guest as there is room for, without waiting; how many.
    ///
    /// # Errors
    /// The input was closed or stopped.
    pub fn try_push(&self, bytes: &[u8]) -> Result<usize, Closed> {
        push_some(&mut lock(&self.console), bytes)
    }

    /// End the input: the guest reads end-of-file after what has been pushed.
    pub fn close(&self) {
        let mut console = lock(&self.console);
        if console.device().end == End::Open {
            console.device_mut().end = End::Reached;
            console.poke(RECEIVE);
        }
    }

    /// Take no more input, and let a [`push`](Self::push) that waits return.
    pub fn stop(&self) {
        lock(&self.console).device_mut().stopped = true;
        self.room.notify_all();
    }

    /// Tell the guest that the console now has `columns` by `rows` characters.
    pub fn resize(&self, columns: u16, rows: u16) {
        let mut console = lock(&self.console);
        let device = console.device_mut();
        if (device.columns, device.rows) != (columns, rows) {
            (device.columns, device.rows) = (columns, rows);
            console.config_changed();
        }
    }
}

/// Queue what there is room for, and hand it to the driver as far as it has buffers.
fn push_some(console: &mut VirtioMmio<Console>, bytes: &[u8]) -> Result<usize, Closed> {
    let device = console.device_mut();
    if device.stopped || device.end != End::Open {
        return Err(Closed);
    }
    let len = (INPUT_ROOM - device.input.len()).min(bytes.len());
    device.input.extend(&bytes[..len]);
    if len > 0 {
        console.poke(RECEIVE);
    }
    Ok(len)
}
