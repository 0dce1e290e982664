//! What librdkafka's tests say: the list in its `test.c`, and what a run of its `test-runner` prints.

/// A test as the suite lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    /// Needs no broker of ours: it makes its own, or none.
    pub is_local: bool,
    pub is_manual: bool,
    pub is_known_issue: bool,
    /// Names of scenarios, separated by commas.
    pub scenarios: String,
}

impl Listed {
    /// The digits in front: what `TESTS` chooses by.
    pub fn number(&self) -> &str {
        self.name.split('_').next().unwrap_or(&self.name)
    }

    pub fn is_in(&self, scenario: &str) -> bool {
        self.scenarios.split(',').any(|name| name == scenario)
    }
}

/// Reads the entries `_TEST(name, flags, …)` of the table `tests`.
pub fn listed(source: &str) -> Vec<Listed> {
    let table = source
        .split_once("struct test tests[] = {")
        .and_then(|(_, rest)| rest.split_once("{NULL}"))
        .map_or("", |(table, _)| table);
    table
        .split("_TEST(")
        .skip(1)
        .filter_map(|entry| {
            let (name, rest) = entry.split_once(',')?;
            let flags = rest.split([',', ')']).next()?;
            let has = |flag: &str| flags.split('|').any(|found| found.trim() == flag);
            let scenarios = rest
                .split_once(".scenario = \"")
                .and_then(|(_, rest)| rest.split_once('"'))
                .map_or("default", |(names, _)| names);
            Some(Listed {
                name: name.trim().to_owned(),
                is_local: has("TEST_F_LOCAL"),
                is_manual: has("TEST_F_MANUAL"),
                is_known_issue: has("TEST_F_KNOWN_ISSUE"),
                scenarios: scenarios.to_owned(),
            })
        })
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Passed,
    Failed,
    Skipped,
}

/// What one test came to.
#[derive(Debug, PartialEq)]
pub struct Row {
    pub name: String,
    pub state: State,
    pub seconds: f64,
    /// The first failure, or the reason to skip.
    pub detail: String,
    /// Parts of it that it skipped, each with its reason.
    pub parts_skipped: Vec<String>,
}

/// Reads the log of a process. A test that began and came to no end has no row.
pub fn rows(log: &str) -> Vec<Row> {
    let log = without_colours(log);
    let mut rows: Vec<Row> = Vec::new();
    let lines: Vec<&str> = log.lines().collect();
    let mut reason = String::new();
    let mut parts = Vec::new();
    let mut last = 0.0;
    for (at, line) in lines.iter().enumerate() {
        last = seconds(line).unwrap_or(last);
        if let Some(name) = line.strip_prefix("### Test \"") {
            let name = name.split(['"', ' ']).next().unwrap_or_default();
            if name == "<MAIN>" || rows.iter().any(|row| row.name == name) {
                continue;
            }
            let message = lines.get(at + 1).copied().unwrap_or_default();
            rows.push(row(name, State::Failed, last, message.trim(), &mut parts));
        } else if let Some((_, why)) = line.split_once("SKIPPING TEST: ") {
            // The next line may have been written behind it.
            let why = why.split("[0").next().unwrap_or(why);
            reason = why.trim().to_owned();
        } else if let Some((_, part)) = line.split_once("[ ").filter(|_| line.contains(": SKIP: "))
        {
            let part = skipped_part(part);
            if !parts.contains(&part) {
                parts.push(part);
            }
        } else if let Some((name, state)) = ended(line)
            && !rows.iter().any(|row| row.name == name)
        {
            rows.push(row(
                name,
                state,
                last,
                &std::mem::take(&mut reason),
                &mut parts,
            ));
        }
    }
    rows
}

/// `function:line: with what: SKIP: why ]` as `function: why`.
fn skipped_part(text: &str) -> String {
    let function = text.split(':').next().unwrap_or_default();
    let why = text.split_once(": SKIP: ").map_or("", |(_, why)| why);
    format!("{function}: {}", why.trim_end_matches([' ', ']', '.']))
}

fn row(name: &str, state: State, seconds: f64, detail: &str, parts: &mut Vec<String>) -> Row {
    Row {
        name: name.to_owned(),
        state,
        seconds,
        detail: detail.to_owned(),
        parts_skipped: std::mem::take(parts),
    }
}

/// `[name / 1.234s] ===== Test name PASSED =====`
fn ended(line: &str) -> Option<(&str, State)> {
    let words = line.split_once("= Test ")?.1;
    let mut words = words.split_whitespace();
    let name = words.next()?;
    let state = match words.next()? {
        "PASSED" => State::Passed,
        "FAILED" => State::Failed,
        "SKIPPED" => State::Skipped,
        _ => return None,
    };
    Some((name, state))
}

/// The time in front of a line, since the test began.
fn seconds(line: &str) -> Option<f64> {
    let (head, _) = line.split_once("s] ")?;
    head.rsplit_once('/')?.1.trim().parse().ok()
}

fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        plain.push_str(&rest[..at]);
        let sequence = &rest[at..];
        let end = sequence.find(|c: char| c.is_ascii_alphabetic());
        rest = end.map_or("", |end| &sequence[end + 1..]);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_tests_is_read_with_flags_and_scenarios() {
        let source = "struct test tests[] = {\n\
            {.name = \"<MAIN>\", .flags = TEST_F_LOCAL},\n\
            _TEST(0001_one, 0),\n\
            _TEST(0002_two,\n  TEST_F_LOCAL | TEST_F_KNOWN_ISSUE_OSX,\n _THRES(.ucpu = 100.0)),\n\
            _TEST(0003_three, TEST_F_KNOWN_ISSUE, TEST_BRKVER(0, 9, 0, 0), .scenario = \"default,ak23\"),\n\
            {NULL}};";
        let tests = listed(source);
        let names: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["0001_one", "0002_two", "0003_three"]);
        assert!(tests[1].is_local && !tests[1].is_known_issue);
        assert!(tests[2].is_known_issue && tests[2].is_in("ak23") && !tests[2].is_in("ak2"));
        assert_eq!(tests[0].scenarios, "default");
        assert_eq!(tests[0].number(), "0001");
    }

    #[test]
    fn a_log_says_what_passed_what_failed_and_what_was_skipped() {
        let log = "\u{1b}[36m[0001_one      /  1.500s] \u{1b}[33m[ part:12: SKIP: no authorizer. ]\u{1b}[0m\n\
            [0001_one      /  2.500s] ======= Test 0001_one PASSED =======\n\
            [0002_two      /  0.000s] WARN: SKIPPING TEST: no such thing[0002_two      /  0.000s] more\n\
            [0002_two      /  0.000s] ======= Test 0002_two SKIPPED =======\n\
            ### Test \"0003_three (sub:1)\" failed at a.c:1:f() at some time: ###\n\
            expected 13\n\
            [0003_three    /  3.000s] ======= Test 0003_three FAILED =======\n\
            ### Test \"<MAIN>\" failed at test.c:1950:wait() at some time: ###\n\
            [0004_four     /  0.000s] ======= Running test 0004_four =======\n";
        let rows = rows(log);
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0].state, State::Passed);
        assert_eq!(rows[0].seconds, 2.5);
        assert_eq!(rows[0].parts_skipped, ["part: no authorizer"]);
        assert_eq!(
            (rows[1].state, rows[1].detail.as_str()),
            (State::Skipped, "no such thing")
        );
        assert_eq!(
            (rows[2].state, rows[2].detail.as_str()),
            (State::Failed, "expected 13")
        );
    }
}
