//! Statistics as JSON, for programs.

use std::fmt::Write;

use super::Stats;

/// One JSON object: mode, module, times in nanoseconds, and an object for each group of counters.
pub fn to_json(stats: &Stats) -> String {
    let mut text = String::from("{\n");
    let _ = writeln!(text, "  \"mode\": {},", quote(stats.mode));
    let _ = writeln!(text, "  \"module\": {},", quote(stats.module));
    let _ = writeln!(text, "  \"start_ns\": {},", stats.start.as_nanos());
    let _ = writeln!(text, "  \"entered_at_ns\": {},", stats.entered_at_ns);
    let _ = write!(text, "  \"run_ns\": {}", stats.run.as_nanos());
    for group in &stats.groups {
        let _ = write!(text, ",\n  {}: {{", quote(group.name));
        for (i, (name, value)) in group.counters.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let _ = write!(text, "{comma}\n    {}: {value}", quote(name));
        }
        text += if group.counters.is_empty() {
            "}"
        } else {
            "\n  }"
        };
    }
    text += "\n}\n";
    text
}

/// `text` as a JSON string (RFC 8259, section 7).
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if (c as u32) < 0x20 => {
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::Group;
    use super::*;
    use std::time::Duration;

    #[test]
    fn groups_become_objects() {
        let stats = Stats {
            mode: "nested",
            module: "kvm_pvm",
            start: Duration::from_nanos(5),
            entered_at_ns: 4,
            run: Duration::from_nanos(6),
            groups: vec![Group {
                name: "exits",
                counters: vec![("a".into(), 1), ("b".into(), 2)],
            }],
        };
        assert_eq!(
            to_json(&stats),
            "{\n  \"mode\": \"nested\",\n  \"module\": \"kvm_pvm\",\n  \"start_ns\": 5,\n  \"entered_at_ns\": 4,\n  \"run_ns\": 6,\n  \"exits\": {\n    \"a\": 1,\n    \"b\": 2\n  }\n}\n"
        );
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(quote("a\"\\\n"), "\"a\\\"\\\\\\u000a\"");
    }
}
