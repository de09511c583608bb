//! Record batches for the unit tests, made by kafka-protocol's encoder: not by the code under test.
#![allow(clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};

/// Who produced a batch: id, epoch, first sequence number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProducedBy(pub(crate) i64, pub(crate) i16, pub(crate) i32);

const NOBODY: ProducedBy = ProducedBy(-1, -1, -1);

/// An uncompressed batch of `(timestamp, value)` records.
pub(crate) fn batch_of(records: &[(i64, &str)]) -> Bytes {
    encode(records, NOBODY, Compression::None, |_| unreachable!("nothing to compress"))
}

/// An uncompressed batch of `records` records by an idempotent producer.
pub(crate) fn batch_by(by: ProducedBy, records: usize) -> Bytes {
    let records: Vec<_> = (0..records).map(|i| (i as i64, "v")).collect();
    encode(&records, by, Compression::None, |_| unreachable!("nothing to compress"))
}

/// A batch whose records `compress` has packed.
pub(crate) fn compressed(records: &[(i64, &str)], codec: Compression, compress: impl Fn(&[u8]) -> Vec<u8>) -> Bytes {
    encode(records, NOBODY, codec, compress)
}

fn encode(records: &[(i64, &str)], by: ProducedBy, codec: Compression, compress: impl Fn(&[u8]) -> Vec<u8>) -> Bytes {
    let records: Vec<Record> =
        (0..).zip(records).map(|(i, (timestamp, value))| record(i, *timestamp, value, by)).collect();
    let options = RecordEncodeOptions { version: 2, compression: codec };
    let mut out = BytesMut::new();
    if codec == Compression::None {
        RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
    } else {
        let pack = |plain: &mut BytesMut, out: &mut BytesMut, _| {
            out.extend_from_slice(&compress(plain));
            Ok(())
        };
        RecordBatchEncoder::encode_with_custom_compression(&mut out, &records, &options, Some(pack)).unwrap();
    }
    out.freeze()
}

fn record(i: i32, timestamp: i64, value: &str, by: ProducedBy) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: by.0,
        producer_epoch: by.1,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(i),
        sequence: by.2.wrapping_add(i),
        timestamp,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    }
}
