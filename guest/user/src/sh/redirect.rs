//! Redirections: carried out for good in a child, undone afterwards for what runs in the shell.

use std::io;

use super::ast::{Redirect, Target};
use super::{Shell, Unwind, fork};
use crate::{cli, sys};

/// What descriptors were before they were redirected.
#[derive(Default)]
pub struct Saved(Vec<(i32, Option<i32>)>);

/// Copies of descriptors are kept from this number on.
const SAVED_FROM: i32 = 10;

/// A here-document up to this size is put into a pipe at once; a pipe holds at least this much.
const PIPE_HOLDS: usize = 4096;

enum Failure {
    Unwind(Unwind),
    /// Said already; the command fails with status 1 (2 for special built-ins).
    Said,
}

impl From<Unwind> for Failure {
    fn from(unwind: Unwind) -> Self {
        Failure::Unwind(unwind)
    }
}

impl Shell {
    /// Carries out redirections for good. False if one failed; that has then been said.
    pub fn redirect(&mut self, redirects: &[Redirect]) -> Result<bool, Unwind> {
        self.redirect_saving(redirects, None)
    }

    /// Carries out redirections; adds to `saved` what undoes them.
    pub fn redirect_saving(
        &mut self,
        redirects: &[Redirect],
        mut saved: Option<&mut Saved>,
    ) -> Result<bool, Unwind> {
        for redirect in redirects {
            match self.redirect_one(redirect, saved.as_deref_mut()) {
                Ok(()) => {}
                Err(Failure::Said) => return Ok(false),
                Err(Failure::Unwind(unwind)) => return Err(unwind),
            }
        }
        Ok(true)
    }

    fn redirect_one(
        &mut self,
        redirect: &Redirect,
        saved: Option<&mut Saved>,
    ) -> Result<(), Failure> {
        let create = libc::O_WRONLY | libc::O_CREAT;
        let source = match &redirect.to {
            Target::Read(word) => self.open(word, libc::O_RDONLY)?,
            Target::ReadWrite(word) => self.open(word, libc::O_RDWR | libc::O_CREAT)?,
            Target::Append(word) => self.open(word, create | libc::O_APPEND)?,
            Target::Write { file, clobber } if self.options.noclobber && !clobber => {
                self.open_new(file)?
            }
            Target::Write { file, .. } => self.open(file, create | libc::O_TRUNC)?,
            Target::Here(body) => {
                let text = match body.get() {
                    Some(word) => self.expand_string(word)?,
                    None => Vec::new(),
                };
                Some(self.here_document(&text)?)
            }
            Target::Duplicate(word) => {
                let text = self.expand_string(word)?;
                if text == b"-" {
                    None
                } else {
                    return self.duplicate(redirect.fd, &text, saved);
                }
            }
        };
        if let Some(saved) = saved {
            saved.save(redirect.fd);
        }
        match source {
            None => sys::close(redirect.fd),
            Some(fd) => {
                let result = sys::dup2(fd, redirect.fd);
                if fd != redirect.fd {
                    sys::close(fd);
                }
                if let Err(error) = result {
                    self.complain(redirect.fd.to_string().as_bytes(), &error);
                    return Err(Failure::Said);
                }
            }
        }
        Ok(())
    }

    fn duplicate(
        &mut self,
        fd: i32,
        text: &[u8],
        saved: Option<&mut Saved>,
    ) -> Result<(), Failure> {
        let Some(from) = cli::number::<i32>(text).filter(|n| *n >= 0) else {
            self.error(format_args!("{}: bad fd number", cli::show(text)));
            return Err(Failure::Said);
        };
        if let Some(saved) = saved
            && fd != from
        {
            saved.save(fd);
        }
        sys::dup2(from, fd).map_err(|error| {
            self.complain(text, &error);
            Failure::Said
        })
    }

    fn open(&mut self, word: &super::ast::Word, flags: i32) -> Result<Option<i32>, Failure> {
        let path = self.expand_string(word)?;
        match sys::open(&path, flags, 0o666) {
            Ok(fd) => Ok(Some(fd)),
            Err(error) => {
                let verb = if flags & libc::O_CREAT != 0 {
                    "create"
                } else {
                    "open"
                };
                self.error(format_args!(
                    "cannot {verb} {}: {}",
                    cli::show(&path),
                    cli::error_text(&error)
                ));
                Err(Failure::Said)
            }
        }
    }

    /// `>` under `set -C`: refuses to truncate a regular file.
    fn open_new(&mut self, word: &super::ast::Word) -> Result<Option<i32>, Failure> {
        let path = self.expand_string(word)?;
        let regular = cli::path(&path).metadata().is_ok_and(|m| m.is_file());
        let flags = libc::O_WRONLY | libc::O_CREAT | if regular { libc::O_EXCL } else { 0 };
        match sys::open(&path, flags, 0o666) {
            Ok(fd) => Ok(Some(fd)),
            Err(error) => {
                self.error(format_args!(
                    "cannot create {}: {}",
                    cli::show(&path),
                    cli::error_text(&error)
                ));
                Err(Failure::Said)
            }
        }
    }

    /// The reading end of a pipe that yields `text`.
    fn here_document(&mut self, text: &[u8]) -> Result<i32, Failure> {
        let (reader, writer) = self.attempt(b"pipe", sys::pipe())?;
        if text.len() <= PIPE_HOLDS {
            // Fits, and the reader is open: cannot fail.
            let _ = sys::write_all(writer, text);
        } else if self.fork(fork::Role::Helper)? == 0 {
            sys::close(reader);
            let _ = sys::set_signal(libc::SIGPIPE, sys::Disposition::Default);
            let _ = sys::write_all(writer, text);
            sys::exit_now(0);
        }
        sys::close(writer);
        Ok(reader)
    }

    /// The result, or a fatal error that names `what`.
    pub fn attempt<T>(&mut self, what: &[u8], result: io::Result<T>) -> Result<T, Unwind> {
        result.map_err(|error| {
            self.fatal(format_args!(
                "{}: {}",
                cli::show(what),
                cli::error_text(&error)
            ))
        })
    }
}

impl Saved {
    fn save(&mut self, fd: i32) {
        if !self.0.iter().any(|(known, _)| *known == fd) {
            self.0.push((fd, sys::dup_above(fd, SAVED_FROM).ok()));
        }
    }

    /// Undoes the redirections.
    pub fn restore(self) {
        for (fd, copy) in self.0.into_iter().rev() {
            match copy {
                Some(copy) => {
                    let _ = sys::dup2(copy, fd);
                    sys::close(copy);
                }
                None => sys::close(fd),
            }
        }
    }

    /// Makes the redirections permanent, as `exec` without a command does.
    pub fn forget(self) {
        for copy in self.0.into_iter().filter_map(|(_, copy)| copy) {
            sys::close(copy);
        }
    }
}
