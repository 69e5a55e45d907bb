//! Regular expressions of POSIX, basic and extended, without back-references.
//!
//! An expression becomes a program for a machine that is in many states at once (Thompson's
//! construction), so the time of a search grows with the text alone, whatever the expression.
//! Of the leftmost matches the longest is found, as POSIX demands.

use crate::sh::pattern::in_class;

/// The longest program, so that `x{255}{255}` does not take all memory.
const MAX_PROGRAM: usize = 1 << 16;

/// The largest count in `{m,n}`.
const MAX_COUNT: usize = 255;

/// Groups nested deeper than this are refused, so that the stack holds.
const MAX_DEPTH: u32 = 200;

/// The bytes that a bracket expression matches.
type Set = [bool; 256];

#[derive(Clone, Debug)]
enum Step {
    Byte(u8),
    Any,
    Set(Box<Set>),
    Start,
    End,
    WordEdge {
        start: bool,
        end: bool,
        negated: bool,
    },
    /// Goes on at both places, given relative to this step.
    Split(isize, isize),
    Jump(isize),
    Match,
}

/// A compiled expression.
pub struct Regex {
    program: Vec<Step>,
    fold: bool,
}

/// How an expression is to be read.
#[derive(Clone, Copy, Default)]
pub struct Syntax {
    /// Extended (`grep -E`) rather than basic.
    pub extended: bool,
    /// A string without special characters (`grep -F`).
    pub fixed: bool,
    /// Upper and lower case are the same.
    pub fold: bool,
}

