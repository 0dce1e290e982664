//! Claims about pushed metrics, with time as a number.

use proptest::prelude::*;

use super::*;

const FACTS: ClientFacts<'static> = ClientFacts {
    client_id: "orders",
    software_name: Some("apache-kafka-java"),
    software_version: Some("4.3.1"),
    address: "127.0.0.1",
    port: 5000,
};
const ID: Uuid = Uuid([7; 16]);

fn subscriptions(all: &[(&str, &[(&str, &str)])]) -> Subscriptions {
    let values = |(name, values): &(&str, &[(&str, &str)])| {
        let values = values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        (Arc::<str>::from(*name), values.collect::<Values>())
    };
    let all: Vec<(Arc<str>, Values)> = all.iter().map(values).collect();
    Subscriptions::resolve(all.iter().map(|(name, values)| (name, values)))
}

fn every_second() -> Subscriptions {
    subscriptions(&[(
        "m",
        &[("metrics", "org.apache.kafka."), ("interval.ms", "1000")],
    )])
}

fn push(assigned: &Assigned) -> Push {
    Push {
        instance: assigned.instance,
        subscription_id: assigned.subscription_id,
        is_terminating: false,
    }
}

#[test]
fn a_client_is_asked_for_what_the_subscriptions_that_match_it_want() {
    let subscriptions = subscriptions(&[
        (
            "a",
            &[
                ("metrics", "x.,y."),
                ("interval.ms", "5000"),
                ("match", "client_software_name=apache.*"),
            ],
        ),
        (
            "b",
            &[
                ("metrics", "z."),
                ("interval.ms", "2000"),
                ("match", "client_id=orders,client_source_port=5000"),
            ],
        ),
        (
            "c",
            &[
                ("metrics", "*"),
                ("interval.ms", "100"),
                ("match", "client_id=other"),
            ],
        ),
    ]);
    let mut telemetry = Telemetry::default();
    let assigned = telemetry
        .assign(Millis(0), &subscriptions, ID, &FACTS)
        .expect("first");
    assert_eq!(assigned.metrics, ["x.", "y.", "z."]);
    assert_eq!(assigned.interval, Duration::from_secs(2));
    let other = ClientFacts {
        client_id: "other",
        ..FACTS
    };
    let assigned = telemetry
        .assign(Millis(0), &subscriptions, Uuid([8; 16]), &other)
        .expect("first");
    assert_eq!(assigned.metrics, ["*"], "all metrics are all metrics");
}

#[test]
fn a_client_that_asks_or_pushes_before_its_time_is_refused() {
    let subscriptions = every_second();
    let mut telemetry = Telemetry::default();
    let assigned = telemetry
        .assign(Millis(0), &subscriptions, ID, &FACTS)
        .expect("first");
    let early = Err(ErrorCode::ThrottlingQuotaExceeded);
    assert_eq!(
        telemetry.assign(Millis(999), &subscriptions, ID, &FACTS),
        early
    );
    let push = push(&assigned);
    let mut at = |now| telemetry.admit(Millis(now), &subscriptions, push, &FACTS);
    assert_eq!(
        at(500),
        Ok(()),
        "clients spread their first push over the interval"
    );
    assert_eq!(at(1_499), Err(ErrorCode::ThrottlingQuotaExceeded));
    assert_eq!(at(1_500), Ok(()));
}

#[test]
fn after_a_change_of_the_subscriptions_a_push_is_refused_and_asking_is_not() {
    let mut telemetry = Telemetry::default();
    let assigned = telemetry
        .assign(Millis(0), &every_second(), ID, &FACTS)
        .expect("first");
    let changed = subscriptions(&[("m", &[("metrics", "other."), ("interval.ms", "1000")])]);
    assert_eq!(
        telemetry.admit(Millis(10), &changed, push(&assigned), &FACTS),
        Err(ErrorCode::UnknownSubscriptionId)
    );
    let again = telemetry
        .assign(Millis(11), &changed, ID, &FACTS)
        .expect("news");
    assert_ne!(again.subscription_id, assigned.subscription_id);
    assert_eq!(
        telemetry.admit(Millis(12), &changed, push(&again), &FACTS),
        Ok(())
    );
}

