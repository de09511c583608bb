//! The sink as a table of Flink's JDBC connector.

use connectors::postgres::{self, Settings, TableName};
use stream_core::pipeline::SinkSpec;
use stream_core::row::ColumnType;

use super::Passwords;
use super::text::with;
use crate::failure::Failure;

/// The table in Flink. In Postgres it has the name that was asked for.
pub(super) const SESSIONS: &str = "`sessions`";

pub(super) fn table(sink: &SinkSpec, passwords: Passwords) -> Result<String, Failure> {
    if !sink.uri.starts_with("postgres:") {
        return Err(Failure::usage(format!(
            "--sink: `{}` is not Postgres, which the job on Flink writes to",
            sink.uri
        )));
    }
    let settings = Settings::from_spec(sink).map_err(|error| Failure::usage(error.to_string()))?;
    let mut options = vec![
        ("connector", "jdbc".to_owned()),
        ("url", settings.jdbc_url()),
        // Flink pastes it into its statements as it stands.
        ("table-name", table_name(sink)?.to_string()),
    ];
    // The connector takes both or none.
    if let Some(password) = &settings.password {
        options.push(("username", settings.user().to_owned()));
        options.push(("password", passwords.text(password).to_owned()));
    }
    let column = |column: &stream_core::row::Column| format!("  `{}` {}", column.name, type_name(column.column_type));
    let columns: Vec<String> = sink.columns.iter().map(column).collect();
    Ok(format!("CREATE TEMPORARY TABLE {SESSIONS} (\n{}\n) {}", columns.join(",\n"), with(&options)))
}

/// The statement that makes the table in Postgres.
pub(super) fn definition(sink: &SinkSpec) -> Result<String, Failure> {
    postgres::definition(sink).map_err(|error| Failure::usage(error.to_string()))
}

fn table_name(sink: &SinkSpec) -> Result<TableName, Failure> {
    sink.table.parse().map_err(|error: postgres::TableNameError| Failure::usage(error.to_string()))
}

fn type_name(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Timestamp => "TIMESTAMP(3)",
        ColumnType::Text => "STRING",
        ColumnType::BigInt => "BIGINT",
        ColumnType::Bytes => "BYTES",
    }
}
