//! `wc [-Lclmw] [FILE…]`: counts lines, words, characters, bytes.

use super::input;
use crate::cli::{Options, Out};

/// What is counted, in the order in which it is shown.
#[derive(Clone, Copy, Default)]
struct Counts {
    lines: u64,
    words: u64,
    characters: u64,
    bytes: u64,
    longest: u64,
}

impl Counts {
    /// Takes in more bytes; `state` is what goes over from one block to the next.
    fn add(&mut self, block: &[u8], state: &mut State) {
        for &byte in block {
            self.lines += u64::from(byte == b'\n');
            let start_of_character = byte & 0xc0 != 0x80;
            self.characters += u64::from(start_of_character);
            if byte == b'\n' {
                state.column = 0;
            } else {
                state.column += u64::from(start_of_character);
                self.longest = self.longest.max(state.column);
            }
            let blank = byte.is_ascii_whitespace() || byte == 0x0b;
            self.words += u64::from(!blank && !state.in_word);
            state.in_word = !blank;
        }
        self.bytes += block.len() as u64;
    }
}

#[derive(Default)]
struct State {
    in_word: bool,
    column: u64,
}

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "Lclmw") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let chosen = |letter: u8| match options.last_of(b"Lclmw") {
        None => b"lwc".contains(&letter),
        Some(_) => options.has(letter),
    };
    let only_bytes = options.has(b'c') && !b"Llmw".iter().any(|l| options.has(*l));
    let mut all: Vec<(Counts, Vec<u8>)> = Vec::new();
    let status = input::each(&options.operands, |name, input| {
        let (mut counts, mut state) = (Counts::default(), State::default());
        loop {
            let block = input.block()?;
            if block.is_empty() {
                break;
            }
            if only_bytes {
                counts.bytes += block.len() as u64;
            } else {
                counts.add(block, &mut state);
            }
        }
        all.push((counts, name.to_vec()));
        Ok(())
    });
    if options.operands.len() > 1 {
        let mut total = Counts::default();
        for (counts, _) in &all {
            total.lines += counts.lines;
            total.words += counts.words;
            total.characters += counts.characters;
            total.bytes += counts.bytes;
            total.longest = total.longest.max(counts.longest);
        }
        all.push((total, b"total".to_vec()));
    }
    let rows: Vec<(Vec<String>, &[u8])> = all
        .iter()
        .map(|(counts, name)| {
            let fields = [
                (b'l', counts.lines),
                (b'w', counts.words),
                (b'm', counts.characters),
                (b'c', counts.bytes),
                (b'L', counts.longest),
            ];
            let fields = fields.iter().filter(|(letter, _)| chosen(*letter));
            (
                fields.map(|(_, count)| count.to_string()).collect(),
                &name[..],
            )
        })
        .collect();
    // One number of one file stands alone; several are aligned.
    let alone = rows.len() == 1 && rows[0].0.len() == 1;
    let widest = rows
        .iter()
        .flat_map(|(fields, _)| fields)
        .map(String::len)
        .max();
    let from_pipe = options.operands.is_empty() || options.operands.iter().any(|o| o == b"-");
    let width = match (alone, from_pipe) {
        (true, _) => 1,
        (false, true) => 7,
        (false, false) => widest.unwrap_or(1),
    };
    let mut out = Out::stdout();
    for (fields, name) in rows {
        let fields: Vec<String> = fields.iter().map(|f| format!("{f:>width$}")).collect();
        let mut line = fields.join(" ").into_bytes();
        if !options.operands.is_empty() {
            line.push(b' ');
            line.extend(name);
        }
        out.line(&line);
    }
    status | out.finish()
}
