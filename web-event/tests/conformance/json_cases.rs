//! A message alone, read under each option.

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};
use web_event::json::Projection;

use crate::Tally;
use crate::exceptions::Exception;

const COLUMNS: [&str; 6] = ["ip", "event_time", "referrer", "host", "url", "geodata"];

type Row = [Option<String>; COLUMNS.len()];

/// What comes of a message. Reasons of errors are for reading and not compared; nor are rows before an error, which fails the job.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Rows(Vec<Row>),
    Error,
}

pub(crate) fn run(case: &Value, tally: &mut Tally) -> anyhow::Result<()> {
    let name = case["name"].as_str().context("no `name`")?;
    let expected = case["expected"].as_object().context("no `expected`")?;
    match &case["schema"] {
        Value::Null => {}
        Value::String(schema) if schema == "typed" => {
            expected.keys().for_each(|_| tally.leave_out(Exception::TypedColumns));
            return Ok(());
        }
        other => bail!("unknown schema `{other}`"),
    }
    let message = message(case)?;
    let by_default = outcome(expected, "default")?;
    for option in expected.keys() {
        let what = format!("{name}, option {option}");
        let expected = outcome(expected, option)?;
        match option.as_str() {
            "default" | "iso" => {
                tally.check(&what, &expected, &strict(Projection::new(COLUMNS), &message));
            }
            "fail_missing" => {
                let fields = Projection::new(COLUMNS).refusing_missing_fields();
                tally.check(&what, &expected, &strict(fields, &message));
            }
            "ignore" => {
                let (rows, _) = decode(Projection::new(COLUMNS), &message);
                if by_default == Outcome::Error && is_half_read(&rows, &expected) {
                    tally.leave_out(Exception::HalfReadRecord);
                } else {
                    tally.check(&what, &expected, &Outcome::Rows(rows));
                }
            }
            "tree_parser" | "tree_parser_ignore" => tally.leave_out(Exception::TreeParser),
            _ => bail!("unknown option `{option}`"),
        }
    }
    Ok(())
}

/// Whether Flink went on where we stop: our rows, and more.
fn is_half_read(rows: &[Row], expected: &Outcome) -> bool {
    match expected {
        Outcome::Rows(expected) => expected.len() > rows.len() && expected.starts_with(rows),
        Outcome::Error => false,
    }
}

fn strict(fields: Projection<{ COLUMNS.len() }>, message: &[u8]) -> Outcome {
    match decode(fields, message) {
        (rows, true) => Outcome::Rows(rows),
        (_, false) => Outcome::Error,
    }
}

/// The rows, and whether the message was good to its end.
fn decode(mut fields: Projection<{ COLUMNS.len() }>, message: &[u8]) -> (Vec<Row>, bool) {
    let mut rows = Vec::new();
    let result = fields.decode(message, |row| rows.push(row.map(|text| text.map(str::to_owned))));
    (rows, result.is_ok())
}

/// The bytes of the message; a message without a value is read like an empty one.
fn message(case: &Value) -> anyhow::Result<Vec<u8>> {
    let Some(hex) = case.get("message_hex") else {
        return Ok(case["message"].as_str().unwrap_or_default().as_bytes().to_vec());
    };
    let hex = hex.as_str().context("`message_hex` is no text")?;
    ensure!(hex.is_ascii() && hex.len() % 2 == 0, "`message_hex` is cut");
    (0..hex.len()).step_by(2).map(|at| Ok(u8::from_str_radix(&hex[at..at + 2], 16)?)).collect()
}

fn outcome(expected: &Map<String, Value>, option: &str) -> anyhow::Result<Outcome> {
    let result = match expected.get(option).context("no result of the option `default`")? {
        Value::String(same) if same == "same as default" => &expected["default"],
        result => result,
    };
    match result {
        Value::Array(rows) => rows.iter().map(row).collect::<anyhow::Result<_>>().map(Outcome::Rows),
        Value::Object(error) if error.contains_key("error") => Ok(Outcome::Error),
        other => bail!("`{other}` is no result"),
    }
}

fn row(row: &Value) -> anyhow::Result<Row> {
    let fields = row.as_object().context("a row is no object")?;
    ensure!(fields.len() == COLUMNS.len(), "a row has {} columns", fields.len());
    let mut texts = Row::default();
    for (text, column) in texts.iter_mut().zip(COLUMNS) {
        *text = match fields.get(column).with_context(|| format!("a row has no `{column}`"))? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => bail!("`{other}` is no text"),
        };
    }
    Ok(texts)
}
