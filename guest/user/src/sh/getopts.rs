//! `getopts`: the options of a script, one a call.

use super::{Flow, Shell};
use crate::cli;

/// `getopts OPTIONS NAME [ARG…]`.
pub fn getopts(shell: &mut Shell, args: &[Vec<u8>]) -> Flow {
    let [spec, name, rest @ ..] = args else {
        return Err(shell.fatal(format_args!(
            "getopts: usage: getopts optstring var [arg...]"
        )));
    };
    let words = if rest.is_empty() {
        shell.positional.clone()
    } else {
        rest.to_vec()
    };
    let index = shell
        .variables
        .get(b"OPTIND")
        .and_then(cli::number::<usize>);
    let mut index = index.unwrap_or(1).max(1);
    let mut offset = shell.getopts_offset;
    let (silent, spec) = match spec.strip_prefix(b":") {
        Some(spec) => (true, spec),
        None => (false, &spec[..]),
    };
    let _ = shell.variables.unset(b"OPTARG");
    let word = words
        .get(index - 1)
        .filter(|w| offset > 0 || (w.len() > 1 && w[0] == b'-'));
    let Some(word) = word.filter(|w| &w[..] != b"--") else {
        if word.is_some() {
            index += 1;
        }
        shell.set_variable(b"OPTIND", index.to_string().as_bytes())?;
        shell.set_variable(name, b"?")?;
        return Ok(1);
    };
    offset = offset.max(1);
    let letter = word.get(offset).copied().unwrap_or(b'?');
    offset += 1;
    let place = spec.iter().position(|&s| s == letter && letter != b':');
    let takes_value = place.is_some_and(|p| spec.get(p + 1) == Some(&b':'));
    let at_end = offset >= word.len();
    let mut result = vec![letter];
    if takes_value {
        let value = if at_end {
            words.get(index).cloned()
        } else {
            Some(word[offset..].to_vec())
        };
        index += 1 + usize::from(at_end && value.is_some());
        offset = 0;
        match value {
            Some(value) => shell.set_variable(b"OPTARG", &value)?,
            None if silent => {
                shell.set_variable(b"OPTARG", &[letter])?;
                result = b":".to_vec();
            }
            None => {
                shell.error(format_args!("No arg for -{} option", letter as char));
                result = b"?".to_vec();
            }
        }
    } else {
        if at_end {
            index += 1;
            offset = 0;
        }
        if place.is_none() {
            result = b"?".to_vec();
            if silent {
                shell.set_variable(b"OPTARG", &[letter])?;
            } else {
                shell.error(format_args!("Illegal option -{}", letter as char));
            }
        }
    }
    shell.set_variable(b"OPTIND", index.to_string().as_bytes())?;
    shell.getopts_offset = offset;
    shell.set_variable(name, &result)?;
    Ok(0)
}
