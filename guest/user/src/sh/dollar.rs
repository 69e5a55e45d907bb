//! What `$` and backquotes start: parameters, command substitutions, arithmetic.

use std::rc::Rc;

use super::ast::{Operation, Param, Part};
use super::lexer::{Lexer, Result, SyntaxError, Until, in_name, starts_name};
use super::parser;

impl Lexer<'_> {
    /// At a `$`: the expansion it starts, or `None` if it means itself (it is then skipped).
    pub fn dollar(&mut self, in_double: bool) -> Result<Option<Part>> {
        self.enter()?;
        let part = self.dollar_inner(in_double);
        self.leave();
        part
    }

    fn dollar_inner(&mut self, in_double: bool) -> Result<Option<Part>> {
        self.bump();
        let plain = |name: Vec<u8>| {
            Ok(Some(Part::Param(Param {
                name,
                operation: Operation::Plain,
            })))
        };
        match self.peek() {
            Some(b'(') => {
                if self.peek_at(1) == Some(b'(') {
                    let (position, line) = (self.position, self.line);
                    self.position += 2;
                    match self.double(Until::Arithmetic) {
                        Ok(word) => return Ok(Some(Part::Arithmetic(word))),
                        Err(error @ SyntaxError::Incomplete(_)) if !self.last => {
                            return Err(error);
                        }
                        // A command substitution that starts with a subshell.
                        Err(_) => (self.position, self.line) = (position, line),
                    }
                }
                self.bump();
                let list = parser::substitution(self)?;
                Ok(Some(Part::Substitution(Rc::new(list))))
            }
            Some(b'{') => {
                self.bump();
                self.braced(in_double).map(|p| Some(Part::Param(p)))
            }
            Some(byte) if starts_name(byte) => {
                let start = self.position;
                while self.peek().is_some_and(in_name) {
                    self.bump();
                }
                plain(self.text(start, self.position).to_vec())
            }
            Some(byte) if byte.is_ascii_digit() || b"@*#?-$!".contains(&byte) => {
                self.bump();
                plain(vec![byte])
            }
            _ => Ok(None),
        }
    }

    fn parameter_name(&mut self) -> Result<Vec<u8>> {
        let start = self.position;
        match self.peek() {
            Some(byte) if starts_name(byte) => {
                while self.peek().is_some_and(in_name) {
                    self.bump();
                }
            }
            Some(byte) if byte.is_ascii_digit() => {
                while self.peek().is_some_and(|b| b.is_ascii_digit()) {
                    self.bump();
                }
            }
            Some(byte) if b"@*#?-$!".contains(&byte) => self.bump(),
            Some(_) => return Err(SyntaxError::Wrong("bad substitution".into())),
            None => return Err(SyntaxError::Incomplete("missing '}'")),
        }
        Ok(self.text(start, self.position).to_vec())
    }

    /// After `${`.
    fn braced(&mut self, in_double: bool) -> Result<Param> {
        if self.peek() == Some(b'#') && self.peek_at(1).is_some_and(|b| b != b'}') {
            let (position, line) = (self.position, self.line);
            self.bump();
            if let Ok(name) = self.parameter_name()
                && self.peek() == Some(b'}')
            {
                self.bump();
                return Ok(Param {
                    name,
                    operation: Operation::Length,
                });
            }
            (self.position, self.line) = (position, line);
        }
        let name = self.parameter_name()?;
        let colon = self.peek() == Some(b':');
        if colon {
            self.bump();
        }
        let Some(operator) = self.peek() else {
            return Err(SyntaxError::Incomplete("missing '}'"));
        };
        self.bump();
        let operation = match operator {
            b'}' if !colon => Operation::Plain,
            b'-' | b'=' | b'?' | b'+' => {
                let word = if in_double {
                    vec![Part::Double(self.double(Until::Brace)?)]
                } else {
                    self.word(true)?
                };
                match operator {
                    b'-' => Operation::Default { colon, word },
                    b'=' => Operation::Assign { colon, word },
                    b'?' => Operation::Require { colon, word },
                    _ => Operation::Alternative { colon, word },
                }
            }
            b'#' | b'%' if !colon => {
                let longest = self.peek() == Some(operator);
                if longest {
                    self.bump();
                }
                let pattern = self.word(true)?;
                if operator == b'#' {
                    Operation::TrimPrefix { longest, pattern }
                } else {
                    Operation::TrimSuffix { longest, pattern }
                }
            }
            _ => return Err(SyntaxError::Wrong("bad substitution".into())),
        };
        Ok(Param { name, operation })
    }

    /// At a backquote: the commands up to the next one.
    pub fn backquotes(&mut self, in_double: bool) -> Result<Part> {
        let line = self.line;
        self.bump();
        let mut text = Vec::new();
        loop {
            match self.peek() {
                None => return Err(SyntaxError::Incomplete("missing '`'")),
                Some(b'`') => {
                    self.bump();
                    break;
                }
                Some(b'\\') => {
                    self.bump();
                    match self.peek() {
                        Some(escaped @ (b'$' | b'`' | b'\\')) => {
                            self.bump();
                            text.push(escaped);
                        }
                        Some(b'"') if in_double => {
                            self.bump();
                            text.push(b'"');
                        }
                        _ => text.push(b'\\'),
                    }
                }
                Some(byte) => {
                    self.bump();
                    text.push(byte);
                }
            }
        }
        let mut inner = Lexer::new(&text, line, true);
        inner.depth = self.depth;
        inner.enter()?;
        let list = parser::whole(&mut inner)?;
        Ok(Part::Substitution(Rc::new(list)))
    }
}
