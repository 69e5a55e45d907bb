//! The virtio console (virtio 1.2, section 5.3), port 0 only: the consoles there are, and the device.
//!
//! `output` and `input` are its two directions, through buffers of their own (`buffer`).

mod buffer;
mod input;
mod output;

pub use input::InputSink;

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64};

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::mmio::MmioTransport;
use virtio_drivers::transport::{InterruptStatus, Transport};

use super::{InterruptHandler, negotiate};
use crate::errno::{Errno, KResult};
use crate::sync::{Mutex, Once, SpinLock, WaitQueue};
use input::Rx;
use output::{Gathered, Tx};

/// Descriptors of a queue: more than there are buffers.
const QUEUE: usize = 16;
/// Number of the queue of port 0's input.
const RX: u16 = 0;
/// Number of the queue of port 0's output.
const TX: u16 = 1;

/// `VIRTIO_CONSOLE_F_SIZE`: the configuration space tells columns and rows.
const FEATURE_SIZE: u64 = 1;

/// A virtio console.
pub struct Console {
    /// For the timer of the gathered output.
    me: Weak<Console>,
    /// Writers take turns.
    writer: Mutex<()>,
    /// Output that waits for more.
    gathered: SpinLock<Option<Gathered>>,
    /// The timer has come while a writer had the gathered output in its hands.
    overdue: AtomicBool,
    /// A timer for the gathered output is under way.
    timer_set: AtomicBool,
    /// When output was last handed to the device.
    sent_ns: AtomicU64,
    transport: SpinLock<MmioTransport<'static>>,
    has_size: bool,
    tx: SpinLock<Tx>,
    /// Woken when the device may be done with output.
    tx_done: Arc<WaitQueue>,
    rx: SpinLock<Rx>,
    /// Woken when there may be input.
    input: Arc<WaitQueue>,
    /// Readers take turns.
    reader: Mutex<()>,
    /// What the input goes to, if nobody reads it from here.
    sink: Once<Arc<dyn InputSink>>,
    /// It has, or is about to have, a sink.
    is_terminal: AtomicBool,
}

static CONSOLES: SpinLock<Vec<Arc<Console>>> = SpinLock::new(Vec::new());

/// Console number `index` (`hvc0`, `hvc1` …).
pub fn get(index: usize) -> Option<Arc<Console>> {
    CONSOLES.lock().get(index).cloned()
}

/// How many consoles there are.
pub fn count() -> usize {
    CONSOLES.lock().len()
}

/// Wait until all output has been taken: before the machine ends.
pub fn flush_all() {
    let consoles = CONSOLES.lock().clone();
    for console in consoles {
        console.flush();
    }
}

pub(super) fn start(mut transport: MmioTransport<'static>) -> KResult<Arc<Console>> {
    let features = negotiate(&mut transport, FEATURE_SIZE);
    let rx = VirtQueue::new(&mut transport, RX, false, false).map_err(|_| Errno::EIO)?;
    let tx = VirtQueue::new(&mut transport, TX, false, false).map_err(|_| Errno::EIO)?;
    transport.finish_init();
    let console = Arc::new_cyclic(|me| Console {
        me: me.clone(),
        writer: Mutex::new(()),
        gathered: SpinLock::new(None),
        overdue: AtomicBool::new(false),
        timer_set: AtomicBool::new(false),
        sent_ns: AtomicU64::new(0),
        transport: SpinLock::new(transport),
        has_size: features & FEATURE_SIZE != 0,
        tx: SpinLock::new(Tx::new(tx)),
        tx_done: Arc::new(WaitQueue::new()),
        rx: SpinLock::new(Rx::new(rx)),
        input: Arc::new(WaitQueue::new()),
        reader: Mutex::new(()),
        sink: Once::new(),
        is_terminal: AtomicBool::new(false),
    });
    CONSOLES.lock().push(console.clone());
    Ok(console)
}

impl Console {
    /// Columns and rows of the window, if known.
    pub fn size(&self) -> Option<(u16, u16)> {
        if !self.has_size {
            return None;
        }
        let transport = self.transport.lock();
        let columns = transport.read_config_space(0).ok()?;
        let rows = transport.read_config_space(2).ok()?;
        Some((columns, rows))
    }
}

impl InterruptHandler for Console {
    fn interrupt(&self) {
        let status = self.transport.lock().ack_interrupt();
        if status.contains(InterruptStatus::DEVICE_CONFIGURATION_INTERRUPT)
            && let Some(sink) = self.sink.get()
        {
            sink.resized();
        }
        if self.sink.get().is_some() {
            self.pump();
        }
        self.input.wake_all();
        self.tx_done.wake_all();
    }
}
