//! A comparison as one page for people: bar charts and the table, with nothing fetched from
//! anywhere.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::report::{Cell, Report};
use super::table::{figure, time};
use super::{COUNTS, peer};

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:1.6rem 0 .1rem}p{margin:.2rem 0 .5rem}
.bar{display:grid;grid-template-columns:9rem 1fr 7rem;gap:.5rem;align-items:center;font-size:.85rem}
.bar div{background:#eee}.bar i{display:block;height:.9rem;min-width:1px}
.c0{background:#33658a}.c1{background:#f26419}.c2{background:#f6ae2d}.c3{background:#5b8c5a}
table{border-collapse:collapse;font-size:.8rem;margin-top:2rem}
td,th{border-bottom:1px solid #ddd;padding:.15rem .6rem;text-align:right}
td:nth-child(-n+2),th:nth-child(-n+2){text-align:left}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}.bar div{background:#333}}
";

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    let host = &report.host;
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>gnomon compare</title>\
         <style>{STYLE}</style><h1>gnomon compare</h1><p>Linux {}, {}, {}</p><p>{}</p>\
         <p>Bars show the median time of one operation; counts are exact on every host.</p><p>{}</p>",
        escape(&host.kernel),
        host.module,
        escape(&host.cpu),
        escape(host.conclusion()),
        escape(peer::WHAT),
    );
    for row in &report.rows {
        let longest = cells(&row.cells)
            .map(|cell| cell.median_ns)
            .fold(0.0, f64::max);
        let _ = write!(out, "<h2>{}</h2><p>{}</p>", row.name, escape(row.isolates));
        for (i, (mode, cell)) in report.modes.iter().zip(&row.cells).enumerate() {
            let _ = match cell {
                Ok(cell) => write!(
                    out,
                    "<div class=\"bar\"><span>{mode}</span><div><i class=\"c{}\" style=\"width:{:.2}%\"></i></div><span>{}</span></div>",
                    i % 4,
                    cell.median_ns / longest * 100.0,
                    time(cell.median_ns)
                ),
                Err(why) => write!(out, "<p>{mode}: {}</p>", escape(why)),
            };
        }
    }
    out += "<table><tr><th>workload<th>mode<th>time<th>shortest<th>longest<th>ratio";
    for (heading, _) in COUNTS {
        let _ = write!(out, "<th>{heading}");
    }
    for row in &report.rows {
        for (mode, cell) in report.modes.iter().zip(&row.cells) {
            let Ok(cell) = cell else { continue };
            let _ = write!(
                out,
                "<tr><td>{}<td>{mode}<td>{}<td>{}<td>{}<td>{}",
                row.name,
                time(cell.median_ns),
                time(cell.min_ns),
                time(cell.max_ns),
                cell.ratio.map_or("–".into(), |ratio| format!("{ratio:.3}"))
            );
            write_counts(&mut out, &cell.counts);
        }
        if let Some(counts) = &row.peer {
            let _ = write!(
                out,
                "<tr><td>{}<td>{}<td>–<td>–<td>–<td>–",
                row.name,
                peer::NAME
            );
            write_counts(&mut out, counts);
        }
    }
    out += "</table></html>\n";
    out
}

fn cells(row: &[Result<Cell, String>]) -> impl Iterator<Item = &Cell> {
    row.iter().filter_map(|cell| cell.as_ref().ok())
}

fn write_counts(out: &mut String, counts: &BTreeMap<String, f64>) {
    for (heading, _) in COUNTS {
        let _ = match counts.get(heading) {
            Some(count) => write!(out, "<td>{}", figure(*count)),
            None => write!(out, "<td>–"),
        };
    }
}

/// Text that HTML does not take for markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::example;
    use super::*;

    #[test]
    fn page_fetches_nothing_and_escapes_names() {
        let page = page(&example());
        assert!(!page.contains("http") && !page.contains("src="));
        assert!(page.contains("A &lt;fast&gt; one"));
    }

    #[test]
    fn peer_stands_in_the_table() {
        assert!(page(&example()).contains("<td>1.25"));
    }

    #[test]
    fn longest_bar_is_full() {
        assert!(page(&example()).contains("width:100.00%"));
    }
}
