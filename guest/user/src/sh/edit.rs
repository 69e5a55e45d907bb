//! Line editing with history, for a shell that somebody types into.
//!
//! Keys: arrows, Home, End, Delete, Backspace; ^A ^E ^B ^F ^K ^U ^W ^L ^D ^C, Tab for file names.
//! A line wider than the terminal is scrolled sideways.

use std::os::unix::ffi::OsStrExt;

use super::{pattern, read};
use crate::{cli, sys};

/// What the user has entered.
pub enum Line {
    /// A line, without its line feed.
    Text(Vec<u8>),
    /// ^C.
    Interrupted,
    /// ^D on an empty line, or the terminal is gone.
    End,
}

/// The history's length.
const HISTORY: usize = 500;

/// The editor with its history.
pub struct Editor {
    history: Vec<Vec<u8>>,
}

/// The line under the cursor.
struct Edit<'e> {
    prompt: &'e [u8],
    text: Vec<u8>,
    cursor: usize,
    columns: usize,
}

impl Editor {
    /// An editor without history.
    pub fn new() -> Self {
        Editor {
            history: Vec::new(),
        }
    }

    /// Adds to the history what has been entered.
    pub fn remember(&mut self, text: &[u8]) {
        let text = text.trim_ascii();
        let multi_line = text.contains(&b'\n');
        if text.is_empty() || multi_line || self.history.last().is_some_and(|l| l == text) {
            return;
        }
        if self.history.len() == HISTORY {
            self.history.remove(0);
        }
        self.history.push(text.to_vec());
    }

    /// Reads a line. On something that is no terminal: without editing.
    pub fn read_line(&mut self, prompt: &[u8]) -> Line {
        let Ok(settings) = sys::tcgetattr(0) else {
            let _ = sys::write_all(2, prompt);
            let mut text = Vec::new();
            if !read::line(0, &mut text) && text.is_empty() {
                return Line::End;
            }
            text.pop_if(|b| *b == b'\n');
            return Line::Text(text);
        };
        let mut raw = settings;
        raw.c_lflag &= !(libc::ICANON | libc::ECHO | libc::ISIG | libc::IEXTEN);
        raw.c_iflag &= !(libc::IXON | libc::ICRNL | libc::INLCR);
        raw.c_cc[libc::VMIN] = 1;
        raw.c_cc[libc::VTIME] = 0;
        if sys::tcsetattr(0, &raw).is_err() {
            return Line::End;
        }
        let mut edit = Edit {
            prompt,
            text: Vec::new(),
            cursor: 0,
            columns: sys::window_size(0).0,
        };
        let line = self.edit(&mut edit);
        let _ = sys::tcsetattr(0, &settings);
        line
    }

    fn edit(&self, edit: &mut Edit<'_>) -> Line {
        edit.draw();
        let mut place = self.history.len();
        // What was being entered before the user went back in history.
        let mut kept = Vec::new();
        loop {
            let Some(key) = key() else {
                return Line::End;
            };
            match key {
                b'\r' | b'\n' => {
                    edit.cursor = edit.text.len();
                    edit.draw();
                    let _ = sys::write_all(2, b"\n");
                    return Line::Text(std::mem::take(&mut edit.text));
                }
                CTRL_C => {
                    let _ = sys::write_all(2, b"^C\n");
                    return Line::Interrupted;
                }
                CTRL_D if edit.text.is_empty() => return Line::End,
                UP | CTRL_P if place > 0 => {
                    if place == self.history.len() {
                        kept.clone_from(&edit.text);
                    }
                    place -= 1;
                    edit.set(&self.history[place]);
                }
                DOWN | CTRL_N if place < self.history.len() => {
                    place += 1;
                    edit.set(self.history.get(place).unwrap_or(&kept));
                }
                CTRL_L => {
                    let _ = sys::write_all(2, b"\x1b[H\x1b[2J");
                }
                b'\t' => edit.complete(),
                key if edit.append(key) => continue,
                key => edit.key(key),
            }
            edit.draw();
        }
    }
}

const fn control(letter: u8) -> u8 {
    letter & 0x1f
}

