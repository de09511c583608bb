//! A text that must never be shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A password or key. `Debug` hides it and there is no `Display`; the connector that needs it calls [`Secret::expose`].
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// What stands where a secret was.
const REDACTED: &str = "<secret>";
/// Shorter secrets are left alone: replacing every `a` would hide the message and tell the secret.
const SHORTEST_SECRET_BYTES: usize = 4;

/// A message without these secrets: the last line of defence against a client library that quotes one.
pub fn redact<'a>(mut message: String, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    for secret in secrets.into_iter().map(Secret::expose).filter(|text| text.len() >= SHORTEST_SECRET_BYTES) {
        if message.contains(secret) {
            message = message.replace(secret, REDACTED);
        }
    }
    message
}

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for handing to the client library that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_text() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2"))), "Some(<secret>)");
    }
}
