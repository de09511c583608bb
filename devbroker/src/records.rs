//! Finds a record by time inside a batch, so that "the first offset at or after this time" is exact.
//!
//! Nothing else of a record is looked at. A compressed batch is unpacked as a stream and only as far as needed, so
//! a batch that would unpack to gigabytes costs time but not memory. Tested beside the code for every codec.

use std::io::{self, BufRead, BufReader, Read};

use crate::batch::{HEADER_BYTES, Header};

/// A record's place and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: i64,
    /// Milliseconds since the Unix epoch, as the producer set it.
    pub(crate) timestamp: i64,
}

/// The first record of `batch` that is not before `timestamp` nor below `from_offset`.
///
/// # Errors
/// When the records contradict the batch header or do not unpack; the producer sent them so.
pub(crate) fn first_at_or_after(
    header: &Header,
    batch: &[u8],
    timestamp: i64,
    from_offset: i64,
) -> io::Result<Option<Found>> {
    let mut records = unpack(header.codec(), &batch[HEADER_BYTES..])?;
    for _ in 0..header.record_count {
        let length = varint(&mut records)?;
        let length = u64::try_from(length).map_err(|_| invalid("negative record length"))?;
        let mut record = records.by_ref().take(length);
        let _attributes = byte(&mut record)?;
        let found = Found {
            timestamp: header.base_timestamp.wrapping_add(varint(&mut record)?),
            offset: header.base_offset.wrapping_add(varint(&mut record)?),
        };
        if found.timestamp >= timestamp && found.offset >= from_offset {
            return Ok(Some(found));
        }
        let left = record.limit();
        if io::copy(&mut record, &mut io::sink())? != left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(None)
}

fn unpack(codec: i16, packed: &[u8]) -> io::Result<Box<dyn BufRead + '_>> {
    Ok(match codec {
        0 => Box::new(packed),
        1 => Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(packed))),
        2 => Box::new(io::Cursor::new(unsnap(packed)?)),
        3 => Box::new(BufReader::new(lz4_flex::frame::FrameDecoder::new(packed))),
        4 => Box::new(BufReader::new(zstd::stream::read::Decoder::new(packed)?)),
        _ => return Err(invalid("unknown compression")),
    })
}

/// Snappy comes raw (librdkafka) or in the block framing of snappy-java (the Java client).
fn unsnap(packed: &[u8]) -> io::Result<Vec<u8>> {
    const JAVA_MAGIC: &[u8] = b"\x82SNAPPY\x00";
    const JAVA_HEADER_BYTES: usize = 16;
    if !packed.starts_with(JAVA_MAGIC) {
        return unsnap_block(packed);
    }
    let mut rest = packed.get(JAVA_HEADER_BYTES..).ok_or_else(|| invalid("snappy header cut short"))?;
    let mut plain = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let block = after.get(..length).ok_or_else(|| invalid("snappy block cut short"))?;
        plain.extend(unsnap_block(block)?);
        if plain.len() > MAX_SNAPPY_BYTES {
            return Err(invalid("snappy data is too large"));
        }
        rest = &after[length..];
    }
    Ok(plain)
}

/// Raw snappy is not a stream and says its length first: more than this is not unpacked.
/// (Snappy packs at most about 1 to 21, and a batch is at most 1 MiB.)
const MAX_SNAPPY_BYTES: usize = 32 << 20;

fn unsnap_block(block: &[u8]) -> io::Result<Vec<u8>> {
    if snap::raw::decompress_len(block)? > MAX_SNAPPY_BYTES {
        return Err(invalid("snappy data is too large"));
    }
    Ok(snap::raw::Decoder::new().decompress_vec(block)?)
}

/// A zigzag varint of up to 64 bits.
fn varint(from: &mut impl Read) -> io::Result<i64> {
    let mut raw = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = byte(from)?;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
        }
    }
    Err(invalid("varint too long"))
}

fn byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;

    use bytes::Bytes;
    use kafka_protocol::records::Compression;

    use super::*;
    use crate::testing::{batch_of, compressed};

    /// Deliberately not sorted by time: producers' clocks are not.
    const RECORDS: &[(i64, &str)] = &[(5_000, "a"), (1_000, "b"), (9_000, "c"), (7_000, "d")];

    fn find(batch: &Bytes, timestamp: i64, from_offset: i64) -> Option<(i64, i64)> {
        let header = Header::parse(batch).unwrap();
        let found = first_at_or_after(&header, batch, timestamp, from_offset).unwrap();
        found.map(|f| (f.offset, f.timestamp))
    }

    fn assert_exact(batch: &Bytes) {
        assert_eq!(find(batch, 0, 0), Some((0, 5_000)));
        assert_eq!(find(batch, 5_001, 0), Some((2, 9_000)));
        assert_eq!(find(batch, 6_000, 3), Some((3, 7_000)));
        assert_eq!(find(batch, 9_001, 0), None);
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn lz4(plain: &[u8]) -> Vec<u8> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn snappy(plain: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(plain).unwrap()
    }

    fn java_snappy(plain: &[u8]) -> Vec<u8> {
        let mut out = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01".to_vec();
        for block in plain.chunks(16) {
            let block = snappy(block);
            out.extend((block.len() as u32).to_be_bytes());
            out.extend(block);
        }
        out
    }

    #[test]
    fn lookup_is_exact_for_every_codec() {
        assert_exact(&batch_of(RECORDS));
        assert_exact(&compressed(RECORDS, Compression::Gzip, gzip));
        assert_exact(&compressed(RECORDS, Compression::Snappy, snappy));
        assert_exact(&compressed(RECORDS, Compression::Snappy, java_snappy));
        assert_exact(&compressed(RECORDS, Compression::Lz4, lz4));
        assert_exact(&compressed(RECORDS, Compression::Zstd, |p| zstd::encode_all(p, 1).unwrap()));
    }

    #[test]
    fn records_that_do_not_unpack_are_an_error_and_not_a_panic() {
        for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let batch = compressed(RECORDS, codec, |_| b"\xff\xff\xff\xff\xff\xff not packed at all".to_vec());
            let header = Header::parse(&batch).unwrap();
            assert!(first_at_or_after(&header, &batch, 0, 0).is_err(), "{codec:?}");
        }
    }
}
