//! Whole frames, byte by byte.

use bytes::Bytes;
use wire::{
    ApiKey, Reader, RequestHeader, RequestPrefix, ResponseHeader, Segment, encode_request,
    encode_response,
};

fn header(key: ApiKey, version: i16) -> RequestHeader<'static> {
    RequestHeader {
        api_key: key as i16,
        api_version: version,
        correlation_id: 7,
        client_id: Some("c"),
    }
}

fn whole(segments: Vec<Segment>) -> Vec<u8> {
    let bytes = segments.into_iter().map(|segment| match segment {
        Segment::Bytes(bytes) => bytes.to_vec(),
        Segment::External { length, .. } => vec![0xee; length as usize],
    });
    bytes.flatten().collect()
}

#[test]
fn a_plain_request_frame_has_these_bytes() {
    let request = wire::find_coordinator::Request {
        key: "group",
        ..Default::default()
    };
    let frame = encode_request(&header(ApiKey::FindCoordinator, 0), &request);
    assert_eq!(
        &frame[..],
        b"\0\0\0\x12\0\x0a\0\0\0\0\0\x07\0\x01c\0\x05group"
    );
}

#[test]
fn a_flexible_request_keeps_its_client_id_plain() {
    let request = wire::api_versions::Request {
        client_software_name: "ab",
        client_software_version: "1",
        ..Default::default()
    };
    let frame = encode_request(&header(ApiKey::ApiVersions, 3), &request);
    // size · key 18 · version 3 · correlation 7 · client id, 2-byte length · no tags · compact strings · no tags
    assert_eq!(
        &frame[..],
        b"\0\0\0\x12\0\x12\0\x03\0\0\0\x07\0\x01c\0\x03ab\x021\0"
    );
    let mut reader = Reader::new(&frame[4..]);
    assert_eq!(
        RequestHeader::decode(&mut reader),
        Ok(header(ApiKey::ApiVersions, 3))
    );
    assert_eq!(
        wire::api_versions::Request::decode(&mut reader, 3),
        Ok(request)
    );
    assert_eq!(reader.remaining(), 0);
}

#[test]
fn an_api_versions_response_always_has_the_old_header() {
    let response = wire::api_versions::Response::default();
    let frame = whole(encode_response(ApiKey::ApiVersions, 3, 7, &response));
    // size · correlation 7 · error 0 · compact array of none · throttle 0 · no tags
    assert_eq!(&frame[..], b"\0\0\0\x0c\0\0\0\x07\0\0\x01\0\0\0\0\0");
}

#[test]
fn the_prefix_of_an_unknown_request_can_be_read() {
    let bytes = b"\x7f\0\0\x01\0\0\0\x09rest";
    let prefix = RequestPrefix {
        api_key: 0x7f00,
        api_version: 1,
        correlation_id: 9,
    };
    assert_eq!(RequestPrefix::decode(&mut Reader::new(bytes)), Ok(prefix));
    assert!(RequestHeader::decode(&mut Reader::new(bytes)).is_err());
}

#[test]
fn records_are_not_copied_and_the_size_counts_external_ones() {
    let shared = Bytes::from(vec![1; 1000]);
    let records = [
        Segment::Bytes(shared.clone()),
        Segment::External {
            token: 3,
            length: 500,
        },
    ];
    let partition = wire::fetch::PartitionData {
        records: records.iter().cloned().collect(),
        ..Default::default()
    };
    let topic = wire::fetch::TopicResponse {
        partitions: vec![partition],
        ..Default::default()
    };
    let response = wire::fetch::Response {
        responses: vec![topic],
        ..Default::default()
    };
    let segments = encode_response(ApiKey::Fetch, 12, 7, &response);
    assert_eq!(segments[1..3], records);
    let Segment::Bytes(sent) = &segments[1] else {
        panic!("the records are bytes")
    };
    assert_eq!(sent.as_ptr(), shared.as_ptr());
    let frame = whole(segments);
    assert_eq!(
        u32::from_be_bytes(*frame.first_chunk().expect("a size")) as usize,
        frame.len() - 4
    );
    let frame = Bytes::from(frame);
    let body = frame.slice(4..);
    let mut reader = Reader::shared(&body);
    assert_eq!(
        ResponseHeader::decode(&mut reader, ApiKey::Fetch, 12),
        Ok(ResponseHeader { correlation_id: 7 })
    );
    let back = wire::fetch::Response::decode(&mut reader, 12).expect("it reads back");
    assert_eq!(back.responses[0].partitions[0].records.len(), 1500);
}
