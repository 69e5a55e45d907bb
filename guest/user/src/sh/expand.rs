//! Expansion of words: tilde, parameters, command substitution, arithmetic, field splitting,
//! pathnames, quote removal.
//!
//! While a word is being expanded its fields are held as patterns: bytes that were quoted carry a
//! backslash. So what remains a wildcard at the end is one that the program wrote as such.

use super::ast::{List, Operation, Param, Part, Word};
use super::{Shell, Unwind, arith, lexer, parser, pattern};
use crate::sys;

type Expanded<T> = Result<T, Unwind>;

/// Fields as they grow.
struct Fields {
    done: Vec<Vec<u8>>,
    current: Option<Vec<u8>>,
    /// The last field was ended by a blank of IFS: a delimiter that follows belongs to that end.
    after_blank: bool,
    separators: Vec<u8>,
}

impl Fields {
    fn push_quoted(&mut self, text: &[u8]) {
        pattern::escape(text, self.current.get_or_insert_default());
        self.after_blank = false;
    }

    fn push_pattern(&mut self, text: &[u8]) {
        self.current.get_or_insert_default().extend_from_slice(text);
        self.after_blank = false;
    }

    fn end_field(&mut self) {
        self.done.extend(self.current.take());
    }

    /// Adds an unquoted value, split at the separators.
    fn push_split(&mut self, value: &[u8]) {
        for &byte in value {
            if !self.separators.contains(&byte) {
                if byte == b'\\' {
                    self.push_pattern(b"\\\\");
                } else {
                    self.push_pattern(&[byte]);
                }
            } else if byte.is_ascii_whitespace() {
                self.after_blank |= self.current.is_some();
                self.end_field();
            } else if self.current.is_some() {
                self.end_field();
            } else if self.after_blank {
                self.after_blank = false;
            } else {
                self.done.push(Vec::new());
            }
        }
    }
}

/// How a word is expanded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Split into fields.
    Split,
    /// One field whatever it holds.
    Text,
    /// One field, in which wildcards and backslashes of values count.
    Pattern,
}

impl Manner {
    /// Whether a value is split.
    fn splits(self, quoted: bool) -> bool {
        self == Manner::Split && !quoted
    }

    /// Whether every byte of a value means itself.
    fn literal(self, quoted: bool) -> bool {
        self == Manner::Text || quoted
    }
}

impl Shell {
    /// Expands words to the arguments of a command.
    pub fn expand_words(&mut self, words: &[Word]) -> Expanded<Vec<Vec<u8>>> {
        let mut arguments = Vec::new();
        for word in words {
            if let [Part::Text(text)] = &word[..]
                && !text.iter().any(|b| b"*?[~".contains(b))
            {
                arguments.push(text.clone());
                continue;
            }
            for field in self.fields(word, Manner::Split)? {
                if !self.options.noglob && pattern::is_pattern(&field) {
                    let paths = pattern::glob(&field);
                    if !paths.is_empty() {
                        arguments.extend(paths);
                        continue;
                    }
                }
                arguments.push(pattern::unescape(&field));
            }
        }
        Ok(arguments)
    }

    /// Expands a command's words. Behind `export` and its like, `NAME=value` is expanded as an
    /// assignment is.
    pub fn expand_command(&mut self, words: &[Word]) -> Expanded<Vec<Vec<u8>>> {
        let declares = matches!(words.first().map(|w| &w[..]), Some([Part::Text(name)])
            if [&b"export"[..], b"readonly", b"local"].contains(&&name[..]));
        if !declares {
            return self.expand_words(words);
        }
        let mut arguments = Vec::new();
        for word in words {
            match parser::assignment(word.clone()) {
                Ok((name, value)) => {
                    let value = self.expand_assignment(&value)?;
                    arguments.push([&name[..], b"=", &value].concat());
                }
                Err(word) => arguments.extend(self.expand_words(&[word])?),
            }
        }
        Ok(arguments)
    }

    /// Expands a word to one string, without splitting and pathnames.
    pub fn expand_string(&mut self, word: &Word) -> Expanded<Vec<u8>> {
        let fields = self.fields(word, Manner::Text)?;
        Ok(pattern::unescape(&fields.join(&b' ')))
    }

