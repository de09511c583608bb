//! The header of a record batch (message format 2), read and placed without touching the records.
//!
//! Batches are stored as the producer sent them. Only the base offset and the leader epoch are overwritten,
//! which the checksum deliberately leaves out. Layout: Kafka's `DefaultRecordBatch.java`.
//! Records inside a batch are [`crate::records`]' business. Tested beside the code.

use bytes::Buf;
use thiserror::Error;

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 61;
/// Largest batch accepted, in bytes: Kafka's default `message.max.bytes`, so that what is too large there is too large here.
pub(crate) const MAX_BATCH_BYTES: usize = 1_048_588;
/// There is one leader and it never changes.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// Where the length field ends: the length counts from here.
const LENGTH_END: usize = 12;
/// Where the checksum begins to count.
const CHECKED_FROM: usize = 21;

/// Why bytes are not a record batch this broker stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Invalid {
    #[error("`{bytes}` bytes are too few for a record batch")]
    Short { bytes: usize },
    #[error("batch length `{length}` is impossible")]
    Length { length: i32 },
    #[error(
        "a batch of `{bytes}` bytes is over the limit of `{MAX_BATCH_BYTES}`; lower the producer's `batch.size` or the message"
    )]
    TooLarge { bytes: usize },
    #[error("message format `{magic}` is not supported, only 2; use a client of Kafka 0.11 or later")]
    Magic { magic: i8 },
    #[error("the checksum does not match the bytes")]
    Checksum,
    #[error("the header's counts contradict each other or the bytes that follow")]
    Counts,
    #[error("compression `{codec}` is unknown")]
    Compression { codec: i16 },
    #[error("control, transactional and log-append-time batches are not accepted; this broker has no transactions")]
    Attributes,
}

/// The fields of a batch header that a broker needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base_offset: i64,
    /// The whole batch, header included.
    pub(crate) bytes: usize,
    pub(crate) crc: u32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) record_count: i32,
}

impl Header {
    /// Reads the header at the start of `bytes`, which may end before the batch does.
    pub(crate) fn parse(mut bytes: &[u8]) -> Result<Self, Invalid> {
        if bytes.len() < HEADER_BYTES {
            return Err(Invalid::Short { bytes: bytes.len() });
        }
        let base_offset = bytes.get_i64();
        let length = bytes.get_i32();
        let _leader_epoch = bytes.get_i32();
        let magic = bytes.get_i8();
        if magic != 2 {
            return Err(Invalid::Magic { magic });
        }
        let whole = usize::try_from(length).map_err(|_| Invalid::Length { length })? + LENGTH_END;
        if whole < HEADER_BYTES {
            return Err(Invalid::Length { length });
        }
        if whole > MAX_BATCH_BYTES {
            return Err(Invalid::TooLarge { bytes: whole });
        }
        Ok(Self {
            base_offset,
            bytes: whole,
            crc: bytes.get_u32(),
            attributes: bytes.get_i16(),
            last_offset_delta: bytes.get_i32(),
            base_timestamp: bytes.get_i64(),
            max_timestamp: bytes.get_i64(),
            producer_id: bytes.get_i64(),
            producer_epoch: bytes.get_i16(),
            base_sequence: bytes.get_i32(),
            record_count: bytes.get_i32(),
        })
    }

    /// Checks that `batch` is exactly this batch, whole and undamaged.
    pub(crate) fn verify(&self, batch: &[u8]) -> Result<(), Invalid> {
        if batch.len() != self.bytes || self.record_count < 1 || self.last_offset_delta != self.record_count - 1 {
            return Err(Invalid::Counts);
        }
        if crc32c::crc32c(&batch[CHECKED_FROM..]) != self.crc {
            return Err(Invalid::Checksum);
        }
        Ok(())
    }

    /// Checks what only a producer's batch must fulfil.
    pub(crate) fn verify_producible(&self) -> Result<(), Invalid> {
        const LOG_APPEND_TIME: i16 = 1 << 3;
        const TRANSACTIONAL: i16 = 1 << 4;
        const CONTROL: i16 = 1 << 5;
        if self.attributes & (LOG_APPEND_TIME | TRANSACTIONAL | CONTROL) != 0 {
            return Err(Invalid::Attributes);
        }
        match self.codec() {
            0..=4 => Ok(()),
            codec => Err(Invalid::Compression { codec }),
        }
    }

    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; more is unknown.
    pub(crate) fn codec(&self) -> i16 {
        self.attributes & 0b111
    }

    /// The offset of the last record.
    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }
}

/// Gives a batch its place in the log.
///
/// # Panics
/// If `batch` is shorter than a header; parse it first.
pub(crate) fn place(batch: &mut [u8], base_offset: i64) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[LENGTH_END..LENGTH_END + 4].copy_from_slice(&LEADER_EPOCH.to_be_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::batch_of;

    #[test]
    fn placing_a_batch_keeps_its_checksum_valid() {
        let mut batch = batch_of(&[(1_000, "a"), (2_000, "b")]).to_vec();
        place(&mut batch, 77);
        let header = Header::parse(&batch).unwrap();
        header.verify(&batch).unwrap();
        assert_eq!((header.base_offset, header.last_offset(), header.max_timestamp), (77, 78, 2_000));
    }

    #[test]
    fn every_damaged_byte_that_matters_is_noticed() {
        let batch = batch_of(&[(1_000, "a")]).to_vec();
        for i in (8..12).chain(16..batch.len()) {
            let mut damaged = batch.clone();
            damaged[i] ^= 0x40;
            let verdict = Header::parse(&damaged).and_then(|h| h.verify(&damaged));
            assert!(verdict.is_err(), "byte {i}");
        }
    }

    #[test]
    fn a_short_or_oversized_batch_is_refused_before_its_bytes_are_read() {
        let mut batch = batch_of(&[(1, "a")]).to_vec();
        assert_eq!(Header::parse(&batch[..60]), Err(Invalid::Short { bytes: 60 }));
        batch[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(matches!(Header::parse(&batch), Err(Invalid::TooLarge { .. })));
        batch[8..12].copy_from_slice(&(-1i32).to_be_bytes());
        assert_eq!(Header::parse(&batch), Err(Invalid::Length { length: -1 }));
    }
}
