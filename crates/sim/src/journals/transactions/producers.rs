//! Transactional producers as clients run them: one transfer after the other, each with some legs to either partition.
//!
//! A producer commits only what it was told is stored; what it does not know it aborts, or it asks again. One that lost its
//! connection goes on as it was, or a new instance takes its place; now and then the old one speaks up once more.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use broker::shard::{AppendItem, AppendOutcome, Slot};
use broker_state::producer_ids::ProducerIdentity;
use broker_state::step::RequestId;
use broker_state::transactions::{
    AddPartitions, Command, EndTransaction, InitProducerId, Partitions, Reply, TransactionalId,
    VERSION_2,
};
use log::Offset;
use wire::ErrorCode;
use wire::records::{BatchBuilder, CheckedBatch, Compression};

use super::readers::{Fate, Transfer};
use super::{PARTITIONS, TOPIC, World};
use crate::invariant::invariant;
use crate::rig::Sabotage;
use crate::story;

const TIMEOUT: Duration = Duration::from_secs(60);
const MOST_LEGS: u32 = 4;

pub(super) struct Producer {
    id: TransactionalId,
    /// Who it was told to be.
    identity: Option<ProducerIdentity>,
    /// Who it was before that.
    former: Option<ProducerIdentity>,
    sequences: [i32; PARTITIONS],
    open: Option<Open>,
    /// It waits for an answer.
    is_busy: bool,
}

/// The transfer that a producer is at.
struct Open {
    transfer: u64,
    legs: u32,
    /// The end that it has asked for, and not heard of.
    ending: Option<bool>,
    must_abort: bool,
}

/// What a request was about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Init {
        is_new_instance: bool,
    },
    Add {
        transfer: u64,
        partition: usize,
    },
    End {
        transfer: u64,
        is_commit: bool,
    },
    OfFormer,
    /// By an instance that has ended since: nobody hears the answer.
    OfEnded,
}

/// A batch with one leg of a transfer, admitted by the coordinator and on its way to the shard.
pub(super) struct Leg {
    producer: usize,
    transfer: u64,
    number: u32,
    partition: Slot,
    batch: CheckedBatch,
    verified_at: Offset,
}

impl fmt::Debug for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (header, at) = (self.batch.header(), self.verified_at);
        let (id, epoch) = (header.producer_id, header.producer_epoch);
        let (number, transfer, partition) = (self.number, self.transfer, &self.partition);
        write!(
            f,
            "leg {number} of {transfer} to {partition:?}, by {id} with epoch {epoch}, verified at {at}"
        )
    }
}

impl Leg {
    pub(super) fn item(&self) -> AppendItem {
        AppendItem {
            partition: Arc::clone(&self.partition),
            batch: self.batch.clone(),
            verified_at: Some(self.verified_at),
        }
    }
}

impl Producer {
    pub(super) fn new(number: usize) -> Self {
        Self {
            id: format!("transfers-{number}").as_str().into(),
            identity: None,
            former: None,
            sequences: [0; PARTITIONS],
            open: None,
            is_busy: false,
        }
    }

    /// The broker is gone. Whether a leg under way was stored is not known, an end is asked for again.
    pub(super) fn disconnected(&mut self) {
        if let Some(open) = self.open.as_mut().filter(|_| self.is_busy) {
            open.must_abort |= open.ending.is_none();
        }
        self.is_busy = false;
    }

    fn becomes(&mut self, identity: ProducerIdentity) {
        self.former = self.identity.or(self.former);
        self.identity = Some(identity);
        self.sequences = [0; PARTITIONS];
        self.open = None;
    }

    fn begins_anew(&mut self) {
        self.former = self.identity.take().or(self.former);
        self.open = None;
    }
}

impl World {
    /// Some producer asks the coordinator what comes next for it.
    pub(super) fn ask(&mut self) {
        let number = self.store.dice.below(self.producers.len());
        if self.store.dice.one_in(15) {
            return self.ask_as_former(number);
        }
        if self.producers[number].is_busy {
            // Its process may end all the same, and another one start.
            if self.store.dice.one_in(10) {
                self.replace(number);
            }
            return;
        }
        let Some(identity) = self.producers[number].identity else {
            return self.replace(number);
        };
        match self.store.dice.below(25) {
            0 => self.replace(number),
            1 => self.init(number, Some(identity)),
            _ => self.go_on(number, identity),
        }
    }

