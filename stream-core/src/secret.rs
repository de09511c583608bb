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

/// Passwords that everybody knows, and that are words of many a message.
const COMMON: [&str; 12] = [
    "postgres",
    "password",
    "passwd",
    "secret",
    "kafka",
    "admin",
    "administrator",
    "root",
    "guest",
    "user",
    "test",
    "changeme",
];
/// What stands before a password that is named, in lower case.
const NAMES: [&str; 8] = ["password", "passwd", "pwd", "passphrase", "secret", "token", "key", "credentials"];

/// Takes secrets out of messages: the last line of defence against a client library that quotes one.
///
/// A secret is taken out wherever it stands. But one that is shown anyway, as the password `postgres` is by `postgres://…/postgres`, would
/// be told by each word that is missing: it is taken out only where it stands as a password, in `user:postgres@` and `password=postgres`.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    /// The longest first: one may be a part of another.
    everywhere: Vec<Secret>,
    as_passwords: Vec<Secret>,
}

impl Redaction {
    /// Of these secrets; `is_shown` says of one whether it is part of what everybody may read.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>, is_shown: impl Fn(&str) -> bool) -> Self {
        let mut secrets: Vec<Secret> =
            secrets.into_iter().filter(|secret| secret.0.len() >= SHORTEST_SECRET_BYTES).cloned().collect();
        secrets.sort_by(|one, other| (other.0.len(), &other.0).cmp(&(one.0.len(), &one.0)));
        secrets.dedup();
        let is_no_secret = |text: &str| COMMON.iter().any(|word| word.eq_ignore_ascii_case(text)) || is_shown(text);
        let (as_passwords, everywhere) = secrets.into_iter().partition(|secret| is_no_secret(&secret.0));
        Redaction { everywhere, as_passwords }
    }

    /// The message without them.
    #[must_use]
    pub fn apply(&self, mut message: String) -> String {
        for secret in &self.everywhere {
            if message.contains(&secret.0) {
                message = message.replace(&secret.0, REDACTED);
            }
        }
        for secret in &self.as_passwords {
            let stands_as_password =
                |&(at, _): &(usize, &str)| stands_as_password(&message[..at], &message[at + secret.0.len()..]);
            let places: Vec<usize> =
                message.match_indices(&secret.0).filter(stands_as_password).map(|(at, _)| at).collect();
            for at in places.into_iter().rev() {
                message.replace_range(at..at + secret.0.len(), REDACTED);
            }
        }
        message
    }
}

/// Whether what is between the two is where a password stands: in the user info of a URL, or behind a name that says so.
fn stands_as_password(before: &str, after: &str) -> bool {
    if before.ends_with(':') && after.starts_with('@') {
        return true;
    }
    let name = before.trim_end_matches(['=', ':', '"', '\'', '`', ' ']);
    let name = name.as_bytes();
    let ends_with = |word: &str| {
        let end = name.len().checked_sub(word.len()).map(|from| &name[from..]);
        end.is_some_and(|end| end.eq_ignore_ascii_case(word.as_bytes()))
    };
    name.len() < before.len() && NAMES.into_iter().any(ends_with)
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

    #[test]
    fn secret_is_taken_out_wherever_it_stands() {
        let secrets = ["hunter2", "hunter2-and-more", "abc"].map(Secret::new);
        let redaction = Redaction::new(&secrets, |text| "postgres://hunter/abc".contains(text));
        assert_eq!(
            redaction.apply("hunter2 is not hunter2-and-more; abc is too short to be one".to_owned()),
            "<secret> is not <secret>; abc is too short to be one"
        );
    }

    #[test]
    fn word_that_is_shown_anyway_is_taken_out_only_where_it_is_a_password() {
        let redaction = Redaction::new(&["postgres", "bootcamp"].map(Secret::new), |text| {
            "kafka://127.0.0.1/bootcamp-events".contains(text)
        });
        for (message, redacted) in [
            ("cannot reach `postgres://h:5432/postgres`", "cannot reach `postgres://h:5432/postgres`"),
            ("postgres://postgres:postgres@h/postgres", "postgres://postgres:<secret>@h/postgres"),
            ("user=postgres password=postgres", "user=postgres password=<secret>"),
            (r#"{"user":"postgres","Password": "postgres"}"#, r#"{"user":"postgres","Password": "<secret>"}"#),
            ("wrong password `postgres`", "wrong password `<secret>`"),
            ("PGPASSWORD='bootcamp'", "PGPASSWORD='<secret>'"),
            ("reading bootcamp-events", "reading bootcamp-events"),
        ] {
            assert_eq!(redaction.apply(message.to_owned()), redacted);
        }
    }
}