const CTRL_A: u8 = control(b'A');
const CTRL_B: u8 = control(b'B');
const CTRL_C: u8 = control(b'C');
const CTRL_D: u8 = control(b'D');
const CTRL_E: u8 = control(b'E');
const CTRL_F: u8 = control(b'F');
const CTRL_H: u8 = control(b'H');
const CTRL_K: u8 = control(b'K');
const CTRL_L: u8 = control(b'L');
const CTRL_N: u8 = control(b'N');
const CTRL_P: u8 = control(b'P');
const CTRL_U: u8 = control(b'U');
const CTRL_W: u8 = control(b'W');
const BACKSPACE: u8 = 0x7f;
// Keys that send an escape sequence get numbers that no text in UTF-8 has.
const UP: u8 = 0xf8;
const DOWN: u8 = 0xf9;
const RIGHT: u8 = 0xfa;
const LEFT: u8 = 0xfb;
const HOME: u8 = 0xfc;
const END: u8 = 0xfd;
const DELETE: u8 = 0xfe;
const UNKNOWN: u8 = 0xff;

fn byte() -> Option<u8> {
    let mut byte = [0];
    (sys::read(0, &mut byte).ok()? == 1).then_some(byte[0])
}

/// The next key; `None` if the terminal is gone.
fn key() -> Option<u8> {
    let first = byte()?;
    if first != 0x1b {
        return Some(first);
    }
    if !matches!(byte()?, b'[' | b'O') {
        return Some(UNKNOWN);
    }
    let mut number = 0u32;
    loop {
        return Some(match byte()? {
            digit @ b'0'..=b'9' => {
                number = number
                    .saturating_mul(10)
                    .saturating_add((digit - b'0').into());
                continue;
            }
            b';' => {
                number = 0;
                continue;
            }
            b'A' => UP,
            b'B' => DOWN,
            b'C' => RIGHT,
            b'D' => LEFT,
            b'H' => HOME,
            b'F' => END,
            b'~' => match number {
                1 | 7 => HOME,
                4 | 8 => END,
                3 => DELETE,
                _ => UNKNOWN,
            },
            _ => UNKNOWN,
        });
    }
}

