//! Random histories with restarts: after each step the world compares itself with its replay, and these hold.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wire::ErrorCode;

use super::*;

const IDS: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug)]
enum Act {
    Init {
        id: usize,
        goes_on: bool,
    },
    Add {
        id: usize,
        stale: bool,
        partition: i32,
    },
    End {
        id: usize,
        stale: bool,
        is_commit: bool,
        version: i16,
    },
    WriteMarkers,
    Pass {
        seconds: u32,
    },
    Wear {
        id: usize,
    },
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let id = 0..IDS.len();
    prop_oneof![
        2 => (id.clone(), any::<bool>()).prop_map(|(id, goes_on)| Act::Init { id, goes_on }),
        6 => (id.clone(), prop::bool::weighted(0.2), 0..3)
            .prop_map(|(id, stale, partition)| Act::Add { id, stale, partition }),
        5 => (id.clone(), prop::bool::weighted(0.2), any::<bool>(), prop_oneof![Just(0), Just(2)])
            .prop_map(|(id, stale, is_commit, version)| Act::End { id, stale, is_commit, version }),
        5 => Just(Act::WriteMarkers),
        2 => (0u32..100).prop_map(|seconds| Act::Pass { seconds }),
        1 => id.prop_map(|id| Act::Wear { id }),
        1 => Just(Act::Restart),
    ]
}

/// What clients know, and what they were promised.
#[derive(Default)]
struct Oracle {
    /// The producer that each id was told last, and the one before.
    told: BTreeMap<usize, Vec<ProducerIdentity>>,
    asked: BTreeMap<RequestId, usize>,
    commits: BTreeMap<ProducerIdentity, bool>,
}

impl Oracle {
    fn who(&self, id: usize, stale: bool) -> ProducerIdentity {
        let told = self.told.get(&id).map_or(&[][..], Vec::as_slice);
        let back = usize::from(stale) + 1;
        let place = told.len().checked_sub(back);
        place.map_or(producer(7, 0), |place| told[place])
    }

    fn learn(&mut self, world: &World) {
        for (request, id) in std::mem::take(&mut self.asked) {
            match world.replies.get(&request) {
                None => {
                    self.asked.insert(request, id);
                }
                Some(Reply::InitProducerId(Ok(next)) | Reply::EndTransaction(Ok(next))) => {
                    self.told.entry(id).or_default().push(*next);
                }
                Some(_) => {}
            }
        }
        for markers in &world.markers {
            let before = self.commits.insert(markers.producer, markers.is_commit);
            let is_same = before.is_none_or(|before| before == markers.is_commit);
            let is_older = markers.transaction_version < VERSION_2;
            assert!(is_same || is_older, "OneEndPerTransaction: {markers:?}");
        }
    }
}

fn run(acts: Vec<Act>) {
    let mut world = World::new();
    let mut oracle = Oracle::default();
    for act in acts {
        match act {
            Act::Init { id, goes_on } => {
                let current =
                    (goes_on && oracle.told.contains_key(&id)).then(|| oracle.who(id, false));
                let (request, _) = world.ask(World::init_command(IDS[id], current));
                oracle.asked.insert(request, id);
            }
            Act::Add {
                id,
                stale,
                partition,
            } => {
                let producer = oracle.who(id, stale);
                world.ask(World::add_command(IDS[id], producer, &[("t", partition)]));
            }
            Act::End {
                id,
                stale,
                is_commit,
                version,
            } => {
                let producer = oracle.who(id, stale);
                let command = World::end_command(IDS[id], producer, is_commit, version);
                let (request, _) = world.ask(command);
                oracle.asked.insert(request, id);
            }
            Act::WriteMarkers => world.write_markers(),
            Act::Pass { seconds } => world.pass(SECOND * seconds),
            Act::Wear { id } => {
                let may = world.machine.all().get(IDS[id]);
                let last = crate::producer_ids::LAST_EPOCH - 1;
                let is_younger = |known: &Transaction| known.producer.producer_epoch < last;
                if may.is_some_and(|known| !known.state.is_ending() && is_younger(known)) {
                    let worn = world.wear(IDS[id], last);
                    oracle.told.entry(id).or_default().push(worn);
                }
            }
            Act::Restart => {
                world.restart();
                oracle.asked.clear();
            }
        }
        oracle.learn(&world);
        check(&world);
    }
    finish(&mut world, &oracle);
}

/// What holds at any time.
fn check(world: &World) {
    for (id, transaction) in world.machine.all() {
        let is_open = transaction.state == State::Ongoing || transaction.state.is_ending();
        assert!(
            is_open || transaction.partitions.is_empty(),
            "PartitionsBelongToATransaction"
        );
        let has_deadline = world.machine.deadlines.iter().any(|(_, of)| of == id);
        assert_eq!(
            has_deadline,
            transaction.state == State::Ongoing,
            "OpenTransactionsEnd"
        );
        assert!(
            transaction.producer.producer_epoch >= 0,
            "EpochsDoNotOverflow"
        );
        let is_awaited = world
            .markers
            .iter()
            .any(|markers| markers.id == *id && markers.producer == transaction.producer);
        assert!(
            is_awaited || !transaction.state.is_ending(),
            "DecidedEndsAreCarriedOut"
        );
    }
}

/// Once markers are written and time has passed nobody waits, and every id can be used again.
fn finish(world: &mut World, oracle: &Oracle) {
    world.write_markers();
    world.pass(TIMEOUT * 2);
    world.write_markers();
    for request in oracle.asked.keys() {
        assert!(world.replies.contains_key(request), "NobodyWaitsForever");
    }
    for id in IDS {
        let producer = world.init_with(id, None).expect("EveryIdCanBeUsedAgain");
        assert_eq!(world.add(id, producer, &[("t", 0)]), Ok(()));
        assert!(producer.producer_epoch < i16::MAX, "EpochsDoNotOverflow");
        assert_ne!(
            world.end(id, producer, true),
            Err(ErrorCode::ProducerFenced)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_histories_keep_the_invariants(acts in prop::collection::vec(act(), 1..60)) {
        run(acts);
    }

    #[test]
    fn any_bytes_are_read_or_refused(key in prop::collection::vec(any::<u8>(), 0..40), value in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = Record::decode(&key, Some(&value));
    }
}
