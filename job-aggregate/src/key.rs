//! The key `(host, referrer)` as bytes, and its head, the host.
//!
//! The length of the host plus one, or 0 for NULL, seven bits a byte and the lowest first (LEB128), then the host: that is the head,
//! and because it says how long it is no head is the beginning of another. Behind it, 0 for a NULL referrer, or 1 and the referrer. So
//! two keys have the same bytes only if they are the same key, and NULL, `''` and `'null'` differ.
//!
//! The head's bytes decide the key group, and all lie in stored state: the format must not change.

/// What hits are counted by. NULL is a value like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The host that was asked.
    pub host: Option<&'a str>,
    /// Where the visitor came from.
    pub referrer: Option<&'a str>,
}

impl<'a> Key<'a> {
    /// Writes the key into `bytes`, which is cleared first: its memory is used again for each event.
    pub fn encode(self, bytes: &mut Vec<u8>) {
        bytes.clear();
        let mut code = self.host.map_or(0, |host| host.len() as u64 + 1);
        while code >= 0x80 {
            bytes.push(code as u8 | 0x80);
            code >>= 7;
        }
        bytes.push(code as u8);
        bytes.extend_from_slice(self.host.unwrap_or_default().as_bytes());
        bytes.push(u8::from(self.referrer.is_some()));
        bytes.extend_from_slice(self.referrer.unwrap_or_default().as_bytes());
    }

    /// Reads what [`Key::encode`] wrote; none if the bytes are anything else.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (host, rest) = bytes.split_at_checked(head_length(bytes)?)?;
        let host = host_of(host)?;
        match rest.split_first()? {
            (0, []) => Some(Key { host, referrer: None }),
            (1, referrer) => Some(Key { host, referrer: Some(std::str::from_utf8(referrer).ok()?) }),
            _ => None,
        }
    }
}

/// The head of a key; of bytes that are none, all of them.
pub fn head(key: &[u8]) -> &[u8] {
    head_length(key).and_then(|length| key.get(..length)).unwrap_or(key)
}

/// The host of a head, which may be NULL; none if the bytes are no head.
pub fn host_of(head: &[u8]) -> Option<Option<&str>> {
    let (code, at) = host_code(head)?;
    match code.checked_sub(1) {
        None => (head.len() == at).then_some(None),
        Some(length) => {
            let host = head.get(at..).filter(|host| host.len() as u64 == length)?;
            Some(Some(std::str::from_utf8(host).ok()?))
        }
    }
}

fn head_length(key: &[u8]) -> Option<usize> {
    let (code, at) = host_code(key)?;
    at.checked_add(usize::try_from(code.saturating_sub(1)).ok()?)
}

/// The number that a key begins with, and what stands behind it.
fn host_code(key: &[u8]) -> Option<(u64, usize)> {
    let mut code = 0_u64;
    for (index, &byte) in key.iter().enumerate().take(9) {
        code |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((code, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(host: Option<&str>, referrer: Option<&str>) -> Vec<u8> {
        let mut bytes = b"left over".to_vec();
        Key { host, referrer }.encode(&mut bytes);
        bytes
    }

    #[test]
    fn format_is_pinned() {
        assert_eq!(encoded(Some("a.io"), Some("t.co")), b"\x05a.io\x01t.co");
        assert_eq!(encoded(None, None), [0, 0]);
        assert_eq!(encoded(Some(""), Some("")), [1, 1]);
        let host = "x".repeat(127);
        assert_eq!(encoded(Some(&host), None), [b"\x80\x01", host.as_bytes(), b"\x00"].concat());
    }

    #[test]
    fn keys_that_look_alike_differ_and_no_head_begins_another() {
        let texts = [None, Some(""), Some("null"), Some("a"), Some("ab"), Some("b"), Some("bc"), Some("\0")];
        let mut all: Vec<Vec<u8>> =
            texts.iter().flat_map(|&host| texts.iter().map(move |&referrer| encoded(host, referrer))).collect();
        let mut heads: Vec<&[u8]> = all.iter().map(|key| head(key)).collect();
        heads.sort_unstable();
        heads.dedup();
        assert_eq!(heads.len(), texts.len());
        assert!(heads.iter().all(|head| heads.iter().filter(|other| other.starts_with(head)).count() == 1));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), texts.len() * texts.len());
    }

    proptest! {
        #[test]
        fn decode_reads_what_encode_wrote(host in prop::option::of(".{0,200}"), referrer in prop::option::of(".{0,20}")) {
            let bytes = encoded(host.as_deref(), referrer.as_deref());
            prop_assert_eq!(Key::decode(&bytes), Some(Key { host: host.as_deref(), referrer: referrer.as_deref() }));
            prop_assert_eq!(host_of(head(&bytes)), Some(host.as_deref()));
        }

        #[test]
        fn other_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            prop_assert!(bytes.starts_with(head(&bytes)));
            if let Some(key) = Key::decode(&bytes) {
                let again = encoded(key.host, key.referrer);
                prop_assert_eq!(Key::decode(&again), Some(key));
            }
        }
    }
}