    /// Expands a word to a pattern.
    pub fn expand_pattern(&mut self, word: &Word) -> Expanded<Vec<u8>> {
        let fields = self.fields(word, Manner::Pattern)?;
        Ok(fields.join(&b' '))
    }

    /// Expands the value of an assignment, where a tilde also counts after a colon.
    pub fn expand_assignment(&mut self, word: &Word) -> Expanded<Vec<u8>> {
        let has_tilde = word
            .iter()
            .any(|p| matches!(p, Part::Text(t) if t.contains(&b'~')));
        if !has_tilde {
            return self.expand_string(word);
        }
        let mut value = Vec::new();
        for part in word {
            if let Part::Text(text) = part {
                for (index, piece) in text.split(|&b| b == b':').enumerate() {
                    if index > 0 {
                        value.push(b':');
                    }
                    let starts = index > 0 || value.is_empty();
                    match self.tilde(piece).filter(|_| starts) {
                        Some((home, rest)) => {
                            value.extend(home);
                            value.extend_from_slice(rest);
                        }
                        None => value.extend_from_slice(piece),
                    }
                }
            } else {
                let mut fields = self.new_fields();
                self.part(part, &mut fields, Manner::Text, false)?;
                fields.end_field();
                value.extend(pattern::unescape(&fields.done.join(&b' ')));
            }
        }
        Ok(value)
    }

    fn new_fields(&self) -> Fields {
        Fields {
            done: Vec::new(),
            current: None,
            after_blank: false,
            separators: self.variables.get(b"IFS").unwrap_or(b" \t\n").to_vec(),
        }
    }

    fn fields(&mut self, word: &Word, manner: Manner) -> Expanded<Vec<Vec<u8>>> {
        let mut fields = self.new_fields();
        for (index, part) in word.iter().enumerate() {
            if index == 0
                && let Part::Text(text) = part
                && let Some((home, rest)) = self.tilde(text)
            {
                fields.push_quoted(&home);
                fields.push_pattern(rest);
                continue;
            }
            self.part(part, &mut fields, manner, false)?;
        }
        fields.end_field();
        Ok(fields.done)
    }

