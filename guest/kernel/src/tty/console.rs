//! The terminal on the first console.
//!
//! The kernel's command line says what that console is: `console=tty` makes it the terminal
//! `/dev/console`; with `console=stream` it stays a stream of bytes.

use alloc::sync::Arc;

use super::Tty;
use super::line::Line;
use super::termios::WinSize;
use crate::drivers::console::{self, Console, InputSink};
use crate::errno::KResult;
use crate::fs::{WriteBuf, device};
use crate::sync::Once;

static TTY: Once<Arc<Tty>> = Once::new();

/// Make the first console a terminal if the command line says `console=tty`.
pub fn init(cmdline: &str) {
    let wanted = cmdline
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("console="))
        .any(|kind| kind == "tty");
    if !wanted {
        return;
    }
    let Some(console) = console::get(0) else {
        return;
    };
    let (columns, rows) = console
        .size()
        .filter(|&(columns, rows)| columns != 0 && rows != 0)
        .unwrap_or((80, 24));
    let tty = Arc::new(Tty::new(console.clone(), rows, columns));
    if TTY.set(tty.clone()).is_ok() {
        console.attach(Arc::new(Input {
            tty,
            console: console.clone(),
        }));
    }
}

/// The terminal on the first console, if it is one.
pub fn console_tty() -> Option<Arc<Tty>> {
    TTY.get().cloned()
}

impl Line for Console {
    /// `/dev/console` is 5:1.
    fn device(&self) -> u64 {
        device::make_dev(5, 1)
    }

    fn room(&self) -> usize {
        usize::MAX
    }

    fn write(&self, bytes: &[u8]) -> KResult<()> {
        Console::write(self, &mut WriteBuf::kernel(bytes), false).map(drop)
    }

    fn write_now(&self, bytes: &[u8]) {
        Console::write_now(self, bytes);
    }

    fn drain(&self) {
        self.flush();
    }

    fn pump(&self) {
        Console::pump(self);
    }
}

/// What the console's input goes to.
struct Input {
    tty: Arc<Tty>,
    console: Arc<Console>,
}

impl InputSink for Input {
    fn accept(&self, bytes: &[u8]) -> usize {
        self.tty.accept_input(bytes)
    }

    fn end_of_input(&self) {
        self.tty.discipline.lock().ended = true;
        self.tty.input.wake_all();
        self.tty.output.wake_all();
    }

    fn resized(&self) {
        if let Some((columns, rows)) = self.console.size() {
            self.tty.set_window(WinSize {
                rows,
                columns,
                ..WinSize::default()
            });
        }
    }
}
