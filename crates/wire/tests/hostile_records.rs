//! Hostile record batches: no panic, no output past the limit, no memory from a length that only claims to be there.

mod dice;

use allocation_counter::measure;
use bytes::Bytes;
use dice::Dice;
use proptest::prelude::*;
use wire::records::*;

const LIMIT: usize = 1 << 16;

/// The header and the records as two pieces of one batch, with lengths and checksum made right.
fn batch(compression: Compression, records: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    builder.push(0, None, None, &[]);
    let mut header = *CheckedBatch::check(builder.build(Compression::None), LIMIT)
        .expect("it is right")
        .header();
    header.attributes = compression as i16;
    header.length = (BATCH_OVERHEAD - 12 + records.len()) as i32;
    let mut bytes = [&header.encode()[..], records].concat();
    header.crc = crc_fast::crc32_iscsi(&bytes[21..]);
    bytes[..BATCH_OVERHEAD].copy_from_slice(&header.encode());
    Bytes::from(bytes)
}

fn orders(compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(1_000).producer(7, 1, 5);
    for number in 0..50u8 {
        let value = [number; 60];
        let headers: &[(&str, Option<&[u8]>)] = &[("trace", Some(&value[..9])), ("trace", None)];
        builder.push(
            1_000 + i64::from(number),
            Some(&[number]),
            Some(&value),
            &headers[..usize::from(number % 3)],
        );
    }
    builder.build(compression)
}

/// Does all that a broker or consumer does with a batch.
fn use_up(bytes: &[u8]) {
    let _ = CheckedBatch::check(Bytes::copy_from_slice(bytes), LIMIT);
    let _ = verify_crc(bytes);
    for (header, batch) in scan_batches(bytes).flatten() {
        let _ = (
            header.last_offset(),
            header.last_sequence(),
            header.timestamp_type(),
        );
        let mut plain = None;
        let memory = measure(|| plain = decompress(&header, batch, LIMIT).ok());
        // A frame of lz4 may have blocks of 4 MiB, of which the decoder keeps two; the others need little but the output.
        assert!(
            memory.bytes_max <= (10 << 20),
            "{} bytes for {}",
            memory.bytes_max,
            batch.len()
        );
        let Some(plain) = plain else { continue };
        assert!(plain.len() <= LIMIT);
        let memory = measure(|| {
            for record in RecordIter::new(&header, &plain).flatten() {
                let _ = (record.key, record.value, record.headers().count());
            }
        });
        assert_eq!(memory.bytes_total, 0);
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        use_up(&bytes);
    }

    #[test]
    fn random_records_never_panic(codec in 0..5usize, records in prop::collection::vec(any::<u8>(), 0..300)) {
        use_up(&batch(Compression::ALL[codec], &records));
    }

    #[test]
    fn what_is_built_reads_back(
        codec in 0..5usize,
        records in prop::collection::vec((any::<i64>(), any::<Option<Vec<u8>>>(), any::<Option<Vec<u8>>>()), 1..20),
    ) {
        let mut builder = BatchBuilder::new(records[0].0);
        for (timestamp, key, value) in &records {
            builder.push(*timestamp, key.as_deref(), value.as_deref(), &[]);
        }
        let batch = CheckedBatch::check(builder.build(Compression::ALL[codec]), 1 << 20).expect("it is right");
        let plain = decompress(batch.header(), batch.bytes(), 1 << 20).expect("it is right");
        let back = RecordIter::new(batch.header(), &plain).map(|record| {
            let record = record.expect("it is right");
            (record.timestamp, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec))
        });
        prop_assert_eq!(back.collect::<Vec<_>>(), records);
    }
}

#[test]
fn damaged_batches_never_panic() {
    let mut dice = Dice(3);
    for compression in Compression::ALL {
        let good = orders(compression);
        for _ in 0..500 {
            let mut bytes = good.to_vec();
            dice.damage(&mut bytes);
            use_up(&bytes);
            let mut records = good[BATCH_OVERHEAD..].to_vec();
            dice.damage(&mut records);
            use_up(&batch(compression, &records));
        }
    }
}

