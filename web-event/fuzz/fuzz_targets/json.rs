//! Any bytes are rows or an error, the same whatever was read before them and on whatever processor; and what `serde_json`
//! reads, reads the same here.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use web_event::json::{JsonError, Projection, Reason};

const NAMES: [&str; 3] = ["ip", "host", "event_time"];

type Row = [Option<String>; 3];

thread_local! {
    /// One that has read every message before.
    static REUSED: RefCell<Projection<3>> = const { RefCell::new(Projection::new(NAMES)) };
}

fuzz_target!(|message: &[u8]| {
    let fresh = decode(&mut Projection::new(NAMES), message);
    let portable = decode(&mut Projection::new(NAMES).portable(), message);
    assert_eq!(fresh, portable, "the vectors of this processor read otherwise than plain arithmetic");
    let reused = REUSED.with_borrow_mut(|reused| decode(reused, message));
    assert_eq!(fresh, reused, "a message before this one shows in it");
    let again = REUSED.with_borrow_mut(|reused| decode(reused, message));
    assert_eq!(fresh, again, "a message reads otherwise once its fields are known");
    let (rows, result) = fresh;
    if let Err(error) = &result {
        assert!(error.near.len() <= 80, "a long excerpt: {error}");
        if matches!(error.reason, Reason::TooDeep | Reason::NumberTooLong) {
            return;
        }
    }
    let Some(Ok(value)) = serde_json::Deserializer::from_slice(message).into_iter::<Value>().next() else { return };
    match value {
        Value::Object(_) => {
            assert_eq!(result, Ok(()));
            assert_eq!(rows.len(), 1);
            compare(&rows[0], &value);
        }
        Value::Array(elements) if elements.iter().all(Value::is_object) => {
            assert_eq!(result, Ok(()));
            assert_eq!(rows.len(), elements.len());
            rows.iter().zip(&elements).for_each(|(row, element)| compare(row, element));
        }
        _ => assert!(result.is_err(), "no object, and yet {rows:?}"),
    }
});

fn decode(fields: &mut Projection<3>, message: &[u8]) -> (Vec<Row>, Result<(), JsonError>) {
    let mut rows = Vec::new();
    let result = fields.decode(message, |row| rows.push(row.map(|text| text.map(str::to_owned))));
    (rows, result)
}

/// Numbers and what nests are written again as Java does, which `serde_json` does not.
fn compare(row: &Row, object: &Value) {
    for (name, column) in NAMES.iter().zip(row) {
        match &object[name] {
            Value::Null => assert_eq!(*column, None),
            Value::String(text) => assert_eq!(column.as_ref(), Some(text)),
            Value::Bool(value) => assert_eq!(*column, Some(value.to_string())),
            Value::Number(_) | Value::Array(_) | Value::Object(_) => assert!(column.is_some(), "{name} is lost"),
        }
    }
}
