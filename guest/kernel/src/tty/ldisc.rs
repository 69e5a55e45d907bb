//! The line discipline: from characters typed to bytes read, and from bytes written to characters
//! shown (`termios(3)`). Pure: it neither sleeps nor sends; what is to be echoed or signalled is
//! handed back.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::termios::*;

/// Input waiting to be read is bounded, as Linux bounds it (`MAX_CANON`, N_TTY_BUF_SIZE).
const CAPACITY: usize = 4095;

/// Stands for an end-of-file character in the input: ends a line without adding to it.
const EOF_MARK: u16 = 0x100;

/// A signal that a character asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// ^C
    Interrupt,
    /// ^\
    Quit,
    /// ^Z
    Suspend,
}

/// What one batch of input led to.
#[derive(Default)]
pub struct Effect {
    /// Bytes for the screen, already processed for output.
    pub echo: Vec<u8>,
    /// Signals for the foreground group, in order.
    pub signals: Vec<Signal>,
    /// Whether a reader may find something now.
    pub readable: bool,
}

/// The discipline's state.
pub struct LineDiscipline {
    /// Settings.
    pub termios: Termios,
    /// Complete input: lines in canonical mode, all bytes otherwise.
    input: VecDeque<u16>,
    /// Ends of lines in `input`.
    lines: usize,
    /// The line being edited.
    edit: Vec<u8>,
    /// The next character is literal (^V).
    literal: bool,
    /// Where the cursor is, for tabs and erasing.
    column: usize,
    /// Column at which the line being edited began.
    start_column: usize,
    /// Output is stopped (^S).
    pub stopped: bool,
    /// No input will come any more.
    pub ended: bool,
}

impl LineDiscipline {
    /// A discipline with Linux's initial settings.
    pub const fn new() -> Self {
        Self {
            termios: Termios::initial(),
            input: VecDeque::new(),
            lines: 0,
            edit: Vec::new(),
            literal: false,
            column: 0,
            start_column: 0,
            stopped: false,
            ended: false,
        }
    }

    /// Take input; gives how many bytes there was room for.
    pub fn receive(&mut self, bytes: &[u8], effect: &mut Effect) -> usize {
        for (n, &byte) in bytes.iter().enumerate() {
            if self.input.len() + self.edit.len() >= CAPACITY && !self.is_urgent(byte) {
                return n;
            }
            self.receive_byte(byte, effect);
        }
        effect.readable |= self.has_input(1);
        bytes.len()
    }

    /// Whether there is room for any byte at all.
    pub fn has_room(&self) -> bool {
        self.input.len() + self.edit.len() < CAPACITY
            || self.termios.local(ICANON) && self.lines == 0
    }

    /// Whether a byte must get through although the input is full: signals, and what ends a line
    /// that has become too long.
    fn is_urgent(&self, byte: u8) -> bool {
        let t = &self.termios;
        if t.local(ISIG) && (t.is_cc(VINTR, byte) || t.is_cc(VQUIT, byte) || t.is_cc(VSUSP, byte)) {
            return true;
        }
        // Nobody can read before the line ends: it is closed, or cut, by what comes next.
        t.local(ICANON) && self.lines == 0
    }

    fn receive_byte(&mut self, byte: u8, effect: &mut Effect) {
        let t = self.termios;
        let mut byte = byte;
        if t.input(ISTRIP) {
            byte &= 0x7f;
        }
        if core::mem::take(&mut self.literal) {
            self.add(byte, effect);
            return;
        }
        if t.local(ISIG) {
            let signal = if t.is_cc(VINTR, byte) {
                Some(Signal::Interrupt)
            } else if t.is_cc(VQUIT, byte) {
                Some(Signal::Quit)
            } else if t.is_cc(VSUSP, byte) {
                Some(Signal::Suspend)
            } else {
                None
            };
            if let Some(signal) = signal {
                self.stopped = false;
                if !t.local(NOFLSH) {
                    self.flush_input();
                }
                if t.local(ECHO) {
                    self.echo(byte, effect);
                }
                effect.signals.push(signal);
                return;
            }
        }
        if t.input(IXON) {
            if t.is_cc(VSTOP, byte) {
                self.stopped = true;
                return;
            }
            if t.is_cc(VSTART, byte) {
                self.stopped = false;
                return;
            }
            if self.stopped && t.input(IXANY) {
                self.stopped = false;
            }
        }
        match byte {
            b'\r' if t.input(IGNCR) => return,
            b'\r' if t.input(ICRNL) => byte = b'\n',
            b'\n' if t.input(INLCR) => byte = b'\r',
            _ => {}
        }
        if t.local(ICANON) {
            self.edit_byte(byte, effect);
        } else {
            if t.local(ECHO) {
                self.echo(byte, effect);
            }
            self.input.push_back(u16::from(byte));
        }
    }

