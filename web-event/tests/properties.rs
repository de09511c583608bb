//! Properties of `json` and `event_time` over generated and damaged messages.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use web_event::event_time::{Pattern, WEB_EVENT_PATTERN, to_timestamp, to_timestamp_with};
use web_event::json::{JsonError, Projection};

const NAMES: [&str; 3] = ["ip", "host", "event_time"];

type Row = [Option<String>; 3];

fn decode(message: &[u8]) -> (Vec<Row>, Result<(), JsonError>) {
    decode_with(&mut Projection::new(NAMES), message)
}

fn decode_with(fields: &mut Projection<3>, message: &[u8]) -> (Vec<Row>, Result<(), JsonError>) {
    let mut rows = Vec::new();
    let result = fields.decode(message, |row| rows.push(row.map(|text| text.map(str::to_owned))));
    (rows, result)
}

/// A value together with what it is as a column of text.
#[derive(Debug, Clone)]
enum Json {
    Null,
    Bool(bool),
    /// As written, and as written again inside an object or array.
    Number(&'static str, &'static str),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// How a message is written where JSON leaves the choice.
#[derive(Debug, Clone, Copy)]
struct Style {
    blank: &'static str,
    escapes_all: bool,
}

impl Json {
    fn write(&self, style: Style, out: &mut String) {
        let blank = style.blank;
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(written, _) => out.push_str(written),
            Self::Text(text) => write_text(text, style, out),
            Self::Array(elements) => {
                out.push('[');
                for (nth, element) in elements.iter().enumerate() {
                    out.push_str(if nth > 0 { "," } else { "" });
                    out.push_str(blank);
                    element.write(style, out);
                    out.push_str(blank);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (nth, (name, value)) in members.iter().enumerate() {
                    out.push_str(if nth > 0 { "," } else { "" });
                    out.push_str(blank);
                    write_text(name, style, out);
                    out.push_str(blank);
                    out.push(':');
                    out.push_str(blank);
                    value.write(style, out);
                }
                out.push_str(blank);
                out.push('}');
            }
        }
    }

    /// The column, by the plainest reading of the rules.
    fn as_column(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Number(written, _) => Some((*written).to_owned()),
            Self::Text(text) => Some(text.clone()),
            other => Some(other.rewritten()),
        }
    }

    fn rewritten(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(_, again) => (*again).to_owned(),
            Self::Text(text) => serde_json::to_string(text).unwrap(),
            Self::Array(elements) => {
                format!("[{}]", elements.iter().map(Self::rewritten).collect::<Vec<_>>().join(","))
            }
            Self::Object(members) => {
                let mut kept: Vec<(&str, String)> = Vec::new();
                for (name, value) in members {
                    match kept.iter_mut().find(|(known, _)| known == name) {
                        Some(known) => known.1 = value.rewritten(),
                        None => kept.push((name, value.rewritten())),
                    }
                }
                let member =
                    |(name, value): (&str, String)| format!("{}:{value}", serde_json::to_string(name).unwrap());
                format!("{{{}}}", kept.into_iter().map(member).collect::<Vec<_>>().join(","))
            }
        }
    }
}

fn write_text(text: &str, style: Style, out: &mut String) {
    if !style.escapes_all {
        out.push_str(&serde_json::to_string(text).unwrap());
        return;
    }
    out.push('"');
    for unit in text.encode_utf16() {
        out.push_str(&format!("\\u{unit:04x}"));
    }
    out.push('"');
}

/// Texts without control characters, which `serde_json` and Java escape in different letters.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ -~]{0,30}",
        1 => "[a-zé東😀\"\\\\/\u{7f}\u{2028}]{0,12}",
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => proptest::sample::select(&NAMES[..]).prop_map(str::to_owned),
        3 => proptest::sample::select(&["url", "hos", "hosts", "Host", ""][..]).prop_map(str::to_owned),
        1 => text(),
    ]
}

fn json() -> impl Strategy<Value = Json> {
    let scalar = prop_oneof![
        1 => Just(Json::Null),
        1 => any::<bool>().prop_map(Json::Bool),
        1 => proptest::sample::select(&[
            ("0", "0"), ("-0", "0"), ("17", "17"), ("1.50", "1.5"), ("1e3", "1000.0"), ("-2E-9", "-2.0E-9"),
            ("98765432109876543210", "98765432109876543210"),
        ][..]).prop_map(|(written, again)| Json::Number(written, again)),
        4 => text().prop_map(Json::Text),
    ];
    scalar.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
            proptest::collection::vec((name(), inner), 0..5).prop_map(Json::Object),
        ]
    })
}

