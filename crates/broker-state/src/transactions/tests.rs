//! Claims about transactions. Each world checks after every step that replaying its log, and a copy of its state, give
//! the same state again.

mod adding;
mod administering;
mod ending;
mod expiring;
mod histories;
mod initializing;
mod recording;

use std::collections::BTreeMap;
use std::time::Duration;

use wire::ErrorCode;

use super::*;

pub(super) const SECOND: Duration = Duration::from_secs(1);
/// The time-out that the producers of these tests ask for.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

/// The machine with its log, and everything that it has asked of its runner.
pub(super) struct World {
    pub machine: Transactions,
    pub now: Millis,
    pub log: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub replies: BTreeMap<RequestId, Reply>,
    /// Markers that were asked for and not written yet.
    pub markers: Vec<Markers>,
    requests: u64,
    next_producer_id: i64,
    lends: bool,
}

/// A producer of the older protocol has version 0, a newer one 2.
pub(super) fn producer(producer_id: i64, producer_epoch: i16) -> ProducerIdentity {
    ProducerIdentity {
        producer_id,
        producer_epoch,
    }
}

pub(super) fn partitions(names: &[(&str, i32)]) -> Partitions {
    let mut partitions = Partitions::new();
    for (topic, index) in names {
        let topic = partitions.entry(TopicName::from(*topic)).or_default();
        topic.insert(*index);
    }
    partitions
}

impl World {
    pub fn new() -> Self {
        Self::with(TransactionSettings::default())
    }

    pub fn with(settings: TransactionSettings) -> Self {
        let mut machine = Transactions::new(settings);
        let now = Millis(1_000_000);
        machine.loaded(now, &mut TransactionEffects::default());
        World {
            machine,
            now,
            log: Vec::new(),
            replies: BTreeMap::new(),
            markers: Vec::new(),
            requests: 0,
            next_producer_id: 1_000,
            lends: true,
        }
    }

    /// No producer ids are lent from here on.
    pub fn without_producer_ids(mut self) -> Self {
        self.lends = false;
        self
    }

    /// Asks, and gives the answer if there is one at once.
    pub fn ask(&mut self, command: Command) -> (RequestId, Option<Reply>) {
        self.requests += 1;
        let request = RequestId(self.requests);
        let mut effects = TransactionEffects::default();
        self.machine
            .handle(self.now, request, command, &mut effects);
        self.settle(effects);
        (request, self.replies.get(&request).cloned())
    }

    fn settle(&mut self, effects: TransactionEffects) {
        for record in &effects.step.records {
            let (key, value) = record.encode(self.machine.settings().version);
            let read = Record::decode(&key, value.as_deref());
            assert_eq!(read.as_ref(), Ok(record), "RecordsRoundTrip");
            self.log.push((key, value));
        }
        for (request, reply) in effects.step.replies {
            let before = self.replies.insert(request, reply);
            assert_eq!(before, None, "OneReplyPerRequest");
        }
        self.markers.extend(effects.markers);
        self.replays();
        if self.lends && self.machine.wants_producer_ids() {
            self.lend();
        }
    }

    pub fn lend(&mut self) {
        let mut effects = TransactionEffects::default();
        let ids = self.next_producer_id..self.next_producer_id + 10;
        self.next_producer_id += 10;
        self.machine.lend(self.now, ids, &mut effects);
        self.settle(effects);
    }

    /// What a restart makes of the log.
    pub fn replayed(&self) -> Transactions {
        let mut replayed = Transactions::new(self.machine.settings().clone());
        for (key, value) in &self.log {
            replayed.apply(&Record::decode(key, value.as_deref()).expect("the machine wrote it"));
        }
        replayed
    }

    fn replays(&self) {
        let replayed = self.replayed();
        assert_eq!(replayed.all(), self.machine.all(), "ReplayEqualsLive");
        assert_eq!(
            replayed.deadlines, self.machine.deadlines,
            "ReplayEqualsLive"
        );
        let mut copied = Transactions::new(self.machine.settings().clone());
        self.machine
            .snapshot_records()
            .for_each(|record| copied.apply(&record));
        assert_eq!(copied.all(), self.machine.all(), "SnapshotEqualsLive");
    }

    pub fn restart(&mut self) {
        let mut machine = self.replayed();
        let mut effects = TransactionEffects::default();
        machine.loaded(self.now, &mut effects);
        self.machine = machine;
        self.markers.clear();
        self.settle(effects);
    }

