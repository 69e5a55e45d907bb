//! `du [-ahks] [PATH…]`: space that files take.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::names;
use crate::cli::{self, Options, Out};

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "ahkscx") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let here = [b".".to_vec()];
    let operands = if options.operands.is_empty() {
        &here[..]
    } else {
        &options.operands
    };
    let mut walk = Walk {
        all: options.has(b'a'),
        summary: options.has(b's'),
        human: options.has(b'h'),
        seen: HashSet::new(),
        out: Out::stdout(),
        status: 0,
    };
    let mut total = 0;
    for operand in operands {
        total += walk.measure(operand, true);
    }
    if options.has(b'c') {
        walk.show(total, b"total");
    }
    walk.status | walk.out.finish()
}

struct Walk {
    all: bool,
    summary: bool,
    human: bool,
    /// Files with several links count once.
    seen: HashSet<(u64, u64)>,
    out: Out,
    status: i32,
}

impl Walk {
    /// The blocks of 512 bytes below a path.
    fn measure(&mut self, path: &[u8], top: bool) -> u64 {
        let metadata = match fs::symlink_metadata(cli::path(path)) {
            Ok(metadata) => metadata,
            Err(error) => {
                cli::warn_error(path, &error);
                self.status = 1;
                return 0;
            }
        };
        let known = !self.seen.insert((metadata.dev(), metadata.ino()));
        if known && metadata.nlink() > 1 && !metadata.is_dir() {
            return 0;
        }
        let mut blocks = metadata.blocks();
        if metadata.is_dir() {
            match names::entries(path) {
                Ok(names) => {
                    for name in names {
                        blocks += self.measure(&names::join(path, &name), false);
                    }
                }
                Err(error) => {
                    cli::warn_error(path, &error);
                    self.status = 1;
                }
            }
        }
        if top || !self.summary && (metadata.is_dir() || self.all) {
            self.show(blocks, path);
        }
        blocks
    }

    fn show(&mut self, blocks: u64, name: &[u8]) {
        let kib = blocks.div_ceil(2);
        let size = if self.human {
            cli::human(kib)
        } else {
            kib.to_string()
        };
        self.out.line(&[size.as_bytes(), b"\t", name].concat());
    }
}