#[test]
fn the_last_push_comes_at_any_time_and_is_the_last() {
    let subscriptions = every_second();
    let mut telemetry = Telemetry::default();
    let assigned = telemetry
        .assign(Millis(0), &subscriptions, ID, &FACTS)
        .expect("first");
    let last = Push {
        is_terminating: true,
        ..push(&assigned)
    };
    assert_eq!(
        telemetry.admit(Millis(1), &subscriptions, push(&assigned), &FACTS),
        Ok(())
    );
    assert_eq!(
        telemetry.admit(Millis(2), &subscriptions, last, &FACTS),
        Ok(())
    );
    assert_eq!(
        telemetry.admit(Millis(9_000), &subscriptions, push(&assigned), &FACTS),
        Err(ErrorCode::InvalidRequest)
    );
}

#[test]
fn instances_are_bounded() {
    let subscriptions = every_second();
    let mut telemetry = Telemetry::limited(10, 10);
    for number in 0..100_u8 {
        let id = Uuid([number; 16]);
        let assigned = telemetry.assign(Millis(number.into()), &subscriptions, id, &FACTS);
        assert!(assigned.is_ok() && telemetry.instances() <= 10);
    }
}

fn point(name: &str, value: f64, is_delta: bool) -> Point {
    Point {
        name: name.to_owned(),
        labels: vec![("topic".to_owned(), "t".to_owned())],
        value,
        is_delta,
        is_counter: is_delta,
    }
}

#[test]
fn differences_are_added_up_and_gauges_are_replaced() {
    let mut telemetry = Telemetry::default();
    for value in [2.0, 3.0] {
        let points = vec![point("sum", value, true), point("gauge", value, false)];
        telemetry.keep(Millis(0), ID, "orders", points);
    }
    let series = telemetry.series(Millis(1));
    let values: Vec<_> = series
        .iter()
        .map(|it| (it.name.as_str(), it.value))
        .collect();
    assert_eq!(values, [("gauge", 3.0), ("sum", 5.0)]);
}

#[test]
fn series_are_bounded_and_expire() {
    let mut telemetry = Telemetry::limited(10, 3);
    let points = |names: &[&str]| names.iter().map(|name| point(name, 1.0, false)).collect();
    telemetry.keep(Millis(0), ID, "c", points(&["a", "b", "c", "d"]));
    assert_eq!(telemetry.series(Millis(1)).len(), 3);
    assert_eq!(telemetry.series_left_out(), 1);
    telemetry.keep(Millis(1_000_000), ID, "c", points(&["e"]));
    let names: Vec<String> = telemetry
        .series(Millis(1_000_000))
        .into_iter()
        .map(|it| it.name)
        .collect();
    assert_eq!(names, ["e"]);
}

/// A field that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![
        number << 3 | 2,
        u8::try_from(bytes.len()).expect("a short field"),
    ];
    field.extend_from_slice(bytes);
    field
}

fn metrics_data() -> Vec<u8> {
    let label = [field(1, b"topic"), field(2, &field(1, b"orders"))].concat();
    let double = [&[4 << 3 | 1][..], &2.5_f64.to_le_bytes()].concat();
    let point = [field(7, &label), double].concat();
    let sum = [field(1, &point), vec![2 << 3, 1, 3 << 3, 1]].concat();
    let counter = [field(1, b"sent.total"), field(7, &sum)].concat();
    let integer = [&[6 << 3 | 1][..], &(-3_i64).to_le_bytes()].concat();
    let gauge = [field(1, b"depth"), field(5, &field(1, &integer))].concat();
    let scope = [field(2, &counter), field(2, &gauge)].concat();
    field(1, &field(2, &scope))
}

#[test]
fn sums_and_gauges_are_read_with_their_labels() {
    let counter = Point {
        name: "sent.total".to_owned(),
        labels: vec![("topic".to_owned(), "orders".to_owned())],
        value: 2.5,
        is_delta: true,
        is_counter: true,
    };
    let gauge = Point {
        name: "depth".to_owned(),
        labels: Vec::new(),
        value: -3.0,
        is_delta: false,
        is_counter: false,
    };
    assert_eq!(read_points(&metrics_data()), Ok(vec![counter, gauge]));
}

#[test]
fn metrics_that_are_cut_are_refused() {
    let whole = metrics_data();
    for length in 1..whole.len() {
        assert!(read_points(&whole[..length]).is_err(), "at {length}");
    }
    assert_eq!(read_points(&[]), Ok(Vec::new()));
    assert_eq!(read_points(&[0x0b]), Err(Malformed::WireType));
    assert_eq!(read_points(&[0xff; 11]), Err(Malformed::WireType));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = read_points(&bytes);
    }
}
