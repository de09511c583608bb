//! Result rows, encoded once where a window fires and handed on as bytes.
//!
//! The layout is that of a tuple in PostgreSQL's `COPY … (FORMAT binary)`: a 16-bit field count, then each field as a
//! 32-bit length (−1 for NULL) and its bytes, all big-endian; a timestamp is 64-bit microseconds since 2000-01-01
//! (PostgreSQL documentation, "COPY", "Binary Format"). The Postgres sink forwards it untouched; other sinks read it
//! field by field.
//!
//! A batch is of one of the sink's tables and says of which.

use serde::{Deserialize, Serialize};

use crate::ids::TableIndex;
use crate::time::EventTime;

/// The type of a result column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// `TIMESTAMP(3)`, without zone.
    Timestamp,
    /// `VARCHAR`.
    Text,
    /// `BIGINT`.
    BigInt,
    /// `BYTEA`.
    Bytes,
}

/// A result column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name in the table and in a file's header.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
}

/// Rows of one table in one contiguous buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowBatch {
    table: TableIndex,
    bytes: Vec<u8>,
    rows: u64,
}

/// A field as a sink reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// SQL's NULL.
    Null,
    /// A `TIMESTAMP(3)`.
    Timestamp(EventTime),
    /// A text.
    Text(Text<'a>),
    /// A 64-bit integer.
    BigInt(i64),
    /// Bytes of any kind.
    Bytes(&'a [u8]),
}

/// Bytes that are known to be UTF-8. Who writes them somewhere needs no more, and so nobody has to make a `str` of them, which means to
/// decode them: nearly all are ASCII, which many bytes at once can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// Nothing if they are not UTF-8.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        (bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()).then_some(Text(bytes))
    }

    /// The bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The text, which is decoded once more.
    ///
    /// # Panics
    /// Never: the bytes were looked at when this was made.
    pub fn as_str(self) -> &'a str {
        std::str::from_utf8(self.0).expect("a `Text` is made of UTF-8 only")
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Text(text.as_bytes())
    }
}

/// Bytes that are not rows of the schema.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("row batch is damaged at byte {0}")]
pub struct DecodeRowError(usize);

/// 2000-01-01T00:00:00 in milliseconds since 1970.
const POSTGRES_EPOCH_MS: i64 = 946_684_800_000;

impl RowBatch {
    /// No rows yet, of a table.
    pub fn of(table: TableIndex) -> Self {
        RowBatch { table, ..RowBatch::default() }
    }

    /// Leaves a batch of the same table in its place, with room for as many rows: bytes that double as they come are copied as often
    /// again as they are written.
    #[must_use]
    pub fn take(&mut self) -> Self {
        // The next one may end a little later.
        let room = self.bytes.len() + self.bytes.len() / 8;
        let next = RowBatch { table: self.table, bytes: Vec::with_capacity(room), rows: 0 };
        std::mem::replace(self, next)
    }

    /// The table.
    pub fn table(&self) -> TableIndex {
        self.table
    }

    /// Begins a row; exactly `columns` fields must follow through the returned writer.
    pub fn row(&mut self, columns: u16) -> RowWriter<'_> {
        self.rows += 1;
        self.bytes.extend_from_slice(&columns.to_be_bytes());
        RowWriter { bytes: &mut self.bytes }
    }

    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether it holds no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows as `COPY` takes them, without its header and trailer.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes all rows out, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.rows = 0;
    }

    /// Appends the rows of another batch.
    ///
    /// # Panics
    /// If it is of another table: its rows would be stored where they do not belong.
    pub fn append(&mut self, other: &RowBatch) {
        assert_eq!(self.table, other.table, "rows of one table only");
        self.bytes.extend_from_slice(&other.bytes);
        self.rows += other.rows;
    }

    /// Rows that came over the wire, checked to be `columns` wide throughout.
    ///
    /// # Errors
    /// If they are not, or do not end where the bytes end.
    pub fn from_bytes(table: TableIndex, bytes: Vec<u8>, columns: &[Column]) -> Result<Self, DecodeRowError> {
        let mut batch = RowBatch { table, bytes, rows: 0 };
        let mut reader = batch.reader(columns);
        let mut rows = 0;
        while reader.next_row(|_, _| {})? {
            rows += 1;
        }
        batch.rows = rows;
        Ok(batch)
    }

    /// Reads the rows one after the other.
    pub fn reader<'a>(&'a self, columns: &'a [Column]) -> RowReader<'a> {
        RowReader { bytes: &self.bytes, at: 0, columns }
    }
}

