//! What is wrong with a message, and where.
//!
//! Inside the parser a failure is a [`Fault`], two words long, so that the hot functions return cheaply; the excerpt is
//! cut only once, when the fault leaves the crate as a [`JsonError`].

/// An excerpt never holds more than this many bytes of the message: enough to find the place, too little to leak a record
/// into a log.
const EXCERPT_BYTES: usize = 80;
/// How much of the excerpt lies before the fault.
const EXCERPT_BEFORE: usize = 24;

/// Why a message, or an element of its top-level array, could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}, at byte {at}, near `{near}`")]
pub struct JsonError {
    /// What is wrong.
    pub reason: Reason,
    /// Where, in bytes from the start of the message. In a message that is not UTF-8: from the start of its text as UTF-8.
    pub at: usize,
    /// The message around that place, at most 80 bytes of it, with control characters and broken bytes replaced.
    pub near: String,
}

/// The kinds of [`JsonError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The message (or an element of its array) is not an object.
    #[error("a message must be one JSON object or an array of objects")]
    NotAnObject,
    /// The bytes end before the object does.
    #[error("the message ends before its JSON does")]
    Truncated,
    /// No `"` where a field must begin.
    #[error("expected a field name in double quotes")]
    ExpectedName,
    /// No `:` after a field name.
    #[error("expected a colon after the field name")]
    ExpectedColon,
    /// Nothing that begins a value.
    #[error("expected text in double quotes, a number, an object, an array, true, false or null")]
    ExpectedValue,
    /// Neither a comma nor the end of an object or array.
    #[error("expected a comma, or the end of the object or array")]
    ExpectedCommaOrEnd,
    /// A number with a plus sign, a leading zero, or no digit where one must be.
    #[error("a number is not written as JSON wants it")]
    BadNumber,
    /// A number of more digits than Flink's parser takes.
    #[error("a number has more than {MAX_NUMBER_DIGITS} digits")]
    NumberTooLong,
    /// A backslash followed by something that JSON does not know.
    #[error("a backslash must be followed by one of \" \\ / b f n r t or by u and four hex digits")]
    BadEscape,
    /// Bytes that no UTF-8 text has; many producers of Latin-1 text end up here.
    #[error("the bytes are not UTF-8 text")]
    BadUtf8,
    /// A UTF-32 unit that is no character.
    #[error("the message looks like UTF-32 but holds something that is no character")]
    BadUtf32,
    /// Objects and arrays nested deeper than Flink's parser takes.
    #[error("objects and arrays are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// A wanted field is absent, and the projection was told to refuse that.
    #[error("the field `{0}` is missing")]
    MissingField(&'static str),
}

/// The nesting limit of Flink's parser (Jackson's `StreamReadConstraints`), the outermost object being 1.
pub(super) const MAX_DEPTH: usize = 1000;
/// The limit of Flink's parser on the digits of a number, signs, point and `e` not counted.
pub(super) const MAX_NUMBER_DIGITS: usize = 1000;

/// A failure on its way out of the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: Reason,
    pub(super) at: usize,
}

impl Fault {
    /// The error for the caller; `skipped` bytes of the message (a byte order mark) came before `body`.
    #[cold]
    pub(super) fn into_error(self, body: &[u8], skipped: usize) -> JsonError {
        JsonError { reason: self.reason, at: self.at + skipped, near: excerpt(body, self.at) }
    }
}

fn excerpt(body: &[u8], at: usize) -> String {
    let at = at.min(body.len());
    let from = at.saturating_sub(EXCERPT_BEFORE);
    let to = body.len().min(from + EXCERPT_BYTES);
    let mut near = String::with_capacity(EXCERPT_BYTES);
    for c in String::from_utf8_lossy(&body[from..to]).chars() {
        let shown = if c.is_control() { '.' } else { c };
        if near.len() + shown.len_utf8() > EXCERPT_BYTES {
            break;
        }
        near.push(shown);
    }
    near
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpt_is_short_printable_and_around_the_fault() {
        let mut body = vec![b'a'; 5000];
        body[3000] = b'X';
        body[3001] = 0;
        body[3002] = 0xff;
        let error = Fault { reason: Reason::BadUtf8, at: 3002 }.into_error(&body, 3);
        assert_eq!(error.at, 3005);
        assert!(error.near.len() <= EXCERPT_BYTES);
        assert!(error.near.contains("aX.\u{fffd}a"), "{}", error.near);
    }

    #[test]
    fn excerpt_of_bytes_that_are_no_text_stays_short_and_one_past_the_end_is_allowed() {
        let body = [0xff; 500];
        assert!(Fault { reason: Reason::BadUtf8, at: 250 }.into_error(&body, 0).near.len() <= EXCERPT_BYTES);
        assert_eq!(Fault { reason: Reason::Truncated, at: 1 }.into_error(b"{", 0).near, "{");
    }

    #[test]
    fn message_names_the_fault_the_place_and_the_surroundings() {
        let error = Fault { reason: Reason::ExpectedColon, at: 5 }.into_error(b"{\"ip\" 1}", 0);
        assert_eq!(error.to_string(), "expected a colon after the field name, at byte 5, near `{\"ip\" 1}`");
    }
}
