//! `uname [-amnorsv]`: what system this is.

use crate::cli::{self, Options, Out};
use crate::sys;

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "amnoprsv") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let names = match sys::uname() {
        Ok(names) => names,
        Err(error) => {
            cli::warn_error(b"uname", &error);
            return 1;
        }
    };
    let [system, node, release, version, machine] = &names;
    let linux = b"GNU/Linux".to_vec();
    let fields = [
        (b's', system),
        (b'n', node),
        (b'r', release),
        (b'v', version),
        (b'm', machine),
        (b'o', &linux),
    ];
    let none = !fields.iter().any(|(letter, _)| options.has(*letter));
    let chosen = fields
        .iter()
        .filter(|(letter, _)| options.has(b'a') || options.has(*letter) || none && *letter == b's');
    let chosen: Vec<&[u8]> = chosen.map(|(_, field)| &field[..]).collect();
    let mut out = Out::stdout();
    out.line(&chosen.join(&b' '));
    out.finish()
}
