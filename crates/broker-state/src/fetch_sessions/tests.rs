//! Claims about fetch sessions, in a small language: a partition is "topic-number@offset", an outcome is what reading
//! it gave, an answer is the session and the partitions that are in the response.

mod histories;
mod limits;
mod protocol;

use super::*;

const NOW: Millis = Millis(1_000_000);
const IDLE: Duration = Duration::from_secs(120);

/// A broker's sessions, and the clock.
struct Broker {
    sessions: FetchSessions,
    now: Millis,
    entropy: u64,
}

impl Broker {
    fn new() -> Self {
        Self::limited(1_000, 1_000)
    }

    fn limited(sessions: usize, partitions: usize) -> Self {
        let limits = FetchSessionLimits {
            sessions,
            partitions,
            idle: IDLE,
        };
        Self {
            sessions: FetchSessions::new(limits),
            now: NOW,
            entropy: 0,
        }
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    /// A whole fetch by name: "session/epoch" and the partitions, and what reading each would give.
    fn fetch(
        &mut self,
        request: FetchSessionRequest,
        outcome: impl Fn(&str) -> PartitionOutcome,
    ) -> String {
        match self.sessions.begin(request, self.now) {
            Ok(context) => self.finish(&context, outcome),
            Err(error) => error.name().to_owned(),
        }
    }

    fn finish(
        &mut self,
        context: &FetchContext,
        outcome: impl Fn(&str) -> PartitionOutcome,
    ) -> String {
        let outcomes: Vec<PartitionOutcome> = context
            .partitions
            .iter()
            .map(|(partition, _)| outcome(&name_of(partition)))
            .collect();
        self.entropy += 1;
        let answer = self
            .sessions
            .finish(context, &outcomes, self.now, self.entropy);
        if answer.error != ErrorCode::None {
            return answer.error.name().to_owned();
        }
        let included = context
            .partitions
            .iter()
            .zip(&answer.included)
            .filter(|(_, included)| **included);
        let names: String = included
            .map(|((partition, _), _)| format!(" {}", name_of(partition)))
            .collect();
        format!("{}:{names}", answer.session_id)
    }

    /// Opens a session over partitions of which none has data.
    fn open(&mut self, partitions: &[&str]) -> i32 {
        let answer = self.fetch(full(partitions), idle);
        answer
            .split_once(':')
            .expect("an answer")
            .0
            .parse()
            .expect("a session id")
    }

    fn check(&self) {
        let counted: usize = self.sessions.by_id.values().map(Session::len).sum();
        assert_eq!(
            counted,
            self.sessions.partition_count(),
            "PartitionsAreCounted"
        );
        assert!(
            self.sessions.partition_count() <= self.sessions.limits.partitions,
            "PartitionsAreBounded"
        );
        assert!(
            self.sessions.len() <= self.sessions.limits.sessions,
            "SessionsAreBounded"
        );
        assert!(
            self.sessions.by_id.keys().all(|id| *id > 0),
            "IdsArePositive"
        );
        assert!(
            self.sessions
                .by_id
                .values()
                .all(|session| session.len() > 0),
            "NoEmptySession"
        );
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
    }
}

fn name_of(partition: &FetchPartition) -> String {
    match &partition.topic {
        FetchTopic::Name(name) => format!("{name}-{}", partition.partition),
        FetchTopic::Id(id) => format!("{:02x}-{}", id.0[0], partition.partition),
    }
}

fn partition(name: &str) -> FetchPartition {
    let (topic, number) = name.rsplit_once('-').expect("topic and number");
    FetchPartition {
        topic: FetchTopic::Name(topic.into()),
        partition: number.parse().expect("a number"),
    }
}

/// "a-0@5": partition 0 of topic a from offset 5; without an offset from 0.
fn wanted(text: &str) -> (FetchPartition, PartitionFetch) {
    let (name, offset) = text.split_once('@').unwrap_or((text, "0"));
    let fetch = PartitionFetch {
        fetch_offset: offset.parse().expect("a number"),
        partition_max_bytes: 1024,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
    };
    (partition(name), fetch)
}

fn request(
    session_id: i32,
    session_epoch: i32,
    partitions: &[&str],
    forgotten: &[&str],
) -> FetchSessionRequest {
    FetchSessionRequest {
        session_id,
        session_epoch,
        uses_topic_ids: false,
        partitions: partitions.iter().map(|text| wanted(text)).collect(),
        forgotten: forgotten.iter().map(|name| partition(name)).collect(),
    }
}

fn full(partitions: &[&str]) -> FetchSessionRequest {
    request(0, INITIAL_EPOCH, partitions, &[])
}

fn idle(_: &str) -> PartitionOutcome {
    PartitionOutcome {
        has_records: false,
        has_error: false,
        high_watermark: 10,
        log_start_offset: 0,
    }
}

/// Data in the named partitions, nothing in the others.
fn data_in(names: &[&'static str]) -> impl Fn(&str) -> PartitionOutcome + use<> {
    let names = names.to_vec();
    move |name| PartitionOutcome {
        has_records: names.contains(&name),
        ..idle(name)
    }
}
