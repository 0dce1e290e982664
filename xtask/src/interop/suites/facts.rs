//! What we know about single tests of a suite: `interop/<suite>/tests.txt`.
//!
//! ```text
//! # a comment
//! needs 0115_producer_auth an authorizer      not started: it wants what this run does not have
//! cause 0042_many_topics the reason of a failure, in our words, shown beside the test's own
//! chance test_a.py::test_b what decides        fails now and then, wherever it runs: it has more than one further attempt
//! limit 0038 900                              seconds after which the process of these tests is stopped
//! part 0081_admin CreateTopics                runs alone, as the test 0081_admin/CreateTopics, where a suite can do so
//! quick 0001 0002                             what the short run takes
//! ```
//! A name stands for every test that begins with it.

use std::time::Duration;

use crate::repository;

#[derive(Debug, Default, PartialEq)]
pub struct Facts {
    needs: Vec<(String, String)>,
    causes: Vec<(String, String)>,
    chances: Vec<(String, String)>,
    limits: Vec<(String, u64)>,
    parts: Vec<(String, String)>,
    quick: Vec<String>,
}

impl Facts {
    pub fn read(suite: &str) -> Result<Facts, String> {
        let path = repository::root()
            .join("interop")
            .join(suite)
            .join("tests.txt");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Facts::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &str) -> Result<Facts, String> {
        let mut facts = Facts::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            facts
                .take(line)
                .ok_or_else(|| format!("line {}: `{line}` is not understood", number + 1))?;
        }
        Ok(facts)
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let (kind, rest) = line.split_once(char::is_whitespace)?;
        if kind == "quick" {
            self.quick
                .extend(rest.split_whitespace().map(str::to_owned));
            return Some(());
        }
        let (name, what) = rest.trim_start().split_once(char::is_whitespace)?;
        let (name, what) = (name.to_owned(), what.trim());
        match kind {
            "needs" => self.needs.push((name, what.to_owned())),
            "part" => self.parts.push((name, what.to_owned())),
            "cause" => self.causes.push((name, what.to_owned())),
            "chance" => self.chances.push((name, what.to_owned())),
            "limit" => self.limits.push((name, what.parse().ok()?)),
            _ => return None,
        }
        Some(())
    }

    /// What the test needs that this run does not have.
    pub fn needs(&self, test: &str) -> Option<&str> {
        find(&self.needs, test)
    }

    /// Why the test fails.
    pub fn cause(&self, test: &str) -> Option<&str> {
        find(&self.causes, test)
    }

    /// Why chance decides whether the test passes, if it does.
    pub fn chance(&self, test: &str) -> Option<&str> {
        find(&self.chances, test)
    }

    pub fn limit(&self, test: &str) -> Option<Duration> {
        let found = self
            .limits
            .iter()
            .find(|(start, _)| test.starts_with(start));
        found.map(|(_, seconds)| Duration::from_secs(*seconds))
    }

    /// The parts in which a test runs; none: it runs as one.
    pub fn parts(&self, test: &str) -> Vec<&str> {
        let parts = self.parts.iter().filter(|(whole, _)| whole == test);
        parts.map(|(_, part)| part.as_str()).collect()
    }

    pub fn quick(&self) -> &[String] {
        &self.quick
    }

    pub fn is_quick(&self, test: &str) -> bool {
        self.quick.iter().any(|start| test.starts_with(start))
    }
}

fn find<'a>(facts: &'a [(String, String)], test: &str) -> Option<&'a str> {
    facts
        .iter()
        .find(|(start, _)| test.starts_with(start))
        .map(|(_, what)| what.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_holds_for_every_test_that_begins_so() {
        let text = "# ours\nneeds 0115 an authorizer\ncause 0042_many too slow\nchance 0043 a race\nlimit 0038 900\npart 0081_admin a\npart 0081_admin b\nquick 0001 0002\n\nquick 0003";
        let facts = Facts::parse(text).expect("six kinds");
        assert_eq!(facts.chance("0043_x"), Some("a race"));
        assert_eq!(facts.needs("0115_producer_auth"), Some("an authorizer"));
        assert_eq!(facts.cause("0042_many_topics"), Some("too slow"));
        assert_eq!(facts.limit("0038_x"), Some(Duration::from_secs(900)));
        assert!(facts.is_quick("0003_b") && !facts.is_quick("0004_b"));
        assert_eq!(facts.parts("0081_admin"), ["a", "b"]);
        assert_eq!(facts.needs("0001_multiobj"), None);
    }

    #[test]
    fn a_line_of_no_kind_is_refused_with_its_number() {
        let refused = Facts::parse("quick 0001\nskip 0002 because").expect_err("no such kind");
        assert_eq!(refused, "line 2: `skip 0002 because` is not understood");
    }
}
