//! The test language of groups: a story is a transcript of commands, each followed by what it must cause (`>` lines).
//!
//! ```text
//! set delay=3s retention=7d          settings, before anything else
//! join a topics=t1,t2 instance=i     client a joins; it repeats the join when told its member id, unless `once`
//! sync a a=0,1 b=2                   client a syncs; as leader it brings assignments by client (`t1:0+1`: as consumers do)
//! beat a · leave a b · leave i=box   heartbeat, leave (batched, or by instance)
//! commit a t1:0=42 · commit - t1:0=9 commit as a member, or as a consumer that is none
//! commit - t1:0=9 in=7 · end 7 abort in the transaction of producer 7, which ends
//! fetch t1:0 stable · fetch all      committed offsets
//! describe · list · delete · forget t1:0 · drop t1
//! topics t1=6 t2=3@7                 these topics there are now, with so many partitions; t2's id is 7, t1's is 1
//! enter a topics=t1 instance=i       client a joins a consumer group (KIP-848); again with `fresh` as another member
//! hb a · hb a owned · hb a owned=t1:0 topics=t2      it beats, tells what it owns, or what is new
//! exit a · exit a static             it leaves, or leaves to come back
//! view                               the consumer group
//! quiet                              records are not told from here on
//! after 10s · sleep 10s              time passes, each deadline in its turn, or with one late tick at the end
//! restart                            replays the log into a fresh machine
//!
//! > + group g 1 range leader=a.1 a.1=0,1     a record
//! > - offset g t1:0                          a tombstone
//! > a: joined 1 as a.1 follower              a reply
//! ```
//! Client a's member ids are a.1, a.2, …; sessions last 10 s and rebalances 60 s unless said otherwise. At its end each
//! story survives a restart, and nobody is left without an answer.

mod consumers;
mod render;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use broker_state::configs::GroupConfig;
use broker_state::groups::*;
use broker_state::step::{Millis, RequestId};

use words::Words;

/// Runs a story and compares what happened with what it says.
#[track_caller]
pub fn story(text: &str) {
    let told = run(text);
    let expected = tidy(text);
    assert!(
        told == expected,
        "the story went differently:\n{}",
        difference(&expected, &told)
    );
}

/// Runs a story and tells what really happened.
pub fn run(text: &str) -> String {
    let mut world = World::new();
    let mut told = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('>') {
            continue;
        }
        writeln!(told, "{line}").expect("a string takes every line");
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        world.act(line);
        for happened in world.told.drain(..) {
            writeln!(told, "> {}", happened.trim_end()).expect("a string takes every line");
        }
    }
    world.survives_restart();
    world.answers_everyone();
    told.trim().to_owned()
}

fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().map(str::trim).collect();
    lines.join("\n")
}

fn difference(expected: &str, told: &str) -> String {
    let mut shown = String::new();
    let (expected, told): (Vec<_>, Vec<_>) = (expected.lines().collect(), told.lines().collect());
    for line in &told {
        let mark = if expected.contains(line) { ' ' } else { '+' };
        writeln!(shown, "{mark} {line}").expect("a string takes every line");
    }
    for line in expected.iter().filter(|line| !told.contains(line)) {
        writeln!(shown, "- {line}").expect("a string takes every line");
    }
    shown
}

/// The machine, the log it has written, and the clients as they see themselves.
struct World {
    groups: Groups,
    now: Millis,
    /// What a restart reads back.
    log: Vec<Record>,
    effects: GroupEffects,
    clients: BTreeMap<String, Client>,
    /// How many member ids have been made up from each name.
    ids: BTreeMap<String, u32>,
    waiting: BTreeMap<RequestId, Asked>,
    answered: BTreeSet<RequestId>,
    requests: u64,
    told: Vec<String>,
    is_quiet: bool,
    topics: TopicsImage,
    config: GroupConfig,
}

/// A client with what it was last told.
#[derive(Clone, Debug, Default)]
struct Client {
    member_id: MemberId,
    instance_id: Option<InstanceId>,
    generation: Option<Generation>,
    last_join: Option<JoinGroup>,
    /// Of a consumer group.
    epoch: i32,
    owned: Partitions,
}

/// Whose request it was, and whether a MEMBER_ID_REQUIRED is to be followed.
#[derive(Clone, Debug)]
struct Asked {
    client: String,
    follows_up: bool,
}

