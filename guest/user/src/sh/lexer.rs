//! From bytes to tokens. Words come out with their quoting and expansions already parsed, so a
//! command substitution calls the parser on the same source.

use std::cell::OnceCell;
use std::rc::Rc;

use super::ast::{Part, Word};

/// Why a program cannot be parsed.
#[derive(Debug, PartialEq, Eq)]
pub enum SyntaxError {
    /// It ends too early: more input could complete it.
    Incomplete(&'static str),
    /// It is wrong.
    Wrong(String),
}

/// Result of lexing or parsing.
pub type Result<T> = std::result::Result<T, SyntaxError>;

/// A token.
#[derive(Debug)]
pub enum Token {
    /// A word.
    Word(Word),
    /// A number right before a redirection operator.
    Number(i32),
    /// An operator.
    Operator(&'static str),
    /// The end of a line.
    Newline,
    /// The end of the source.
    End,
}

/// Operators, the longer ones first.
const OPERATORS: &[&str] = &[
    "<<-", "&&", "||", ";;", "<<", ">>", "<&", ">&", "<>", ">|", "&", "|", ";", "(", ")", "<", ">",
];

struct PendingHere {
    delimiter: Vec<u8>,
    quoted: bool,
    strip_tabs: bool,
    body: Rc<OnceCell<Word>>,
}

/// Commands and expansions nested deeper than this are refused, so that no program exhausts the
/// stack.
const MAX_DEPTH: u32 = 100;

/// What ends text that is read in the manner of double quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// `"`.
    Quote,
    /// `}`, within double quotes.
    Brace,
    /// `))`.
    Arithmetic,
    /// The end of the source.
    End,
}

/// Reads tokens from a source.
pub struct Lexer<'s> {
    source: &'s [u8],
    /// Offset of the next byte.
    pub position: usize,
    /// Its line, from 1.
    pub line: u32,
    pending: Vec<PendingHere>,
    /// No more source will follow: a here-document may end with it.
    pub last: bool,
    /// Commands and expansions around the next byte.
    pub depth: u32,
}

/// Whether a byte may start a variable's name.
pub fn starts_name(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphabetic()
}

/// Whether a byte may stand within a variable's name.
pub fn in_name(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// Whether bytes are a variable's name.
pub fn is_name(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|&b| starts_name(b)) && bytes.iter().all(|&b| in_name(b))
}

/// Parses text that is expanded as if in double quotes, though `"` means itself: here-documents,
/// prompts.
pub fn text_with_expansions(text: &[u8]) -> Result<Word> {
    let mut lexer = Lexer::new(text, 1, true);
    Ok(vec![Part::Double(lexer.double(Until::End)?)])
}

impl<'s> Lexer<'s> {
    /// A lexer at the start of `source`, which is all there is (`last`) or a beginning.
    pub fn new(source: &'s [u8], line: u32, last: bool) -> Self {
        Lexer {
            source,
            position: 0,
            line,
            pending: Vec::new(),
            last,
            depth: 0,
        }
    }

    /// Goes one level deeper. Only a success has to be matched by [`Lexer::leave`].
    pub fn enter(&mut self) -> Result<()> {
        if self.depth == MAX_DEPTH {
            return Err(SyntaxError::Wrong("nested too deeply".into()));
        }
        self.depth += 1;
        Ok(())
    }

    /// Comes back from the level that [`Lexer::enter`] opened.
    pub fn leave(&mut self) {
        self.depth -= 1;
    }

    /// The next byte.
    pub fn peek(&self) -> Option<u8> {
        self.source.get(self.position).copied()
    }

    /// The byte so far behind the next one.
    pub fn peek_at(&self, distance: usize) -> Option<u8> {
        self.source.get(self.position + distance).copied()
    }

    /// Goes past the next byte.
    pub fn bump(&mut self) {
        if self.peek() == Some(b'\n') {
            self.line += 1;
        }
        self.position += 1;
    }

    fn starts_with(&self, text: &str) -> bool {
        self.source[self.position..].starts_with(text.as_bytes())
    }