    fn edit_byte(&mut self, byte: u8, effect: &mut Effect) {
        let t = self.termios;
        if self.edit.is_empty() {
            self.start_column = self.column;
        }
        if t.is_cc(VERASE, byte) {
            self.erase_char(effect);
        } else if t.is_cc(VKILL, byte) {
            if t.local(ECHOKE) && t.local(ECHOE) {
                while !self.edit.is_empty() {
                    self.erase_char(effect);
                }
            } else {
                self.edit.clear();
                if t.local(ECHO) {
                    self.echo(byte, effect);
                    if t.local(ECHOK) {
                        self.show(b"\n", effect);
                    }
                }
            }
        } else if t.local(IEXTEN) && t.is_cc(VWERASE, byte) {
            while self.edit.last().is_some_and(|b| b.is_ascii_whitespace()) {
                self.erase_char(effect);
            }
            while self.edit.last().is_some_and(|b| !b.is_ascii_whitespace()) {
                self.erase_char(effect);
            }
        } else if t.local(IEXTEN) && t.is_cc(VREPRINT, byte) {
            if t.local(ECHO) {
                self.echo(byte, effect);
                self.show(b"\n", effect);
                let line = core::mem::take(&mut self.edit);
                self.start_column = self.column;
                for &b in &line {
                    self.echo(b, effect);
                }
                self.edit = line;
            }
        } else if t.local(IEXTEN) && t.is_cc(VLNEXT, byte) {
            self.literal = true;
            if t.local(ECHO) && t.local(ECHOCTL) {
                self.show(b"^\x08", effect);
            }
        } else if t.is_cc(VEOF, byte) {
            self.finish_line(EOF_MARK);
        } else if byte == b'\n' {
            if t.local(ECHO) || t.local(ECHONL) {
                self.show(b"\n", effect);
            }
            self.finish_line(u16::from(byte));
        } else if t.is_cc(VEOL, byte) || t.is_cc(VEOL2, byte) {
            if t.local(ECHO) {
                self.echo(byte, effect);
            }
            self.finish_line(u16::from(byte));
        } else {
            self.add(byte, effect);
        }
    }

    fn add(&mut self, byte: u8, effect: &mut Effect) {
        if self.termios.local(ICANON) {
            if self.edit.len() >= CAPACITY {
                if self.termios.input(IMAXBEL) {
                    effect.echo.push(7);
                }
                return;
            }
            self.edit.push(byte);
        } else {
            self.input.push_back(u16::from(byte));
        }
        if self.termios.local(ECHO) {
            self.echo(byte, effect);
        }
    }

    fn finish_line(&mut self, end: u16) {
        self.input.extend(self.edit.drain(..).map(u16::from));
        self.input.push_back(end);
        self.lines += 1;
    }

    fn erase_char(&mut self, effect: &mut Effect) {
        let Some(mut byte) = self.edit.pop() else {
            return;
        };
        if self.termios.input(IUTF8) {
            while byte & 0xc0 == 0x80 {
                match self.edit.pop() {
                    Some(previous) => byte = previous,
                    None => break,
                }
            }
        }
        if !self.termios.local(ECHO) {
            return;
        }
        if !self.termios.local(ECHOE) {
            let erase = self.termios.cc[VERASE];
            self.echo(erase, effect);
            return;
        }
        // How far back: measured from the start of the line, since tabs vary in width.
        let mut column = self.start_column;
        for &b in &self.edit {
            column += self.width(b, column);
        }
        while self.column > column {
            effect.echo.extend_from_slice(b"\x08 \x08");
            self.column -= 1;
        }
    }

    /// Columns that the echo of `byte` takes at `column`.
    fn width(&self, byte: u8, column: usize) -> usize {
        match byte {
            b'\t' => 8 - column % 8,
            0..0x20 | 0x7f => {
                if self.termios.local(ECHOCTL) {
                    2
                } else {
                    0
                }
            }
            0x80..0xc0 if self.termios.input(IUTF8) => 0,
            _ => 1,
        }
    }

