//! `yes [TEXT…]`: writes the text, `y` by default, again and again.

use crate::cli::Out;

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let line = if args.is_empty() {
        b"y".to_vec()
    } else {
        args.join(&b' ')
    };
    let mut out = Out::stdout();
    while !out.failed() {
        out.line(&line);
    }
    out.finish()
}