impl World {
    fn new() -> Self {
        let mut groups = Groups::new(GroupSettings::default());
        let now = Millis(1_000_000);
        groups.loaded(now);
        World {
            groups,
            now,
            log: Vec::new(),
            effects: GroupEffects::new(),
            clients: BTreeMap::new(),
            ids: BTreeMap::new(),
            waiting: BTreeMap::new(),
            answered: BTreeSet::new(),
            requests: 0,
            told: Vec::new(),
            is_quiet: false,
            topics: TopicsImage::default(),
            config: GroupConfig::default(),
        }
    }

    fn act(&mut self, line: &str) {
        let words = Words::of(line);
        match words.verb {
            "set" => self.set(&words),
            "join" => self.join(&words),
            "sync" => self.sync(&words),
            "beat" => self.beat(&words),
            "leave" => self.leave(&words),
            "commit" => self.commit(&words),
            "end" => self.end(&words),
            "fetch" => self.fetch(&words),
            "forget" => self.forget(&words),
            "drop" => self.drop_topics(&words),
            "describe" => self.ask("", Command::Describe(vec![words.group()])),
            "list" => self.ask(
                "",
                Command::List(ListFilter {
                    states: words.list("states"),
                    types: words.list("types"),
                }),
            ),
            "delete" => self.ask("", Command::DeleteGroups(vec![words.group()])),
            "after" => self.pass(words::duration(words.plain[0])),
            "sleep" => self.sleep(words::duration(words.plain[0])),
            "restart" => self.restart(),
            "topics" => self.set_topics(&words),
            "enter" => self.enter(&words),
            "hb" => self.consumer_beat(&words),
            "exit" => self.exit(&words),
            "view" => self.ask("", Command::DescribeConsumers(vec![words.group()])),
            "quiet" => self.is_quiet = true,
            verb => panic!("no such verb in stories: {verb}"),
        }
    }

    fn set(&mut self, words: &Words<'_>) {
        let mut settings = self.groups.settings().clone();
        for (name, value) in &words.named {
            match *name {
                "delay" => settings.initial_rebalance_delay = words::duration(value),
                "retention" => settings.offsets_retention = words::duration(value),
                "size" => settings.max_group_size = words::number(value),
                "groups" => settings.max_groups = words::number(value),
                "offsets" => settings.max_offsets_per_group = words::number(value),
                "metadata" => settings.max_offset_metadata_bytes = words::number(value),
                "member" => settings.max_member_metadata_bytes = words::number(value),
                "record" => settings.max_group_record_bytes = words::number(value),
                "sweep" => settings.max_swept_per_tick = words::number(value),
                "silence" | "interval" => self.configure(name, words::duration(value)),
                "migration" => {
                    settings.consumer.migration_policy =
                        MigrationPolicy::named(value).expect("a policy");
                }
                "consumers" => settings.consumer.max_size = words::number(value),
                "regexes" => settings.consumer.max_regexes = words::number(value),
                "names" => settings.consumer.max_subscribed_topics = words::number(value),
                name => panic!("no such setting in stories: {name}"),
            }
        }
        self.groups.set_settings(settings);
    }

    fn join(&mut self, words: &Words<'_>) {
        let name = words.plain[0];
        let client = self.clients.entry(name.to_owned()).or_default();
        if words.flag("fresh") {
            client.member_id = MemberId::default();
        }
        let mut join = words.join(name, client);
        let base = join.instance_id.as_ref().map_or(name, InstanceId::as_str);
        let count = self.ids.entry(base.to_owned()).or_default();
        *count += 1;
        join.new_member_id = MemberId::from(format!("{base}.{count}"));
        if let Some(id) = words.get("as") {
            join.member_id = MemberId::from(id);
        }
        client.instance_id.clone_from(&join.instance_id);
        client.last_join = Some(join.clone());
        let follows_up = !words.flag("once");
        self.ask_as(
            Asked {
                client: name.to_owned(),
                follows_up,
            },
            Command::Join(join),
        );
    }

    fn sync(&mut self, words: &Words<'_>) {
        let client = self.client(words);
        let assignments = words
            .named
            .iter()
            .filter(|(name, _)| self.clients.contains_key(*name));
        let assignments = assignments.map(|(name, partitions)| {
            (
                self.clients[*name].member_id.clone(),
                words::assignment(partitions),
            )
        });
        let sync = SyncGroup {
            group: words.group(),
            member_id: words.member(&client),
            instance_id: words.instance(&client),
            generation: words.generation(&client),
            protocol_type: words.get("type").map(str::to_owned),
            protocol: words.get("protocol").map(str::to_owned),
            assignments: assignments.collect(),
        };
        self.ask(words.plain[0], Command::Sync(sync));
    }

