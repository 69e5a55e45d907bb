//! The syntax tree of a shell program.

use std::cell::OnceCell;
use std::rc::Rc;

/// A word before expansion: parts side by side.
pub type Word = Vec<Part>;

/// A part of a word.
#[derive(Clone, Debug)]
pub enum Part {
    /// Unquoted text: a pattern, and a tilde at its start counts.
    Text(Vec<u8>),
    /// Text that stood in quotes or behind a backslash: means itself.
    Quoted(Vec<u8>),
    /// `"…"`: expanded without field splitting.
    Double(Vec<Part>),
    /// `$name`, `${name…}`.
    Param(Param),
    /// `$(…)` or backquotes.
    Substitution(Rc<List>),
    /// `$((…))`.
    Arithmetic(Word),
}

/// A parameter and what is done with its value.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name: a variable's, a positional number, or one of `@*#?-$!`.
    pub name: Vec<u8>,
    /// The operation.
    pub operation: Operation,
}

/// What `${name…}` does with the value. `colon`: an empty value counts as unset.
#[derive(Clone, Debug)]
pub enum Operation {
    /// The value itself.
    Plain,
    /// `${#name}`.
    Length,
    /// `${name:-word}`.
    Default { colon: bool, word: Word },
    /// `${name:=word}`.
    Assign { colon: bool, word: Word },
    /// `${name:?word}`.
    Require { colon: bool, word: Word },
    /// `${name:+word}`.
    Alternative { colon: bool, word: Word },
    /// `${name#pattern}`, `##` for the longest match.
    TrimPrefix { longest: bool, pattern: Word },
    /// `${name%pattern}`, `%%` for the longest match.
    TrimSuffix { longest: bool, pattern: Word },
}

/// Commands one after the other.
#[derive(Clone, Debug)]
pub struct List {
    /// In order of execution.
    pub items: Vec<Item>,
}

/// One and-or list.
#[derive(Clone, Debug)]
pub struct Item {
    /// The first pipeline.
    pub first: Pipeline,
    /// The others, each with what the status before it must be.
    pub rest: Vec<(Connector, Pipeline)>,
    /// Ended by `&`.
    pub background: bool,
    /// Its source, for `jobs`.
    pub text: Vec<u8>,
}

/// `&&` or `||`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connector {
    /// Run if the status is 0.
    And,
    /// Run if the status is not 0.
    Or,
}

/// Commands joined by `|`.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Preceded by `!`.
    pub negated: bool,
    /// At least one.
    pub commands: Vec<Command>,
    /// Its source, for `jobs`.
    pub text: Vec<u8>,
}

/// A command with its redirections.
#[derive(Clone, Debug)]
pub struct Command {
    /// What it is.
    pub kind: Kind,
    /// Carried out in order.
    pub redirects: Vec<Redirect>,
    /// Source line, from 1.
    pub line: u32,
}

/// The kinds of commands.
#[derive(Clone, Debug)]
pub enum Kind {
    /// `NAME=value… word…`.
    Simple {
        /// Assignments before the first word.
        assigns: Vec<(Vec<u8>, Word)>,
        /// Command name and arguments.
        words: Vec<Word>,
    },
    /// `( list )`.
    Subshell(Rc<List>),
    /// `{ list; }`.
    Group(List),
    /// `if`: condition and body of each branch, and the `else`.
    If {
        /// `if` and each `elif`.
        branches: Vec<(List, List)>,
        /// `else`.
        otherwise: Option<List>,
    },
    /// `while`, `until`.
    Loop {
        /// `until`.
        until: bool,
        /// Decides on a further round.
        condition: List,
        /// What is repeated.
        body: List,
    },
    /// `for name in words`; `None`: the positional parameters.
    For {
        /// The variable.
        name: Vec<u8>,
        /// Its values.
        words: Option<Vec<Word>>,
        /// What is repeated.
        body: List,
    },
    /// `case word in pattern) list;; … esac`.
    Case {
        /// What is matched.
        word: Word,
        /// Patterns and body of each arm.
        arms: Vec<(Vec<Word>, List)>,
    },
    /// `name() command`.
    Function {
        /// Its name.
        name: Vec<u8>,
        /// Its body, shared with the table of functions.
        body: Rc<Command>,
    },
}

/// A redirection.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// The descriptor it changes.
    pub fd: i32,
    /// What it becomes.
    pub to: Target,
}

/// Where a redirection leads.
#[derive(Clone, Debug)]
pub enum Target {
    /// `< file`.
    Read(Word),
    /// `> file`; `clobber` for `>|`.
    Write { file: Word, clobber: bool },
    /// `>> file`.
    Append(Word),
    /// `<> file`.
    ReadWrite(Word),
    /// `<& n`, `>& n`, `>& -`.
    Duplicate(Word),
    /// `<< delimiter`: filled in when the lexer has come to the text.
    Here(Rc<OnceCell<Word>>),
}
