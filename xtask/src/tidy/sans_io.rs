//! `wire`, `log` and `broker-state` read no clock and never sleep: time comes in as a number. Their tests obey too.

use super::{Tree, source};

const CRATES: &[&str] = &[
    "crates/wire/src/",
    "crates/log/src/",
    "crates/broker-state/src/",
];
const CLOCKS: &[&str] = &["SystemTime", "Instant", "thread::sleep", "UNIX_EPOCH"];

pub fn check(tree: &Tree, findings: &mut Vec<String>) {
    for file in tree
        .rust()
        .filter(|file| CRATES.iter().any(|folder| file.path.starts_with(folder)))
    {
        for (number, line) in source::code_only(&file.text).lines().enumerate() {
            if let Some(clock) = CLOCKS.iter().find(|clock| source::has_word(line, clock)) {
                findings.push(format!(
                    "{}:{}: {clock} in a crate without clocks; take `now` as an argument",
                    file.path,
                    number + 1
                ));
            }
        }
    }
}
