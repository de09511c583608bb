//! What several tests of this crate need.

use std::time::Duration;

use stream_core::pipeline::{SourceSpec, StartPosition};
use stream_core::row::{Column, Field, RowBatch};

/// A topic as a source.
pub(crate) fn source() -> SourceSpec {
    SourceSpec {
        uri: "kafka://broker:9092/web".to_owned(),
        from: StartPosition::Earliest,
        is_bounded: false,
        watermark_delay: Duration::ZERO,
        idle_timeout: Duration::ZERO,
        close_when_idle: Duration::ZERO,
        max_future: Duration::ZERO,
        max_drift: Duration::ZERO,
        properties: [].into(),
        secrets: [].into(),
    }
}

/// Rows as text.
pub(crate) fn shown(rows: &RowBatch, columns: &[Column]) -> Vec<String> {
    let mut reader = rows.reader(columns);
    let mut shown = Vec::new();
    loop {
        let mut row = Vec::new();
        let is_row = reader.next_row(|_, field| {
            row.push(match field {
                Field::Null => "NULL".to_owned(),
                Field::Timestamp(time) => time.to_string(),
                Field::Text(text) => text.as_str().to_owned(),
                Field::BigInt(number) => number.to_string(),
                Field::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            });
        });
        if !is_row.expect("own rows") {
            return shown;
        }
        shown.push(row.join(" | "));
    }
}