impl Edit<'_> {
    fn set(&mut self, text: &[u8]) {
        self.text = text.to_vec();
        self.cursor = text.len();
    }

    /// Adds a key at the end of a line that is shown as a whole: most of what is typed needs no
    /// more than its echo. False if the key is something else.
    fn append(&mut self, key: u8) -> bool {
        let plain = (0x20..0x7f).contains(&key) && self.cursor == self.text.len();
        if !plain || self.prompt.len() + self.text.len() + 2 >= self.columns {
            return false;
        }
        self.text.push(key);
        self.cursor += 1;
        let _ = sys::write_all(2, &[key]);
        true
    }

    fn key(&mut self, key: u8) {
        match key {
            CTRL_A | HOME => self.cursor = 0,
            CTRL_E | END => self.cursor = self.text.len(),
            CTRL_B | LEFT => self.cursor = self.before(),
            CTRL_F | RIGHT => self.cursor = self.after(),
            CTRL_H | BACKSPACE => {
                let from = self.before();
                self.text.drain(from..self.cursor);
                self.cursor = from;
            }
            CTRL_D | DELETE => {
                let to = self.after();
                self.text.drain(self.cursor..to);
            }
            CTRL_K => self.text.truncate(self.cursor),
            CTRL_U => {
                self.text.drain(..self.cursor);
                self.cursor = 0;
            }
            CTRL_W => {
                let before = self.text[..self.cursor].trim_ascii_end();
                let start = before.iter().rposition(|&b| b == b' ').map_or(0, |i| i + 1);
                self.text.drain(start..self.cursor);
                self.cursor = start;
            }
            0x20..UP => {
                self.text.insert(self.cursor, key);
                self.cursor += 1;
            }
            _ => {}
        }
    }

    /// The offset of the character before the cursor.
    fn before(&self) -> usize {
        let continues = |b: u8| b & 0xc0 == 0x80;
        let head = &self.text[..self.cursor];
        head.iter().rposition(|&b| !continues(b)).unwrap_or(0)
    }

    /// The offset after the character under the cursor.
    fn after(&self) -> usize {
        let continues = |b: &&u8| **b & 0xc0 == 0x80;
        match self.text.get(self.cursor + 1..) {
            Some(rest) => self.cursor + 1 + rest.iter().take_while(continues).count(),
            None => self.text.len(),
        }
    }

    /// Shows the line and puts the cursor where it belongs.
    fn draw(&self) {
        let characters = |bytes: &[u8]| bytes.iter().filter(|&&b| b & 0xc0 != 0x80).count();
        let room = self.columns.saturating_sub(self.prompt.len() + 1).max(8);
        let mut start = 0;
        while characters(&self.text[start..self.cursor]) >= room {
            start += 1;
        }
        let mut end = self.text.len();
        while characters(&self.text[start..end]) > room {
            end -= 1;
        }
        let mut output = b"\r".to_vec();
        output.extend_from_slice(self.prompt);
        output.extend_from_slice(&self.text[start..end]);
        output.extend_from_slice(b"\x1b[K");
        let back = characters(&self.text[self.cursor..end.max(self.cursor)]);
        if back > 0 {
            output.extend(format!("\x1b[{back}D").as_bytes());
        }
        let _ = sys::write_all(2, &output);
    }

    /// Completes the file name, or the command name, before the cursor.
    fn complete(&mut self) {
        let head = &self.text[..self.cursor];
        let start = head
            .iter()
            .rposition(|b| b" ;|&<>(".contains(b))
            .map_or(0, |i| i + 1);
        let word = head[start..].to_vec();
        let mut search = Vec::new();
        pattern::escape(&word, &mut search);
        search.push(b'*');
        let mut found = pattern::glob(&search);
        if start == 0 && !word.contains(&b'/') {
            let path = std::env::var_os("PATH").unwrap_or_default();
            for directory in path.as_bytes().split(|&b| b == b':') {
                let commands = pattern::glob(&[directory, b"/", &search].concat());
                found.extend(commands.iter().map(|c| c[directory.len() + 1..].to_vec()));
            }
        }
        let Some(first) = found.first() else {
            return;
        };
        let mut common = first.len();
        for other in &found {
            common = common.min(first.iter().zip(other).take_while(|(a, b)| a == b).count());
        }
        let mut completed = first[..common].to_vec();
        if found.len() == 1 {
            completed.push(if cli::path(first).is_dir() {
                b'/'
            } else {
                b' '
            });
        } else if completed == word {
            let _ = sys::write_all(2, &[b"\n", &found.join(&b' ')[..], b"\n"].concat());
        }
        self.text
            .splice(start..self.cursor, completed.iter().copied());
        self.cursor = start + completed.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(text: &str, cursor: usize) -> Edit<'static> {
        Edit {
            prompt: b"$ ",
            text: text.as_bytes().to_vec(),
            cursor,
            columns: 80,
        }
    }

    #[test]
    fn keys_change_the_line() {
        let mut e = edit("echo one two", 12);
        e.key(CTRL_W);
        assert_eq!((&e.text[..], e.cursor), (&b"echo one "[..], 9));
        e.key(CTRL_A);
        e.key(DELETE);
        e.key(b'x');
        assert_eq!(e.text, b"xcho one ");
        e.key(CTRL_K);
        assert_eq!(e.text, b"x");
    }

    #[test]
    fn characters_of_several_bytes_go_as_one() {
        let mut e = edit("aé", 3);
        e.key(LEFT);
        assert_eq!(e.cursor, 1);
        e.key(RIGHT);
        e.key(BACKSPACE);
        assert_eq!(e.text, b"a");
    }

    #[test]
    fn history_keeps_no_repetitions() {
        let mut editor = Editor::new();
        for line in ["a\n", "a\n", "b\n", "\n"] {
            editor.remember(line.as_bytes());
        }
        assert_eq!(editor.history, [b"a".to_vec(), b"b".to_vec()]);
    }
}