impl Regex {
    /// Compiles an expression. The error says what is wrong with it.
    pub fn new(text: &[u8], syntax: Syntax) -> Result<Self, &'static str> {
        let mut program = if syntax.fixed {
            text.iter().map(|&b| Step::Byte(b)).collect()
        } else {
            let mut parser = Parser {
                text,
                at: 0,
                extended: syntax.extended,
                depth: 0,
            };
            let program = parser.alternatives()?;
            if parser.at < text.len() {
                return Err("unmatched )");
            }
            program
        };
        program.push(Step::Match);
        if syntax.fold {
            for step in &mut program {
                match step {
                    Step::Byte(byte) => byte.make_ascii_lowercase(),
                    Step::Set(set) => {
                        for upper in b'A'..=b'Z' {
                            let lower = upper.to_ascii_lowercase();
                            set[usize::from(lower)] |= set[usize::from(upper)];
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(Regex {
            program,
            fold: syntax.fold,
        })
    }

    /// The leftmost longest match that starts at `from` or later.
    pub fn find(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        let mut machine = Machine {
            program: &self.program,
            seen: vec![usize::MAX; self.program.len()],
            starts: Vec::new(),
        };
        let mut best: Option<(usize, usize)> = None;
        let mut states: Vec<(usize, usize)> = Vec::new();
        for at in from..=text.len() {
            if best.is_none() {
                machine.enter(&mut states, 0, at, text, at);
            }
            let byte = text.get(at).map(|b| {
                if self.fold {
                    b.to_ascii_lowercase()
                } else {
                    *b
                }
            });
            let mut next = Vec::new();
            // States are in the order of their starts, so the leftmost come first.
            for (step, start) in states.drain(..) {
                if best.is_some_and(|(leftmost, _)| leftmost < start) {
                    break;
                }
                let taken = match (&self.program[step], byte) {
                    (Step::Match, _) => {
                        best = Some((start, at));
                        false
                    }
                    (Step::Byte(wanted), Some(byte)) => *wanted == byte,
                    (Step::Any, Some(_)) => true,
                    (Step::Set(set), Some(byte)) => set[usize::from(byte)],
                    _ => false,
                };
                if taken {
                    machine.enter(&mut next, step + 1, start, text, at + 1);
                }
            }
            states = next;
            if states.is_empty() && best.is_some() {
                break;
            }
        }
        best
    }
}

struct Machine<'p> {
    program: &'p [Step],
    /// For each step, the position in the text at which it was last entered.
    seen: Vec<usize>,
    starts: Vec<usize>,
}

impl Machine<'_> {
    /// Adds the steps that are reached from `step` without taking a byte.
    fn enter(
        &mut self,
        states: &mut Vec<(usize, usize)>,
        step: usize,
        start: usize,
        text: &[u8],
        at: usize,
    ) {
        let word = |index: Option<usize>| {
            let byte = index.and_then(|i| text.get(i));
            byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
        };
        self.starts.push(step);
        while let Some(step) = self.starts.pop() {
            if std::mem::replace(&mut self.seen[step], at) == at {
                continue;
            }
            let by = |distance: isize| step.wrapping_add_signed(distance);
            let holds = match &self.program[step] {
                Step::Split(first, second) => {
                    self.starts.push(by(*second));
                    self.starts.push(by(*first));
                    continue;
                }
                Step::Jump(distance) => {
                    self.starts.push(by(*distance));
                    continue;
                }
                Step::Start => at == 0,
                Step::End => at == text.len(),
                Step::WordEdge {
                    start,
                    end,
                    negated,
                } => {
                    let (before, after) = (word(at.checked_sub(1)), word(Some(at)));
                    (*start && !before && after || *end && before && !after) != *negated
                }
                _ => {
                    states.push((step, start));
                    continue;
                }
            };
            if holds {
                self.starts.push(step + 1);
            }
        }
    }
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    extended: bool,
    depth: u32,
}

type Program = Result<Vec<Step>, &'static str>;

impl Parser<'_> {
    /// Takes the operator if it comes next: bare in an extended expression, behind a backslash in
    /// a basic one.
    fn operator(&mut self, operator: u8) -> bool {
        let rest = &self.text[self.at..];
        let length = match (self.extended, rest) {
            (true, [first, ..]) if *first == operator => 1,
            (false, [b'\\', second, ..]) if *second == operator => 2,
            _ => return false,
        };
        self.at += length;
        true
    }

    fn at_operator(&mut self, operator: u8) -> bool {
        let at = self.at;
        let found = self.operator(operator);
        self.at = at;
        found
    }

    fn alternatives(&mut self) -> Program {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("groups nested too deeply");
        }
        let mut program = self.sequence()?;
        while self.operator(b'|') {
            let second = self.sequence()?;
            let mut both = vec![Step::Split(1, program.len() as isize + 2)];
            both.extend(program);
            both.push(Step::Jump(second.len() as isize + 1));
            both.extend(second);
            program = both;
        }
        self.depth -= 1;
        Ok(program)
    }

    fn sequence(&mut self) -> Program {
        let mut program = Vec::new();
        let start = self.at;
        while self.at < self.text.len() && !self.at_operator(b'|') {
            if self.at_operator(b')') && (self.depth > 1 || !self.extended) {
                if self.depth == 1 {
                    return Err("unmatched )");
                }
                break;
            }
            let first = self.at == start;
            let atom = self.atom(first)?;
            program.extend(self.repeated(atom)?);
            if program.len() > MAX_PROGRAM {
                return Err("too large");
            }
        }
        Ok(program)
    }

