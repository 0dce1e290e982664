//! The crate `kafka-protocol` as an independent opinion about every byte.

use std::borrow::Cow;
use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
pub use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
pub use kafka_protocol::protocol::{Message, VersionRange};
use proptest::prelude::*;
use wire::{DecodeError, Float64, Reader, Records, Uuid, Writer};

use crate::generated::CASES;
use crate::prelude::{Source, written};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_implementations_agree_on_every_message(seed in prop::collection::vec(any::<u8>(), 0..600)) {
        for case in &CASES {
            for version in case.key.versions().filter(|version| is_known(case.oracle, *version)) {
                (case.agree)(&mut Source::new(&seed), version);
            }
        }
    }
}

/// The versions of messages that it does not have.
pub const NONE: VersionRange = VersionRange { min: 0, max: -1 };

fn is_known(range: VersionRange, version: i16) -> bool {
    range.min <= version && version <= range.max
}

#[test]
fn the_oracle_knows_nearly_every_version() {
    let unknown: Vec<_> = CASES
        .iter()
        .flat_map(|case| case.key.versions().map(move |version| (case, version)))
        .filter(|(case, version)| !is_known(case.oracle, *version))
        .map(|(case, version)| format!("{} {version}", case.name))
        .collect();
    // Its definitions are of Kafka 4.1; ours go to 4.3, and some to 4.4. The modules `kafka` and `streams` test these instead.
    assert_eq!(
        unknown,
        [
            "ListOffsets request 11",
            "ListOffsets response 11",
            "OffsetCommit request 10",
            "OffsetFetch request 10",
            "ApiVersions request 5",
            "ApiVersions response 5",
            "WriteTxnMarkers request 2",
            "WriteTxnMarkers response 2",
            "DescribeLogDirs request 5",
            "DescribeLogDirs response 5",
            "DeleteGroups request 3",
            "DeleteGroups response 3",
            "ShareFetch request 2",
            "ShareFetch response 2",
            "ShareAcknowledge request 2",
            "ShareAcknowledge response 2",
            "StreamsGroupHeartbeat request 0",
            "StreamsGroupHeartbeat response 0",
            "StreamsGroupDescribe request 0",
            "StreamsGroupDescribe response 0",
            "DescribeShareGroupOffsets request 1",
            "DescribeShareGroupOffsets response 1",
        ]
    );
}

/// The keys that it does not have.
const UNKNOWN_KEYS: [wire::ApiKey; 2] = [
    wire::ApiKey::StreamsGroupHeartbeat,
    wire::ApiKey::StreamsGroupDescribe,
];

#[test]
fn both_implementations_agree_on_headers() {
    for key in wire::ApiKey::ALL {
        let Ok(theirs) = ApiKey::try_from(key as i16) else {
            assert!(UNKNOWN_KEYS.contains(&key), "{key}");
            continue;
        };
        for version in key.versions() {
            assert_eq!(
                key.request_header_version(version),
                theirs.request_header_version(version)
            );
            assert_eq!(
                key.response_header_version(version),
                theirs.response_header_version(version)
            );
            let header = wire::RequestHeader {
                api_key: key as i16,
                api_version: version,
                correlation_id: 77,
                client_id: (version & 1 == 0).then_some("client"),
            };
            let mut other = RequestHeader::default();
            (
                other.request_api_key,
                other.request_api_version,
                other.correlation_id,
            ) = (key as i16, version, 77);
            other.client_id = header.client_id.map(StrBytes::from_static_str);
            let header_version = theirs.request_header_version(version);
            agrees(
                other,
                header_version,
                |writer| header.encode(writer),
                |reader| Ok(wire::RequestHeader::decode(reader)? == header),
            );
        }
    }
}

