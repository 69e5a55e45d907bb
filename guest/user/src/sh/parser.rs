//! From tokens to the syntax tree: recursive descent over POSIX's shell grammar.

use std::rc::Rc;

use super::ast::{Command, Connector, Item, Kind, List, Part, Pipeline, Redirect, Target, Word};
use super::lexer::{Lexer, Result, SyntaxError, Token, is_name};

/// The reserved words.
pub const RESERVED: &[&str] = &[
    "!", "{", "}", "case", "do", "done", "elif", "else", "esac", "fi", "for", "if", "in", "then",
    "until", "while",
];

/// Takes tokens from a lexer and makes commands of them.
pub struct Parser<'l, 's> {
    lexer: &'l mut Lexer<'s>,
    peeked: Option<Token>,
    /// Where the peeked token starts, and where the token before it ended.
    token_start: usize,
    last_end: usize,
}

/// The next complete command line; `None` at the end of the source.
pub fn next_line(lexer: &mut Lexer<'_>) -> Result<Option<List>> {
    let mut parser = Parser::new(lexer);
    loop {
        match parser.peek()? {
            Token::End => return Ok(None),
            Token::Newline => parser.skip()?,
            _ => break,
        }
    }
    let mut items = Vec::new();
    loop {
        match parser.peek()? {
            Token::End => break,
            Token::Newline => {
                parser.skip()?;
                break;
            }
            _ => {}
        }
        let more = parser.item(&mut items)?;
        if !more && !matches!(parser.peek()?, Token::End | Token::Newline) {
            return Err(parser.unexpected());
        }
    }
    Ok(Some(List { items }))
}

/// The whole source as one list.
pub fn whole(lexer: &mut Lexer<'_>) -> Result<List> {
    let mut items = Vec::new();
    while let Some(list) = next_line(lexer)? {
        items.extend(list.items);
    }
    Ok(List { items })
}

/// After `$(`: the list up to and with the closing parenthesis.
pub fn substitution(lexer: &mut Lexer<'_>) -> Result<List> {
    let mut parser = Parser::new(lexer);
    let list = parser.list()?;
    parser.expect_operator(")")?;
    Ok(list)
}

/// The text of a word that is nothing but unquoted text.
pub fn bare(word: &Word) -> Option<&[u8]> {
    match &word[..] {
        [Part::Text(text)] => Some(text),
        _ => None,
    }
}

impl<'l, 's> Parser<'l, 's> {
    fn new(lexer: &'l mut Lexer<'s>) -> Self {
        let position = lexer.position;
        Parser {
            lexer,
            peeked: None,
            token_start: position,
            last_end: position,
        }
    }

    /// The next token.
    pub fn peek(&mut self) -> Result<&Token> {
        if self.peeked.is_none() {
            self.last_end = self.lexer.position;
            let token = self.lexer.token()?;
            self.token_start = self.last_end;
            self.peeked = Some(token);
        }
        Ok(self.peeked.as_ref().unwrap_or(&Token::End))
    }

    /// The next token, taken.
    pub fn take(&mut self) -> Result<Token> {
        self.peek()?;
        let token = self.peeked.take().unwrap_or(Token::End);
        self.last_end = self.lexer.position;
        Ok(token)
    }

    /// Goes past the next token.
    pub fn skip(&mut self) -> Result<()> {
        self.take().map(drop)
    }

    /// Whether the next token is that operator.
    pub fn at_operator(&mut self, operator: &str) -> Result<bool> {
        Ok(matches!(self.peek()?, Token::Operator(o) if *o == operator))
    }

    /// Whether the next token is that word, without quotes.
    pub fn at_word(&mut self, text: &str) -> Result<bool> {
        Ok(matches!(self.peek()?, Token::Word(w) if bare(w) == Some(text.as_bytes())))
    }

    fn at_reserved(&mut self) -> Result<bool> {
        Ok(match self.peek()? {
            Token::Word(word) => {
                bare(word).is_some_and(|t| RESERVED.iter().any(|r| r.as_bytes() == t))
            }
            _ => false,
        })
    }

    /// The error for the token at hand.
    pub fn unexpected(&mut self) -> SyntaxError {
        let name = match self.peek() {
            Err(error) => return error,
            Ok(Token::End) => return SyntaxError::Incomplete("unexpected end of file"),
            Ok(Token::Newline) => "newline".to_owned(),
            Ok(Token::Operator(operator)) => format!("\"{operator}\""),
            Ok(Token::Number(number)) => format!("\"{number}\""),
            Ok(Token::Word(word)) => match bare(word) {
                Some(text) => format!("\"{}\"", String::from_utf8_lossy(text)),
                None => "word".to_owned(),
            },
        };
        SyntaxError::Wrong(format!("{name} unexpected"))
    }