    fn atom(&mut self, first: bool) -> Program {
        if self.operator(b'(') {
            let group = self.alternatives()?;
            if !self.operator(b')') {
                return Err("unmatched (");
            }
            return Ok(group);
        }
        let byte = self.text[self.at];
        self.at += 1;
        let next = self.text.get(self.at).copied();
        let step = match byte {
            b'.' => Step::Any,
            b'[' => self.bracket()?,
            b'^' if self.extended || first => Step::Start,
            b'$' if self.extended
                || next.is_none()
                || self.at_operator(b')')
                || self.at_operator(b'|') =>
            {
                Step::End
            }
            // With nothing before it, a repetition is itself.
            b'*' if first => Step::Byte(b'*'),
            b'\\' => {
                let Some(escaped) = next else {
                    return Err("trailing backslash");
                };
                self.at += 1;
                let word = |set: &mut Set, value: bool| {
                    for byte in 0..=u8::MAX {
                        let is = byte.is_ascii_alphanumeric() || byte == b'_';
                        set[usize::from(byte)] = is == value;
                    }
                };
                let edge = |start, end, negated| Step::WordEdge {
                    start,
                    end,
                    negated,
                };
                match escaped {
                    b'<' => edge(true, false, false),
                    b'>' => edge(false, true, false),
                    b'b' => edge(true, true, false),
                    b'B' => edge(true, true, true),
                    b'w' | b'W' => {
                        let mut set = Box::new([false; 256]);
                        word(&mut set, escaped == b'w');
                        Step::Set(set)
                    }
                    b's' | b'S' => {
                        let mut set = Box::new([false; 256]);
                        for byte in 0..=u8::MAX {
                            set[usize::from(byte)] = in_class(b"space", byte) == (escaped == b's');
                        }
                        Step::Set(set)
                    }
                    b'1'..=b'9' => return Err("back-references are not supported"),
                    other => Step::Byte(other),
                }
            }
            other => Step::Byte(other),
        };
        Ok(vec![step])
    }

