//! Bytes that unmodified clients sent: librdkafka 2.0.2 (kcat 1.7.1) and kafka-python 3.0.12, whole frames.
//! They must be read to the last byte, and written again as they were.

use bytes::Bytes;
use wire::records::*;
use wire::{Reader, Request, RequestHeader, encode_request};

/// librdkafka asks for the versions.
const LIBRDKAFKA_API_VERSIONS_3: &str = "\
    0000002300120003000000010006676f6c64656e000b6c696272646b61666b6106322e302e3200\
    ";

/// librdkafka starts an idempotent producer.
const LIBRDKAFKA_INIT_PRODUCER_ID_4: &str = "\
    0000002100160004000000030006676f6c64656e0000ffffffffffffffffffffffffffff00\
    ";

/// librdkafka sends two records with two headers of one name, plain.
const LIBRDKAFKA_PRODUCE_7_PLAIN: &str = "\
    000000ec00000007000000030006676f6c64656effffffff000075300000000100066f72646572730000000100000000\
    000000bc0000000000000000000000b00000000002defc16c3000000000001000001a1f9489e81000001a1f9489e81ff\
    ffffffffffffffffffffffffff000000027e000000046b31466669727374206669727374206669727374206669727374\
    206669727374206669727374040a7472616365066162630a7472616365066465667c000002046b32447365636f6e6420\
    7365636f6e64207365636f6e64207365636f6e64207365636f6e64040a7472616365066162630a747261636506646566\
    ";

/// librdkafka sends two records with two headers of one name, gzip.
const LIBRDKAFKA_PRODUCE_7_GZIP: &str = "\
    000000b300000007000000030006676f6c64656effffffff000075300000000100066f72646572730000000100000000\
    00000083000000000000000000000077000000000209a9b91a000100000001000001a1f9489f16000001a1f9489f16ff\
    ffffffffffffffffffffffffff000000021f8b0800000000000003ab63606060c936744bcb2c2a2e51c04bb270951425\
    26a7b2252625435929a969350c0c4c2cd9462ec5a9c9f979290a7828acda01096c2e667f000000\
    ";

/// librdkafka sends two records with two headers of one name, snappy.
const LIBRDKAFKA_PRODUCE_7_SNAPPY: &str = "\
    000000a800000007000000030006676f6c64656effffffff000075300000000100066f72646572730000000100000000\
    0000007800000000000000000000006c00000000028768e246000200000001000001a1f9489f8e000001a1f9489f8eff\
    ffffffffffffffffffffffffff000000027f347e000000046b31466669727374207206002c040a747261636506616263\
    0a090a446465667c000002046b32447365636f6e64206a0700523f00\
    ";

/// librdkafka sends two records with two headers of one name, lz4.
const LIBRDKAFKA_PRODUCE_7_LZ4: &str = "\
    000000bc00000007000000030006676f6c64656effffffff000075300000000100066f72646572730000000100000000\
    0000008c00000000000000000000008000000000025f730435000300000001000001a1f948a006000001a1f948a006ff\
    ffffffffffffffffffffffffff0000000204224d1860408240000000ef7e000000046b314666697273742006000ab304\
    0a7472616365066162630a00ff036465667c000002046b32447365636f6e64200700080c3f0050650664656600000000\
    ";

/// librdkafka sends two records with two headers of one name, zstd.
const LIBRDKAFKA_PRODUCE_7_ZSTD: &str = "\
    000000b000000007000000030006676f6c64656effffffff000075300000000100066f72646572730000000100000000\
    0000008000000000000000000000007400000000025adf8ed0000400000001000001a1f948a087000001a1f948a087ff\
    ffffffffffffffffffffffffff0000000228b52ffd0058d50100b4027e000000046b3146666972737420040a74726163\
    65066162636465667c000002046b32447365636f6e6420040042f80095105adc39775102\
    ";

/// librdkafka sends one record of producer 9.
const LIBRDKAFKA_PRODUCE_7_IDEMPOTENT: &str = "\
    0000007600000007000000040006676f6c64656effffffff000075300000000100066f72646572730000000100000000\
    0000004600000000000000000000003a0000000002010d21f9000000000000000001a1f948a101000001a1f948a10100\
    000000000000090000000000000000000110000000026b027600\
    ";

/// kafka-python asks for the versions.
const KAFKA_PYTHON_API_VERSIONS_4: &str = "\
    0000002600120004000000010006676f6c64656e000d6b61666b612d707974686f6e07332e302e313200\
    ";

/// kafka-python asks for the brokers, but for no topic.
const KAFKA_PYTHON_METADATA_13: &str = "\
    000000150003000d000000020006676f6c64656e0001010000\
    ";