    /// The source between two offsets.
    pub fn text(&self, from: usize, to: usize) -> &'s [u8] {
        &self.source[from.min(to)..to]
    }

    fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r') => self.bump(),
                Some(b'\\') if self.peek_at(1) == Some(b'\n') => {
                    self.bump();
                    self.bump();
                }
                Some(b'#') => {
                    while self.peek().is_some_and(|b| b != b'\n') {
                        self.bump();
                    }
                }
                _ => return,
            }
        }
    }

    /// The next token. A line's end reads the here-documents announced on the line.
    pub fn token(&mut self) -> Result<Token> {
        self.skip_blanks();
        let Some(byte) = self.peek() else {
            if !self.pending.is_empty() {
                self.here_documents()?;
            }
            return Ok(Token::End);
        };
        if byte == b'\n' {
            self.bump();
            self.here_documents()?;
            return Ok(Token::Newline);
        }
        if let Some(operator) = OPERATORS.iter().find(|o| self.starts_with(o)) {
            self.position += operator.len();
            return Ok(Token::Operator(operator));
        }
        let digits = self.source[self.position..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        if digits > 0 && matches!(self.peek_at(digits), Some(b'<' | b'>')) {
            let text = std::str::from_utf8(self.text(self.position, self.position + digits));
            if let Some(number) = text.ok().and_then(|t| t.parse().ok()) {
                self.position += digits;
                return Ok(Token::Number(number));
            }
        }
        self.word(false).map(Token::Word)
    }

    /// A here-document will follow the current line.
    pub fn announce_here(&mut self, delimiter: &Word, strip_tabs: bool) -> Rc<OnceCell<Word>> {
        let mut plain = Vec::new();
        let mut quoted = false;
        let mut add = |part: &Part, inside: bool| match part {
            Part::Text(text) => plain.extend_from_slice(text),
            Part::Quoted(text) => {
                plain.extend_from_slice(text);
                quoted = true;
            }
            _ => quoted |= inside,
        };
        for part in delimiter {
            match part {
                Part::Double(parts) => {
                    add(&Part::Quoted(Vec::new()), false);
                    parts.iter().for_each(|p| add(p, true));
                }
                other => add(other, false),
            }
        }
        let body = Rc::new(OnceCell::new());
        self.pending.push(PendingHere {
            delimiter: plain,
            quoted,
            strip_tabs,
            body: body.clone(),
        });
        body
    }

    fn here_documents(&mut self) -> Result<()> {
        for here in std::mem::take(&mut self.pending) {
            let mut text = Vec::new();
            loop {
                if self.peek().is_none() {
                    if self.last {
                        break;
                    }
                    return Err(SyntaxError::Incomplete("here-document"));
                }
                let rest = &self.source[self.position..];
                let length = rest.iter().position(|&b| b == b'\n');
                let mut line = &rest[..length.unwrap_or(rest.len())];
                self.position += length.map_or(rest.len(), |l| l + 1);
                self.line += 1;
                if here.strip_tabs {
                    while let Some(stripped) = line.strip_prefix(b"\t") {
                        line = stripped;
                    }
                }
                if line == here.delimiter {
                    break;
                }
                text.extend_from_slice(line);
                if length.is_some() {
                    text.push(b'\n');
                } else if !self.last {
                    return Err(SyntaxError::Incomplete("here-document"));
                }
            }
            let word = if here.quoted {
                vec![Part::Quoted(text)]
            } else {
                text_with_expansions(&text)?
            };
            // Announced once, so filled once.
            let _ = here.body.set(word);
        }
        Ok(())
    }

    /// A word; `brace`: the word in `${x-word}`, which ends at `}` and may hold blanks.
    pub fn word(&mut self, brace: bool) -> Result<Word> {
        let mut parts = Vec::new();
        let mut text = Vec::new();
        let flush = |text: &mut Vec<u8>, parts: &mut Word| {
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(text)));
            }
        };
        loop {
            let Some(byte) = self.peek() else {
                if brace {
                    return Err(SyntaxError::Incomplete("missing '}'"));
                }
                break;
            };
            match byte {
                b'}' if brace => {
                    self.bump();
                    break;
                }
                b' ' | b'\t' | b'\n' | b'\r' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')'
                    if !brace =>
                {
                    break;
                }
                b'\\' => {
                    self.bump();
                    match self.peek() {
                        Some(b'\n') => self.bump(),
                        Some(escaped) => {
                            self.bump();
                            flush(&mut text, &mut parts);
                            parts.push(Part::Quoted(vec![escaped]));
                        }
                        None if self.last => text.push(b'\\'),
                        None => return Err(SyntaxError::Incomplete("backslash")),
                    }
                }
                b'\'' => {
                    self.bump();
                    flush(&mut text, &mut parts);
                    let start = self.position;
                    while self.peek().is_some_and(|b| b != b'\'') {
                        self.bump();
                    }
                    if self.peek().is_none() {
                        return Err(SyntaxError::Incomplete("unterminated quoted string"));
                    }
                    parts.push(Part::Quoted(self.text(start, self.position).to_vec()));
                    self.bump();
                }
                b'"' => {
                    self.bump();
                    flush(&mut text, &mut parts);
                    parts.push(Part::Double(self.double(Until::Quote)?));
                }
                b'$' => match self.dollar(false)? {
                    Some(part) => {
                        flush(&mut text, &mut parts);
                        parts.push(part);
                    }
                    None => text.push(b'$'),
                },
                b'`' => {
                    flush(&mut text, &mut parts);
                    parts.push(self.backquotes(false)?);
                }
                _ => {
                    self.bump();
                    text.push(byte);
                }
            }
        }
        flush(&mut text, &mut parts);
        Ok(parts)
    }

    /// Text in the manner of double quotes, up to and with its end.
    pub fn double(&mut self, until: Until) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        let mut text = Vec::new();
        let mut depth = 0;
        let flush = |text: &mut Vec<u8>, parts: &mut Word| {
            if !text.is_empty() {
                parts.push(Part::Quoted(std::mem::take(text)));
            }
        };
        loop {
            let Some(byte) = self.peek() else {
                match until {
                    Until::End => break,
                    Until::Brace => return Err(SyntaxError::Incomplete("missing '}'")),
                    Until::Arithmetic => return Err(SyntaxError::Incomplete("missing '))'")),
                    Until::Quote => {
                        return Err(SyntaxError::Incomplete("unterminated quoted string"));
                    }
                }
            };
            match (byte, until) {
                (b'"', Until::Quote) | (b'}', Until::Brace) => {
                    self.bump();
                    break;
                }
                (b'"', Until::Brace) => {
                    self.bump();
                    flush(&mut text, &mut parts);
                    parts.extend(self.double(Until::Quote)?);
                }
                (b'(', Until::Arithmetic) => {
                    depth += 1;
                    self.bump();
                    text.push(byte);
                }
                (b')', Until::Arithmetic) => {
                    self.bump();
                    if depth > 0 {
                        depth -= 1;
                        text.push(byte);
                    } else if self.peek() == Some(b')') {
                        self.bump();
                        break;
                    } else {
                        return Err(SyntaxError::Wrong("missing '))'".into()));
                    }
                }
                (b'\\', _) => {
                    self.bump();
                    match self.peek() {
                        Some(b'\n') => self.bump(),
                        Some(escaped @ (b'$' | b'`' | b'\\')) => {
                            self.bump();
                            text.push(escaped);
                        }
                        Some(b'"') if until != Until::End => {
                            self.bump();
                            text.push(b'"');
                        }
                        Some(b'}') if until == Until::Brace => {
                            self.bump();
                            text.push(b'}');
                        }
                        _ => text.push(b'\\'),
                    }
                }
                (b'$', _) => match self.dollar(true)? {
                    Some(part) => {
                        flush(&mut text, &mut parts);
                        parts.push(part);
                    }
                    None => text.push(b'$'),
                },
                (b'`', _) => {
                    flush(&mut text, &mut parts);
                    parts.push(self.backquotes(until == Until::Quote)?);
                }
                _ => {
                    self.bump();
                    text.push(byte);
                }
            }
        }
        flush(&mut text, &mut parts);
        Ok(parts)
    }
}