    /// A new instance, which knows nothing of the one before.
    fn replace(&mut self, number: usize) {
        for (producer, asked) in self.waiting.values_mut() {
            if *producer == number && !matches!(asked, Asked::OfFormer) {
                *asked = Asked::OfEnded;
            }
        }
        self.producers[number].begins_anew();
        self.init(number, None);
    }

    fn init(&mut self, number: usize, current: Option<ProducerIdentity>) {
        let command = Command::InitProducerId(InitProducerId {
            id: self.producers[number].id.clone(),
            timeout: TIMEOUT,
            current,
        });
        let is_new_instance = current.is_none();
        self.send(number, command, Asked::Init { is_new_instance });
    }

    fn go_on(&mut self, number: usize, producer: ProducerIdentity) {
        let dice = &mut self.store.dice;
        let (add, end) = match &self.producers[number].open {
            None => (true, None),
            Some(open) => {
                let is_done = open.must_abort || open.legs == MOST_LEGS || dice.one_in(3);
                let wanted = !open.must_abort && !dice.one_in(4);
                let end = open.ending.or((is_done && open.legs > 0).then_some(wanted));
                (!open.must_abort, end)
            }
        };
        match end {
            Some(is_commit) => self.end(number, producer, is_commit),
            None if add => self.add(number, producer),
            // It does not know what there is to abort: a new epoch ends it.
            None => self.init(number, Some(producer)),
        }
    }

    fn add(&mut self, number: usize, producer: ProducerIdentity) {
        let next = self.transfers.len() as u64;
        let open = self.producers[number].open.get_or_insert(Open {
            transfer: next,
            legs: 0,
            ending: None,
            must_abort: false,
        });
        let transfer = open.transfer;
        self.transfers.entry(transfer).or_default();
        let partition = self.store.dice.below(PARTITIONS);
        let command = self.add_command(number, producer, partition);
        let asked = Asked::Add {
            transfer,
            partition,
        };
        self.send(number, command, asked);
    }

    fn add_command(&self, number: usize, producer: ProducerIdentity, partition: usize) -> Command {
        let only = [partition as i32].into();
        Command::AddPartitions(AddPartitions {
            id: self.producers[number].id.clone(),
            producer,
            partitions: Partitions::from([(TOPIC.into(), only)]),
            client_version: VERSION_2,
        })
    }

    fn end(&mut self, number: usize, producer: ProducerIdentity, is_commit: bool) {
        let known = &mut self.producers[number];
        let open = known.open.as_mut().expect("there is something to end");
        open.ending = Some(is_commit);
        let transfer = open.transfer;
        let command = Command::EndTransaction(EndTransaction {
            id: known.id.clone(),
            producer,
            is_commit,
            client_version: VERSION_2,
        });
        if is_commit {
            self.transfer(transfer).fate = Fate::InDoubt;
        }
        let asked = Asked::End {
            transfer,
            is_commit,
        };
        self.send(number, command, asked);
    }

    /// An instance that was replaced, or a request of the transaction before, is heard once more.
    fn ask_as_former(&mut self, number: usize) {
        let Some(former) = self.producers[number].former else {
            return;
        };
        // Where the present one is not known the former may be the last that the coordinator knows.
        let Some(present) = self.producers[number].identity else {
            return;
        };
        let is_present = self.store.sabotage == Sabotage::PresentAsFormer;
        let who = if is_present { present } else { former };
        let command = self.add_command(number, who, 0);
        self.send_as(number, command, Asked::OfFormer);
    }

    fn send(&mut self, number: usize, command: Command, asked: Asked) {
        self.producers[number].is_busy = true;
        self.send_as(number, command, asked);
    }

    fn send_as(&mut self, number: usize, command: Command, asked: Asked) {
        let request = RequestId(self.number());
        story::tell(format!("{} {} {command:?}", self.store.now_ms, request.0));
        self.waiting.insert(request, (number, asked));
        self.decide(|machine, now, effects| machine.handle(now, request, command, effects));
    }

