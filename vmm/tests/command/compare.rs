//! `gnomon compare`: what it writes, and what it refuses.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{Scratch, gnomon};

/// What it measures here: a kernel of its own, and nothing that takes long.
const WORKLOAD: [&str; 4] = ["compare", "--rounds", "1", "callret"];

fn with(options: &[&str]) -> Vec<String> {
    [&WORKLOAD, options]
        .concat()
        .iter()
        .map(|word| word.to_string())
        .collect()
}

#[test]
fn every_mode_is_in_every_form() {
    if !Path::new("/dev/kvm").exists() {
        eprintln!("skipped: there is no /dev/kvm");
        return;
    }
    let (json, html) = (
        Scratch::new("compare-json", b"old"),
        Scratch::new("compare-html", b"old"),
    );
    let ended = gnomon(
        &with(&[
            "--mmu",
            "nested,shadow,nested",
            "--json",
            json.path(),
            "--html",
            html.path(),
        ]),
        b"",
    );
    assert_eq!(ended.status, 0, "{ended:?}");
    let table = String::from_utf8(ended.stdout).expect("text");
    let page = fs::read_to_string(html.path()).expect("a page");
    let report = fs::read_to_string(json.path()).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let measured = report["workloads"][0]["modes"].as_object().expect("modes");
    let modes = ["nested", "shadow:vtlb", "shadow:trace", "shadow:unsync"];
    assert_eq!(measured.len(), modes.len());
    for mode in modes {
        assert!(measured[mode]["median_ns"].as_f64() > Some(0.0), "{mode}");
        let of_mode = |line: &&str| line.get(11..).is_some_and(|rest| rest.starts_with(mode));
        let lines = table.lines().filter(of_mode);
        assert_eq!(lines.count(), 1, "{mode}: {table}");
        assert!(page.contains(&format!("<td>{mode}<td>")), "{mode}");
    }
    assert!(page.ends_with("</html>\n"));
}

#[test]
fn file_that_cannot_be_written_is_said_before_anything_is_measured() {
    for option in ["--json", "--html"] {
        let ended = gnomon(&with(&[option, "/no/such/directory/file"]), b"");
        assert!(
            ended.one_line().contains("/no/such/directory/file"),
            "{ended:?}"
        );
    }
}

#[test]
fn what_there_is_not_is_named() {
    for (words, name) in [
        (&["compare", "nosuch"][..], "'nosuch'"),
        (&["compare", "--mmu", "shadow:magic"], "shadow:magic"),
        (&["compare", "--mmu", ""], "--mmu"),
        (&["compare", "--rounds", "0"], "--rounds"),
    ] {
        let ended = gnomon(words, b"");
        assert!(ended.one_line().contains(name), "{ended:?}");
    }
}