fn members() -> impl Strategy<Value = Vec<(String, Json)>> {
    proptest::collection::vec((name(), json()), 0..9)
}

fn style() -> impl Strategy<Value = Style> {
    let blanks = proptest::sample::select(&["", " ", "\n\t", "  \r\n "][..]);
    (blanks, any::<bool>()).prop_map(|(blank, escapes_all)| Style { blank, escapes_all })
}

fn written(members: &[(String, Json)], style: Style) -> String {
    let mut message = String::new();
    Json::Object(members.to_vec()).write(style, &mut message);
    message
}

fn expected(members: &[(String, Json)]) -> Row {
    NAMES.map(|wanted| {
        let (_, value) = members.iter().rfind(|(name, _)| name == wanted)?;
        value.as_column()
    })
}

/// Puts the pieces in the place of what stands at the cuts.
fn damaged(message: &[u8], edits: &[(prop::sample::Index, u8, Vec<u8>)]) -> Vec<u8> {
    let mut message = message.to_vec();
    for (at, removed, inserted) in edits {
        let from = at.index(message.len() + 1);
        let to = message.len().min(from + usize::from(removed % 4));
        message.splice(from..to, inserted.iter().copied());
    }
    message
}

fn edits(inserted: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<(prop::sample::Index, u8, Vec<u8>)>> {
    proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), inserted), 0..4)
}

/// Pieces that are likely to break or bend a message, all printable.
fn json_piece() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "-", ".", "e", "1", "null", "tru", "\\u00", "\\ud83d", " ", "x",
        "é", "\"ip\":", "\"\"", "[]", "{}",
    ];
    proptest::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec())
}

/// Bytes that are likely to break UTF-8 or an encoding's detection.
fn raw_piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::sample::select(
            &[0x00, 0x0a, 0x22, 0x5c, 0x80, 0xbf, 0xc0, 0xe2, 0xed, 0xf0, 0xf4, 0xf8, 0xfe, 0xff][..]
        )
        .prop_map(|byte| vec![byte]),
        proptest::collection::vec(any::<u8>(), 0..5),
    ]
}

