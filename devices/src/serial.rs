//! A 16550A serial port, on `vm-superio`'s model of one.

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;

use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial};

use crate::bus::PioDevice;
use crate::irq::IrqLine;

/// Number of ports that a serial port has.
pub const PORTS: u16 = 8;

/// [`IrqLine`] in the shape that `vm-superio` asks for.
struct Line(Arc<dyn IrqLine>);

impl Trigger for Line {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        self.0.raise();
        Ok(())
    }
}

/// A serial port that transmits into a writer; [`PORTS`] ports wide.
pub struct SerialPort<W: Write> {
    serial: Serial<Line, NoEvents, W>,
}

impl<W: Write + Send> SerialPort<W> {
    /// A port that transmits into `out` and interrupts through `irq`. Errors of `out` lose bytes,
    /// as a line with nobody at its other end does.
    pub fn new(out: W, irq: Arc<dyn IrqLine>) -> Self {
        Self {
            serial: Serial::new(Line(irq), out),
        }
    }

    /// Receive `bytes`: as many as fit into the port's queue; returns how many. None while the
    /// driver has the port in loopback mode.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        let room = self.serial.fifo_capacity().min(bytes.len());
        self.serial.enqueue_raw_bytes(&bytes[..room]).unwrap_or(0)
    }
}

impl<W: Write + Send> PioDevice for SerialPort<W> {
    fn read(&mut self, offset: u16, data: &mut [u8]) {
        if let ([byte], Ok(offset)) = (data, u8::try_from(offset)) {
            *byte = self.serial.read(offset);
        }
    }

    fn write(&mut self, offset: u16, data: &[u8]) {
        if let ([byte], Ok(offset)) = (data, u8::try_from(offset)) {
            let _ = self.serial.write(offset, *byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::irq::NoIrq;

    struct Count(AtomicU32);

    impl IrqLine for Count {
        fn raise(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn bytes_written_come_out() {
        let mut port = SerialPort::new(Vec::new(), Arc::new(NoIrq));
        port.write_string(0, 1, b"ok");
        assert_eq!(port.serial.writer(), b"ok");
    }

    #[test]
    fn transmitter_is_always_empty() {
        let mut port = SerialPort::new(io::sink(), Arc::new(NoIrq));
        let mut status = [0xff];
        port.read(5, &mut status);
        assert_eq!(status, [0x60]);
    }

    #[test]
    fn received_byte_interrupts_and_is_read() {
        let irq = Arc::new(Count(AtomicU32::new(0)));
        let mut port = SerialPort::new(io::sink(), irq.clone());
        port.write(1, &[1]);
        assert_eq!(port.receive(b"a"), 1);
        let mut byte = [0];
        port.read(0, &mut byte);
        assert_eq!((byte, irq.0.load(Ordering::Relaxed)), (*b"a", 1));
    }

    #[test]
    fn full_receiver_takes_no_more() {
        let mut port = SerialPort::new(io::sink(), Arc::new(NoIrq));
        assert_eq!(port.receive(&[0; 100]), 64);
        assert_eq!(port.receive(&[0; 100]), 0);
    }

    #[test]
    fn wide_access_is_ignored() {
        let mut port = SerialPort::new(Vec::new(), Arc::new(NoIrq));
        port.write(0, b"ab");
        let mut data = [0xff; 2];
        port.read(0, &mut data);
        assert_eq!((port.serial.writer().len(), data), (0, [0xff; 2]));
    }
}
