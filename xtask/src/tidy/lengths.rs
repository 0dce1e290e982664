//! Lengths: functions to 70 lines, files to 600 without their tests. What is longer today stands in `xtask/tidy-baseline.txt`
//! and may only become shorter. Generated files (`@generated` in their first lines) and `tests/` folders are not measured as files.

use std::collections::BTreeMap;

use super::{TextFile, Tree, source};

const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 600;
const BASELINE: &str = "xtask/tidy-baseline.txt";

pub fn check(tree: &Tree, update: bool, findings: &mut Vec<String>) -> Result<(), String> {
    let path = tree.root.join(BASELINE);
    let baseline = parse(&std::fs::read_to_string(&path).unwrap_or_default())?;
    let mut measured = BTreeMap::new();
    for file in tree.rust().filter(|file| !is_generated(file)) {
        measure(file, &mut measured);
    }
    let next = ratchet(&baseline, &measured, update, findings);
    if update && next != baseline {
        std::fs::write(&path, render(&next))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn is_generated(file: &TextFile) -> bool {
    file.text
        .lines()
        .take(6)
        .any(|line| line.contains("@generated"))
}

/// Adds what exceeds a limit: `path` for a file, `path function` for a function.
fn measure(file: &TextFile, measured: &mut BTreeMap<String, usize>) {
    let code = source::code_only(&file.text);
    let lines = source::lines_before_tests(&code);
    if lines > FILE_LINES && !file.path.contains("/tests/") {
        measured.insert(file.path.clone(), lines);
    }
    for function in source::functions(&code) {
        if function.lines > FUNCTION_LINES {
            let entry = measured
                .entry(format!("{} {}", file.path, function.name))
                .or_default();
            *entry = function.lines.max(*entry);
        }
    }
}

/// Compares with the baseline and returns the one to write when updating: never longer, never a new entry.
fn ratchet(
    baseline: &BTreeMap<String, usize>,
    measured: &BTreeMap<String, usize>,
    update: bool,
    findings: &mut Vec<String>,
) -> BTreeMap<String, usize> {
    let mut next = BTreeMap::new();
    for (what, lines) in measured {
        match baseline.get(what) {
            None => findings.push(too_long(what, *lines)),
            Some(before) if lines > before => findings.push(format!(
                "{what}: {lines} lines, was {before}; it may only become shorter"
            )),
            Some(_) => {}
        }
        if let Some(before) = baseline.get(what) {
            next.insert(what.clone(), *lines.min(before));
        }
    }
    if next != *baseline && !update {
        findings.push(format!(
            "{BASELINE}: something became shorter; run `cargo xtask tidy --update`"
        ));
    }
    next
}

fn too_long(what: &str, lines: usize) -> String {
    let limit = if what.contains(' ') {
        FUNCTION_LINES
    } else {
        FILE_LINES
    };
    format!("{what}: {lines} lines, the limit is {limit}; split it")
}

fn parse(text: &str) -> Result<BTreeMap<String, usize>, String> {
    let mut baseline = BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
    {
        let entry = line
            .rsplit_once(' ')
            .and_then(|(what, lines)| Some((what.to_owned(), lines.parse().ok()?)));
        let (what, lines) = entry.ok_or_else(|| {
            format!("{BASELINE}: cannot read `{line}`; it is `path [function] lines`")
        })?;
        baseline.insert(what, lines);
    }
    Ok(baseline)
}

fn render(baseline: &BTreeMap<String, usize>) -> String {
    let mut text = String::from(
        "# Longer than the house limits; each may only become shorter. `cargo xtask tidy --update` lowers it.\n",
    );
    for (what, lines) in baseline {
        text.push_str(&format!("{what} {lines}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(entries: &[(&str, usize)]) -> BTreeMap<String, usize> {
        entries
            .iter()
            .map(|(what, lines)| (what.to_string(), *lines))
            .collect()
    }

    #[test]
    fn a_new_long_function_is_refused_and_never_enters_the_baseline() {
        let mut findings = Vec::new();
        let next = ratchet(
            &lengths(&[]),
            &lengths(&[("a.rs handle", 90)]),
            true,
            &mut findings,
        );
        assert_eq!(
            findings,
            ["a.rs handle: 90 lines, the limit is 70; split it"]
        );
        assert!(next.is_empty());
    }

    #[test]
    fn the_baseline_only_goes_down() {
        let baseline = lengths(&[("a.rs", 900), ("b.rs", 700), ("c.rs", 650)]);
        let mut findings = Vec::new();
        let next = ratchet(
            &baseline,
            &lengths(&[("a.rs", 950), ("b.rs", 610)]),
            true,
            &mut findings,
        );
        assert_eq!(
            findings,
            ["a.rs: 950 lines, was 900; it may only become shorter"]
        );
        assert_eq!(next, lengths(&[("a.rs", 900), ("b.rs", 610)]));
    }

    #[test]
    fn a_baseline_survives_being_written_and_read() {
        let baseline = lengths(&[("a.rs", 900), ("a.rs handle", 90)]);
        assert_eq!(parse(&render(&baseline)), Ok(baseline));
    }
}