    /// Goes past that operator.
    pub fn expect_operator(&mut self, operator: &str) -> Result<()> {
        if self.at_operator(operator)? {
            self.skip()
        } else {
            Err(self.unexpected())
        }
    }

    /// Goes past that word.
    pub fn expect_word(&mut self, text: &str) -> Result<()> {
        if self.at_word(text)? {
            self.skip()
        } else {
            Err(self.unexpected())
        }
    }

    /// Goes past the ends of lines.
    pub fn newlines(&mut self) -> Result<()> {
        while matches!(self.peek()?, Token::Newline) {
            self.skip()?;
        }
        Ok(())
    }

    /// A list within a compound command: up to a token that ends it.
    pub fn list(&mut self) -> Result<List> {
        let mut items = Vec::new();
        loop {
            self.newlines()?;
            let ends = match self.peek()? {
                Token::End => true,
                Token::Operator(o) => *o == ")" || *o == ";;",
                Token::Word(word) => bare(word).is_some_and(|text| {
                    [
                        &b"}"[..],
                        b"do",
                        b"done",
                        b"elif",
                        b"else",
                        b"esac",
                        b"fi",
                        b"then",
                    ]
                    .contains(&text)
                }),
                _ => false,
            };
            if ends {
                return Ok(List { items });
            }
            let more = self.item(&mut items)?;
            if !more && !matches!(self.peek()?, Token::Newline) {
                return Ok(List { items });
            }
        }
    }

    /// A list that must not be empty.
    pub fn commands(&mut self) -> Result<List> {
        let list = self.list()?;
        if list.items.is_empty() {
            return Err(self.unexpected());
        }
        Ok(list)
    }

    /// An and-or list with its separator; false if no `;` or `&` follows.
    fn item(&mut self, items: &mut Vec<Item>) -> Result<bool> {
        self.peek()?;
        let start = self.token_start;
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            let connector = if self.at_operator("&&")? {
                Connector::And
            } else if self.at_operator("||")? {
                Connector::Or
            } else {
                break;
            };
            self.skip()?;
            self.newlines()?;
            rest.push((connector, self.pipeline()?));
        }
        let text = self.lexer.text(start, self.last_end).trim_ascii().to_vec();
        let background = self.at_operator("&")?;
        let more = background || self.at_operator(";")?;
        if more {
            self.skip()?;
        }
        items.push(Item {
            first,
            rest,
            background,
            text,
        });
        Ok(more)
    }

    fn pipeline(&mut self) -> Result<Pipeline> {
        let mut negated = false;
        while self.at_word("!")? {
            self.skip()?;
            negated = !negated;
        }
        self.peek()?;
        let start = self.token_start;
        let mut commands = vec![self.command()?];
        while self.at_operator("|")? {
            self.skip()?;
            self.newlines()?;
            commands.push(self.command()?);
        }
        let text = self.lexer.text(start, self.last_end).trim_ascii().to_vec();
        Ok(Pipeline {
            negated,
            commands,
            text,
        })
    }

    fn command(&mut self) -> Result<Command> {
        self.lexer.enter()?;
        let command = self.command_inner();
        self.lexer.leave();
        command
    }

    fn command_inner(&mut self) -> Result<Command> {
        let line = self.lexer.line;
        let compound = if self.at_operator("(")? {
            self.skip()?;
            let list = self.commands()?;
            self.expect_operator(")")?;
            Some(Kind::Subshell(Rc::new(list)))
        } else if self.at_reserved()? {
            Some(self.compound()?)
        } else {
            None
        };
        let Some(kind) = compound else {
            return self.simple(line);
        };
        let mut redirects = Vec::new();
        while self.redirect(&mut redirects)? {}
        Ok(Command {
            kind,
            redirects,
            line,
        })
    }

    /// A simple command or a function definition.
    fn simple(&mut self, line: u32) -> Result<Command> {
        let mut assigns = Vec::new();
        let mut words: Vec<Word> = Vec::new();
        let mut redirects = Vec::new();
        loop {
            if self.redirect(&mut redirects)? {
                continue;
            }
            if !matches!(self.peek()?, Token::Word(_)) {
                break;
            }
            let Token::Word(word) = self.take()? else {
                break;
            };
            if words.is_empty() {
                match assignment(word) {
                    Ok(assign) => {
                        assigns.push(assign);
                        continue;
                    }
                    Err(word) => words.push(word),
                }
            } else {
                words.push(word);
            }
            let alone = words.len() == 1 && assigns.is_empty() && redirects.is_empty();
            if alone && self.at_operator("(")? {
                let Some(name) = bare(&words[0]).filter(|n| is_name(n)) else {
                    return Err(self.unexpected());
                };
                let name = name.to_vec();
                self.skip()?;
                self.expect_operator(")")?;
                self.newlines()?;
                let body = Rc::new(self.command()?);
                return Ok(Command {
                    kind: Kind::Function { name, body },
                    redirects,
                    line,
                });
            }
        }
        if assigns.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(self.unexpected());
        }
        Ok(Command {
            kind: Kind::Simple { assigns, words },
            redirects,
            line,
        })
    }

    /// A redirection, if one is at hand.
    fn redirect(&mut self, redirects: &mut Vec<Redirect>) -> Result<bool> {
        let mut fd = None;
        if let Token::Number(number) = self.peek()? {
            fd = Some(*number);
            self.skip()?;
        }
        let Token::Operator(operator) = self.peek()? else {
            return Ok(false);
        };
        let operator = *operator;
        if !operator.starts_with(['<', '>']) {
            return Ok(false);
        }
        self.skip()?;
        if !matches!(self.peek()?, Token::Word(_)) {
            return Err(self.unexpected());
        }
        let Token::Word(word) = self.take()? else {
            return Ok(false);
        };
        let to = match operator {
            "<" => Target::Read(word),
            ">" => Target::Write {
                file: word,
                clobber: false,
            },
            ">|" => Target::Write {
                file: word,
                clobber: true,
            },
            ">>" => Target::Append(word),
            "<>" => Target::ReadWrite(word),
            "<<" | "<<-" => Target::Here(self.lexer.announce_here(&word, operator == "<<-")),
            _ => Target::Duplicate(word),
        };
        let default = i32::from(!operator.starts_with('<'));
        redirects.push(Redirect {
            fd: fd.unwrap_or(default),
            to,
        });
        Ok(true)
    }
}

