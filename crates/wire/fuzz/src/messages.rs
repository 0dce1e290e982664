//! Messages and record batches. What decodes must encode, and decode again to the same message.

use bytes::Bytes;
use wire::records::{
    BatchHeader, CheckedBatch, Compression, RecordIter, decompress, scan_batches, verify_crc,
};
use wire::{ApiKey, DecodeError, Reader, Records, RequestHeader, RequestPrefix, Writer};

/// The most that a batch may have, before and after decompression.
const LIMIT: usize = 1 << 20;

/// A whole request frame without its size, as a connection hands it on.
pub fn frame(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let prefix = RequestPrefix::decode(&mut Reader::new(bytes));
    let Ok(header) = RequestHeader::decode(&mut reader) else {
        return;
    };
    let prefix = prefix.expect("the prefix is part of the header");
    assert_eq!(prefix.api_key, header.api_key);
    let key = ApiKey::try_from(header.api_key).expect("the header knows the key");
    decode_request(key, header.api_version, reader.rest());
}

/// A key, a version, a request body.
pub fn request(bytes: &[u8]) {
    if let Some((key, version, body)) = choose(bytes) {
        decode_request(key, version, body);
    }
}

/// A key, a version, a response body.
pub fn response(bytes: &[u8]) {
    if let Some((key, version, body)) = choose(bytes) {
        decode_response(key, version, body);
    }
}

/// The first two bytes choose among all keys and versions.
fn choose(bytes: &[u8]) -> Option<(ApiKey, i16, &[u8])> {
    let (choice, body) = bytes.split_first_chunk()?;
    let mut all = ApiKey::ALL
        .iter()
        .flat_map(|key| key.versions().map(|version| (*key, version)));
    let (key, version) = all.nth(usize::from(u16::from_le_bytes(*choice)))?;
    Some((key, version, body))
}

macro_rules! decoders {
    ($(($name:ident, $module:ident),)*) => {
        fn decode_request(key: ApiKey, version: i16, body: &[u8]) {
            match key {
                $(ApiKey::$name => twice(
                    body,
                    |reader| wire::$module::Request::decode(reader, version),
                    |request, writer| request.encode(writer, version),
                    |again, bytes| Ok(wire::$module::Request::decode(&mut Reader::new(bytes), version)? == *again),
                ),)*
            }
        }

        fn decode_response(key: ApiKey, version: i16, body: &[u8]) {
            match key {
                $(ApiKey::$name => twice(
                    body,
                    |reader| wire::$module::Response::decode(reader, version),
                    |response, writer| response.encode(writer, version),
                    |again, bytes| Ok(wire::$module::Response::decode(&mut Reader::new(bytes), version)? == *again),
                ),)*
            }
        }
    };
}

wire::for_each_api!(decoders);

fn twice<'a, T>(
    body: &'a [u8],
    decode: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
    encode: impl FnOnce(&T, &mut Writer),
    reads_back: impl FnOnce(&T, &[u8]) -> Result<bool, DecodeError>,
) {
    let Ok(message) = decode(&mut Reader::new(body)) else {
        return;
    };
    let mut writer = Writer::default();
    encode(&message, &mut writer);
    let bytes = Records::from_iter(writer.finish())
        .to_bytes()
        .expect("nothing is external");
    assert_eq!(reads_back(&message, &bytes), Ok(true));
}

/// A stretch of log: walk, check, iterate.
pub fn record_batch(bytes: &[u8]) {
    let _ = CheckedBatch::check(Bytes::copy_from_slice(bytes), LIMIT);
    let _ = verify_crc(bytes);
    for (header, batch) in scan_batches(bytes).flatten() {
        assert_eq!(BatchHeader::decode(&header.encode()), Ok(header));
        let _ = (header.last_offset(), header.last_sequence());
        read_records(&header, batch);
    }
}

/// The first byte chooses the codec, the others are the records.
pub fn decompress_records(bytes: &[u8]) {
    let Some((codec, records)) = bytes.split_first() else {
        return;
    };
    let mut template = wire::records::BatchBuilder::new(0);
    template.push(0, None, None, &[]);
    let mut header =
        BatchHeader::decode(&template.build(Compression::None)).expect("it was just built");
    header.attributes = i16::from(codec % 8);
    read_records(&header, &[&header.encode()[..], records].concat());
}

fn read_records(header: &BatchHeader, batch: &[u8]) {
    let Ok(plain) = decompress(header, batch, LIMIT) else {
        return;
    };
    assert!(plain.len() <= LIMIT);
    for record in RecordIter::new(header, &plain).flatten() {
        assert_eq!(record.headers().count(), record.headers().len());
    }
}
