//! Rows as records of a topic.
//!
//! Each column is a header `gapwise.COLUMN`, with the text that a CSV file would have and no value for NULL, behind
//! `gapwise.table` and `gapwise.epoch`. The value is what the table keeps as bytes, as a dead letter is the record as it came;
//! of a table without bytes it is a JSON object of the columns. There is no key. A long text is cut at [`TEXT_BYTES`], so that no
//! row is too large for a topic with Kafka's defaults: a row that no topic takes would hold up the result for ever.

use rdkafka::message::{Header, OwnedHeaders};
use stream_core::ids::CheckpointId;
use stream_core::pipeline::SideTable;
use stream_core::row::{Column, ColumnType, DecodeRowError, Field, RowBatch};

/// The most of a text: with seven of them, each in a header and, with every byte escaped, in the value, a record is below 1 MB.
const TEXT_BYTES: usize = 16 << 10;

/// The column by whose number a record is given a partition, so that those of one partition of the source stay in order.
const SOURCE_PARTITION: &str = "partition";

/// Makes records of the rows of a table.
pub(super) struct Records {
    table: String,
    columns: Vec<Column>,
    header_names: Vec<String>,
    has_bytes: bool,
}

/// A record to be.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) headers: OwnedHeaders,
    pub(super) value: Option<Vec<u8>>,
    /// Of the source; `None` if the row does not say.
    pub(super) source_partition: Option<i64>,
}

impl Records {
    pub(super) fn of(table: &SideTable) -> Self {
        let columns = table.columns.clone();
        let header_names = columns.iter().map(|column| format!("gapwise.{}", column.name)).collect();
        let has_bytes = columns.iter().any(|column| column.column_type == ColumnType::Bytes);
        Records { table: table.name.clone(), columns, header_names, has_bytes }
    }

    /// Hands on a record for each row, until `hand_on` has had enough.
    ///
    /// # Errors
    /// If they are not rows of the table.
    pub(super) fn each(
        &self,
        epoch: CheckpointId,
        rows: &RowBatch,
        mut hand_on: impl FnMut(Record) -> bool,
    ) -> Result<(), DecodeRowError> {
        let epoch = epoch.to_string();
        let mut reader = rows.reader(&self.columns);
        let mut goes_on = true;
        while goes_on {
            let mut fields = Vec::with_capacity(self.columns.len());
            if !reader.next_row(|_, field| fields.push(field))? {
                return Ok(());
            }
            goes_on = hand_on(self.record(&epoch, &fields));
        }
        Ok(())
    }

