//! Hostile bytes: no decoder panics, and none allocates more than a small multiple of what it was given.

use allocation_counter::measure;
use proptest::prelude::*;
use wire::{
    ApiKey, DecodeError, DecodeErrorKind, Reader, RequestHeader, RequestPrefix, ResponseHeader,
};

use crate::dice::Dice;
use crate::generated::CASES;
use crate::prelude::Case;
use crate::source::Source;

/// The most bytes of memory that one byte of a frame may cost: an empty string of one byte becomes a `Cow` of 24,
/// in a `Vec` that has just doubled, for arrays three deep.
const MEMORY_PER_BYTE: u64 = 100;

/// Decodes, and checks that memory stayed in proportion and that what was read can be written and read again.
fn attack(case: &Case, version: i16, bytes: &[u8]) {
    let memory = measure(|| drop((case.decode)(&mut Reader::new(bytes), version)));
    let limit = 1024 + MEMORY_PER_BYTE * bytes.len() as u64;
    assert!(
        memory.bytes_max <= limit,
        "{} v{version}: {} for {}",
        case.name,
        memory.bytes_max,
        bytes.len()
    );
    (case.decode_twice)(&mut Reader::new(bytes), version);
}

fn attack_all(bytes: &[u8]) {
    for case in &CASES {
        for version in case.key.versions() {
            attack(case, version, bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        attack_all(&bytes);
    }

    #[test]
    fn small_random_bytes_never_panic(bytes in prop::collection::vec(0..4u8, 0..300)) {
        attack_all(&bytes);
    }

    #[test]
    fn random_headers_never_panic(
        key in 0..100i16, version in -1..20i16, rest in prop::collection::vec(any::<u8>(), 0..40)
    ) {
        let bytes = [&key.to_be_bytes()[..], &version.to_be_bytes(), &rest].concat();
        let _ = RequestPrefix::decode(&mut Reader::new(&bytes));
        let _ = RequestHeader::decode(&mut Reader::new(&bytes));
        if let Ok(key) = ApiKey::try_from(key) {
            let _ = ResponseHeader::decode(&mut Reader::new(&rest), key, version);
        }
    }
}

#[test]
fn damaged_messages_never_panic() {
    let mut dice = Dice(1);
    for _ in 0..40 {
        let length = dice.below(600);
        let seed = dice.bytes(length);
        for case in &CASES {
            for version in case.key.versions() {
                let mut bytes = (case.encode)(&mut Source::new(&seed), version).to_vec();
                dice.damage(&mut bytes);
                attack(case, version, &bytes);
            }
        }
    }
}

#[test]
fn a_message_cut_off_anywhere_is_an_error() {
    let mut dice = Dice(2);
    let seed = dice.bytes(400);
    for case in &CASES {
        for version in case.key.versions() {
            let whole = (case.encode)(&mut Source::new(&seed), version);
            for cut in 0..whole.len() {
                let result = (case.decode)(&mut Reader::new(&whole[..cut]), version);
                assert!(result.is_err(), "{} v{version} at {cut}", case.name);
            }
        }
    }
}

#[test]
fn an_array_longer_than_the_frame_is_refused_before_anything_is_reserved() {
    let mut result = Ok(wire::metadata::Request::default());
    for (bytes, version) in [
        (&b"\x7f\xff\xff\xff\0\0"[..], 0),
        (b"\xff\xff\xff\xff\x0f\0", 9),
    ] {
        let memory =
            measure(|| result = wire::metadata::Request::decode(&mut Reader::new(bytes), version));
        assert_eq!(memory.bytes_total, 0);
        let Err(DecodeError {
            kind: DecodeErrorKind::TooManyElements { .. },
            ..
        }) = result
        else {
            panic!("{result:?}");
        };
    }
}

#[test]
fn null_is_refused_in_versions_that_do_not_allow_it() {
    let null = DecodeErrorKind::UnexpectedNull;
    let topics = wire::metadata::Request::decode(&mut Reader::new(&[0xff; 4]), 0);
    assert_eq!(
        topics.map_err(|error| error.kind),
        Err(null.clone()),
        "all topics of v0 are an empty array"
    );
    let topics = wire::metadata::Request::decode(&mut Reader::new(&[0xff; 4]), 1);
    assert_eq!(topics.map(|request| request.topics), Ok(None));
}

#[test]
fn an_array_reserves_little_until_its_elements_are_really_there() {
    // It claims 2^18 names of two bytes or more, which 1 MiB could hold; but each is 32,639 bytes long.
    let mut frame = vec![0x7f; 1 << 20];
    frame[..4].copy_from_slice(&(1u32 << 18).to_be_bytes());
    let mut result = Ok(wire::metadata::Request::default());
    let memory = measure(|| result = wire::metadata::Request::decode(&mut Reader::new(&frame), 0));
    assert!(matches!(
        result,
        Err(DecodeError {
            kind: DecodeErrorKind::TooShort { .. },
            ..
        })
    ));
    assert!(memory.bytes_total <= 1024 * 64, "{}", memory.bytes_total);
}

#[test]
fn a_length_below_minus_one_is_refused() {
    for bytes in [&b"\xff\xfe"[..], b"\x80\0"] {
        let result = Reader::new(bytes).nullable_string(false);
        assert!(matches!(
            result.map_err(|error| error.kind),
            Err(DecodeErrorKind::InvalidLength { .. })
        ));
    }
    let result = Reader::new(b"\xff\xff\xff\xfe").nullable_bytes(false);
    assert!(matches!(
        result.map_err(|error| error.kind),
        Err(DecodeErrorKind::InvalidLength { length: -2 })
    ));
}

#[test]
fn a_known_tagged_field_must_fill_its_size() {
    // ApiVersions v3 response: error, no keys, throttle; one tag: 1, of 9 bytes, though the epoch has 8.
    let bytes = b"\0\0\x01\0\0\0\0\x01\x01\x09\0\0\0\0\0\0\0\x05\xee";
    let result = wire::api_versions::Response::decode(&mut Reader::new(bytes), 3);
    let kind = DecodeErrorKind::TaggedFieldTooLong { tag: 1, left: 1 };
    assert_eq!(result, Err(DecodeError { offset: 18, kind }));
}

#[test]
fn tagged_fields_without_end_cost_nothing() {
    let mut frame = b"\xff\xff\xff\xff\x0f".to_vec();
    frame.extend(std::iter::repeat_n([9, 0], 100_000).flatten());
    let mut result = Ok(());
    let memory = measure(|| result = Reader::new(&frame).skip_tagged_fields());
    assert!(result.is_err());
    assert_eq!(memory.bytes_total, 0);
}

#[test]
fn decoding_a_produce_request_allocates_only_its_arrays() {
    let partition = |index| wire::produce::PartitionData {
        index,
        records: Some(&[7; 1000]),
    };
    let topic = |name| wire::produce::TopicData {
        name,
        partition_data: (0..6).map(partition).collect(),
        ..Default::default()
    };
    let request = wire::produce::Request {
        acks: -1,
        topic_data: vec![topic("orders"), topic("payments")],
        ..Default::default()
    };
    let bytes = crate::prelude::written(|writer| request.encode(writer, 9));
    let mut back = Ok(wire::produce::Request::default());
    let memory = measure(|| back = wire::produce::Request::decode(&mut Reader::new(&bytes), 9));
    assert_eq!(back.as_ref(), Ok(&request));
    assert_eq!(
        memory.count_total, 3,
        "one for the topics, one for the partitions of each"
    );
}
