//! `tr [-cds] SET1 [SET2]`: replaces, deletes or squeezes bytes.

use super::echo;
use super::input::Input;
use crate::cli::{self, Options, Out};
use crate::sh::pattern::in_class;

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "+cCdst") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let (delete, squeeze) = (options.has(b'd'), options.has(b's'));
    let sets = match &options.operands[..] {
        [one] if delete || squeeze => (one, None),
        [one, two] => (one, Some(two)),
        _ => {
            cli::warn(format_args!("usage: tr [-cds] SET1 [SET2]"));
            return 1;
        }
    };
    let mut first = expand(sets.0, 0);
    if options.has(b'c') || options.has(b'C') {
        first = (0..=u8::MAX).filter(|b| !first.contains(b)).collect();
    }
    let second = sets.1.map(|set| expand(set, first.len()));
    if second.as_ref().is_some_and(Vec::is_empty) && !delete {
        cli::warn(format_args!("SET2 must not be empty"));
        return 1;
    }
    let member = |set: &[u8]| {
        let mut table = [false; 256];
        set.iter().for_each(|b| table[usize::from(*b)] = true);
        table
    };
    let in_first = member(&first);
    let squeezed = member(second.as_deref().unwrap_or(&first));
    let mut map: [u8; 256] = std::array::from_fn(|byte| byte as u8);
    if let Some(second) = second.as_ref().filter(|_| !delete) {
        for (index, byte) in first.iter().enumerate() {
            map[usize::from(*byte)] = second[index.min(second.len() - 1)];
        }
    }
    let mut input = Input::on(0);
    let mut out = Out::stdout();
    let mut last = None;
    loop {
        let block = match input.block() {
            Ok(block) if !block.is_empty() && !out.failed() => block,
            Ok(_) => return out.finish(),
            Err(error) => {
                cli::warn_error(b"standard input", &error);
                return 1;
            }
        };
        let mut changed = Vec::with_capacity(block.len());
        for &byte in block {
            if delete && in_first[usize::from(byte)] {
                continue;
            }
            let byte = map[usize::from(byte)];
            if squeeze && last == Some(byte) && squeezed[usize::from(byte)] {
                continue;
            }
            last = Some(byte);
            changed.push(byte);
        }
        out.put(&changed);
        // Somebody may be waiting for the answer to a line.
        out.drain();
    }
}

/// The bytes of a set, in order; `[x*]` fills it up to `length`.
fn expand(text: &[u8], length: usize) -> Vec<u8> {
    let mut set = Vec::new();
    let mut rest = text;
    let byte = |rest: &mut &[u8]| {
        let (first, tail) = rest.split_first()?;
        *rest = tail;
        if *first == b'\\'
            && let Some((byte, length)) = echo::escape(tail)
        {
            *rest = &tail[length..];
            return Some(byte);
        }
        if *first == b'\\'
            && let Some((escaped, tail)) = tail.split_first()
        {
            *rest = tail;
            return Some(*escaped);
        }
        Some(*first)
    };
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix(b"[:")
            && let Some(end) = inner.windows(2).position(|w| w == b":]")
        {
            set.extend((0..=u8::MAX).filter(|b| in_class(&inner[..end], *b)));
            rest = &inner[end + 2..];
            continue;
        }
        if let [b'[', repeated, b'*', tail @ ..] = rest
            && let Some(end) = tail.iter().position(|&b| b == b']')
        {
            let count = cli::number::<usize>(&tail[..end]).filter(|n| *n > 0);
            let count = count.unwrap_or(length.saturating_sub(set.len())).min(256);
            set.resize(set.len() + count, *repeated);
            rest = &tail[end + 1..];
            continue;
        }
        let Some(low) = byte(&mut rest) else {
            break;
        };
        if rest.len() > 1 && rest[0] == b'-' {
            rest = &rest[1..];
            let high = byte(&mut rest).unwrap_or(low);
            set.extend(low..=high);
        } else {
            set.push(low);
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_ranges_classes_and_escapes() {
        assert_eq!(expand(b"a-d", 0), b"abcd");
        assert_eq!(expand(b"[:digit:]x", 0), b"0123456789x");
        assert_eq!(expand(br"\n\t\\-", 0), b"\n\t\\-");
        assert_eq!(expand(b"a[x*]", 4), b"axxx");
        assert_eq!(expand(b"a-", 0), b"a-");
    }
}