#[test]
fn both_implementations_agree_on_error_codes() {
    for code in wire::ErrorCode::ALL {
        assert_eq!(wire::ErrorCode::from_code(code.code()), Some(code));
        let Some(theirs) = kafka_protocol::ResponseError::try_from_code(code.code()) else {
            assert_eq!(code, wire::ErrorCode::None);
            continue;
        };
        let camel: String = code
            .name()
            .split('_')
            .map(|word| word[..1].to_owned() + &word[1..].to_lowercase())
            .collect();
        assert_eq!(format!("{theirs:?}"), camel);
        // The oracle is behind in one: ConcurrentTransactionsException became retriable in Kafka's clients.
        let is_retriable = theirs.is_retriable() || code == wire::ErrorCode::ConcurrentTransactions;
        assert_eq!(is_retriable, code.is_retriable(), "{}", code.name());
    }
}

/// Asserts that both write the same bytes, and that each reads the other's.
pub fn agrees<T: Encodable + Decodable + PartialEq + Debug>(
    theirs: T,
    version: i16,
    write: impl FnOnce(&mut Writer),
    is_equal: impl FnOnce(&mut Reader) -> Result<bool, DecodeError>,
) {
    let ours = written(write);
    let mut their_bytes = BytesMut::new();
    theirs
        .encode(&mut their_bytes, version)
        .expect("it encodes");
    assert_eq!(ours, their_bytes, "version {version} of {theirs:?}");
    let mut left = ours.clone();
    assert_eq!(T::decode(&mut left, version).expect("it decodes"), theirs);
    assert!(left.is_empty());
    let mut reader = Reader::new(&their_bytes);
    assert_eq!(
        is_equal(&mut reader),
        Ok(true),
        "version {version} of {theirs:?}"
    );
    assert_eq!(reader.remaining(), 0);
}

/// Appends an element and returns it.
pub fn added<T: Default>(array: &mut Vec<T>) -> &mut T {
    array.push(T::default());
    array.last_mut().expect("one was just added")
}

/// Sets a field of theirs to the value of ours.
pub fn put<O, T: Same<O>>(theirs: &mut T, ours: &O) {
    *theirs = T::same(ours);
}

/// A type of theirs for a type of ours.
pub trait Same<O> {
    fn same(ours: &O) -> Self;
}

macro_rules! same {
    ($($ours:ty => $theirs:ty: $convert:expr;)*) => {
        $(impl Same<$ours> for $theirs {
            fn same(ours: &$ours) -> Self {
                let convert: fn(&$ours) -> $theirs = $convert;
                convert(ours)
            }
        })*
    };
}

same! {
    bool => bool: |ours| *ours;
    i8 => i8: |ours| *ours;
    i16 => i16: |ours| *ours;
    u16 => u16: |ours| *ours;
    i32 => i32: |ours| *ours;
    i32 => BrokerId: |ours| BrokerId(*ours);
    i64 => i64: |ours| *ours;
    i64 => ProducerId: |ours| ProducerId(*ours);
    Float64 => f64: |ours| ours.0;
    Uuid => uuid::Uuid: |ours| uuid::Uuid::from_bytes(ours.0);
    Records => Option<Bytes>: |ours| ours.to_bytes();
}

impl Same<&[u8]> for Bytes {
    fn same(ours: &&[u8]) -> Self {
        Bytes::copy_from_slice(ours)
    }
}

impl Same<Cow<'_, [u8]>> for Bytes {
    fn same(ours: &Cow<[u8]>) -> Self {
        Bytes::copy_from_slice(ours)
    }
}

macro_rules! same_strings {
    ($($theirs:ty: $wrap:expr;)*) => {
        $(impl Same<&str> for $theirs {
            fn same(ours: &&str) -> Self {
                $wrap(StrBytes::from_string((*ours).to_owned()))
            }
        }

        impl Same<Cow<'_, str>> for $theirs {
            fn same(ours: &Cow<str>) -> Self {
                $wrap(StrBytes::from_string(ours.to_string()))
            }
        })*
    };
}

same_strings! {
    StrBytes: std::convert::identity;
    GroupId: GroupId;
    TopicName: TopicName;
    TransactionalId: TransactionalId;
}

impl<O, T: Same<O>> Same<Option<O>> for Option<T> {
    fn same(ours: &Option<O>) -> Self {
        ours.as_ref().map(T::same)
    }
}

impl<O, T: Same<O>> Same<Vec<O>> for Vec<T> {
    fn same(ours: &Vec<O>) -> Self {
        ours.iter().map(T::same).collect()
    }
}
