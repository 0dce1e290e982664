//! Every request and response in every version: read back, compared with another implementation, attacked.

#[path = "../dice/mod.rs"]
mod dice;
mod generated;
mod hostile;
mod kafka;
pub mod oracle;
mod prelude;
mod source;
mod streams;

use generated::CASES;
use proptest::prelude::*;
use source::Source;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_message_reads_back(seed in prop::collection::vec(any::<u8>(), 0..600)) {
        for case in &CASES {
            for version in case.key.versions() {
                (case.round_trip)(&mut Source::new(&seed), version);
            }
        }
    }
}

#[test]
fn every_key_has_its_cases() {
    for key in wire::ApiKey::ALL {
        assert_eq!(
            CASES.iter().filter(|case| case.key == key).count(),
            2,
            "{key}"
        );
    }
}

#[test]
fn a_version_that_the_definitions_lack_is_refused() {
    for case in &CASES {
        let versions = case.key.versions();
        for version in [versions.start() - 1, versions.end() + 1, i16::MIN, i16::MAX] {
            let result = (case.decode)(&mut wire::Reader::new(&[0; 100]), version);
            assert!(result.is_err(), "{} version {version}", case.name);
        }
    }
}