/// A record as web servers send it, with texts of such lengths that marks stand at every place of a vector.
fn web_record() -> impl Strategy<Value = String> {
    let value = || {
        prop_oneof![
            6 => "[ !#-\\[\\]-~]{0,80}".prop_map(|text| format!("\"{text}\"")),
            2 => "([a-z,:{} ]{0,12}\\\\\"){0,24}".prop_map(|text| format!("\"{text}\"")),
            1 => "([a-zé東 ]{0,40}(\\\\[\\\\/bfnrt\"]|\\\\u00e9)){0,6}".prop_map(|text| format!("\"{text}\"")),
            1 => Just("null".to_owned()),
            1 => Just("[1.50,{\"ip\":\"\\\"\"}]".to_owned()),
        ]
    };
    let names = ["url", "referrer", "user_agent", "host", "ip", "headers", "event_time"];
    (proptest::array::uniform7(value()), proptest::sample::select(&["", " "][..])).prop_map(move |(values, blank)| {
        let members = names.iter().zip(values).map(|(name, value)| format!("\"{name}\":{blank}{value}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(&format!(",{blank}")))
    })
}

/// Whether `serde_json` takes the first value of the message, and that is an object.
fn is_object_to_serde(message: &str) -> bool {
    let mut values = serde_json::Deserializer::from_str(message).into_iter::<serde::de::IgnoredAny>();
    message.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') && matches!(values.next(), Some(Ok(_)))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn columns_are_what_the_rules_say(members in members(), style in style()) {
        let (rows, result) = decode(written(&members, style).as_bytes());
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(rows, [expected(&members)]);
    }

    #[test]
    fn array_gives_a_row_for_each_object(records in proptest::collection::vec(members(), 0..4), style in style()) {
        let message = records.iter().map(|members| written(members, style)).collect::<Vec<_>>().join(style.blank);
        let array = format!("[{}]", records.iter().map(|members| written(members, style)).collect::<Vec<_>>().join(","));
        let (rows, result) = decode(array.as_bytes());
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(rows, records.iter().map(|members| expected(members)).collect::<Vec<_>>());
        // Without the brackets only the first is looked at.
        prop_assert_eq!(decode(message.as_bytes()).0.len(), records.len().min(1));
    }

    #[test]
    fn message_that_is_not_all_utf8_reads_alike(members in members(), style in style()) {
        let message = written(&members, style);
        let mut with_broken_tail = message.clone().into_bytes();
        with_broken_tail.push(0xff);
        prop_assert_eq!(decode(&with_broken_tail), decode(message.as_bytes()));
    }

    #[test]
    fn every_encoding_reads_alike(members in members(), style in style(), has_mark in any::<bool>(), is_big in any::<bool>()) {
        let mark = if has_mark { "\u{feff}" } else { "" };
        let message = format!("{mark}{}", written(&members, style));
        let utf16 = |unit: u16| if is_big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        let utf32 = |c: char| if is_big { u32::from(c).to_be_bytes() } else { u32::from(c).to_le_bytes() };
        let (rows, _) = decode(message.as_bytes());
        prop_assert_eq!(&rows, &[expected(&members)]);
        prop_assert_eq!(&decode(&message.encode_utf16().flat_map(utf16).collect::<Vec<_>>()).0, &rows);
        prop_assert_eq!(&decode(&message.chars().flat_map(utf32).collect::<Vec<_>>()).0, &rows);
    }

    #[test]
    fn damaged_message_is_refused_exactly_when_serde_refuses_it(
        members in members(), style in style(), edits in edits(json_piece()),
    ) {
        // Raw control characters are text to Flink and an error to serde; no style or piece puts them between quotes, but
        // a damaged quote can.
        let style = Style { blank: style.blank.trim_matches(['\n', '\t', '\r']), ..style };
        let damaged = damaged(written(&members, style).as_bytes(), &edits);
        let Ok(message) = std::str::from_utf8(&damaged) else { return Ok(()) };
        let (rows, result) = decode(&damaged);
        let is_good = message.is_empty() || is_object_to_serde(message);
        let is_array = message.trim_start().starts_with('[');
        prop_assert!(is_array || result.is_ok() == is_good, "{message:?} {result:?}");
        prop_assert!(is_array || rows.len() == usize::from(is_good && !message.is_empty()));
    }

    #[test]
    fn any_bytes_give_rows_or_a_short_error(
        members in members(), style in style(), is_array in any::<bool>(), edits in edits(raw_piece()),
    ) {
        let message = written(&members, style);
        let message = if is_array { format!("[{message},{message}]") } else { message };
        let damaged = damaged(message.as_bytes(), &edits);
        if let (_, Err(error)) = decode(&damaged) {
            prop_assert!(error.near.len() <= 80);
            prop_assert!(error.at <= 2 * damaged.len() + 3);
        }
    }

    #[test]
    fn noise_never_panics(message in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = decode(&message);
    }

    #[test]
    fn nothing_of_one_message_shows_in_the_next(
        records in proptest::collection::vec((members(), style(), edits(raw_piece())), 1..6),
    ) {
        let mut reused = Projection::new(NAMES);
        for (members, style, edits) in records {
            let message = damaged(written(&members, style).as_bytes(), &edits);
            prop_assert_eq!(decode_with(&mut reused, &message), decode(&message));
        }
    }

    /// What is read with all short cuts is what the grammar alone reads eight bytes at a time: rows, errors and their places.
    #[test]
    fn short_cuts_change_nothing(
        records in proptest::collection::vec((web_record(), edits(prop_oneof![json_piece(), raw_piece()])), 1..8),
    ) {
        let mut reused = Projection::new(NAMES);
        for (record, edits) in records {
            for message in [record.as_bytes(), &damaged(record.as_bytes(), &edits), record.as_bytes()] {
                let by_grammar = decode_with(&mut Projection::new(NAMES).portable(), message);
                prop_assert_eq!(decode_with(&mut reused, message), by_grammar, "{}", String::from_utf8_lossy(message));
            }
        }
    }

    #[test]
    fn time_is_the_same_with_and_without_the_short_cut(
        text in prop_oneof!["[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\\.[0-9]{3}Z", "[-+0-9T:. Z]{0,26}"],
    ) {
        let pattern = Pattern::compile(WEB_EVENT_PATTERN).unwrap();
        prop_assert_eq!(to_timestamp(&text), to_timestamp_with(&text, &pattern));
    }

    #[test]
    fn text_of_any_kind_is_a_time_or_none(text in "\\PC{0,30}", form in "[0-9]{4}-[0-9+]{1,2}-[0-9]{1,2} [-+0-9٣]{1,11}:[0-9]{1,10}:[0-9]{1,10}(\\.[0-9]{1,10})?") {
        let _ = (to_timestamp(&text), to_timestamp(&form));
        let _ = to_timestamp_with(&form, &Pattern::unstated());
    }
}
