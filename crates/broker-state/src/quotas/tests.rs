//! Claims about measuring, with time as a number.

use std::time::Duration;

use super::*;
use crate::step::Millis;

const PRODUCE: QuotaKey = QuotaKey::ProducerByteRate;

type Parts<'a> = &'a [(&'a str, Option<&'a str>)];

fn quotas(values: &[(Parts<'_>, QuotaKey, f64)]) -> ClientQuotas {
    let mut quotas = ClientQuotas::default();
    for (parts, key, value) in values {
        let entity = QuotaEntity::from_parts(parts).expect("a good entity");
        quotas.apply(&entity, *key, Some(*value));
    }
    quotas
}

fn client<'a>(user: &'a str, client_id: &'a str) -> Client<'a> {
    Client { user, client_id }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn the_most_specific_quota_counts() {
    let all = quotas(&[
        (&[("client-id", None)], PRODUCE, 1.0),
        (&[("client-id", Some("c"))], PRODUCE, 2.0),
        (&[("user", None)], PRODUCE, 3.0),
        (&[("user", None), ("client-id", None)], PRODUCE, 4.0),
        (&[("user", None), ("client-id", Some("c"))], PRODUCE, 5.0),
        (&[("user", Some("u"))], PRODUCE, 6.0),
        (&[("user", Some("u")), ("client-id", None)], PRODUCE, 7.0),
        (
            &[("user", Some("u")), ("client-id", Some("c"))],
            PRODUCE,
            8.0,
        ),
    ]);
    let limit = |user, client_id| all.limit(PRODUCE, user, client_id).map(|(limit, _)| limit);
    assert_eq!(limit("u", "c"), Some(8.0));
    assert_eq!(limit("u", "other"), Some(7.0));
    assert_eq!(limit("other", "c"), Some(5.0));
    assert_eq!(limit("other", "other"), Some(4.0));
    let clients = quotas(&[
        (&[("client-id", None)], PRODUCE, 1.0),
        (&[("client-id", Some("c"))], PRODUCE, 2.0),
    ]);
    assert_eq!(
        clients.limit(PRODUCE, "u", "c").map(|(limit, _)| limit),
        Some(2.0)
    );
    assert_eq!(
        clients.limit(PRODUCE, "u", "").map(|(limit, _)| limit),
        Some(1.0)
    );
    assert_eq!(clients.limit(QuotaKey::ConsumerByteRate, "u", "c"), None);
}

#[test]
fn a_client_that_is_over_its_rate_waits_until_its_average_is_right_again() {
    let quotas = quotas(&[(&[("client-id", Some("c"))], PRODUCE, 1000.0)]);
    let mut throttles = Throttles::new(Windows::default());
    let mut charge = |at: i64, bytes: f64| {
        throttles.charge(Millis(at), &quotas, PRODUCE, client("u", "c"), bytes)
    };
    assert_eq!(
        charge(0, 10_000.0),
        Duration::ZERO,
        "the windows may be used at once"
    );
    assert_eq!(charge(0, 10_000.0), seconds(10), "twice as much as may be");
    assert_eq!(
        charge(10_000, 0.0),
        seconds(10),
        "the windows still hold it"
    );
    assert_eq!(charge(20_000, 100.0), Duration::ZERO);
}

#[test]
fn a_steady_client_below_its_quota_is_never_held_back() {
    let quotas = quotas(&[(&[("user", None)], PRODUCE, 1000.0)]);
    let mut throttles = Throttles::new(Windows::default());
    for at in (0..60_000).step_by(100) {
        let wait = throttles.charge(Millis(at), &quotas, PRODUCE, client("u", "c"), 99.0);
        assert_eq!(wait, Duration::ZERO, "at {at}");
    }
}

#[test]
fn the_clients_of_a_user_share_its_quota_and_those_with_quotas_by_client_id_do_not() {
    let of_user = quotas(&[(&[("user", Some("u"))], PRODUCE, 1000.0)]);
    let mut throttles = Throttles::new(Windows::default());
    let mut charge = |quotas: &ClientQuotas, client_id| {
        throttles.charge(Millis(0), quotas, PRODUCE, client("u", client_id), 10_000.0)
    };
    assert_eq!(charge(&of_user, "a"), Duration::ZERO);
    assert!(charge(&of_user, "b") > Duration::ZERO);
    let of_clients = quotas(&[(&[("client-id", None)], PRODUCE, 1000.0)]);
    assert_eq!(charge(&of_clients, "a"), Duration::ZERO);
    assert_eq!(charge(&of_clients, "b"), Duration::ZERO);
}

#[test]
fn what_is_refunded_was_never_used() {
    let key = QuotaKey::ConsumerByteRate;
    let quotas = quotas(&[(&[("client-id", Some("c"))], key, 1000.0)]);
    let mut throttles = Throttles::new(Windows::default());
    let c = client("u", "c");
    assert!(throttles.charge(Millis(0), &quotas, key, c, 50_000.0) > Duration::ZERO);
    throttles.refund(Millis(0), &quotas, key, c, 50_000.0);
    assert_eq!(
        throttles.charge(Millis(0), &quotas, key, c, 10_000.0),
        Duration::ZERO
    );
    assert_eq!(throttles.most_at_once(&quotas, key, c), Some(10_000.0));
}

#[test]
fn time_of_threads_holds_a_client_back_for_one_window_at_most() {
    let key = QuotaKey::RequestPercentage;
    let quotas = quotas(&[(&[("client-id", Some("c"))], key, 1.0)]);
    let mut throttles = Throttles::new(Windows::default());
    let wait = throttles.charge(Millis(0), &quotas, key, client("u", "c"), 1e6);
    assert_eq!(wait, seconds(1));
}

#[test]
fn permits_are_overdrawn_once_and_then_refused_until_they_have_filled_up() {
    let quotas = quotas(&[(
        &[("user", Some("u"))],
        QuotaKey::ControllerMutationRate,
        2.0,
    )]);
    let mut throttles = Throttles::new(Windows::default());
    let mut take = |at: i64, permits: f64, mode| {
        throttles.take_permits(Millis(at), &quotas, client("u", "c"), permits, mode)
    };
    use PermitMode::{Permissive, Strict};
    assert_eq!(
        take(0, 30.0, Strict),
        Ok(Duration::ZERO),
        "22 permits are there"
    );
    assert_eq!(take(0, 1.0, Strict), Err(seconds(4)));
    assert_eq!(
        take(0, 2.0, Permissive),
        Ok(seconds(5)),
        "older clients are held back"
    );
    assert_eq!(take(4_999, 1.0, Strict), Err(Duration::from_millis(1)));
    assert_eq!(take(5_000, 1.0, Strict), Ok(Duration::ZERO));
}

#[test]
fn an_address_with_too_many_new_connections_waits() {
    let mut throttles = Throttles::new(Windows::default());
    for _ in 0..50 {
        assert_eq!(
            throttles.connect(Millis(0), "127.0.0.1", 5.0),
            Duration::ZERO
        );
    }
    assert!(throttles.connect(Millis(0), "127.0.0.1", 5.0) > Duration::ZERO);
    assert_eq!(
        throttles.connect(Millis(0), "127.0.0.2", 5.0),
        Duration::ZERO
    );
    assert_eq!(
        throttles.connect(Millis(11_000), "127.0.0.1", 5.0),
        Duration::ZERO
    );
}

#[test]
fn a_clock_that_goes_back_does_no_harm() {
    let quotas = quotas(&[(&[("user", None)], PRODUCE, 1000.0)]);
    let mut throttles = Throttles::new(Windows::default());
    for at in [86_400_000, 0, -5, i64::MAX, i64::MIN] {
        throttles.charge(Millis(at), &quotas, PRODUCE, client("u", "c"), 1.0);
        let _ = throttles.take_permits(
            Millis(at),
            &quotas,
            client("u", "c"),
            1.0,
            PermitMode::Strict,
        );
    }
}

#[test]
fn meters_are_bounded_and_those_used_least_recently_go_first() {
    let quotas = quotas(&[(&[("client-id", None)], PRODUCE, 1.0)]);
    let mut throttles = Throttles::limited(Windows::default(), 100);
    for number in 0..1_000_i64 {
        let name = format!("c{number}");
        throttles.charge(
            Millis(number),
            &quotas,
            PRODUCE,
            client("u", &name),
            1_000.0,
        );
        assert!(throttles.len() <= 100);
    }
    let wait = throttles.charge(Millis(1_000), &quotas, PRODUCE, client("u", "c999"), 1.0);
    assert!(wait > seconds(900), "the newest is remembered");
    throttles.charge(Millis(60_000), &quotas, PRODUCE, client("u", "more"), 1.0);
    throttles.charge(
        Millis(60_000),
        &quotas,
        PRODUCE,
        client("u", "even more"),
        1.0,
    );
    assert!(throttles.len() <= 100);
}
