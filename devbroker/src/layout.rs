//! The shape of every request this broker accepts, to check its counts and lengths before it is decoded.
//!
//! kafka-protocol reserves memory for as many elements as a request *claims* to have, so a few hostile bytes could
//! make it ask for hundreds of gigabytes, and a failed allocation ends the process. Walking the bytes first costs
//! little and bounds that. Nothing is decoded here. Shapes: the JSON files in Kafka's `clients/src/main/resources`.
//! Tested beside the code against kafka-protocol's own encoder, for every version offered.

use kafka_protocol::messages::ApiKey;
use thiserror::Error;

/// Array elements and tagged fields a request may have in all: far above any client's, some 15 MB once decoded.
const MAX_ELEMENTS: usize = 100_000;

/// The bytes are not a request of the API and version they claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the request does not have the shape of its API and version")]
pub(crate) struct Malformed;

enum Field {
    Fixed(usize),
    Text,
    Blob,
    /// An array of fixed-size values.
    Numbers(usize),
    Texts,
    /// An array of structs.
    Array(&'static [Versioned]),
}
use Field::{Array, Blob, Fixed, Numbers, Text, Texts};

/// A field and the first and last version that has it.
type Versioned = (i16, i16, Field);

const fn all(field: Field) -> Versioned {
    (0, i16::MAX, field)
}

const fn since(version: i16, field: Field) -> Versioned {
    (version, i16::MAX, field)
}

/// The first version with compact lengths and tagged fields, and the fields of the body.
#[rustfmt::skip] // a table: one request a paragraph
fn layout(key: ApiKey) -> Option<(i16, &'static [Versioned])> {
    Some(match key {
        ApiKey::Produce => (9, const { &[
            all(Text), all(Fixed(2)), all(Fixed(4)),
            all(Array(const { &[all(Text), all(Array(const { &[all(Fixed(4)), all(Blob)] }))] })),
        ] }),
        ApiKey::Fetch => (12, const { &[
            all(Fixed(4 + 4 + 4 + 4 + 1)), since(7, Fixed(4 + 4)),
            all(Array(const { &[all(Text), all(Array(const { &[
                all(Fixed(4)), since(9, Fixed(4)), all(Fixed(8)), since(12, Fixed(4)), since(5, Fixed(8)), all(Fixed(4)),
            ] }))] })),
            since(7, Array(const { &[all(Text), all(Numbers(4))] })),
            since(11, Text),
        ] }),
        ApiKey::ListOffsets => (6, const { &[
            all(Fixed(4)), since(2, Fixed(1)),
            all(Array(const { &[all(Text), all(Array(const { &[all(Fixed(4)), since(4, Fixed(4)), all(Fixed(8))] }))] })),
        ] }),
        ApiKey::Metadata => (9, const { &[all(Array(const { &[all(Text)] })), since(4, Fixed(1)), since(8, Fixed(2))] }),
        ApiKey::OffsetCommit => (8, const { &[
            all(Text), all(Fixed(4)), all(Text), since(7, Text), (2, 4, Fixed(8)),
            all(Array(const { &[all(Text), all(Array(const { &[all(Fixed(4 + 8)), since(6, Fixed(4)), all(Text)] }))] })),
        ] }),
        ApiKey::OffsetFetch => (6, const { &[
            all(Text), all(Array(const { &[all(Text), all(Numbers(4))] })), since(7, Fixed(1)),
        ] }),
        ApiKey::FindCoordinator => (3, const { &[all(Text), since(1, Fixed(1))] }),
        ApiKey::ApiVersions => (3, const { &[since(3, Text), since(3, Text)] }),
        ApiKey::CreateTopics => (5, const { &[
            all(Array(const { &[
                all(Text), all(Fixed(4 + 2)), all(Array(const { &[all(Fixed(4)), all(Numbers(4))] })),
                all(Array(const { &[all(Text), all(Text)] })),
            ] })),
            all(Fixed(4 + 1)),
        ] }),
        ApiKey::DeleteTopics => (4, const { &[all(Texts), all(Fixed(4))] }),
        ApiKey::DeleteRecords => (2, const { &[
            all(Array(const { &[all(Text), all(Array(const { &[all(Fixed(4 + 8))] }))] })), all(Fixed(4)),
        ] }),
        ApiKey::InitProducerId => (2, const { &[all(Text), all(Fixed(4)), since(3, Fixed(8 + 2))] }),
        ApiKey::OffsetForLeaderEpoch => (4, const { &[
            since(3, Fixed(4)), all(Array(const { &[all(Text), all(Array(const { &[all(Fixed(4 + 4 + 4))] }))] })),
        ] }),
        ApiKey::CreatePartitions => (2, const { &[
            all(Array(const { &[all(Text), all(Fixed(4)), all(Array(const { &[all(Numbers(4))] }))] })), all(Fixed(4 + 1)),
        ] }),
        _ => return None,
    })
}

/// Checks a whole request, header included: every length and count in it fits the bytes that are there.
pub(crate) fn check(key: ApiKey, version: i16, request: &[u8]) -> Result<(), Malformed> {
    let (flexible_since, body) = layout(key).ok_or(Malformed)?;
    let is_flexible = version >= flexible_since;
    let mut header = Walk { left: request, version, is_compact: false, elements: MAX_ELEMENTS };
    header.skip(2 + 2 + 4)?;
    header.text()?;
    let mut walk = Walk { is_compact: is_flexible, ..header };
    walk.tags()?;
    // Bytes after the last field are ignored, as by Kafka: librdkafka sends some with a Metadata request for all topics.
    walk.fields(body)
}

struct Walk<'a> {
    left: &'a [u8],
    version: i16,
    is_compact: bool,
    /// How many more elements are tolerated.
    elements: usize,
}