    fn beat(&mut self, words: &Words<'_>) {
        let client = self.client(words);
        let heartbeat = Heartbeat {
            group: words.group(),
            member_id: words.member(&client),
            instance_id: words.instance(&client),
            generation: words.generation(&client),
        };
        self.ask(words.plain[0], Command::Heartbeat(heartbeat));
    }

    fn leave(&mut self, words: &Words<'_>) {
        let by_name = words.plain.iter().map(|name| {
            let client = self.clients.get(*name).cloned().unwrap_or_default();
            MemberIdentity {
                member_id: words.member(&client),
                instance_id: client.instance_id,
            }
        });
        let by_instance =
            words
                .named
                .iter()
                .filter(|(name, _)| *name == "i")
                .map(|(_, instance)| MemberIdentity {
                    member_id: MemberId::from(words.get("as").unwrap_or_default()),
                    instance_id: Some(InstanceId::from(*instance)),
                });
        let members = by_name.chain(by_instance).collect();
        self.ask(
            words.plain.first().unwrap_or(&""),
            Command::Leave(LeaveGroup {
                group: words.group(),
                members,
            }),
        );
    }

    fn commit(&mut self, words: &Words<'_>) {
        let client = self.client(words);
        let commit = CommitOffsets {
            group: words.group(),
            member_id: words.member(&client),
            instance_id: words.instance(&client),
            generation: words.generation(&client),
            knows_member_epochs: words
                .get("v")
                .is_none_or(|version| words::number(version) >= 9),
            retention: words.get("keep").map(words::duration),
            topics: words.commit_topics(),
        };
        let command = match words.get("in").map(words::producer) {
            Some(producer) => Command::CommitOffsetsInTransaction { producer, commit },
            None => Command::CommitOffsets(commit),
        };
        self.ask(words.plain[0], command);
    }

    /// The end of the transaction of a producer: `end 7 commit` or `end 7 abort`.
    fn end(&mut self, words: &Words<'_>) {
        let command = Command::EndTransaction {
            producer: words::producer(words.plain[0]),
            coordinator_epoch: 0,
            is_commit: words.flag("commit"),
        };
        self.ask("", command);
    }

    fn fetch(&mut self, words: &Words<'_>) {
        let topics = (!words.flag("all")).then(|| words.fetch_topics());
        self.ask(
            "",
            Command::FetchOffsets(FetchOffsets {
                member_id: words.get("as").map(MemberId::from),
                member_epoch: words
                    .get("epoch")
                    .map_or(-1, |epoch| epoch.parse().expect("an epoch")),
                group: words.group(),
                topics,
                require_stable: words.flag("stable"),
            }),
        );
    }

    fn forget(&mut self, words: &Words<'_>) {
        let topics = words
            .fetch_topics()
            .into_iter()
            .map(|topic| (topic.topic, topic.partitions))
            .collect();
        self.ask(
            "",
            Command::DeleteOffsets(DeleteOffsets {
                group: words.group(),
                topics,
            }),
        );
    }

    fn drop_topics(&mut self, words: &Words<'_>) {
        let id = words.topic_id();
        let topics: Vec<_> = words
            .plain
            .iter()
            .map(|topic| (TopicName::from(*topic), id))
            .collect();
        self.groups
            .topics_deleted(self.now, &topics, &mut self.effects);
        self.settle();
    }

    fn client(&self, words: &Words<'_>) -> Client {
        self.clients
            .get(words.plain[0])
            .cloned()
            .unwrap_or_default()
    }

    fn ask(&mut self, client: &str, command: Command) {
        self.ask_as(
            Asked {
                client: client.to_owned(),
                follows_up: false,
            },
            command,
        );
    }

    fn ask_as(&mut self, asked: Asked, command: Command) {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.waiting.insert(request, asked);
        self.groups
            .handle(self.now, request, command, &mut self.effects);
        self.groups.tick(self.now, &mut self.effects);
        self.settle();
    }

