//! Where `json_cases.jsonl` is not followed, on purpose. Nothing else may differ.

/// A named difference from Flink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exception {
    /// `"schema": "typed"`. The jobs declare every column of their source as text, and so have no typed columns.
    TypedColumns,
    /// The options `tree_parser` and `tree_parser_ignore`, by which Flink 2 reads with the parser of Flink 1: it writes
    /// numbers for text anew (`1.50` as `1.5`) and takes blanks or `null` for no record. We read as the default of Flink 2 does.
    TreeParser,
    /// Under `ignore`, Flink keeps a record with NULL for a field whose text it could not decode, if its parser happens to
    /// find back into the record behind the fault (Latin-1 bytes before a quote, say). We skip such a record whole, so that it
    /// can be kept as a bad one, and do not count a hit under half a key.
    HalfReadRecord,
}
