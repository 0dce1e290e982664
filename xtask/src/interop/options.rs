//! What `cargo xtask interop` is asked for.

use super::clients::CLIENTS;
use super::suites::{SUITES, Scope, Suite};

pub const USAGE: &str = "usage: cargo xtask interop [--all | --only NAME,…] [--tests START,…] [--quick] [--parallel N]\n       \
                         [--against thalweg|kafka|HOST:PORT] [--rounds N] [--no-report]";

/// What `--only` calls the last part of a run.
const POWER_CUTS: &str = "power-cuts";

pub struct Options {
    pub against: String,
    /// Clients and suites by name; a suite that is named runs in full.
    pub only: Option<Vec<String>>,
    /// Every suite in full; otherwise what their `tests.txt` call quick.
    all: bool,
    quick: bool,
    /// Tests of the suites, by how their names begin.
    pub tests: Vec<String>,
    parallel: usize,
    pub rounds: u32,
    pub report: bool,
}

impl Options {
    pub fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options {
            against: "thalweg".to_owned(),
            only: None,
            all: false,
            quick: false,
            tests: Vec::new(),
            parallel: 2,
            rounds: 200,
            report: true,
        };
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let mut value = || {
                rest.next()
                    .cloned()
                    .ok_or_else(|| format!("{flag} needs a value\n{USAGE}"))
            };
            let list = |text: String| text.split(',').map(str::to_owned).collect::<Vec<_>>();
            let number = |text: String| text.parse::<u32>().map_err(|_| USAGE.to_owned());
            match flag.as_str() {
                "--against" => options.against = value()?,
                "--only" => options.only = Some(list(value()?)),
                "--tests" => options.tests = list(value()?),
                "--parallel" => options.parallel = number(value()?)? as usize,
                "--rounds" => options.rounds = number(value()?)?,
                "--all" => options.all = true,
                "--quick" => options.quick = true,
                "--no-report" => options.report = false,
                _ => return Err(USAGE.to_owned()),
            }
        }
        options.check()
    }

    fn check(self) -> Result<Options, String> {
        let names: Vec<&str> = CLIENTS
            .iter()
            .map(|client| client.name)
            .chain(SUITES.iter().map(|suite| suite.name))
            .chain([POWER_CUTS])
            .collect();
        let mut asked = self.only.iter().flatten();
        if let Some(unknown) = asked.find(|name| !names.contains(&name.as_str())) {
            return Err(format!(
                "no client and no suite {unknown}; there are {}",
                names.join(", ")
            ));
        }
        Ok(self)
    }

    pub fn wants_client(&self, client: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| only.iter().any(|name| name == client))
    }

    pub fn wants_clients(&self) -> bool {
        CLIENTS.iter().any(|client| self.wants_client(client.name))
    }

    /// Without a word about suites, those that have a quick part.
    pub fn wants_suite(&self, suite: &Suite) -> bool {
        match &self.only {
            Some(only) => only.iter().any(|name| name == suite.name),
            None => self.all || suite.has_quick_part,
        }
    }

    pub fn wants_cuts(&self) -> bool {
        let is_named = |only: &Vec<String>| only.iter().any(|name| name == POWER_CUTS);
        self.rounds > 0 && self.is_about_thalweg() && self.only.as_ref().is_none_or(is_named)
    }

    pub fn scope(&self) -> Scope {
        Scope {
            quick: self.quick || (self.only.is_none() && !self.all),
            only: self.tests.clone(),
            parallel: self.parallel,
        }
    }

    pub fn is_about_thalweg(&self) -> bool {
        self.against == "thalweg"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn a_suite_that_is_named_runs_in_full_and_the_others_not_at_all() {
        let options = parse("--only librdkafka --tests 0001,0002").expect("valid");
        assert!(options.wants_suite(&SUITES[0]) && !options.wants_suite(&SUITES[1]));
        assert!(!options.wants_clients() && !options.wants_cuts());
        assert!(parse("--only power-cuts").expect("valid").wants_cuts());
        let scope = options.scope();
        assert!(!scope.quick && scope.wants("0002_x") && !scope.wants("0003_x"));
    }

    #[test]
    fn without_words_the_quick_part_runs_and_with_all_everything() {
        assert!(parse("").expect("valid").scope().quick);
        let all = parse("--all").expect("valid");
        assert!(!all.scope().quick && SUITES.iter().all(|suite| all.wants_suite(suite)));
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_there_are() {
        let refused = parse("--only kcat,librdkafkas").err().expect("unknown");
        assert!(refused.starts_with("no client and no suite librdkafkas; there are kcat,"));
    }
}
