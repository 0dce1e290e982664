//! Claims about setting quotas.

use wire::Float64;

use super::*;
use crate::quotas::{QuotaFilter, QuotaKey, QuotaOperation};

type Parts<'a> = &'a [(&'a str, Option<&'a str>)];
type Value<'a> = (&'a str, Option<f64>);

impl Run {
    /// Sets (or with `None` removes) values of one entity.
    fn quota(&mut self, entity: Parts<'_>, values: &[(&str, Option<f64>)]) -> String {
        let name =
            |(kind, name): &(&str, Option<&str>)| ((*kind).to_owned(), name.map(str::to_owned));
        let operation = |(key, value): &(&str, Option<f64>)| QuotaOperation {
            key: (*key).to_owned(),
            value: value.map(Float64),
        };
        let alteration = QuotaAlteration {
            entity: entity.iter().map(name).collect(),
            operations: values.iter().map(operation).collect(),
        };
        let (_, reply) = self.ask(Command::AlterClientQuotas {
            alterations: vec![alteration],
            validate_only: false,
        });
        let Reply::ClientQuotasAltered(mut results) = reply else {
            panic!("an alteration of quotas is answered with results")
        };
        shown("", &results.remove(0))
    }

    fn chosen(&self, components: &[(&str, i8, Option<&str>)], is_strict: bool) -> Vec<String> {
        let filter = QuotaFilter::from_components(components, is_strict).expect("a good filter");
        let described = self.cluster.quotas().describe(&filter);
        let parts = |(kind, name): (&str, Option<&str>)| format!("{kind}={}", name.unwrap_or("*"));
        described
            .iter()
            .map(|(entity, _)| entity.parts().map(parts).collect::<Vec<_>>().join(","))
            .collect()
    }
}

const RATE: &[(&str, Option<f64>)] = &[("producer_byte_rate", Some(1000.0))];

#[test]
fn values_are_set_replaced_and_removed() {
    let mut run = Run::new();
    let alice: Parts<'_> = &[("user", Some("alice"))];
    assert_eq!(run.quota(alice, RATE), " ok");
    let limit = |run: &Run| {
        run.cluster
            .quotas()
            .limit(QuotaKey::ProducerByteRate, "alice", "c")
    };
    assert_eq!(limit(&run).map(|(limit, _)| limit), Some(1000.0));
    run.quota(
        alice,
        &[
            ("producer_byte_rate", Some(5.0)),
            ("request_percentage", Some(0.5)),
        ],
    );
    assert_eq!(limit(&run).map(|(limit, _)| limit), Some(5.0));
    run.quota(alice, &[("producer_byte_rate", None)]);
    assert_eq!(limit(&run), None);
    run.quota(alice, &[("request_percentage", None)]);
    assert!(
        run.cluster.quotas().is_empty(),
        "an entity without values is gone"
    );
}

#[test]
fn what_cannot_be_is_refused_in_kafka_s_words() {
    let mut run = Run::new();
    let user: Parts<'_> = &[("user", Some("u"))];
    let refused: &[(Parts<'_>, Value<'_>, &str)] = &[
        (
            &[],
            ("producer_byte_rate", Some(1.0)),
            "Invalid empty client quota entity",
        ),
        (
            &[("user", Some(""))],
            ("producer_byte_rate", Some(1.0)),
            "Empty user not supported",
        ),
        (
            &[("group", Some("g"))],
            ("producer_byte_rate", Some(1.0)),
            "Unhandled client quota entity type: group",
        ),
        (
            user,
            ("no_such_rate", Some(1.0)),
            "Invalid configuration key no_such_rate",
        ),
        (
            user,
            ("connection_creation_rate", Some(1.0)),
            "Invalid configuration key connection_creation_rate",
        ),
        (
            user,
            ("producer_byte_rate", Some(0.0)),
            "Quota producer_byte_rate must be greater than 0",
        ),
        (
            user,
            ("producer_byte_rate", Some(f64::NAN)),
            "Quota producer_byte_rate must be greater than 0",
        ),
        (
            user,
            ("producer_byte_rate", Some(1.5)),
            "producer_byte_rate cannot be a fractional value.",
        ),
        (
            user,
            ("producer_byte_rate", Some(1e30)),
            "Proposed value for producer_byte_rate is too large for a LONG.",
        ),
        (
            &[("ip", Some("nowhere"))],
            ("connection_creation_rate", Some(1.0)),
            "nowhere is not a valid IP or resolvable host.",
        ),
        (
            &[("ip", None), ("user", None)],
            ("connection_creation_rate", Some(1.0)),
            "Invalid quota entity combination, IP entity should not be combined with User or ClientId",
        ),
    ];
    for (entity, value, message) in refused {
        assert_eq!(
            run.quota(entity, &[*value]),
            format!(" INVALID_REQUEST: {message}")
        );
    }
    let twice = [RATE[0], RATE[0]];
    assert!(run.quota(user, &twice).contains("Duplicate quota key"));
    assert!(run.cluster.quotas().is_empty());
}

#[test]
fn a_filter_chooses_by_name_by_default_and_by_kind() {
    let mut run = Run::new();
    let entities: &[Parts<'_>] = &[
        &[("user", Some("a"))],
        &[("user", None)],
        &[("user", Some("a")), ("client-id", Some("c"))],
        &[("client-id", Some("c"))],
    ];
    for entity in entities {
        assert_eq!(run.quota(entity, RATE), " ok");
    }
    run.quota(
        &[("ip", Some("::ffff:127.0.0.1"))],
        &[("connection_creation_rate", Some(5.0))],
    );
    assert_eq!(run.chosen(&[], false).len(), 5);
    assert_eq!(run.chosen(&[], true), Vec::<String>::new());
    assert_eq!(run.chosen(&[("user", 0, Some("a"))], true), ["user=a"]);
    assert_eq!(
        run.chosen(&[("user", 0, Some("a"))], false),
        ["user=a", "client-id=c,user=a"]
    );
    assert_eq!(run.chosen(&[("user", 1, None)], false), ["user=*"]);
    assert_eq!(
        run.chosen(&[("user", 2, None), ("client-id", 2, None)], true),
        ["client-id=c,user=a"]
    );
    assert_eq!(
        run.chosen(&[("ip", 0, Some("127.0.0.1"))], true),
        ["ip=127.0.0.1"]
    );
}

#[test]
fn a_filter_that_cannot_be_is_refused() {
    let refused = |components: &[(&str, i8, Option<&str>)]| {
        QuotaFilter::from_components(components, false)
            .expect_err("cannot be")
            .error
    };
    use wire::ErrorCode::{InvalidRequest, UnsupportedVersion};
    assert_eq!(refused(&[("", 0, Some("a"))]), InvalidRequest);
    assert_eq!(refused(&[("group", 0, Some("a"))]), UnsupportedVersion);
    assert_eq!(refused(&[("user", 0, None)]), InvalidRequest);
    assert_eq!(refused(&[("user", 1, Some("a"))]), InvalidRequest);
    assert_eq!(refused(&[("user", 7, None)]), InvalidRequest);
    assert_eq!(
        refused(&[("user", 1, None), ("user", 2, None)]),
        InvalidRequest
    );
    assert_eq!(
        refused(&[("ip", 1, None), ("user", 2, None)]),
        InvalidRequest
    );
}
