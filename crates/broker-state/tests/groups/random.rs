//! Random operations of many clients, with restarts, checked after every step. A failing seed names itself:
//! `GROUPS_SEED=17 cargo test -p broker-state --test groups random` runs it alone.
//!
//! Invariants: `OneReplyPerRequest`, `NobodyWaitsForever`, `ReplayEqualsLive`, `OneOwnerPerPartition` (per recorded
//! generation, across restarts), `OneLeaderPerGeneration`, `TicksEnd`, `CommittedIsFetched`.

mod clients;
mod oracle;

use std::collections::BTreeMap;
use std::time::Duration;

use broker_state::groups::*;
use broker_state::step::{Millis, RequestId};

use clients::Client;
pub(crate) use clients::Dice;
use oracle::{Oracle, Reached};

const SEEDS: u64 = 200;
const STEPS: usize = 400;
const LONGEST_REBALANCE: Duration = Duration::from_secs(20);
const INITIAL_DELAY: Duration = Duration::from_secs(3);

#[test]
fn random_operations_keep_every_invariant() {
    let seeds = match std::env::var("GROUPS_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("GROUPS_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    };
    let mut reached = Reached::default();
    let all = seeds.end - seeds.start == SEEDS;
    for seed in seeds {
        let mut simulation = Simulation::new(seed);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| simulation.run()));
        if let Err(reason) = outcome {
            eprintln!(
                "seed {seed} failed at {:?} after:\n{}",
                simulation.now,
                simulation.last_steps()
            );
            std::panic::resume_unwind(reason);
        }
        reached.add(simulation.oracle.reached());
    }
    assert!(
        !all || reached.is_enough(),
        "SimulationIsNotIdle: {reached:?}"
    );
}

struct Simulation {
    dice: Dice,
    groups: Groups,
    now: Millis,
    effects: GroupEffects,
    clients: Vec<Client>,
    waiting: BTreeMap<RequestId, Parked>,
    requests: u64,
    member_ids: u64,
    oracle: Oracle,
    story: Vec<String>,
}

