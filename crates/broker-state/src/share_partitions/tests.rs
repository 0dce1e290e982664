//! The rules of share partitions, with time as a number. Every rig is replayed at its end: what a restart knows is
//! what was durable.

mod acknowledging;
mod acquiring;
mod dead_letters;
mod random;
mod state;

use super::*;

pub(super) const TOPIC: Uuid = Uuid([1; 16]);

/// A machine with one group and one partition, its log, and the records that can be read.
pub(super) struct Rig {
    pub machine: SharePartitions,
    pub log: Vec<Record>,
    pub now: Millis,
    pub settings: ShareSettings,
    next_request: u64,
    /// The offset after the last record of the partition.
    pub end: i64,
    pub log_start: i64,
    /// Size of the batches that the partition has.
    pub batch: i64,
}

impl Rig {
    /// A partition with `end` records in batches of `batch`, read from the beginning.
    pub fn new(end: i64, batch: i64) -> Self {
        let mut rig = Self::without_start(end, batch);
        assert_eq!(rig.start(0), ErrorCode::None);
        rig
    }

    pub fn without_start(end: i64, batch: i64) -> Self {
        let mut machine = SharePartitions::new(10);
        machine.loaded();
        Self {
            machine,
            log: Vec::new(),
            now: Millis(1_000_000),
            settings: ShareSettings::default(),
            next_request: 0,
            end,
            log_start: 0,
            batch,
        }
    }

    pub fn group() -> GroupId {
        GroupId::from("workers")
    }

    pub fn key() -> SharePartitionKey {
        key(&Self::group(), TOPIC, 0)
    }

    pub fn ask(&mut self, command: Command) -> Reply {
        let mut effects = Effects::new();
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.machine
            .handle(self.now, request, command, &mut effects);
        self.log.append(&mut effects.records);
        assert_eq!(effects.replies.len(), 1, "each command is answered once");
        let (answered, reply) = effects.replies.remove(0);
        assert_eq!(answered, request);
        reply
    }

    pub fn start(&mut self, offset: i64) -> ErrorCode {
        let key = Self::key();
        match self.ask(Command::Start { key, offset }) {
            Reply::Done(error) => error,
            other => panic!("{other:?}"),
        }
    }

    pub fn plan(&mut self) -> (RequestId, Planned) {
        let plan = Plan {
            group: Self::group(),
            settings: self.settings.clone(),
            partitions: vec![PlanPartition {
                topic_id: TOPIC,
                partition: 0,
                log_start: self.log_start,
                end: self.end,
            }],
        };
        match self.ask(Command::Plan(plan)) {
            Reply::Plan { plan, partitions } => (plan, partitions[0]),
            other => panic!("{other:?}"),
        }
    }

    /// The batches from the one that holds `from` on, of at most `most` records behind it.
    pub fn batches(&self, from: i64, most: i64) -> Vec<(i64, i64)> {
        let mut batches = Vec::new();
        let mut first = from - from % self.batch;
        while first < self.end && first < from + most {
            batches.push((first, (first + self.batch - 1).min(self.end - 1)));
            first += self.batch;
        }
        batches
    }