    /// A bracket expression after its `[`.
    fn bracket(&mut self) -> Result<Step, &'static str> {
        const OPEN: &str = "unmatched [";
        let mut set = Box::new([false; 256]);
        let negated = self.text.get(self.at) == Some(&b'^');
        self.at += usize::from(negated);
        let first = self.at;
        loop {
            let low = *self.text.get(self.at).ok_or(OPEN)?;
            if low == b']' && self.at > first {
                self.at += 1;
                break;
            }
            if low == b'[' && self.text.get(self.at + 1) == Some(&b':') {
                let rest = &self.text[self.at + 2..];
                let length = rest.windows(2).position(|w| w == b":]").ok_or(OPEN)?;
                for byte in 0..=u8::MAX {
                    set[usize::from(byte)] |= in_class(&rest[..length], byte);
                }
                self.at += length + 4;
                continue;
            }
            let low = self.element()?;
            let mut high = low;
            if self.text.get(self.at) == Some(&b'-')
                && self.text.get(self.at + 1).is_some_and(|&b| b != b']')
            {
                self.at += 1;
                high = self.element()?;
                if high < low {
                    return Err("invalid range");
                }
            }
            set[usize::from(low)..=usize::from(high)].fill(true);
        }
        if negated {
            set.iter_mut().for_each(|b| *b = !*b);
        }
        Ok(Step::Set(set))
    }

    /// A byte in brackets, `[.x.]` or `[=x=]`.
    fn element(&mut self) -> Result<u8, &'static str> {
        let rest = &self.text[self.at..];
        if let [b'[', mark @ (b'.' | b'='), byte, close, b']', ..] = rest
            && mark == close
        {
            self.at += 5;
            return Ok(*byte);
        }
        self.at += 1;
        rest.first().copied().ok_or("unmatched [")
    }

    /// The atom with the repetitions behind it.
    fn repeated(&mut self, mut atom: Vec<Step>) -> Program {
        loop {
            let (least, most) = if self.text.get(self.at) == Some(&b'*') {
                self.at += 1;
                (0, None)
            } else if self.operator(b'+') {
                (1, None)
            } else if self.operator(b'?') {
                (0, Some(1))
            } else if self.at_operator(b'{') && (!self.extended || self.is_count()) {
                self.operator(b'{');
                self.counts()?
            } else {
                return Ok(atom);
            };
            let copies = most.unwrap_or(least + 1);
            if atom.len().saturating_add(2).saturating_mul(copies) > MAX_PROGRAM {
                return Err("too large");
            }
            let mut program = Vec::new();
            for _ in 0..least {
                program.extend(atom.iter().cloned());
            }
            let length = atom.len() as isize;
            match most {
                None => {
                    program.push(Step::Split(1, length + 2));
                    program.extend(atom);
                    program.push(Step::Jump(-length - 1));
                }
                Some(most) => {
                    for left in (1..=most - least).rev() {
                        program.push(Step::Split(1, (length + 1) * left as isize));
                        program.extend(atom.iter().cloned());
                    }
                }
            }
            atom = program;
        }
    }

    /// In an extended expression a brace without a number is itself.
    fn is_count(&self) -> bool {
        self.text
            .get(self.at + 1)
            .is_some_and(|b| b.is_ascii_digit() || *b == b',')
    }

    /// `m}`, `m,}` or `m,n}`.
    fn counts(&mut self) -> Result<(usize, Option<usize>), &'static str> {
        let number = |parser: &mut Self| {
            let start = parser.at;
            while parser.text.get(parser.at).is_some_and(u8::is_ascii_digit) {
                parser.at += 1;
            }
            crate::cli::number::<usize>(&parser.text[start..parser.at])
        };
        let least = number(self);
        let most = if self.text.get(self.at) == Some(&b',') {
            self.at += 1;
            number(self)
        } else {
            least
        };
        let least = least.unwrap_or(0);
        if !self.operator(b'}') {
            return Err("unmatched {");
        }
        if least > MAX_COUNT || most.is_some_and(|most| most < least || most > MAX_COUNT) {
            return Err("invalid count in braces");
        }
        Ok((least, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(expression: &str, extended: bool, text: &str) -> Option<(usize, usize)> {
        let syntax = Syntax {
            extended,
            ..Syntax::default()
        };
        Regex::new(expression.as_bytes(), syntax)
            .unwrap()
            .find(text.as_bytes(), 0)
    }

    #[test]
    fn extended_expressions_find_leftmost_longest() {
        for (expression, text, found) in [
            ("a|ab|abc", "xabcd", Some((1, 4))),
            ("(a|b)*c", "ababcx", Some((0, 5))),
            ("x*", "aaa", Some((0, 0))),
            ("^a.c$", "abc", Some((0, 3))),
            ("^b", "ab", None),
            ("a{2,3}", "caaaa", Some((1, 4))),
            ("a{2}", "a", None),
            ("(ab){0,2}c", "ababc", Some((0, 5))),
            ("a{,2}b", "aab", Some((0, 3))),
            ("[^0-9]+", "12ab3", Some((2, 4))),
            ("[[:upper:]][]x]", "aB]", Some((1, 3))),
            (r"\.c", "a.c", Some((1, 3))),
            (r"\<two\>", "twofold two", Some((8, 11))),
            ("(^|x)a", "a", Some((0, 1))),
            ("()", "a", Some((0, 0))),
            ("a{x", "a{x", Some((0, 3))),
            ("((a*)*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", None),
        ] {
            assert_eq!(find(expression, true, text), found, "{expression} {text}");
        }
    }

    #[test]
    fn basic_expressions_have_backslashed_operators() {
        for (expression, text, found) in [
            ("a+", "aa+", Some((1, 3))),
            (r"a\+", "aa+", Some((0, 2))),
            (r"\(ab\)*c", "ababc", Some((0, 5))),
            ("*a", "*a", Some((0, 2))),
            ("a^b$c", "a^b$c", Some((0, 5))),
            (r"a\{2\}", "aaa", Some((0, 2))),
            (r"a\|b", "b", Some((0, 1))),
            ("(a)", "(a)", Some((0, 3))),
        ] {
            assert_eq!(find(expression, false, text), found, "{expression} {text}");
        }
    }

    #[test]
    fn wrong_expressions_are_errors() {
        for expression in ["(a", "[a", "a{2,1}", "a{999}", "\\", "(a{250}){250}{250}"] {
            let syntax = Syntax {
                extended: true,
                ..Syntax::default()
            };
            assert!(
                Regex::new(expression.as_bytes(), syntax).is_err(),
                "{expression}"
            );
        }
    }
}
