//! The grammar of commands that a reserved word starts: groups, conditions, loops, `case`.

use super::ast::{Kind, List};
use super::lexer::{Result, SyntaxError, Token, is_name};
use super::parser::{Parser, bare};

impl Parser<'_, '_> {
    /// A command that a reserved word starts.
    pub fn compound(&mut self) -> Result<Kind> {
        if self.at_word("{")? {
            self.skip()?;
            let list = self.commands()?;
            self.expect_word("}")?;
            Ok(Kind::Group(list))
        } else if self.at_word("if")? {
            self.conditional()
        } else if self.at_word("while")? || self.at_word("until")? {
            let until = self.at_word("until")?;
            self.skip()?;
            let condition = self.commands()?;
            let body = self.do_group()?;
            Ok(Kind::Loop {
                until,
                condition,
                body,
            })
        } else if self.at_word("for")? {
            self.for_loop()
        } else if self.at_word("case")? {
            self.case()
        } else {
            Err(self.unexpected())
        }
    }

    fn do_group(&mut self) -> Result<List> {
        self.newlines()?;
        self.expect_word("do")?;
        let body = self.commands()?;
        self.expect_word("done")?;
        Ok(body)
    }

    fn conditional(&mut self) -> Result<Kind> {
        self.skip()?;
        let mut branches = Vec::new();
        let mut otherwise = None;
        loop {
            let condition = self.commands()?;
            self.expect_word("then")?;
            branches.push((condition, self.commands()?));
            if self.at_word("elif")? {
                self.skip()?;
                continue;
            }
            if self.at_word("else")? {
                self.skip()?;
                otherwise = Some(self.commands()?);
            }
            self.expect_word("fi")?;
            return Ok(Kind::If {
                branches,
                otherwise,
            });
        }
    }

    fn for_loop(&mut self) -> Result<Kind> {
        self.skip()?;
        let name = match self.peek()? {
            Token::Word(word) if bare(word).is_some_and(is_name) => bare(word).unwrap_or_default(),
            _ => return Err(SyntaxError::Wrong("bad for loop variable".into())),
        }
        .to_vec();
        self.skip()?;
        self.newlines()?;
        let mut words = None;
        if self.at_word("in")? {
            self.skip()?;
            let mut list = Vec::new();
            while matches!(self.peek()?, Token::Word(_)) {
                if let Token::Word(word) = self.take()? {
                    list.push(word);
                }
            }
            words = Some(list);
            if !matches!(self.peek()?, Token::Newline) {
                self.expect_operator(";")?;
            }
        } else if self.at_operator(";")? {
            self.skip()?;
        }
        let body = self.do_group()?;
        Ok(Kind::For { name, words, body })
    }

    fn case(&mut self) -> Result<Kind> {
        self.skip()?;
        let Token::Word(word) = self.take()? else {
            return Err(SyntaxError::Wrong("case needs a word".into()));
        };
        self.newlines()?;
        self.expect_word("in")?;
        let mut arms = Vec::new();
        loop {
            self.newlines()?;
            if self.at_word("esac")? {
                self.skip()?;
                return Ok(Kind::Case { word, arms });
            }
            if self.at_operator("(")? {
                self.skip()?;
            }
            let mut patterns = Vec::new();
            loop {
                match self.peek()? {
                    Token::Word(_) => {
                        if let Token::Word(pattern) = self.take()? {
                            patterns.push(pattern);
                        }
                    }
                    _ => return Err(self.unexpected()),
                }
                if !self.at_operator("|")? {
                    break;
                }
                self.skip()?;
            }
            self.expect_operator(")")?;
            let body = self.list()?;
            arms.push((patterns, body));
            if self.at_operator(";;")? {
                self.skip()?;
            } else if !self.at_word("esac")? {
                return Err(self.unexpected());
            }
        }
    }
}
