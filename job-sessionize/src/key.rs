//! The key `(ip, host)` as bytes.
//!
//! One number, then the bytes of `ip`, then those of `host`. The number holds whether there is a host (its lowest bit) and
//! above that the length of `ip` plus one, or 0 for NULL; it is written seven bits a byte, the lowest first (LEB128). So two
//! keys have the same bytes only if they are the same key, NULL, `''` and `'null'` differ, and nearly every key is one byte
//! longer than its texts.
//!
//! The bytes decide the key's hash and so its key group, and they lie in stored state: the format must not change.

use stream_core::row::Text;

/// Which session an event belongs to. NULL is a value like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The client's address as it was written.
    pub ip: Option<&'a str>,
    /// The host that was asked.
    pub host: Option<&'a str>,
}

impl<'a> Key<'a> {
    /// Writes the key into `bytes`, which is cleared first: its memory is used again for each event.
    pub fn encode(self, bytes: &mut Vec<u8>) {
        let Key { ip, host } = self;
        bytes.clear();
        let ip_code = ip.map_or(0, |ip| ip.len() as u64 + 1);
        let mut head = ip_code << 1 | u64::from(host.is_some());
        while head >= 0x80 {
            bytes.push(head as u8 | 0x80);
            head >>= 7;
        }
        bytes.push(head as u8);
        bytes.extend_from_slice(ip.unwrap_or_default().as_bytes());
        bytes.extend_from_slice(host.unwrap_or_default().as_bytes());
    }

    /// Reads what [`Key::encode`] wrote; none if the bytes are anything else.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let [ip, host] = Self::texts(bytes)?.map(|text| text.map(Text::as_str));
        Some(Key { ip, host })
    }

    /// The same, of which no `str` is made: ip and host.
    pub(crate) fn texts(bytes: &'a [u8]) -> Option<[Option<Text<'a>>; 2]> {
        let (head, rest) = decode_head(bytes)?;
        let has_host = head & 1 == 1;
        let (ip, host) = match usize::try_from(head >> 1).ok()?.checked_sub(1) {
            None => (None, rest),
            Some(length) => {
                let (ip, host) = rest.split_at_checked(length)?;
                (Some(Text::new(ip)?), host)
            }
        };
        match has_host {
            true => Some([ip, Some(Text::new(host)?)]),
            false => host.is_empty().then_some([ip, None]),
        }
    }
}

impl Key<'_> {
    /// Whether an encoded key has a host.
    pub(crate) fn has_host(bytes: &[u8]) -> bool {
        decode_head(bytes).is_some_and(|(head, _)| head & 1 == 1)
    }

    /// How many bytes of an encoded key are its own: all but the host, which many share.
    pub(crate) fn head_bytes(bytes: &[u8]) -> usize {
        let ip_code = decode_head(bytes).map(|(head, rest)| (head >> 1, bytes.len() - rest.len()));
        ip_code.map_or(bytes.len(), |(code, number)| number.saturating_add(code.saturating_sub(1) as usize))
    }
}

fn decode_head(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut head = 0_u64;
    for (index, &byte) in bytes.iter().enumerate().take(9) {
        head |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((head, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(ip: Option<&str>, host: Option<&str>) -> Vec<u8> {
        let mut bytes = b"left over".to_vec();
        Key { ip, host }.encode(&mut bytes);
        bytes
    }

    #[test]
    fn format_is_pinned() {
        assert_eq!(encoded(Some("1.2.3.4"), Some("a.io")), b"\x111.2.3.4a.io");
        assert_eq!(encoded(None, None), b"\x00");
        assert_eq!(encoded(Some(""), None), b"\x02");
        assert_eq!(encoded(Some(&"x".repeat(63)), Some("")), [b"\x81\x01", "x".repeat(63).as_bytes()].concat());
    }

    #[test]
    fn keys_that_look_alike_differ() {
        let texts = [None, Some(""), Some("null"), Some("a"), Some("ab"), Some("b"), Some("bc"), Some("\0")];
        let mut all: Vec<Vec<u8>> =
            texts.iter().flat_map(|&ip| texts.iter().map(move |&host| encoded(ip, host))).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), texts.len() * texts.len());
    }

    proptest! {
        #[test]
        fn decode_reads_what_encode_wrote(ip in prop::option::of(".{0,200}"), host in prop::option::of(".{0,20}")) {
            let bytes = encoded(ip.as_deref(), host.as_deref());
            prop_assert_eq!(Key::decode(&bytes), Some(Key { ip: ip.as_deref(), host: host.as_deref() }));
            prop_assert_eq!(Key::has_host(&bytes), host.is_some());
            let (head, tail) = bytes.split_at(Key::head_bytes(&bytes));
            prop_assert_eq!(tail, host.as_deref().unwrap_or_default().as_bytes());
            prop_assert_eq!(Key::head_bytes(head), head.len());
        }

        #[test]
        fn other_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            if let Some(key) = Key::decode(&bytes) {
                let again = encoded(key.ip, key.host);
                prop_assert_eq!(Key::decode(&again), Some(key));
            }
        }
    }
}