    pub fn acquire_read(
        &mut self,
        member: &str,
        plan: RequestId,
        read: AcquirePartition,
        max_records: i64,
        is_strict: bool,
    ) -> Vec<Acquired> {
        let acquire = Acquire {
            group: Self::group(),
            member: MemberId::from(member),
            plan,
            settings: self.settings.clone(),
            max_records,
            batch_size: max_records,
            is_strict,
            partitions: vec![read],
        };
        match self.ask(Command::Acquire(acquire)) {
            Reply::Acquire(mut acquired) => acquired.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// A whole fetch: plan, read, acquire.
    pub fn fetch_as(&mut self, member: &str, max_records: i64, is_strict: bool) -> Vec<Acquired> {
        let (plan, planned) = self.plan();
        let Planned::Read(from) = planned else {
            return Vec::new();
        };
        let batches = self.batches(from, max_records);
        let upto = batches.last().map_or(from, |(_, last)| last + 1);
        let read = AcquirePartition {
            topic_id: TOPIC,
            partition: 0,
            from,
            upto,
            batches,
        };
        self.acquire_read(member, plan, read, max_records, is_strict)
    }

    pub fn fetch(&mut self, member: &str, max_records: i64) -> Vec<(i64, i64, i16)> {
        shown(&self.fetch_as(member, max_records, false))
    }

    pub fn fetch_strict(&mut self, member: &str, max_records: i64) -> Vec<(i64, i64, i16)> {
        shown(&self.fetch_as(member, max_records, true))
    }

    pub fn acknowledge_all(
        &mut self,
        member: &str,
        batches: Vec<AcknowledgeBatch>,
    ) -> Result<(), ErrorCode> {
        let acknowledge = Acknowledge {
            group: Self::group(),
            member: MemberId::from(member),
            settings: self.settings.clone(),
            partitions: vec![AcknowledgePartition {
                topic_id: TOPIC,
                partition: 0,
                batches,
            }],
        };
        match self.ask(Command::Acknowledge(acknowledge)) {
            Reply::Acknowledge(mut results) => results.remove(0).map_err(|refusal| refusal.error),
            other => panic!("{other:?}"),
        }
    }

    pub fn acknowledge(
        &mut self,
        member: &str,
        first: i64,
        last: i64,
        kind: AcknowledgeType,
    ) -> Result<(), ErrorCode> {
        let types = vec![kind];
        self.acknowledge_all(member, vec![AcknowledgeBatch { first, last, types }])
    }

    pub fn accept(&mut self, member: &str, first: i64, last: i64) -> Result<(), ErrorCode> {
        self.acknowledge(member, first, last, AcknowledgeType::Accept)
    }

    pub fn release_member(&mut self, member: &str) {
        let reply = self.ask(Command::Release {
            group: Self::group(),
            member: MemberId::from(member),
            partitions: None,
        });
        assert_eq!(reply, Reply::Done(ErrorCode::None));
    }

    pub fn described(&mut self) -> DescribedPartition {
        let group = Self::group();
        match self.ask(Command::Describe { group }) {
            Reply::Describe(mut partitions) => partitions.remove(0),
            other => panic!("{other:?}"),
        }
    }

    pub fn start_offset(&mut self) -> i64 {
        self.described().start_offset.expect("it was started")
    }

    /// Lets time pass, with the ticks that are due.
    pub fn pass(&mut self, millis: i64) {
        let end = Millis(self.now.0 + millis);
        while let Some(at) = self.machine.next_deadline()
            && at <= end
        {
            self.now = self.now.max(at);
            let mut effects = Effects::new();
            self.machine.tick(self.now, &mut effects);
            self.log.append(&mut effects.records);
        }
        self.now = end;
    }

    /// Kills the machine and replays what was durable.
    pub fn restart(&mut self) {
        let mut machine = SharePartitions::new(10);
        for record in &self.log {
            let (key, value) = record.encode();
            let record = Record::decode(&key, value.as_deref()).expect("our own record");
            machine.apply(&record);
        }
        machine.loaded();
        self.machine = machine;
    }

    /// `ReplayEqualsLive`: the log, and a rewritten log, give the durable state that there is.
    pub fn check_replay(&self) {
        let live = durable(&self.machine);
        let mut replayed = SharePartitions::new(10);
        self.log.iter().for_each(|record| replayed.apply(record));
        assert_eq!(durable(&replayed), live, "the log");
        let mut rewritten = SharePartitions::new(10);
        let records: Vec<_> = self.machine.snapshot_records(self.now).collect();
        records.iter().for_each(|record| rewritten.apply(record));
        assert_eq!(durable(&rewritten), live, "the rewritten log");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check_replay();
        }
    }
}

pub(super) type DurablePartition = (SharePartitionKey, Option<i64>, Vec<StateBatch>, i32);

pub(super) fn durable(machine: &SharePartitions) -> Vec<DurablePartition> {
    let mut keys = machine.keys(None);
    keys.sort();
    let durable = |key: SharePartitionKey| {
        let partition = machine.partition(&key).expect("a key of its own");
        let (start, batches) = (partition.start, partition.durable_batches());
        (key, start, batches, partition.state_epoch)
    };
    keys.into_iter().map(durable).collect()
}

pub(super) fn shown(acquired: &[Acquired]) -> Vec<(i64, i64, i16)> {
    acquired
        .iter()
        .map(|a| (a.first, a.last, a.count))
        .collect()
}
