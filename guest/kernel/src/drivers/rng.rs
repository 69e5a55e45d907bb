//! The virtio entropy device (virtio 1.2, section 5.4), used for seeds only: `random` stretches
//! them. It is not touched before somebody asks for random bytes.

use alloc::boxed::Box;

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;
use virtio_drivers::transport::mmio::MmioTransport;

use super::hal::KernelHal;
use super::negotiate;
use crate::sync::SpinLock;

const QUEUE: usize = 4;

/// How long the device may take, in looks at the used ring, before the kernel goes on without it.
const PATIENCE: u32 = 1_000_000;

static DEVICE: SpinLock<Option<MmioTransport<'static>>> = SpinLock::new(None);

/// Keep the device for the first [`seed`].
pub(super) fn offer(transport: MmioTransport<'static>) {
    let mut device = DEVICE.lock();
    if device.is_none() {
        *device = Some(transport);
    }
}

/// 32 bytes from the device, once; `None` if there is none or it does not answer.
pub(super) fn seed() -> Option<[u8; 32]> {
    let mut transport = DEVICE.lock().take()?;
    negotiate(&mut transport, 0);
    let mut queue = VirtQueue::<KernelHal, QUEUE>::new(&mut transport, 0, false, false).ok()?;
    transport.finish_init();
    let mut buffer = Box::new([0u8; 32]);
    let taken = {
        let mut outputs = [&mut buffer[..]];
        // SAFETY: the buffer outlives the request: if the device never answers it is leaked below.
        let token = unsafe { queue.add(&[], &mut outputs) }.ok()?;
        transport.notify(0);
        let mut patience = PATIENCE;
        while !queue.can_pop() && patience > 0 {
            core::hint::spin_loop();
            patience -= 1;
        }
        // SAFETY: the same buffer as was added.
        unsafe { queue.pop_used(token, &[], &mut outputs) }
    };
    let seed = *buffer;
    match taken {
        Ok(n) if n as usize >= seed.len() => Some(seed),
        Ok(_) => None,
        Err(_) => {
            // The device may still write there.
            core::mem::forget((buffer, queue));
            None
        }
    }
}