    /// The coordinator has answered.
    pub(super) fn told(&mut self, number: usize, asked: Asked, reply: Reply) {
        story::tell(format!("  {asked:?}: {reply:?}"));
        if let Asked::OfFormer = asked {
            let is_refused = matches!(reply, Reply::AddPartitions(Err(_)));
            invariant!(
                FencedIsRefused,
                is_refused,
                "a former producer got {reply:?}"
            );
            return;
        }
        if let Asked::OfEnded = asked {
            return;
        }
        self.producers[number].is_busy = false;
        match (asked, reply) {
            (Asked::Init { is_new_instance }, Reply::InitProducerId(Ok(identity))) => {
                self.initialized(number, identity, is_new_instance);
                if self.store.sabotage == Sabotage::TwinInstances {
                    self.initialized(number, identity, is_new_instance);
                }
            }
            (
                Asked::Add {
                    transfer,
                    partition,
                },
                Reply::AddPartitions(Ok(())),
            ) => self.write_leg(number, transfer, partition),
            (
                Asked::End {
                    transfer,
                    is_commit,
                },
                Reply::EndTransaction(Ok(next)),
            ) => {
                self.store.reached.acknowledged += 1;
                self.transfer(transfer).fate = match is_commit {
                    true => Fate::Committed,
                    false => Fate::Aborted,
                };
                self.told
                    .insert((number, next.producer_id, next.producer_epoch));
                self.producers[number].becomes(next);
            }
            (_, reply) => self.refused(number, &reply),
        }
    }

    fn initialized(&mut self, number: usize, identity: ProducerIdentity, is_new_instance: bool) {
        let key = (number, identity.producer_id, identity.producer_epoch);
        let is_new = self.told.insert(key);
        invariant!(
            OneProducerPerEpoch,
            is_new || !is_new_instance,
            "two instances of producer {number} are {identity:?}"
        );
        self.producers[number].becomes(identity);
    }

    fn refused(&mut self, number: usize, reply: &Reply) {
        self.store.reached.refused += 1;
        let (Reply::InitProducerId(Err(error))
        | Reply::AddPartitions(Err(error))
        | Reply::EndTransaction(Err(error))) = reply
        else {
            panic!("EveryRequestIsAnswered: {reply:?} answers another request");
        };
        // It asks again when the transaction before has gone through.
        if *error != ErrorCode::ConcurrentTransactions {
            self.producers[number].begins_anew();
        }
    }

    /// The partition is in the transaction: the batch may go, now or later.
    fn write_leg(&mut self, number: usize, transfer: u64, partition: usize) {
        let slot = Arc::clone(&self.slots[partition]);
        let now_ms = self.store.now_ms;
        let producer = &mut self.producers[number];
        let (Some(identity), Some(open)) = (producer.identity, &mut producer.open) else {
            return;
        };
        open.legs += 1;
        let leg = open.legs;
        let sequence = &mut producer.sequences[partition];
        let mut batch = BatchBuilder::new(now_ms)
            .producer(identity.producer_id, identity.producer_epoch, *sequence)
            .transactional();
        *sequence += 1;
        let filling = vec![7; *self.store.dice.pick(&[1, 40, 600])];
        let key = [&transfer.to_be_bytes()[..], &leg.to_be_bytes()].concat();
        batch.push(now_ms, Some(&key), Some(&filling), &[]);
        producer.is_busy = true;
        self.legs.push(Leg {
            producer: number,
            transfer,
            number: leg,
            verified_at: slot.view().high_watermark,
            partition: slot,
            batch: CheckedBatch::check(batch.build(Compression::None), usize::MAX)
                .expect("a built batch is good"),
        });
    }

    /// The shard has answered for a leg; nobody may wait for that any more.
    pub(super) fn appended(&mut self, number: u64, outcomes: &[AppendOutcome]) {
        let leg = self.appending.remove(&number).expect("it was sent");
        let [outcome] = outcomes else {
            panic!("EveryRequestIsAnswered: {outcomes:?} for one batch");
        };
        story::tell(format!(
            "  leg {} of {}: {outcome:?}",
            leg.number, leg.transfer
        ));
        let producer = &mut self.producers[leg.producer];
        let open = producer.open.as_mut();
        let Some(open) = open.filter(|open| open.transfer == leg.transfer) else {
            return;
        };
        producer.is_busy = false;
        match outcome.error {
            ErrorCode::None => {
                self.transfer(leg.transfer).legs.insert(leg.number);
            }
            _ => open.must_abort = true,
        }
    }

    fn transfer(&mut self, number: u64) -> &mut Transfer {
        self.transfers.get_mut(&number).expect("it was begun")
    }
}
