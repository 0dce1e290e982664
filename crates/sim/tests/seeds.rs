//! A few seeds of every scenario; `cargo run -p sim -- --seeds 500` runs more of them.

use sim::{Reached, Sabotage, Scenario, story};

const SEEDS: u64 = 24;

#[test]
fn every_invariant_holds_for_some_seeds() {
    for scenario in Scenario::ALL {
        let mut reached = Reached::default();
        for seed in 0..SEEDS {
            reached.add(&sim::run(*scenario, seed, Sabotage::None));
        }
        assert!(
            reached.power_cuts > 0 && reached.kills > 0,
            "{scenario:?}: {reached:?}"
        );
        assert!(reached.failed_steps > 0, "{scenario:?}: {reached:?}");
        assert!(reached.acknowledged > 100, "{scenario:?}: {reached:?}");
    }
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    for scenario in Scenario::ALL {
        let story = || {
            sim::run(*scenario, 7, Sabotage::None);
            story::digest()
        };
        assert_eq!(story(), story(), "{scenario:?}");
    }
}
