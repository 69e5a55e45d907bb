//! `stty [-a | SETTING…]`: the terminal's settings.

use crate::cli::{self, Out};
use crate::sys;

/// Which word of the settings a flag is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Input,
    Output,
    Local,
}

const FLAGS: &[(&str, Word, libc::tcflag_t)] = &[
    ("brkint", Word::Input, libc::BRKINT),
    ("icrnl", Word::Input, libc::ICRNL),
    ("igncr", Word::Input, libc::IGNCR),
    ("inlcr", Word::Input, libc::INLCR),
    ("istrip", Word::Input, libc::ISTRIP),
    ("ixon", Word::Input, libc::IXON),
    ("onlcr", Word::Output, libc::ONLCR),
    ("opost", Word::Output, libc::OPOST),
    ("echo", Word::Local, libc::ECHO),
    ("echoctl", Word::Local, libc::ECHOCTL),
    ("echoe", Word::Local, libc::ECHOE),
    ("echok", Word::Local, libc::ECHOK),
    ("icanon", Word::Local, libc::ICANON),
    ("iexten", Word::Local, libc::IEXTEN),
    ("isig", Word::Local, libc::ISIG),
    ("noflsh", Word::Local, libc::NOFLSH),
    ("tostop", Word::Local, libc::TOSTOP),
];

const CHARACTERS: &[(&str, usize)] = &[
    ("intr", libc::VINTR),
    ("quit", libc::VQUIT),
    ("erase", libc::VERASE),
    ("kill", libc::VKILL),
    ("eof", libc::VEOF),
    ("susp", libc::VSUSP),
    ("werase", libc::VWERASE),
];

fn word(settings: &mut libc::termios, word: Word) -> &mut libc::tcflag_t {
    match word {
        Word::Input => &mut settings.c_iflag,
        Word::Output => &mut settings.c_oflag,
        Word::Local => &mut settings.c_lflag,
    }
}

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let mut settings = match sys::tcgetattr(0) {
        Ok(settings) => settings,
        Err(error) => {
            cli::warn_error(b"standard input", &error);
            return 1;
        }
    };
    if args.is_empty() || args == [b"-a"] {
        return show(&mut settings);
    }
    if args == [b"size"] {
        let (columns, rows) = sys::window_size(0);
        let mut out = Out::stdout();
        out.line(format!("{rows} {columns}").as_bytes());
        return out.finish();
    }
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let name = String::from_utf8_lossy(arg);
        if let Some((_, place)) = CHARACTERS.iter().find(|(n, _)| *n == name) {
            let value = args.next().and_then(|text| character(text));
            let Some(value) = value else {
                cli::warn(format_args!("{name} needs a character such as ^C"));
                return 1;
            };
            settings.c_cc[*place] = value;
        } else if !apply(&mut settings, &name) {
            cli::warn(format_args!("{name}: unknown setting"));
            return 1;
        }
    }
    match sys::tcsetattr(0, &settings) {
        Ok(()) => 0,
        Err(error) => {
            cli::warn_error(b"standard input", &error);
            1
        }
    }
}

/// `^C`, `c`, `undef`.
fn character(text: &[u8]) -> Option<u8> {
    match text {
        b"undef" | b"^-" => Some(0),
        b"^?" => Some(0x7f),
        [b'^', letter] => Some(letter & 0x1f),
        [byte] => Some(*byte),
        _ => None,
    }
}

fn apply(settings: &mut libc::termios, name: &str) -> bool {
    let cooked = ["icanon", "isig", "iexten", "echo", "icrnl", "ixon", "opost"];
    match name {
        "raw" | "-cooked" => {
            for flag in cooked.iter().filter(|f| **f != "echo") {
                set(settings, flag, false);
            }
            settings.c_cc[libc::VMIN] = 1;
            settings.c_cc[libc::VTIME] = 0;
        }
        "sane" | "cooked" | "-raw" => {
            for flag in cooked.iter().chain(&["onlcr", "echoe", "echok", "echoctl"]) {
                set(settings, flag, true);
            }
            for flag in ["inlcr", "igncr", "istrip", "noflsh", "tostop"] {
                set(settings, flag, false);
            }
        }
        _ => {
            return match name.strip_prefix('-') {
                Some(name) => set(settings, name, false),
                None => set(settings, name, true),
            };
        }
    }
    true
}

fn set(settings: &mut libc::termios, name: &str, on: bool) -> bool {
    let Some(&(_, place, bits)) = FLAGS.iter().find(|(n, ..)| *n == name) else {
        return false;
    };
    let flags = word(settings, place);
    *flags = if on { *flags | bits } else { *flags & !bits };
    true
}

fn show(settings: &mut libc::termios) -> i32 {
    let (columns, rows) = sys::window_size(0);
    let mut out = Out::stdout();
    out.line(format!("rows {rows}; columns {columns};").as_bytes());
    let characters = CHARACTERS
        .iter()
        .map(|&(name, place)| match settings.c_cc[place] {
            0 => format!("{name} = <undef>;"),
            0x7f => format!("{name} = ^?;"),
            byte @ 1..0x20 => format!("{name} = ^{};", (byte + 0x40) as char),
            byte => format!("{name} = {};", byte as char),
        });
    out.line(characters.collect::<Vec<_>>().join(" ").as_bytes());
    let flags = FLAGS.iter().map(|&(name, place, bits)| {
        let sign = if *word(settings, place) & bits == 0 {
            "-"
        } else {
            ""
        };
        format!("{sign}{name}")
    });
    out.line(flags.collect::<Vec<_>>().join(" ").as_bytes());
    out.finish()
}
