//! Claims about finalized features.

use super::*;
use crate::features::{FeatureUpdate, GROUP_VERSION, TRANSACTION_VERSION, UpgradeType};

fn to(name: &str, level: i16, upgrade_type: UpgradeType) -> FeatureUpdate {
    FeatureUpdate {
        name: name.to_owned(),
        level,
        upgrade_type,
    }
}

impl Run {
    fn update(&mut self, updates: Vec<FeatureUpdate>) -> String {
        let (_, reply) = self.ask(Command::UpdateFeatures {
            updates,
            validate_only: false,
        });
        let Reply::FeaturesUpdated(result) = reply else {
            panic!("an update is answered with its result")
        };
        shown("", &result)
    }
}

#[test]
fn a_level_moves_down_and_up_again_and_the_epoch_only_up() {
    let mut run = Run::new();
    assert_eq!(run.cluster.features().level(TRANSACTION_VERSION), 2);
    assert_eq!(run.cluster.features().epoch(), 0);
    let down = to(TRANSACTION_VERSION, 1, UpgradeType::SafeDowngrade);
    assert_eq!(run.update(vec![down]), " ok");
    assert_eq!(run.cluster.features().level(TRANSACTION_VERSION), 1);
    assert_eq!(run.cluster.features().epoch(), 1);
    let up = to(TRANSACTION_VERSION, 2, UpgradeType::Upgrade);
    assert_eq!(run.update(vec![up.clone()]), " ok");
    assert_eq!(run.update(vec![up]), " ok", "nothing is left to do");
    assert_eq!(run.cluster.features().epoch(), 2);
}

#[test]
fn what_cannot_be_is_refused_in_kafka_s_words() {
    use UpgradeType::{SafeDowngrade, Unknown, Upgrade};
    let invalid = |level: i16, name: &str, reason: &str| {
        format!(
            " INVALID_UPDATE_VERSION: Invalid update version {level} for feature {name}. {reason}"
        )
    };
    let cases = [
        (
            "nosuch.version",
            1,
            Upgrade,
            "Local controller 1 does not support this feature.",
        ),
        (
            GROUP_VERSION,
            5,
            Upgrade,
            "Local controller 1 only supports versions 0-1",
        ),
        (
            GROUP_VERSION,
            -1,
            Upgrade,
            "A feature version cannot be less than 0.",
        ),
        (
            GROUP_VERSION,
            0,
            Unknown,
            "The controller does not support the given upgrade type.",
        ),
        (
            GROUP_VERSION,
            0,
            Upgrade,
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
        ),
        (
            "metadata.version",
            29,
            SafeDowngrade,
            "Local controller 1 only supports versions 30-30",
        ),
    ];
    let mut run = Run::new();
    for (name, level, upgrade_type, reason) in cases {
        let update = to(name, level, upgrade_type);
        assert_eq!(run.update(vec![update]), invalid(level, name, reason));
    }
    run.update(vec![to(GROUP_VERSION, 0, SafeDowngrade)]);
    let up = to(GROUP_VERSION, 1, SafeDowngrade);
    let reason = "Can't downgrade to a newer version.";
    assert_eq!(run.update(vec![up]), invalid(1, GROUP_VERSION, reason));
}

#[test]
fn one_update_that_cannot_be_keeps_the_others_from_being_made() {
    let mut run = Run::new();
    let updates = vec![
        to(GROUP_VERSION, 0, UpgradeType::UnsafeDowngrade),
        to("nosuch.version", 1, UpgradeType::Upgrade),
    ];
    assert!(run.update(updates).contains("INVALID_UPDATE_VERSION"));
    assert_eq!(run.cluster.features().level(GROUP_VERSION), 1);
}

#[test]
fn a_level_of_a_newer_version_stops_the_replay() {
    let mut cluster = Cluster::new(ClusterSettings {
        node_id: 1,
        max_partitions: 1,
        broker: BrokerConfig::default(),
    });
    let record = MetadataRecord::FeatureLevelSet {
        name: GROUP_VERSION.to_owned(),
        level: 9,
        epoch: 1,
    };
    assert!(matches!(
        cluster.apply(&record),
        Err(ReplayError::Feature { level: 9, .. })
    ));
}
