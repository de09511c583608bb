//! Examples of what the recorded cases do not ask: places of errors, rows before them, the scratch space.

#![allow(clippy::unwrap_used)]

use super::*;

fn decoded(message: &[u8]) -> (Vec<Option<String>>, Option<(Reason, usize)>) {
    let mut ips = Vec::new();
    let result = Projection::new(["ip"]).decode(message, |[ip]| ips.push(ip.map(str::to_owned)));
    (ips, result.err().map(|error| (error.reason, error.at)))
}

#[test]
fn error_says_where() {
    for (message, reason, at) in [
        (&br#"{"a":1 "ip":2}"#[..], Reason::ExpectedCommaOrEnd, 7),
        (br#"{"a":01}"#, Reason::BadNumber, 5),
        (br#"{"a":"\x"}"#, Reason::BadEscape, 6),
        (br#"{"a":"\u00g0"}"#, Reason::BadEscape, 6),
        (b"{\"a\":\"\xff\"}", Reason::BadUtf8, 6),
        (br#"{"a":nul"#, Reason::Truncated, 8),
        (br#"{"a":"\u00"#, Reason::Truncated, 10),
        (br#"{"a":"b"#, Reason::Truncated, 7),
        (b"\xef\xbb\xbf{a", Reason::ExpectedName, 4),
        (b" \n", Reason::NotAnObject, 2),
        (b"null", Reason::NotAnObject, 0),
    ] {
        assert_eq!(decoded(message), (vec![], Some((reason, at))), "{}", String::from_utf8_lossy(message));
    }
}

#[test]
fn text_cut_anywhere_is_said_to_be_cut() {
    let message = br#"{"a":[-1.5e3,"\u00e9\n",true],"ip":"\"x\""}"#;
    for end in 1..message.len() {
        let (rows, error) = decoded(&message[..end]);
        assert_eq!((rows.len(), error), (0, Some((Reason::Truncated, end))), "{end}");
    }
    assert_eq!(decoded(message).0, [Some("\"x\"".to_owned())]);
}

#[test]
fn rows_before_a_bad_element_are_handed_over() {
    for bad in ["null", "7", "[]", r#"{"ip":}"#, "]", ""] {
        let (ips, error) = decoded(format!(r#"[{{"ip":"a"}},{{}},{bad}"#).as_bytes());
        assert_eq!(ips, [Some("a".to_owned()), None], "{bad}");
        assert!(error.is_some(), "{bad}");
    }
}

#[test]
fn null_is_not_missing_where_missing_is_refused() {
    let mut fields = Projection::new(["ip", "host"]).refusing_missing_fields();
    assert!(fields.decode(br#"{"ip":null,"host":1}"#, |_| ()).is_ok());
    let error = fields.decode(br#"{"ip":1}"#, |_| ()).unwrap_err();
    assert_eq!(error.reason, Reason::MissingField("host"));
}

#[test]
fn scratch_space_is_reused_and_given_back_after_a_huge_message() {
    let mut fields = Projection::new(["ip"]);
    for _ in 0..1000 {
        fields.decode(br#"{"ip":"\n123456789"}"#, |_| ()).unwrap();
    }
    assert!(fields.scratch.text.capacity() < 100, "the space grows with each message");
    let huge = format!(r#"{{"ip":"\n{}"}}"#, "x".repeat(2 * RETAINED_SCRATCH_BYTES));
    fields.decode(huge.as_bytes(), |_| ()).unwrap();
    fields.decode(b"{}", |_| ()).unwrap();
    assert!(fields.scratch.text.capacity() <= RETAINED_SCRATCH_BYTES);
}
