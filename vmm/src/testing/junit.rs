//! Results for machines: JUnit's XML, as continuous integration reads it.
//!
//! A suite for each place, a case for each test: what stands before the last `::` of a name is the
//! case's class.

use std::fmt::Write;
use std::time::Duration;

use super::result::{Counts, Finished, Verdict};

/// The whole document.
pub fn document(results: &[Finished], time: Duration) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    element(&mut text, "testsuites", "gnomon", results.iter(), time);
    let mut places: Vec<&str> = results.iter().map(|test| test.place.as_str()).collect();
    places.sort_unstable();
    places.dedup();
    for place in places {
        let of_place = || results.iter().filter(|test| test.place == place);
        let time = of_place().map(|test| test.time).sum();
        text += "  ";
        element(&mut text, "testsuite", place, of_place(), time);
        of_place().for_each(|test| case(&mut text, test));
        text += "  </testsuite>\n";
    }
    text += "</testsuites>\n";
    text
}

/// The opening tag of a suite. Writing to a string does not fail, here and below.
fn element<'a>(
    text: &mut String,
    tag: &str,
    name: &str,
    results: impl Iterator<Item = &'a Finished>,
    time: Duration,
) {
    let counts = Counts::of(results);
    let tests = counts.passed + counts.failed + counts.skipped;
    let _ = writeln!(
        text,
        "<{tag} name=\"{}\" tests=\"{tests}\" failures=\"{}\" skipped=\"{}\" errors=\"0\" time=\"{:.3}\">",
        escape(name),
        counts.failed,
        counts.skipped,
        time.as_secs_f64()
    );
}

fn case(text: &mut String, test: &Finished) {
    let (class, name) = test.name.rsplit_once("::").unwrap_or(("", &test.name));
    let _ = write!(
        text,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
        escape(&format!("{}.{class}", test.place)),
        escape(name),
        test.time.as_secs_f64()
    );
    let output = escape(&test.output);
    let _ = match &test.verdict {
        Verdict::Passed => writeln!(text, "/>"),
        Verdict::Skipped => writeln!(
            text,
            "><skipped message=\"{}\"/></testcase>",
            output.trim_end()
        ),
        verdict => writeln!(
            text,
            "><failure type=\"{}\" message=\"{}\">{output}</failure></testcase>",
            verdict.word(),
            escape(&verdict.to_string()),
        ),
    };
}

/// `text` as XML's characters; what XML 1.0 has no character for becomes U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' | '\t' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => {
                escaped.push(character);
            }
            _ => escaped.push('\u{fffd}'),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(place: &str, name: &str, verdict: Verdict, output: &str) -> Finished {
        Finished {
            place: place.into(),
            name: name.into(),
            verdict,
            time: Duration::from_millis(5),
            output: output.into(),
        }
    }

    #[test]
    fn each_place_is_a_suite() {
        let results = [
            finished("nested", "memory::a", Verdict::Passed, ""),
            finished("shadow", "memory::a", Verdict::Failed(101), "<no>\n"),
            finished("nested", "memory::b", Verdict::Skipped, "why\n"),
        ];
        let text = document(&results, Duration::from_secs(1));
        assert_eq!(
            text,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"gnomon\" tests=\"3\" failures=\"1\" skipped=\"1\" errors=\"0\" time=\"1.000\">\n  \
             <testsuite name=\"nested\" tests=\"2\" failures=\"0\" skipped=\"1\" errors=\"0\" time=\"0.010\">\n    \
             <testcase classname=\"nested.memory\" name=\"a\" time=\"0.005\"/>\n    \
             <testcase classname=\"nested.memory\" name=\"b\" time=\"0.005\"><skipped message=\"why\"/></testcase>\n  \
             </testsuite>\n  \
             <testsuite name=\"shadow\" tests=\"1\" failures=\"1\" skipped=\"0\" errors=\"0\" time=\"0.005\">\n    \
             <testcase classname=\"shadow.memory\" name=\"a\" time=\"0.005\">\
             <failure type=\"FAIL\" message=\"failed with status 101\">&lt;no&gt;\n</failure></testcase>\n  \
             </testsuite>\n\
             </testsuites>\n"
        );
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(
            escape("a\u{1b}[0m\u{0}&\""),
            "a\u{fffd}[0m\u{fffd}&amp;&quot;"
        );
    }
}