/// Writes the fields of one row.
#[derive(Debug)]
pub struct RowWriter<'a> {
    bytes: &'a mut Vec<u8>,
}

impl RowWriter<'_> {
    /// A NULL of any type.
    pub fn null(&mut self) -> &mut Self {
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
        self
    }

    /// A `TIMESTAMP(3)`. Beyond what Postgres can hold (294276 AD) it is held at 64 bits of microseconds.
    pub fn timestamp(&mut self, time: EventTime) -> &mut Self {
        let micros = time.0.saturating_sub(POSTGRES_EPOCH_MS).saturating_mul(1000);
        self.fixed(micros)
    }

    /// A `BIGINT`.
    pub fn bigint(&mut self, value: i64) -> &mut Self {
        self.fixed(value)
    }

    /// A text, or NULL.
    ///
    /// # Panics
    /// If it is longer than 2 GiB, which no message can be.
    pub fn text(&mut self, text: Option<&str>) -> &mut Self {
        self.checked_text(text.map(Text::from))
    }

    /// The same, of bytes that are known to be one.
    ///
    /// # Panics
    /// If it is longer than 2 GiB, which no message can be.
    pub fn checked_text(&mut self, text: Option<Text<'_>>) -> &mut Self {
        self.bytes(text.map(Text::as_bytes))
    }

    /// Bytes of any kind, or NULL.
    ///
    /// # Panics
    /// If there are more than 2 GiB, which no message can have.
    pub fn bytes(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        let Some(bytes) = bytes else { return self.null() };
        let length = i32::try_from(bytes.len()).expect("bytes are of a message, which is below 2 GiB");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn fixed(&mut self, value: i64) -> &mut Self {
        self.bytes.extend_from_slice(&8_i32.to_be_bytes());
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }
}

/// Reads rows back; see [`RowBatch::reader`].
#[derive(Debug)]
pub struct RowReader<'a> {
    bytes: &'a [u8],
    at: usize,
    columns: &'a [Column],
}

impl<'a> RowReader<'a> {
    /// Passes each field of the next row, with its column's index, to `on_field`; `false` once there is no row left.
    ///
    /// # Errors
    /// If the bytes are not a row of these columns.
    pub fn next_row(&mut self, mut on_field: impl FnMut(usize, Field<'a>)) -> Result<bool, DecodeRowError> {
        if self.at == self.bytes.len() {
            return Ok(false);
        }
        let columns = self.columns;
        if usize::from(u16::from_be_bytes(self.take()?)) != columns.len() {
            return Err(DecodeRowError(self.at));
        }
        for (index, column) in columns.iter().enumerate() {
            on_field(index, self.field(column.column_type)?);
        }
        Ok(true)
    }

    fn field(&mut self, column_type: ColumnType) -> Result<Field<'a>, DecodeRowError> {
        let length = i32::from_be_bytes(self.take()?);
        let at = self.at;
        match (column_type, usize::try_from(length)) {
            (_, Err(_)) if length == -1 => Ok(Field::Null),
            (ColumnType::Timestamp, Ok(8)) => {
                let micros = i64::from_be_bytes(self.take()?);
                Ok(Field::Timestamp(EventTime(micros.div_euclid(1000).saturating_add(POSTGRES_EPOCH_MS))))
            }
            (ColumnType::BigInt, Ok(8)) => Ok(Field::BigInt(i64::from_be_bytes(self.take()?))),
            (ColumnType::Text, Ok(length)) => {
                Text::new(self.take_slice(length)?).map(Field::Text).ok_or(DecodeRowError(at))
            }
            (ColumnType::Bytes, Ok(length)) => self.take_slice(length).map(Field::Bytes),
            _ => Err(DecodeRowError(at)),
        }
    }