#[test]
fn a_decompression_bomb_stops_at_the_limit() {
    let mut builder = BatchBuilder::new(0);
    builder.push(0, None, Some(&vec![0; 64 << 20]), &[]);
    for compression in Compression::ALL {
        let bomb = builder.clone().build(compression);
        let header = BatchHeader::decode(&bomb).expect("it is right");
        let mut result = Ok(0);
        let memory =
            measure(|| result = decompress(&header, &bomb, LIMIT).map(|plain| plain.len()));
        assert_eq!(
            result,
            Err(BatchError::TooLarge { limit: LIMIT }),
            "{}",
            compression.name()
        );
        assert!(
            memory.bytes_max < 1 << 20,
            "{}: {}",
            compression.name(),
            memory.bytes_max
        );
    }
}

#[test]
fn what_just_fits_is_decompressed() {
    for compression in Compression::ALL {
        let good = orders(compression);
        let header = BatchHeader::decode(&good).expect("it is right");
        let length = decompress(&header, &good, LIMIT).expect("it fits").len();
        assert_eq!(
            decompress(&header, &good, length)
                .expect("it just fits")
                .len(),
            length
        );
        let error = decompress(&header, &good, length - 1).expect_err("it does not fit");
        assert_eq!(
            error,
            BatchError::TooLarge { limit: length - 1 },
            "{}",
            compression.name()
        );
    }
}

#[test]
fn a_snappy_block_that_claims_four_gigabytes_is_refused_before_anything_is_reserved() {
    let lies = [
        b"\xff\xff\xff\xff\x0f\0\0".to_vec(),
        b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x06\xff\xff\xff\xff\x0f\0".to_vec(),
        b"\x80\x80\x01\0\0".to_vec(),
    ];
    for lie in lies {
        let bytes = batch(Compression::Snappy, &lie);
        let header = BatchHeader::decode(&bytes).expect("the header is right");
        let mut is_refused = false;
        let memory = measure(|| is_refused = decompress(&header, &bytes, 1 << 20).is_err());
        assert!(is_refused);
        assert!(memory.bytes_max < 1_000, "{}", memory.bytes_max);
    }
}

#[test]
fn a_zstd_frame_with_a_window_of_two_gigabytes_is_refused() {
    // Magic, a frame header without content size, window descriptor 21 << 3: 2^31 bytes; one raw block of a byte.
    let frame = b"\x28\xb5\x2f\xfd\x00\xa8\x09\x00\x00x";
    let bytes = batch(Compression::Zstd, frame);
    let header = BatchHeader::decode(&bytes).expect("the header is right");
    assert!(matches!(
        decompress(&header, &bytes, LIMIT),
        Err(BatchError::Decompression { codec: "zstd", .. })
    ));
    // The same with 2^27 is legal: level 22 writes it.
    let bytes = batch(Compression::Zstd, b"\x28\xb5\x2f\xfd\x00\x88\x09\x00\x00x");
    assert_eq!(decompress(&header, &bytes, LIMIT).as_deref(), Ok(&b"x"[..]));
}

#[test]
fn raw_and_framed_snappy_both_read() {
    let records = b"0123456789".repeat(20_000);
    let raw = snap::raw::Encoder::new()
        .compress_vec(&records)
        .expect("it compresses");
    let bytes = batch(Compression::Snappy, &raw);
    let header = BatchHeader::decode(&bytes).expect("the header is right");
    assert_eq!(
        decompress(&header, &bytes, 1 << 20).as_deref(),
        Ok(&records[..])
    );
    let mut builder = BatchBuilder::new(0);
    builder.push(0, None, Some(&records), &[]);
    let framed = builder.build(Compression::Snappy);
    assert_eq!(framed[BATCH_OVERHEAD..][..8], *b"\x82SNAPPY\0");
    let plain = decompress(&header, &framed, 1 << 20).expect("it is right");
    assert_eq!(
        RecordIter::new(&header, &plain)
            .flatten()
            .next()
            .and_then(|record| record.value),
        Some(&records[..])
    );
}

#[test]
fn lz4_is_written_in_independent_blocks_of_64_kib() {
    let mut builder = BatchBuilder::new(0);
    builder.push(0, None, Some(&[1; 200_000]), &[]);
    let batch = builder.build(Compression::Lz4);
    // Magic; flags 01 (version) 1 (independent blocks) without content checksum; block size 4: 64 KiB.
    assert_eq!(batch[BATCH_OVERHEAD..][..4], [0x04, 0x22, 0x4d, 0x18]);
    assert_eq!(batch[BATCH_OVERHEAD + 4] & 0b1110_0000, 0b0110_0000);
    assert_eq!(batch[BATCH_OVERHEAD + 5], 0x40);
}