    fn record(&self, epoch: &str, fields: &[Field<'_>]) -> Record {
        let mut headers = OwnedHeaders::new_with_capacity(fields.len() + 2);
        for (key, value) in [("gapwise.table", self.table.as_str()), ("gapwise.epoch", epoch)] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let (mut value, mut source_partition) = (None, None);
        for ((column, name), field) in self.columns.iter().zip(&self.header_names).zip(fields) {
            match field {
                Field::Bytes(bytes) => value = Some(bytes.to_vec()),
                Field::BigInt(number) if column.name == SOURCE_PARTITION => source_partition = Some(*number),
                _ => {}
            }
            if column.column_type != ColumnType::Bytes {
                headers = headers.insert(Header { key: name, value: text(*field).as_deref() });
            }
        }
        if !self.has_bytes {
            value = Some(self.json(fields));
        }
        Record { headers, value, source_partition }
    }

    fn json(&self, fields: &[Field<'_>]) -> Vec<u8> {
        let value = |field: &Field<'_>| match field {
            Field::BigInt(number) => (*number).into(),
            field => text(*field).map_or(serde_json::Value::Null, Into::into),
        };
        let members = self.columns.iter().zip(fields).map(|(column, field)| (column.name.clone(), value(field)));
        let object: serde_json::Map<_, _> = members.collect();
        serde_json::to_vec(&object).expect("texts and numbers are always JSON")
    }
}

/// As a header has it; `None` for NULL, and for bytes, which are the value.
fn text(field: Field<'_>) -> Option<String> {
    match field {
        Field::Null | Field::Bytes(_) => None,
        Field::Timestamp(time) => Some(time.to_string()),
        Field::Text(text) => {
            let text = text.as_str();
            Some(text[..text.floor_char_boundary(TEXT_BYTES)].to_owned())
        }
        Field::BigInt(number) => Some(number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers as _;
    use stream_core::ids::{TableIndex, Token};
    use stream_core::pipeline::Changelog;
    use stream_core::time::EventTime;

    use super::*;

    fn records(types: &[(&str, ColumnType)], rows: &RowBatch) -> Vec<Record> {
        let column =
            |(name, column_type): &(&str, ColumnType)| Column { name: (*name).to_owned(), column_type: *column_type };
        let columns = types.iter().map(column).collect();
        let table = SideTable { name: "web.late".to_owned(), columns, outlet: None, changelog: Changelog::Append };
        let mut made = Vec::new();
        let epoch = CheckpointId::new(Token(3), 17);
        let read = Records::of(&table).each(epoch, rows, |record| {
            made.push(record);
            true
        });
        read.expect("rows of the table");
        made
    }

    fn headers(record: &Record) -> Vec<String> {
        let shown = |header: Header<'_, &[u8]>| {
            let value = header.value.map_or("NULL".into(), String::from_utf8_lossy);
            format!("{}={value}", header.key)
        };
        record.headers.iter().map(shown).collect()
    }

    #[test]
    fn bytes_are_the_value_and_all_else_is_in_headers() {
        let mut rows = RowBatch::of(TableIndex(1));
        rows.row(3).text(Some("no JSON")).bigint(4).bytes(Some(b"\xff\0"));
        rows.row(3).null().null().null();
        let types = [("reason", ColumnType::Text), ("partition", ColumnType::BigInt), ("record", ColumnType::Bytes)];
        let records = records(&types, &rows);
        let common = ["gapwise.table=web.late", "gapwise.epoch=3.17"];
        assert_eq!(headers(&records[0]), [&common[..], &["gapwise.reason=no JSON", "gapwise.partition=4"]].concat());
        assert_eq!((records[0].value.as_deref(), records[0].source_partition), (Some(&b"\xff\0"[..]), Some(4)));
        assert_eq!(headers(&records[1]), [&common[..], &["gapwise.reason=NULL", "gapwise.partition=NULL"]].concat());
        assert_eq!((&records[1].value, records[1].source_partition), (&None, None));
    }

    #[test]
    fn without_bytes_the_value_is_an_object_of_the_columns() {
        let mut rows = RowBatch::of(TableIndex(1));
        rows.row(3).text(Some("a\"\n")).timestamp(EventTime(1)).bigint(-7);
        let types = [("ip", ColumnType::Text), ("at", ColumnType::Timestamp), ("late_by_ms", ColumnType::BigInt)];
        let records = records(&types, &rows);
        let value: serde_json::Value =
            serde_json::from_slice(records[0].value.as_deref().expect("a value")).expect("JSON");
        assert_eq!(value, serde_json::json!({"ip": "a\"\n", "at": "1970-01-01 00:00:00.001", "late_by_ms": -7}));
        assert!(headers(&records[0]).contains(&"gapwise.at=1970-01-01 00:00:00.001".to_owned()));
    }

    #[test]
    fn no_text_makes_a_record_too_large_for_kafkas_defaults() {
        let mut rows = RowBatch::of(TableIndex(1));
        let long = "\u{1}".repeat(1_000_000);
        let mut row = rows.row(7);
        for _ in 0..7 {
            row.text(Some(&long));
        }
        let names = ["a", "b", "c", "d", "e", "f", "g"].map(|name| (name, ColumnType::Text));
        let record = &records(&names, &rows)[0];
        let headers: usize = headers(record).iter().map(String::len).sum();
        let value = record.value.as_ref().map_or(0, Vec::len);
        assert!((700_000..1_000_000).contains(&(headers + value)), "{headers} + {value}");
        assert_eq!(
            super::text(Field::Text("é".repeat(10_000).as_str().into())).map(|text| text.len()),
            Some(TEXT_BYTES),
            "whole characters"
        );
    }

    #[test]
    fn nothing_is_made_behind_a_record_that_was_not_taken() {
        let mut rows = RowBatch::of(TableIndex(1));
        rows.row(1).bigint(1);
        rows.row(1).bigint(2);
        let columns = vec![Column { name: "n".to_owned(), column_type: ColumnType::BigInt }];
        let table = SideTable { name: "t".to_owned(), columns, outlet: None, changelog: Changelog::Append };
        let mut made = 0;
        let read = Records::of(&table).each(CheckpointId::ROOT, &rows, |_| {
            made += 1;
            false
        });
        assert_eq!((read, made), (Ok(()), 1));
    }
}