    fn take_slice(&mut self, length: usize) -> Result<&'a [u8], DecodeRowError> {
        let at = self.at;
        let slice = at.checked_add(length).and_then(|end| self.bytes.get(at..end)).ok_or(DecodeRowError(at))?;
        self.at += length;
        Ok(slice)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeRowError> {
        let chunk = self.bytes[self.at..].first_chunk().ok_or(DecodeRowError(self.at))?;
        self.at += N;
        Ok(*chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
        vec![column("t", ColumnType::Timestamp), column("s", ColumnType::Text), column("n", ColumnType::BigInt)]
    }

    fn read(bytes: Vec<u8>, columns: &[Column]) -> Result<RowBatch, DecodeRowError> {
        RowBatch::from_bytes(TableIndex::RESULT, bytes, columns)
    }

    fn fields(batch: &RowBatch) -> Vec<String> {
        let columns = columns();
        let mut reader = batch.reader(&columns);
        let mut seen = Vec::new();
        let show = |field: Field<'_>| match field {
            Field::Text(text) => format!("Text({:?})", text.as_str()),
            field => format!("{field:?}"),
        };
        while reader.next_row(|_, field| seen.push(show(field))).expect("own rows") {}
        seen
    }

    #[test]
    fn reader_gives_back_what_the_writer_wrote() {
        let mut batch = RowBatch::default();
        batch.row(3).timestamp(EventTime(1_736_874_072_232)).text(Some("www.a.io")).bigint(3);
        batch.row(3).timestamp(EventTime(-1)).text(None).bigint(i64::MIN);
        assert_eq!(
            fields(&batch),
            [
                "Timestamp(EventTime(1736874072232))",
                "Text(\"www.a.io\")",
                "BigInt(3)",
                "Timestamp(EventTime(-1))",
                "Null",
                "BigInt(-9223372036854775808)"
            ]
        );
        assert_eq!(read(batch.as_bytes().to_vec(), &columns()), Ok(batch));
    }

    #[test]
    fn text_is_utf_8_and_nothing_else_is() {
        for bytes in [&b""[..], b"www.a.io", "www.\u{e9}.io".as_bytes(), b"\0"] {
            assert_eq!(Text::new(bytes).map(Text::as_str), std::str::from_utf8(bytes).ok());
        }
        assert_eq!(Text::new(b"www.\xff.io"), None);
        let columns = [Column { name: "s".to_owned(), column_type: ColumnType::Text }];
        let mut batch = RowBatch::default();
        batch.row(1).bytes(Some(b"ok"));
        batch.row(1).bytes(Some(b"\xc3"));
        assert!(read(batch.as_bytes().to_vec(), &columns).is_err());
    }

    #[test]
    fn bytes_are_what_they_are() {
        let columns = [Column { name: "raw".to_owned(), column_type: ColumnType::Bytes }];
        let mut batch = RowBatch::of(TableIndex(2));
        batch.row(1).bytes(Some(b"\xff\0"));
        batch.row(1).bytes(None);
        let mut seen = Vec::new();
        let mut reader = batch.reader(&columns);
        while reader.next_row(|_, field| seen.push(field)).expect("own rows") {}
        assert_eq!(seen, [Field::Bytes(b"\xff\0"), Field::Null]);
        assert_eq!(RowBatch::from_bytes(TableIndex(2), batch.as_bytes().to_vec(), &columns), Ok(batch));
    }

    #[test]
    #[should_panic(expected = "rows of one table only")]
    fn rows_of_another_table_are_not_taken_in() {
        RowBatch::default().append(&RowBatch::of(TableIndex(1)));
    }

    #[test]
    fn a_row_is_a_copy_tuple_to_the_byte() {
        let mut batch = RowBatch::default();
        batch.row(3).timestamp(EventTime(POSTGRES_EPOCH_MS + 1)).text(Some("é")).null();
        let expected: &[u8] = &[0, 3, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 2, 0xc3, 0xa9, 255, 255, 255, 255];
        assert_eq!(batch.as_bytes(), expected);
    }

    #[test]
    fn damaged_rows_are_refused() {
        let mut batch = RowBatch::default();
        batch.row(3).timestamp(EventTime(0)).text(Some("abc")).bigint(1);
        for end in 1..batch.as_bytes().len() {
            assert!(read(batch.as_bytes()[..end].to_vec(), &columns()).is_err(), "cut at {end}");
        }
        assert!(read(batch.as_bytes().to_vec(), &columns()[..2]).is_err());
    }
}
