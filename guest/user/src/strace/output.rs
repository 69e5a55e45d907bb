//! Lines of output. A line is begun when a call begins and ended when it is over; what another
//! thread does meanwhile cuts it in two: `<unfinished ...>`, `<... name resumed>`.

use std::fs::File;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::options::Options;
use crate::tracee::Tracee;

/// The column in which results begin.
const RESULT_COLUMN: usize = 40;

/// Where lines go.
pub struct Output {
    to: Box<dyn Write>,
    to_file: bool,
    follow: bool,
    time_of_day: bool,
    /// Whose line is not ended yet, and how many characters of it there are.
    open: Option<(Tracee, usize)>,
    /// More than one process has been seen: lines say whose they are.
    pub several: bool,
}

impl Output {
    /// Output as the command line asks for it.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn new(options: &Options) -> Result<Self, String> {
        let to: Box<dyn Write> = match &options.output {
            None => Box::new(io::stderr()),
            Some(path) => {
                let file = File::create(path)
                    .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
                Box::new(io::BufWriter::new(file))
            }
        };
        Ok(Self {
            to,
            to_file: options.output.is_some(),
            follow: options.follow,
            time_of_day: options.time_of_day,
            open: None,
            several: options.pids.len() > 1,
        })
    }

    fn put(&mut self, text: &str) {
        // What cannot be written is lost: the program must go on.
        let _ = self.to.write_all(text.as_bytes());
    }

    fn prefix(&self, tracee: Tracee) -> String {
        let mut prefix = if self.to_file && self.follow {
            format!("{:<5} ", tracee.0)
        } else if !self.to_file && self.several {
            format!("[pid {:>5}] ", tracee.0)
        } else {
            String::new()
        };
        if self.time_of_day {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let second = now.as_secs() % 86_400;
            prefix += &format!(
                "{:02}:{:02}:{:02} ",
                second / 3600,
                second / 60 % 60,
                second % 60
            );
        }
        prefix
    }

    /// End whatever line is open, as its call is not over.
    fn cut(&mut self) {
        if self.open.take().is_some() {
            self.put(" <unfinished ...>\n");
        }
    }

    /// Begin a line that [`Output::end`] will end.
    pub fn begin(&mut self, tracee: Tracee, text: &str) {
        self.cut();
        let prefix = self.prefix(tracee);
        self.put(&prefix);
        self.put(text);
        self.open = Some((tracee, text.chars().count()));
        // Whoever watches wants to see what a call that takes long is.
        let _ = self.to.flush();
    }

    /// End a line; `name` is the call's, in case that the line was cut.
    pub fn end(&mut self, tracee: Tracee, name: &str, rest: &str, result: &str) {
        let column = match self.open {
            Some((open, column)) if open == tracee => column,
            _ => {
                self.cut();
                let text = format!("<... {name} resumed>");
                let prefix = self.prefix(tracee);
                self.put(&prefix);
                self.put(&text);
                text.len()
            }
        };
        self.open = None;
        let column = column + rest.chars().count();
        let padding = RESULT_COLUMN.saturating_sub(column + 1);
        self.put(rest);
        self.put(&" ".repeat(padding));
        self.put(&format!(" = {result}\n"));
        let _ = self.to.flush();
    }

    /// A line of its own.
    pub fn line(&mut self, tracee: Tracee, text: &str) {
        self.cut();
        let prefix = self.prefix(tracee);
        self.put(&format!("{prefix}{text}\n"));
        let _ = self.to.flush();
    }

    /// The thread will not end its line.
    pub fn abandon(&mut self, tracee: Tracee) {
        if self.open.is_some_and(|(open, _)| open == tracee) {
            self.cut();
        }
    }

    /// Text as it is.
    pub fn raw(&mut self, text: &str) {
        self.cut();
        self.put(text);
        let _ = self.to.flush();
    }
}
