//! Claims about whole histories of requests.

use proptest::prelude::*;

use super::*;

/// A consumer that knows only what responses told it.
#[derive(Default)]
struct Consumer {
    session_id: i32,
    epoch: i32,
    /// Per partition, the high watermark it was told.
    told: HashMap<String, i64>,
}

#[derive(Clone, Debug)]
enum Event {
    /// The high watermark of a partition grows.
    Append(usize),
    Fetch,
    /// The consumer's position moves to what it was told.
    Seek(usize),
    Drop,
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..4_usize).prop_map(Event::Append),
        4 => Just(Event::Fetch),
        1 => (0..4_usize).prop_map(Event::Seek),
        1 => Just(Event::Drop),
    ]
}

proptest! {
    /// What incremental responses leave out, the consumer knows: after each fetch it has the truth.
    #[test]
    fn a_consumer_always_knows_what_a_full_response_would_say(events in prop::collection::vec(any_event(), 1..60)) {
        let names = ["a-0", "a-1", "b-0", "b-1"];
        let mut truth: HashMap<String, i64> = names.iter().map(|name| ((*name).to_owned(), 0)).collect();
        let mut broker = Broker::limited(2, 20);
        let mut consumer = Consumer::default();
        for event in events {
            match event {
                Event::Append(at) => *truth.get_mut(names[at]).expect("a partition") += 1,
                Event::Drop => consumer = Consumer::default(),
                Event::Seek(_) | Event::Fetch => {
                    let named: Vec<&str> = match (consumer.epoch, &event) {
                        (0, _) => names.to_vec(),
                        (_, Event::Seek(at)) => vec![names[*at]],
                        _ => vec![],
                    };
                    let request = request(consumer.session_id, consumer.epoch, &named, &[]);
                    let context = broker.sessions.begin(request, broker.now).expect("the consumer keeps to the protocol");
                    let outcomes: Vec<PartitionOutcome> = context.partitions.iter().map(|(partition, _)| {
                        PartitionOutcome { high_watermark: truth[&name_of(partition)], ..idle("") }
                    }).collect();
                    broker.entropy += 1;
                    let answer = broker.sessions.finish(&context, &outcomes, broker.now, broker.entropy);
                    prop_assert_eq!(answer.error, ErrorCode::None);
                    for (((partition, _), outcome), included) in
                        context.partitions.iter().zip(&outcomes).zip(&answer.included)
                    {
                        if *included {
                            consumer.told.insert(name_of(partition), outcome.high_watermark);
                        }
                    }
                    prop_assert_eq!(&consumer.told, &truth);
                    consumer.session_id = answer.session_id;
                    consumer.epoch = if answer.session_id == 0 { 0 } else { consumer.epoch + 1 };
                }
            }
            broker.check();
        }
    }

    #[test]
    fn any_requests_keep_the_bounds(
        requests in prop::collection::vec(
            (0..6_i32, -2..5_i32, prop::collection::vec("[ab]-[0-3]", 0..6), prop::collection::vec("[ab]-[0-3]", 0..3)),
            1..60,
        ),
        pauses in prop::collection::vec(0..200_u64, 60),
    ) {
        let mut broker = Broker::limited(3, 9);
        for ((session_id, epoch, partitions, forgotten), pause) in requests.iter().zip(pauses) {
            let partitions: Vec<&str> = partitions.iter().map(String::as_str).collect();
            let forgotten: Vec<&str> = forgotten.iter().map(String::as_str).collect();
            broker.entropy %= 4;
            broker.wait(Duration::from_secs(pause));
            broker.fetch(request(*session_id, *epoch, &partitions, &forgotten), idle);
            broker.check();
        }
    }
}