    /// Lets time pass with a tick at each deadline.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.groups.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.groups.tick(self.now, &mut self.effects);
            self.settle();
        }
        self.now = end;
    }

    /// Nothing runs for a while; then one tick comes late.
    fn sleep(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.groups.tick(self.now, &mut self.effects);
        self.settle();
    }

    /// Makes the records durable, then delivers the replies; clients that were told their member id join again.
    fn settle(&mut self) {
        let mut follow_ups = Vec::new();
        let effects = self.effects.take();
        for record in effects.records {
            self.log.push(read_back(&record));
            if !self.is_quiet {
                self.told.push(render::record(&record));
            }
        }
        for (request, reply) in effects.replies {
            let asked = self.waiting.remove(&request).expect("OneReplyPerRequest");
            assert!(self.answered.insert(request), "OneReplyPerRequest");
            if let Some(command) = self.learn(&asked, &reply) {
                follow_ups.push((asked, command));
                continue;
            }
            self.told.push(render::reply(&asked.client, &reply));
        }
        for (asked, command) in follow_ups {
            self.ask_as(
                Asked {
                    follows_up: false,
                    ..asked
                },
                command,
            );
        }
    }

    /// What a client keeps of an answer, and the request that it sends next by itself.
    fn learn(&mut self, asked: &Asked, reply: &Reply) -> Option<Command> {
        if let Reply::ConsumerHeartbeat(Ok(reply)) = reply {
            self.learn_assignment(&asked.client, reply);
        }
        let Reply::Join(joined) = reply else {
            return None;
        };
        let client = self.clients.get_mut(&asked.client)?;
        client.member_id = joined.member_id.clone();
        if joined.generation.is_some() {
            client.generation = Some(joined.generation);
        }
        let must_repeat = asked.follows_up && joined.error == wire::ErrorCode::MemberIdRequired;
        let mut join = client.last_join.clone().filter(|_| must_repeat)?;
        join.member_id = joined.member_id.clone();
        Some(Command::Join(join))
    }

    fn replayed(&self) -> Groups {
        let mut groups = Groups::new(self.groups.settings().clone());
        self.log.iter().for_each(|record| groups.apply(record));
        groups
    }

    fn restart(&mut self) {
        let mut groups = self.replayed();
        groups.loaded(self.now);
        groups.set_configs(self.now, self.configs());
        groups.set_topics(self.now, self.topics.clone(), &mut self.effects);
        self.groups = groups;
        self.waiting.clear();
    }

    fn survives_restart(&self) {
        let mut replayed = self.replayed();
        assert_eq!(
            replayed.durable(),
            self.groups.durable(),
            "ReplayEqualsLive"
        );
        let mut copied = Groups::new(self.groups.settings().clone());
        self.groups
            .snapshot_records()
            .for_each(|record| copied.apply(&record));
        assert_eq!(
            copied.durable(),
            self.groups.durable(),
            "SnapshotEqualsLive"
        );
        replayed.loaded(self.now);
        for listed in self.groups.list(&ListFilter::default()) {
            if listed.state == GroupState::Stable {
                assert_eq!(
                    replayed.describe(&listed.group),
                    self.groups.describe(&listed.group),
                    "StableSurvives"
                );
            }
        }
    }

    /// Lets time run until every deadline has passed; then nobody may wait any more.
    fn answers_everyone(&mut self) {
        for _ in 0..200 {
            if self.waiting.is_empty() {
                return;
            }
            let next = self.groups.next_deadline();
            self.now = self
                .now
                .max(next.expect("NobodyWaitsForever: someone waits and no deadline is set"));
            self.groups.tick(self.now, &mut self.effects);
            self.settle();
        }
        panic!("NobodyWaitsForever: {:?}", self.waiting);
    }
}

/// A record as the log gives it back.
fn read_back(record: &Record) -> Record {
    let (key, value) = record.encode();
    assert!(
        key.len() + value.as_ref().map_or(0, Vec::len) <= record.size(),
        "SizeIsAnUpperBound: {record:?}"
    );
    let read = match record {
        // A control batch says by itself what it ends.
        Record::Transaction(TransactionChange::End { .. }) => Ok(record.clone()),
        Record::Transaction(change) => {
            Record::decode_in_transaction(change.producer(), &key, value.as_deref())
        }
        _ => Record::decode(&key, value.as_deref()),
    };
    assert_eq!(read.as_ref(), Ok(record), "RecordsRoundTrip");
    record.clone()
}