    fn echo(&mut self, byte: u8, effect: &mut Effect) {
        match byte {
            b'\t' | b'\n' => self.show(&[byte], effect),
            0..0x20 | 0x7f if self.termios.local(ECHOCTL) => {
                effect.echo.extend_from_slice(&[b'^', byte ^ 0x40]);
                self.column += 2;
            }
            _ => self.show(&[byte], effect),
        }
    }

    fn show(&mut self, bytes: &[u8], effect: &mut Effect) {
        let mut out = core::mem::take(&mut effect.echo);
        self.process_output(bytes, &mut out);
        effect.echo = out;
    }

    /// Turn written bytes into what the screen gets.
    pub fn process_output(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let t = self.termios;
        if !t.output(OPOST) {
            out.extend_from_slice(bytes);
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let plain = rest.iter().position(|&b| b < 0x20).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            self.column += plain;
            let Some(&byte) = rest.get(plain) else { break };
            match byte {
                b'\n' => {
                    if t.output(ONLCR) {
                        out.push(b'\r');
                    }
                    if t.output(ONLCR) || t.output(ONLRET) {
                        self.column = 0;
                    }
                    out.push(b'\n');
                }
                b'\r' if t.output(ONOCR) && self.column == 0 => {}
                b'\r' if t.output(OCRNL) => out.push(b'\n'),
                b'\r' => {
                    out.push(b'\r');
                    self.column = 0;
                }
                b'\t' => {
                    out.push(b'\t');
                    self.column += 8 - self.column % 8;
                }
                8 => {
                    out.push(8);
                    self.column = self.column.saturating_sub(1);
                }
                _ => out.push(byte),
            }
            rest = &rest[plain + 1..];
        }
    }

    /// Whether a read in the present mode finds something: a line, or at least `least` bytes, and at
    /// least one.
    pub fn has_input(&self, least: usize) -> bool {
        if self.termios.local(ICANON) {
            self.lines > 0
        } else {
            !self.input.is_empty() && self.input.len() >= least
        }
    }

    /// Bytes that reads would find (`FIONREAD`).
    pub fn available(&self) -> usize {
        if self.termios.local(ICANON) && self.lines == 0 {
            return 0;
        }
        self.input.iter().filter(|&&b| b != EOF_MARK).count()
    }

    /// Move up to `max` bytes into `out`: at most one line in canonical mode. Whether an
    /// end-of-file mark came first, so that the read ends with what it has.
    pub fn read(&mut self, max: usize, out: &mut Vec<u8>) -> bool {
        let canonical = self.termios.local(ICANON);
        while out.len() < max {
            let Some(byte) = self.input.pop_front() else {
                return false;
            };
            if byte == EOF_MARK {
                self.lines = self.lines.saturating_sub(1);
                if canonical {
                    return true;
                }
                continue;
            }
            let byte = byte as u8;
            out.push(byte);
            let ends =
                byte == b'\n' || self.termios.is_cc(VEOL, byte) || self.termios.is_cc(VEOL2, byte);
            if ends && self.lines > 0 {
                self.lines -= 1;
                if canonical {
                    return false;
                }
            }
        }
        // A mark right behind a read that is exactly full belongs to that line.
        if canonical && self.input.front() == Some(&EOF_MARK) && !out.is_empty() {
            self.input.pop_front();
            self.lines = self.lines.saturating_sub(1);
        }
        false
    }

    /// Take new settings; a change of ICANON makes what is being edited readable.
    pub fn set_termios(&mut self, new: Termios) {
        let was = self.termios.local(ICANON);
        self.termios = new;
        if was && !new.local(ICANON) {
            self.input.extend(self.edit.drain(..).map(u16::from));
        } else if !was && new.local(ICANON) {
            // What came in without lines counts as one.
            if self.lines == 0 && !self.input.is_empty() {
                self.input.push_back(EOF_MARK);
                self.lines = 1;
            }
        }
        if !new.input(IXON) {
            self.stopped = false;
        }
    }

    /// Throw away what has not been read.
    pub fn flush_input(&mut self) {
        self.input.clear();
        self.edit.clear();
        self.lines = 0;
        self.literal = false;
    }
}

impl Default for LineDiscipline {
    fn default() -> Self {
        Self::new()
    }
}