impl Walk<'_> {
    /// Fields of a struct, and its tags.
    fn fields(&mut self, fields: &[Versioned]) -> Result<(), Malformed> {
        for (first, last, field) in fields {
            if !(*first..=*last).contains(&self.version) {
                continue;
            }
            match field {
                Fixed(bytes) => self.skip(*bytes)?,
                Text => self.text()?,
                Blob => {
                    let bytes = if self.is_compact { self.compact_length()? } else { self.long_length()? };
                    self.skip(bytes)?;
                }
                Numbers(width) => {
                    let count = self.count()?;
                    self.skip(count * width)?;
                }
                Texts => (0..self.count()?).try_for_each(|_| self.text())?,
                Array(fields) => (0..self.count()?).try_for_each(|_| self.fields(fields))?,
            }
        }
        self.tags()
    }

    fn tags(&mut self) -> Result<(), Malformed> {
        if !self.is_compact {
            return Ok(());
        }
        let count = self.varint()?;
        for _ in 0..self.tolerate(count)? {
            let _tag = self.varint()?;
            let bytes = self.varint()?;
            self.skip(bytes)?;
        }
        Ok(())
    }

    fn text(&mut self) -> Result<(), Malformed> {
        let bytes = if self.is_compact {
            self.compact_length()?
        } else {
            usize::try_from(i16::from_be_bytes(self.take()?)).unwrap_or(0)
        };
        self.skip(bytes)
    }

    fn count(&mut self) -> Result<usize, Malformed> {
        let count = if self.is_compact { self.compact_length()? } else { self.long_length()? };
        self.tolerate(count)
    }

    fn tolerate(&mut self, count: usize) -> Result<usize, Malformed> {
        self.elements = self.elements.checked_sub(count).ok_or(Malformed)?;
        Ok(count)
    }

    /// One more than the length; 0 is null.
    fn compact_length(&mut self) -> Result<usize, Malformed> {
        Ok(self.varint()?.saturating_sub(1))
    }

    /// -1 is null.
    fn long_length(&mut self) -> Result<usize, Malformed> {
        Ok(usize::try_from(i32::from_be_bytes(self.take()?)).unwrap_or(0))
    }

    fn varint(&mut self) -> Result<usize, Malformed> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.left = self.left.get(bytes..).ok_or(Malformed)?;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.left.split_first_chunk().ok_or(Malformed)?;
        self.left = rest;
        Ok(*bytes)
    }
}

#[cfg(test)]
mod tests;
