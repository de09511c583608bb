//! An event's fields as bytes: ip, host, referrer, url, one behind the other.
//!
//! Each field is a number and the bytes of its text. The number is the text's length plus one, or 0 for NULL, written seven
//! bits a byte, the lowest first (LEB128). The ip comes first: its bytes alone are the key, whose hash decides the key group.
//!
//! The bytes lie in stored state: the format must not change.

use stream_core::key_group::{KeyHash, hash_key};

/// What of an event becomes a row. NULL is a value like any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    /// The client's address as it was written.
    pub ip: Option<&'a str>,
    /// The host that was asked.
    pub host: Option<&'a str>,
    /// Where the client came from.
    pub referrer: Option<&'a str>,
    /// What was asked for.
    pub url: Option<&'a str>,
}

impl<'a> Record<'a> {
    /// Writes the record into `bytes`, which is cleared first, so that its memory is used again for each event; gives the hash of
    /// the key.
    pub fn encode(self, bytes: &mut Vec<u8>) -> KeyHash {
        let Record { ip, host, referrer, url } = self;
        bytes.clear();
        put(bytes, ip);
        let hash = hash_key(bytes);
        for field in [host, referrer, url] {
            put(bytes, field);
        }
        hash
    }

    /// Reads what [`Record::encode`] wrote; none if the bytes are anything else.
    pub fn decode(mut bytes: &'a [u8]) -> Option<Self> {
        let rest = &mut bytes;
        let record = Record { ip: take(rest)?, host: take(rest)?, referrer: take(rest)?, url: take(rest)? };
        rest.is_empty().then_some(record)
    }
}

/// The hash of a key: that of the ip's bytes in a record.
pub fn hash_ip(ip: &str) -> KeyHash {
    let mut bytes = Vec::with_capacity(ip.len() + 2);
    put(&mut bytes, Some(ip));
    hash_key(&bytes)
}

fn put(bytes: &mut Vec<u8>, field: Option<&str>) {
    let mut code = field.map_or(0, |text| text.len() as u64 + 1);
    while code >= 0x80 {
        bytes.push(code as u8 | 0x80);
        code >>= 7;
    }
    bytes.push(code as u8);
    bytes.extend_from_slice(field.unwrap_or_default().as_bytes());
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a str>> {
    let mut code = 0_u64;
    for shift in (0..63).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        code |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            let Some(length) = code.checked_sub(1) else { return Some(None) };
            let (text, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            *rest = tail;
            return Some(Some(std::str::from_utf8(text).ok()?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(record: Record<'_>) -> Vec<u8> {
        let mut bytes = b"left over".to_vec();
        record.encode(&mut bytes);
        bytes
    }

    #[test]
    fn format_is_pinned() {
        let record = Record { ip: Some("1.2.3.4"), host: Some("a.io"), referrer: None, url: Some("") };
        assert_eq!(encoded(record), b"\x081.2.3.4\x05a.io\x00\x01");
        assert_eq!(encoded(Record::default()), b"\0\0\0\0");
    }

    #[test]
    fn the_hash_is_of_the_ip_alone() {
        let mut bytes = Vec::new();
        let of = |url, bytes: &mut Vec<u8>| Record { ip: Some("::1"), url, ..Record::default() }.encode(bytes);
        assert_eq!(of(Some("/a"), &mut bytes), of(None, &mut bytes));
        assert_eq!(of(None, &mut bytes), hash_ip("::1"));
        assert_ne!(
            Record { ip: Some(""), ..Record::default() }.encode(&mut bytes),
            Record::default().encode(&mut bytes)
        );
    }

    proptest! {
        #[test]
        fn decode_reads_what_encode_wrote(fields in prop::array::uniform4(prop::option::of(".{0,200}"))) {
            let [ip, host, referrer, url] = fields.each_ref().map(|field| field.as_deref());
            let record = Record { ip, host, referrer, url };
            let bytes = encoded(record);
            prop_assert_eq!(Record::decode(&bytes), Some(record));
        }

        #[test]
        fn other_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Record::decode(&bytes);
        }
    }
}