    /// All markers that were asked for are written.
    pub fn write_markers(&mut self) {
        for markers in std::mem::take(&mut self.markers) {
            let mut effects = TransactionEffects::default();
            self.machine
                .markers_written(self.now, &markers.id, markers.producer, &mut effects);
            self.settle(effects);
        }
    }

    /// Lets time pass with a tick at each deadline.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.machine.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let mut effects = TransactionEffects::default();
            self.machine.tick(self.now, &mut effects);
            self.settle(effects);
        }
        self.now = end;
    }

    pub fn init_command(id: &str, current: Option<ProducerIdentity>) -> Command {
        Command::InitProducerId(InitProducerId {
            id: id.into(),
            timeout: TIMEOUT,
            current,
        })
    }

    pub fn init_with(
        &mut self,
        id: &str,
        current: Option<ProducerIdentity>,
    ) -> Result<ProducerIdentity, ErrorCode> {
        match self.ask(Self::init_command(id, current)).1 {
            Some(Reply::InitProducerId(initialized)) => initialized,
            other => panic!("{other:?}"),
        }
    }

    pub fn init(&mut self, id: &str) -> ProducerIdentity {
        self.init_with(id, None).expect("initialized")
    }

    pub fn add_command(id: &str, producer: ProducerIdentity, names: &[(&str, i32)]) -> Command {
        Command::AddPartitions(AddPartitions {
            id: id.into(),
            producer,
            partitions: partitions(names),
            client_version: VERSION_2,
        })
    }

    pub fn add(
        &mut self,
        id: &str,
        producer: ProducerIdentity,
        names: &[(&str, i32)],
    ) -> Result<(), ErrorCode> {
        match self.ask(Self::add_command(id, producer, names)).1 {
            Some(Reply::AddPartitions(added)) => added,
            other => panic!("{other:?}"),
        }
    }

    pub fn end_command(
        id: &str,
        producer: ProducerIdentity,
        is_commit: bool,
        client_version: i16,
    ) -> Command {
        Command::EndTransaction(EndTransaction {
            id: id.into(),
            producer,
            is_commit,
            client_version,
        })
    }

    /// EndTxn of version 2.
    pub fn end(
        &mut self,
        id: &str,
        producer: ProducerIdentity,
        is_commit: bool,
    ) -> Result<ProducerIdentity, ErrorCode> {
        self.end_as(id, producer, is_commit, VERSION_2)
    }

    pub fn end_as(
        &mut self,
        id: &str,
        producer: ProducerIdentity,
        is_commit: bool,
        version: i16,
    ) -> Result<ProducerIdentity, ErrorCode> {
        match self
            .ask(Self::end_command(id, producer, is_commit, version))
            .1
        {
            Some(Reply::EndTransaction(ended)) => ended,
            other => panic!("{other:?}"),
        }
    }

    pub fn verify(
        &mut self,
        id: &str,
        producer: ProducerIdentity,
        names: &[(&str, i32)],
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let named = names.iter().map(|(topic, index)| ((*topic).into(), *index));
        let command = Command::VerifyPartitions(VerifyPartitions {
            id: id.into(),
            producer,
            partitions: named.collect(),
        });
        match self.ask(command).1 {
            Some(Reply::VerifyPartitions(verified)) => verified,
            other => panic!("{other:?}"),
        }
    }

    pub fn state(&self, id: &str) -> State {
        self.known(id).state
    }

    pub fn known(&self, id: &str) -> &Transaction {
        &self.machine.all()[id]
    }

    /// An id with an open transaction in `t-0`, and its producer.
    pub fn open(&mut self, id: &str) -> ProducerIdentity {
        let producer = self.init(id);
        self.add(id, producer, &[("t", 0)]).expect("added");
        producer
    }

    /// Sets the epoch of an id, as if it had been through many transactions.
    pub fn wear(&mut self, id: &str, epoch: i16) -> ProducerIdentity {
        let mut transaction = self.known(id).clone();
        transaction.producer.producer_epoch = epoch;
        let producer = transaction.producer;
        let record = Record::Transaction {
            id: id.into(),
            transaction,
        };
        self.machine.apply(&record);
        self.log.push(record.encode(VERSION_2));
        producer
    }
}