/// `NAME=value` split in two, or the word back.
pub fn assignment(mut word: Word) -> std::result::Result<(Vec<u8>, Word), Word> {
    let split = match word.first() {
        Some(Part::Text(text)) => text
            .iter()
            .position(|&b| b == b'=')
            .filter(|&at| is_name(&text[..at])),
        _ => None,
    };
    let (Some(at), Some(Part::Text(text))) = (split, word.first_mut()) else {
        return Err(word);
    };
    let value = text.split_off(at + 1);
    text.pop();
    let name = std::mem::take(text);
    if value.is_empty() {
        word.remove(0);
    } else {
        word[0] = Part::Text(value);
    }
    Ok((name, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(source: &str) -> Result<List> {
        whole(&mut Lexer::new(source.as_bytes(), 1, true))
    }

    #[test]
    fn lists_keep_their_connectors() {
        let list = parse("a && b || c; d & e").unwrap();
        assert_eq!(list.items.len(), 3);
        let connectors: Vec<_> = list.items[0].rest.iter().map(|(c, _)| *c).collect();
        assert_eq!(connectors, [Connector::And, Connector::Or]);
        assert!(list.items[1].background);
        assert_eq!(list.items[1].text, b"d");
    }

    #[test]
    fn unfinished_commands_ask_for_more() {
        for source in [
            "if true",
            "while x; do",
            "{ a",
            "a |",
            "echo \"x",
            "$(a",
            "a &&",
        ] {
            let result = whole(&mut Lexer::new(source.as_bytes(), 1, false));
            assert!(
                matches!(result, Err(SyntaxError::Incomplete(_))),
                "{source}: {result:?}"
            );
        }
    }

    #[test]
    fn wrong_commands_name_the_token() {
        for (source, token) in [("fi", "fi"), ("a ;; b", ";;"), (")", ")"), ("a | ; b", ";")] {
            match parse(source) {
                Err(SyntaxError::Wrong(text)) => assert!(text.contains(token), "{text}"),
                other => panic!("{source}: {other:?}"),
            }
        }
    }

    #[test]
    fn here_document_is_read_after_its_line() {
        let list = parse("cat <<A; echo x\none\nA\necho y\n").unwrap();
        assert_eq!(list.items.len(), 3);
        let Target::Here(body) = &list.items[0].first.commands[0].redirects[0].to else {
            panic!("no here-document");
        };
        assert!(matches!(&body.get().unwrap()[..], [Part::Double(_)]));
    }

    #[test]
    fn assignments_end_at_the_first_word() {
        let list = parse("A=1 B= c D=2").unwrap();
        let Kind::Simple { assigns, words } = &list.items[0].first.commands[0].kind else {
            panic!("not simple");
        };
        assert_eq!((assigns.len(), words.len()), (2, 2));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let source = "(".repeat(5000);
        assert!(matches!(parse(&source), Err(SyntaxError::Wrong(_))));
    }
}