/// kafka-python sends one record of producer 9, flexible.
const KAFKA_PYTHON_PRODUCE_9: &str = "\
    0000007e00000009000000030006676f6c64656e0000ffff0000753002076f7264657273020000000056000000000000\
    00000000004900000000022ffbf5a4000000000000000001a1f9491a8d000001a1f9491a8d0000000000000009000000\
    000000000000012e000000046b310a6669727374020a747261636506616263000000\
    ";

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex
        .bytes()
        .map(|letter| (letter as char).to_digit(16).expect("hex") as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// Reads a frame of `client`, gives the request to `look`, and checks that writing gives the same bytes.
fn golden<'a, R: Request<'a>>(frame: &'a [u8], version: i16, look: impl FnOnce(&R)) {
    let (size, body) = frame.split_first_chunk().expect("a frame has a size");
    assert_eq!(u32::from_be_bytes(*size) as usize, body.len());
    let mut reader = Reader::new(body);
    let header = RequestHeader::decode(&mut reader).expect("the header can be read");
    assert_eq!(
        (header.api_key, header.api_version),
        (R::KEY as i16, version)
    );
    assert_eq!(header.client_id, Some("golden"));
    let request = R::decode(&mut reader, version).expect("the request can be read");
    assert_eq!(reader.remaining(), 0);
    look(&request);
    assert_eq!(encode_request(&header, &request), frame);
}

/// The one batch of a Produce frame, and its records decompressed.
fn produced(frame: &str, version: i16) -> (BatchHeader, Vec<u8>) {
    let frame = bytes(frame);
    let mut batch = None;
    golden(&frame, version, |request: &wire::produce::Request| {
        assert_eq!((request.acks, request.timeout_ms), (-1, 30_000));
        assert_eq!(request.topic_data[0].name, "orders");
        let records = request.topic_data[0].partition_data[0]
            .records
            .expect("there are records");
        batch = Some(
            CheckedBatch::check(frame.slice_ref(records), 1 << 20).expect("the batch is right"),
        );
    });
    let batch = batch.expect("it was just set");
    let plain = decompress(batch.header(), batch.bytes(), 1 << 20).expect("it decompresses");
    (*batch.header(), plain.into_owned())
}

#[test]
fn a_batch_of_librdkafka_reads_in_every_compression() {
    let frames = [
        (Compression::None, LIBRDKAFKA_PRODUCE_7_PLAIN),
        (Compression::Gzip, LIBRDKAFKA_PRODUCE_7_GZIP),
        (Compression::Snappy, LIBRDKAFKA_PRODUCE_7_SNAPPY),
        (Compression::Lz4, LIBRDKAFKA_PRODUCE_7_LZ4),
        (Compression::Zstd, LIBRDKAFKA_PRODUCE_7_ZSTD),
    ];
    for (compression, frame) in frames {
        let (header, plain) = produced(frame, 7);
        assert_eq!(header.compression(), Ok(compression));
        let records: Vec<_> = RecordIter::new(&header, &plain)
            .collect::<Result<_, _>>()
            .expect("all are whole");
        let words = [
            &b"first first first first first first"[..],
            b"second second second second second",
        ];
        assert_eq!(
            records
                .iter()
                .map(|record| record.value)
                .collect::<Vec<_>>(),
            words.map(Some)
        );
        assert_eq!((records[1].key, records[1].offset), (Some(&b"k2"[..]), 1));
        assert_eq!(records[1].timestamp, header.base_timestamp);
        let headers: Vec<_> = records[1]
            .headers()
            .map(|header| (header.name, header.value))
            .collect();
        assert_eq!(
            headers,
            [(&b"trace"[..], Some(&b"abc"[..])), (b"trace", Some(b"def"))]
        );
    }
}

#[test]
fn idempotent_batches_carry_producer_and_sequence() {
    for (frame, version) in [
        (LIBRDKAFKA_PRODUCE_7_IDEMPOTENT, 7),
        (KAFKA_PYTHON_PRODUCE_9, 9),
    ] {
        let (header, plain) = produced(frame, version);
        assert_eq!(
            (
                header.producer_id,
                header.producer_epoch,
                header.base_sequence
            ),
            (9, 0, 0)
        );
        assert_eq!(RecordIter::new(&header, &plain).count(), 1);
    }
}

#[test]
fn what_we_build_is_what_librdkafka_builds() {
    let (header, plain) = produced(LIBRDKAFKA_PRODUCE_7_PLAIN, 7);
    let mut batch = BatchBuilder::new(header.base_timestamp).leader_epoch(0);
    for record in RecordIter::new(&header, &plain).map(|record| record.expect("whole")) {
        let headers: Vec<_> = record
            .headers()
            .map(|header| {
                (
                    std::str::from_utf8(header.name).expect("UTF-8"),
                    header.value,
                )
            })
            .collect();
        batch.push(record.timestamp, record.key, record.value, &headers);
    }
    assert_eq!(&batch.build(Compression::None)[..61], header.encode());
}

#[test]
fn small_requests_of_clients_read() {
    golden(
        &bytes(LIBRDKAFKA_API_VERSIONS_3),
        3,
        |request: &wire::api_versions::Request| {
            assert_eq!(
                (
                    request.client_software_name,
                    request.client_software_version
                ),
                ("librdkafka", "2.0.2")
            );
        },
    );
    golden(
        &bytes(KAFKA_PYTHON_API_VERSIONS_4),
        4,
        |request: &wire::api_versions::Request| {
            assert_eq!(
                (
                    request.client_software_name,
                    request.client_software_version
                ),
                ("kafka-python", "3.0.12")
            );
        },
    );
    golden(
        &bytes(LIBRDKAFKA_INIT_PRODUCER_ID_4),
        4,
        |request: &wire::init_producer_id::Request| {
            assert_eq!(
                (
                    request.transactional_id,
                    request.producer_id,
                    request.producer_epoch
                ),
                (None, -1, -1)
            );
        },
    );
    golden(
        &bytes(KAFKA_PYTHON_METADATA_13),
        13,
        |request: &wire::metadata::Request| {
            assert_eq!(
                (request.topics.as_deref(), request.allow_auto_topic_creation),
                (Some(&[][..]), true)
            );
        },
    );
}