    /// The home directory that a leading `~` or `~user` stands for, and the rest.
    fn tilde<'t>(&self, text: &'t [u8]) -> Option<(Vec<u8>, &'t [u8])> {
        let rest = text.strip_prefix(b"~")?;
        let length = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
        let (user, rest) = rest.split_at(length);
        if user.is_empty() {
            return Some((self.variables.get(b"HOME")?.to_vec(), rest));
        }
        let users = std::fs::read("/etc/passwd").ok()?;
        let mut lines = users
            .split(|&b| b == b'\n')
            .map(|line| line.split(|&b| b == b':'));
        lines.find_map(|mut line| {
            (line.next()? == user)
                .then(|| line.nth(4))
                .flatten()
                .map(|home| (home.to_vec(), rest))
        })
    }

    fn part(
        &mut self,
        part: &Part,
        fields: &mut Fields,
        manner: Manner,
        quoted: bool,
    ) -> Expanded<()> {
        let (split, literal) = (manner.splits(quoted), manner.literal(quoted));
        match part {
            Part::Text(text) => fields.push_pattern(text),
            Part::Quoted(text) => fields.push_quoted(text),
            Part::Double(parts) => {
                // Quotes make a field even of nothing, but for "$@" without parameters.
                let nothing = matches!(&parts[..], [Part::Param(p)]
                    if p.name == b"@" && matches!(p.operation, Operation::Plain))
                    && self.positional.is_empty();
                if !nothing {
                    fields.push_quoted(b"");
                }
                for part in parts {
                    self.part(part, fields, manner, true)?;
                }
            }
            Part::Param(param) => self.param(param, fields, manner, quoted)?,
            Part::Substitution(list) => {
                let output = self.substitute(list)?;
                Self::push_value(fields, &output, split, literal);
            }
            Part::Arithmetic(word) => {
                let text = self.expand_string(word)?;
                let value = self.arithmetic(&text)?.to_string();
                Self::push_value(fields, value.as_bytes(), split, literal);
            }
        }
        Ok(())
    }

    /// Adds an expanded value: split, as literal text, or as a pattern.
    fn push_value(fields: &mut Fields, value: &[u8], split: bool, literal: bool) {
        if split {
            fields.push_split(value);
        } else if literal {
            fields.push_quoted(value);
        } else {
            fields.push_pattern(value);
        }
    }

    /// The value of a parameter; `None` if it is unset.
    pub fn parameter(&self, name: &[u8]) -> Option<Vec<u8>> {
        match name {
            b"@" | b"*" => (!self.positional.is_empty()).then(|| {
                let separators = self.variables.get(b"IFS").unwrap_or(b" ");
                let separator = separators.get(..1).unwrap_or_default();
                self.positional.join(separator)
            }),
            b"#" => Some(self.positional.len().to_string().into_bytes()),
            b"?" => Some(self.status.to_string().into_bytes()),
            b"-" => Some(self.option_letters()),
            b"$" => Some(self.pid.to_string().into_bytes()),
            b"!" => self.last_background.map(|pid| pid.to_string().into_bytes()),
            b"0" => Some(self.name.clone()),
            b"LINENO" => Some(self.line.to_string().into_bytes()),
            b"PPID" => Some(sys::getppid().to_string().into_bytes()),
            _ if name[0].is_ascii_digit() => {
                let index: usize = crate::cli::number(name)?;
                self.positional.get(index.checked_sub(1)?).cloned()
            }
            _ => self.variables.get(name).map(<[u8]>::to_vec),
        }
    }

    fn param(
        &mut self,
        param: &Param,
        fields: &mut Fields,
        manner: Manner,
        quoted: bool,
    ) -> Expanded<()> {
        let (split, literal) = (manner.splits(quoted), manner.literal(quoted));
        let name = &param.name[..];
        let value = self.parameter(name);
        let usable = |colon: bool| value.as_ref().is_some_and(|v| !colon || !v.is_empty());
        match &param.operation {
            Operation::Plain => {}
            Operation::Default { colon, .. } | Operation::Require { colon, .. }
                if usable(*colon) => {}
            Operation::Assign { colon, .. } if usable(*colon) => {}
            Operation::Default { word, .. } => return self.word(word, fields, manner, quoted),
            Operation::Assign { word, .. } => {
                let value = self.expand_string(word)?;
                if !lexer::is_name(name) {
                    return Err(self.fatal(format_args!(
                        "{}: bad variable name",
                        crate::cli::show(name)
                    )));
                }
                self.set_variable(name, &value)?;
                Self::push_value(fields, &value, split, literal);
                return Ok(());
            }
            Operation::Require { word, .. } => {
                let text = self.expand_string(word)?;
                let text = if text.is_empty() {
                    b"parameter not set".to_vec()
                } else {
                    text
                };
                return Err(self.fatal(format_args!(
                    "{}: {}",
                    crate::cli::show(name),
                    crate::cli::show(&text)
                )));
            }
            Operation::Alternative { colon, word } => {
                if usable(*colon) {
                    return self.word(word, fields, manner, quoted);
                }
                return Ok(());
            }
            Operation::Length => {
                let length = match name {
                    b"@" | b"*" => self.positional.len(),
                    _ => self.required(name, value)?.len(),
                };
                Self::push_value(fields, length.to_string().as_bytes(), split, literal);
                return Ok(());
            }
            Operation::TrimPrefix { longest, pattern } => {
                let value = self.required(name, value)?;
                let pattern = self.expand_pattern(pattern)?;
                let mut ends = 0..=value.len();
                let matching = |&end: &usize| pattern::matches(&pattern, &value[..end]);
                let end = if *longest {
                    ends.rfind(matching)
                } else {
                    ends.find(matching)
                };
                Self::push_value(fields, &value[end.unwrap_or(0)..], split, literal);
                return Ok(());
            }
            Operation::TrimSuffix { longest, pattern } => {
                let value = self.required(name, value)?;
                let pattern = self.expand_pattern(pattern)?;
                let mut starts = 0..=value.len();
                let matching = |&start: &usize| pattern::matches(&pattern, &value[start..]);
                let start = if *longest {
                    starts.find(matching)
                } else {
                    starts.rfind(matching)
                };
                let kept = &value[..start.unwrap_or(value.len())];
                Self::push_value(fields, kept, split, literal);
                return Ok(());
            }
        }
        if name == b"@" || (name == b"*" && split) {
            self.push_positional(fields, manner, quoted);
            return Ok(());
        }
        let value = self.required(name, value)?;
        Self::push_value(fields, &value, split, literal);
        Ok(())
    }

    /// `$@`: a field each.
    fn push_positional(&mut self, fields: &mut Fields, manner: Manner, quoted: bool) {
        let (split, literal) = (manner.splits(quoted), manner.literal(quoted));
        for (index, value) in self.positional.iter().enumerate() {
            if index > 0 {
                if split || quoted {
                    fields.end_field();
                } else {
                    fields.push_quoted(b" ");
                }
            }
            Self::push_value(fields, value, split, literal);
        }
    }

    /// The value, or an error if it is unset under `set -u`.
    fn required(&mut self, name: &[u8], value: Option<Vec<u8>>) -> Expanded<Vec<u8>> {
        match value {
            Some(value) => Ok(value),
            None if self.options.nounset && name != b"@" && name != b"*" => Err(self.fatal(
                format_args!("{}: parameter not set", crate::cli::show(name)),
            )),
            None => Ok(Vec::new()),
        }
    }

    /// The word of `${x-word}` in the place of the parameter.
    fn word(
        &mut self,
        word: &Word,
        fields: &mut Fields,
        manner: Manner,
        quoted: bool,
    ) -> Expanded<()> {
        for (index, part) in word.iter().enumerate() {
            match part {
                Part::Double(parts) if quoted => {
                    for part in parts {
                        self.part(part, fields, manner, true)?;
                    }
                }
                Part::Text(text) if !quoted && manner == Manner::Split => {
                    if let Some((home, rest)) = self.tilde(text).filter(|_| index == 0) {
                        fields.push_quoted(&home);
                        fields.push_split(rest);
                    } else {
                        fields.push_split(text);
                    }
                }
                other => self.part(other, fields, manner, quoted)?,
            }
        }
        Ok(())
    }

    /// The output of commands, without the line feeds at its end.
    fn substitute(&mut self, list: &std::rc::Rc<List>) -> Expanded<Vec<u8>> {
        if list.items.is_empty() {
            return Ok(Vec::new());
        }
        let (reader, writer) = self.attempt(b"pipe", sys::pipe())?;
        let child = self.fork(super::fork::Role::Helper)?;
        if child == 0 {
            sys::close(reader);
            let _ = sys::dup2(writer, 1);
            sys::close(writer);
            self.run_subshell_and_exit(list);
        }
        sys::close(writer);
        let mut output = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match sys::read(reader, &mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => output.extend(buffer[..count].iter().filter(|&&b| b != 0)),
            }
        }
        sys::close(reader);
        self.status = self.wait_helper(child);
        self.substituted = true;
        while output.last() == Some(&b'\n') {
            output.pop();
        }
        Ok(output)
    }

    /// Evaluates an arithmetic expression.
    pub fn arithmetic(&mut self, text: &[u8]) -> Expanded<i64> {
        struct Access<'s>(&'s mut Shell);
        impl arith::Variables for Access<'_> {
            fn number(&mut self, name: &[u8]) -> Result<i64, String> {
                match self.0.variables.get(name) {
                    None if self.0.options.nounset => {
                        Err(format!("{}: parameter not set", crate::cli::show(name)))
                    }
                    None => Ok(0),
                    Some(value) if value.trim_ascii().is_empty() => Ok(0),
                    Some(value) => arith::parse_number(value)
                        .ok_or_else(|| format!("Illegal number: {}", crate::cli::show(value))),
                }
            }
            fn assign(&mut self, name: &[u8], value: i64) -> Result<(), String> {
                self.0.variables.set(name, value.to_string().as_bytes())
            }
        }
        match arith::evaluate(text, &mut Access(self)) {
            Ok(value) => Ok(value),
            Err(message) => Err(self.fatal(format_args!("{message}"))),
        }
    }
}