/// A request without its answer.
struct Parked {
    client: Option<usize>,
    since: Millis,
    command: Command,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let settings = GroupSettings {
            initial_rebalance_delay: if dice.one_in(2) {
                INITIAL_DELAY
            } else {
                Duration::ZERO
            },
            max_group_size: if dice.one_in(4) { 3 } else { 100 },
            max_offsets_per_group: if dice.one_in(4) { 4 } else { 100 },
            offsets_retention: Duration::from_secs(900),
            max_swept_per_tick: dice.range(1, 10) as usize,
            ..GroupSettings::default()
        };
        let now = Millis(1_000_000);
        let mut groups = Groups::new(settings);
        groups.loaded(now);
        Simulation {
            clients: (0..6)
                .map(|number| Client::new(number, &mut dice))
                .collect(),
            dice,
            groups,
            now,
            effects: GroupEffects::new(),
            waiting: BTreeMap::new(),
            requests: 0,
            member_ids: 0,
            oracle: Oracle::default(),
            story: Vec::new(),
        }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.act();
        }
        self.settle_down();
    }

    fn act(&mut self) {
        match self.dice.range(0, 100) {
            0..78 => self.act_as_client(),
            78..82 => self.administer(),
            82..97 => {
                let pause = Duration::from_millis(self.dice.range(0, 3_000));
                self.pass(pause);
            }
            97..98 => self.stall(),
            98 => self.restart(),
            _ => self.act_as_client(),
        }
    }

    fn act_as_client(&mut self) {
        let number = self.dice.range(0, self.clients.len() as u64) as usize;
        let is_waiting = self
            .waiting
            .values()
            .any(|parked| parked.client == Some(number));
        if is_waiting && !self.dice.one_in(20) {
            return;
        }
        self.member_ids += 1;
        let fresh = MemberId::from(format!("m{}", self.member_ids));
        let command = self.clients[number].next_command(&mut self.dice, fresh);
        self.ask(Some(number), command);
    }

    fn administer(&mut self) {
        let group = clients::any_group(&mut self.dice);
        let topic = clients::any_topic(&mut self.dice);
        let command = match self.dice.range(0, 7) {
            0 => Command::Describe(vec![group]),
            1 => Command::List(ListFilter::default()),
            2 => Command::DeleteGroups(vec![group]),
            3 => Command::DeleteOffsets(DeleteOffsets {
                group,
                topics: vec![(topic, vec![0, 1])],
            }),
            4 => Command::CommitOffsets(clients::simple_commit(&mut self.dice, group, topic)),
            5 => Command::FetchOffsets(FetchOffsets {
                member_id: None,
                member_epoch: -1,
                group,
                topics: None,
                require_stable: false,
            }),
            _ => {
                self.story
                    .push(format!("{:?} topics_deleted {topic}", self.now));
                let deleted = [(topic, wire::Uuid::ZERO)];
                self.groups
                    .topics_deleted(self.now, &deleted, &mut self.effects);
                return self.settle();
            }
        };
        self.ask(None, command);
    }

    fn ask(&mut self, client: Option<usize>, command: Command) {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.story.push(format!(
            "{:?} {request:?} of client {client:?}: {command:?}",
            self.now
        ));
        self.waiting.insert(
            request,
            Parked {
                client,
                since: self.now,
                command: command.clone(),
            },
        );
        self.groups
            .handle(self.now, request, command, &mut self.effects);
        self.tick();
    }

    /// Ticks until nothing is due; that must not take for ever.
    fn tick(&mut self) {
        for _ in 0..100 {
            self.groups.tick(self.now, &mut self.effects);
            self.settle();
            if self.groups.next_deadline().is_none_or(|at| at > self.now) {
                return self.check_patience();
            }
        }
        panic!("TicksEnd: still due at {:?}", self.now);
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.groups.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.tick();
        }
        self.now = end;
    }

    /// The process stands still; whoever waits meanwhile is not the machine's fault.
    fn stall(&mut self) {
        let pause = Duration::from_millis(self.dice.range(0, 120_000));
        self.story
            .push(format!("{:?} stalls for {pause:?}", self.now));
        self.now = self.now + pause;
        for parked in self.waiting.values_mut() {
            parked.since = parked.since + pause;
        }
        self.tick();
    }

    /// Comes back with what was durable; parked requests are lost with their connections.
    fn restart(&mut self) {
        self.story.push(format!("{:?} restarts", self.now));
        let mut groups = Groups::new(self.groups.settings().clone());
        self.oracle
            .log()
            .iter()
            .for_each(|record| groups.apply(record));
        groups.loaded(self.now);
        self.groups = groups;
        self.waiting.clear();
        self.tick();
    }

    fn settle(&mut self) {
        let effects = self.effects.take();
        for record in effects.records {
            self.story.push(format!("    {record:?}"));
            self.oracle.learn_record(&record);
        }
        for (request, reply) in effects.replies {
            self.story.push(format!("    {request:?} {reply:?}"));
            let parked = self.waiting.remove(&request).expect("OneReplyPerRequest");
            self.oracle.learn_reply(&parked.command, &reply);
            if let Some(client) = parked.client {
                self.clients[client].learn(&parked.command, &reply);
            }
        }
        assert_eq!(
            self.oracle.durable(),
            self.groups.durable(),
            "ReplayEqualsLive"
        );
    }

    fn check_patience(&self) {
        for (request, parked) in &self.waiting {
            let waited = self.now.since(parked.since);
            assert!(
                waited <= LONGEST_REBALANCE + INITIAL_DELAY,
                "NobodyWaitsForever: {request:?} {:?}",
                parked.command
            );
        }
    }

    /// In the end everyone has an answer, and the silent members are gone.
    fn settle_down(&mut self) {
        self.pass(Duration::from_secs(3_600));
        assert!(self.waiting.is_empty(), "NobodyWaitsForever");
        assert!(
            self.groups.list(&ListFilter::default()).is_empty(),
            "GroupsEnd: all is expired after an hour"
        );
        assert!(self.groups.durable().is_empty(), "GroupsEnd");
    }

    fn last_steps(&self) -> String {
        self.story[self.story.len().saturating_sub(60)..].join("\n")
    }
}
