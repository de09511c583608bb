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

#[test]
fn field_that_comes_where_another_was_expected_is_read_by_its_name() {
    let mut fields = Projection::new(["ip", "host"]);
    let long = "n".repeat(40);
    for (message, ip, host) in [
        (r#"{"ip":"1","host":"a","padding so that all is compared":0}"#.to_owned(), Some("1"), Some("a")),
        (r#"{"host":"b","ip":"2","padding so that all is compared":0}"#.to_owned(), Some("2"), Some("b")),
        (r#"{"ip" : "3","host": "c","padding so that all is compared":0}"#.to_owned(), Some("3"), Some("c")),
        (r#"{"ip" :"4","host":"d","ip":"5","padding so that all is compared":0}"#.to_owned(), Some("5"), Some("d")),
        (r#"{"\u0069p":"6","hos":"e","padding so that all is compared":0}"#.to_owned(), Some("6"), None),
        (format!(r#"{{"{long}":"x","ip":"7","{long}":0,"host":null}}"#), Some("7"), None),
        (format!(r#"{{"{long}":"x","host":"g","{long}":0,"ip":"8"}}"#), Some("8"), Some("g")),
        ("{}".to_owned(), None, None),
        (r#"{"ip":"9"}"#.to_owned(), Some("9"), None),
    ] {
        for _ in 0..2 {
            let mut rows = Vec::new();
            let result = fields.decode(message.as_bytes(), |row| rows.push(row.map(|text| text.map(str::to_owned))));
            assert_eq!((result, rows), (Ok(()), vec![[ip, host].map(|text| text.map(str::to_owned))]), "{message}");
        }
    }
}

#[test]
fn error_behind_a_field_that_was_expected_is_where_it_was() {
    let mut fields = Projection::new(["ip"]);
    fields.decode(br#"{"a":1,"ip":"x","padding so that all is compared":0}"#, |_| ()).unwrap();
    let error = fields.decode(br#"{"a":1,"ip":+,"padding so that all is compared":0}"#, |_| ()).unwrap_err();
    assert_eq!((error.reason, error.at), (Reason::ExpectedValue, 12));
    let error = fields.decode(br#"{"a":1 "ip":1,"padding so that all is compared":0}"#, |_| ()).unwrap_err();
    assert_eq!((error.reason, error.at), (Reason::ExpectedCommaOrEnd, 7));
}

#[test]
fn record_of_very_many_fields_is_not_remembered_whole() {
    let mut fields = Projection::new(["ip"]);
    let members: Vec<String> = (0..10_000).map(|nth| format!("\"{nth}\":0")).collect();
    fields.decode(format!("{{{},\"ip\":1}}", members.join(",")).as_bytes(), |_| ()).unwrap();
    assert!(fields.layout.fields() <= 64, "{} fields", fields.layout.fields());
}
