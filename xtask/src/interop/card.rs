//! docs/compatibility.json: what the last runs found. A run replaces what it ran and keeps the rest; docs/compatibility.md is
//! written from it.

use serde::{Deserialize, Serialize};

use super::options::Options;
use super::segments::Findings;
use super::suites::{SUITES, SuiteOutcome, SuiteRun};
use super::{ClientResult, report};
use crate::repository;

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Card {
    pub clients: Vec<ClientResult>,
    pub segments: Option<Findings>,
    /// Of the process, and of the process with everything that was not synced.
    pub cuts: Option<[CutsFound; 2]>,
    pub suites: Vec<SuiteRun>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CutsFound {
    pub rounds: u64,
    pub violations: u64,
}

impl Card {
    /// The card as it stands; an empty one when there is none yet.
    pub fn read() -> Result<Card, String> {
        let path = repository::root().join("docs/compatibility.json");
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Card::default()),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Takes over what this run found. Of a suite only a full run counts; single tests replace their earlier results.
    pub fn take(
        &mut self,
        options: &Options,
        clients: Vec<ClientResult>,
        suites: Vec<(&'static str, SuiteOutcome)>,
        findings: Option<Findings>,
        cuts: Option<[CutsFound; 2]>,
    ) {
        for client in clients {
            match self
                .clients
                .iter_mut()
                .find(|known| known.name == client.name)
            {
                Some(known) => *known = client,
                None => self.clients.push(client),
            }
        }
        self.segments = findings.or(self.segments.take());
        self.cuts = cuts.or(self.cuts);
        for (_, outcome) in suites {
            if let (SuiteOutcome::Ran(run), false) = (outcome, options.scope().quick) {
                self.take_suite(run, options.tests.is_empty());
            }
        }
    }

    fn take_suite(&mut self, run: SuiteRun, is_whole: bool) {
        match self.suites.iter_mut().find(|known| known.name == run.name) {
            Some(known) if is_whole => *known = run,
            Some(known) => {
                for test in run.tests {
                    match known.tests.iter_mut().find(|old| old.name == test.name) {
                        Some(old) => *old = test,
                        None => known.tests.push(test),
                    }
                }
                known.tests.sort_by(|a, b| a.name.cmp(&b.name));
            }
            None if is_whole => self.suites.push(run),
            None => {}
        }
        let place = |run: &SuiteRun| SUITES.iter().position(|suite| suite.name == run.name);
        self.suites.sort_by_key(place);
    }

    /// Both files.
    pub fn write(&self) -> Result<(), String> {
        let docs = repository::root().join("docs");
        let json = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        for (name, text) in [
            ("compatibility.json", json + "\n"),
            ("compatibility.md", report::text(self)),
        ] {
            let path = docs.join(name);
            std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
            println!("  written: docs/{name}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::suites::{TestResult, Verdict};
    use super::*;

    fn run(day: &str, tests: &[(&str, Verdict)]) -> SuiteRun {
        SuiteRun {
            name: "librdkafka".to_owned(),
            source: "npm".to_owned(),
            version: "1".to_owned(),
            day: day.to_owned(),
            tests: tests
                .iter()
                .map(|(name, verdict)| TestResult {
                    name: (*name).to_owned(),
                    verdict: *verdict,
                    detail: String::new(),
                    seconds: 1.0,
                    passed_again: false,
                })
                .collect(),
        }
    }

    #[test]
    fn single_tests_replace_their_results_and_leave_the_day_of_the_full_run() {
        let mut card = Card::default();
        card.take_suite(run("d1", &[("a", Verdict::Passed)]), false);
        assert!(card.suites.is_empty());
        card.take_suite(
            run("d1", &[("a", Verdict::Passed), ("b", Verdict::Failed)]),
            true,
        );
        card.take_suite(run("d2", &[("b", Verdict::Passed)]), false);
        let known = &card.suites[0];
        assert_eq!(
            (known.day.as_str(), known.count(Verdict::Passed)),
            ("d1", 2)
        );
        card.take_suite(run("d3", &[("a", Verdict::Failed)]), true);
        assert_eq!(card.suites[0], run("d3", &[("a", Verdict::Failed)]));
    }
}
