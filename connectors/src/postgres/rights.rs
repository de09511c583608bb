//! The rights that the sink's role needs, and no more. What is missing is told as the statements that grant it.

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use stream_core::row::Column;

use super::ledger::{FENCE_TYPES, PUBLISH_TYPES};
use super::settings::Settings;
use super::table_name::{TableName, quoted};

/// What the catalog, which everyone may read, says of the role and the ledger.
#[derive(Debug)]
pub(super) struct Rights {
    /// Whether the ledger and its functions are there.
    pub(super) has_ledger: bool,
    /// The statements that grant what is missing, behind each other; empty if nothing is.
    pub(super) missing_grants: String,
}

/// Asks what the role may do; `None` if there is no such schema.
///
/// Names are looked up in the catalog: `to_regclass` fails in a schema that the role may not use.
pub(super) async fn look(
    connection: &mut PgConnection,
    settings: &Settings,
    table: &TableName,
    columns: &[Column],
) -> Result<Option<Rights>, sqlx::Error> {
    let query = sqlx::query(
        "SELECT ledger.oid IS NOT NULL AND fence.oid IS NOT NULL AND publish.oid IS NOT NULL, \
                pg_catalog.has_schema_privilege(schema.oid, 'USAGE'), \
                target.oid IS NULL OR (SELECT pg_catalog.bool_and(pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'INSERT')) \
                    FROM pg_catalog.pg_attribute a WHERE a.attrelid = target.oid AND a.attname::pg_catalog.text = ANY($3)), \
                pg_catalog.has_table_privilege(ledger.oid, 'SELECT'), \
                pg_catalog.has_table_privilege(ledger.oid, 'UPDATE'), \
                pg_catalog.has_function_privilege(fence.oid, 'EXECUTE'), \
                pg_catalog.has_function_privilege(publish.oid, 'EXECUTE') \
         FROM pg_catalog.pg_namespace AS schema \
         LEFT JOIN pg_catalog.pg_class AS target ON target.relnamespace = schema.oid AND target.relname = $2 \
         LEFT JOIN pg_catalog.pg_class AS ledger \
             ON ledger.relnamespace = schema.oid AND ledger.relname = 'gapwise_ledger' \
         LEFT JOIN pg_catalog.pg_proc AS fence ON fence.pronamespace = schema.oid \
             AND fence.proname = 'gapwise_fence' AND pg_catalog.oidvectortypes(fence.proargtypes) = $4 \
         LEFT JOIN pg_catalog.pg_proc AS publish ON publish.pronamespace = schema.oid \
             AND publish.proname = 'gapwise_publish' AND pg_catalog.oidvectortypes(publish.proargtypes) = $5 \
         WHERE schema.nspname = $1",
    );
    let columns: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let query = query.bind(&table.schema).bind(&table.name).bind(columns).bind(FENCE_TYPES).bind(PUBLISH_TYPES);
    let Some(row) = query.persistent(false).fetch_optional(connection).await? else { return Ok(None) };
    // Of what is not there nobody has a right.
    let has = |row: &PgRow, index| row.try_get::<Option<bool>, _>(index).map(|has| has.unwrap_or(false));
    let (schema, user) = (quoted(&table.schema), quoted(settings.user()));
    let needed = [
        format!("USAGE ON SCHEMA {schema}"),
        format!("INSERT ON {table}"),
        format!("SELECT ON {schema}.gapwise_ledger"),
        format!("UPDATE ON {schema}.gapwise_ledger"),
        format!("EXECUTE ON FUNCTION {schema}.gapwise_fence({FENCE_TYPES})"),
        format!("EXECUTE ON FUNCTION {schema}.gapwise_publish({PUBLISH_TYPES})"),
    ];
    let mut missing_grants = Vec::new();
    for (index, right) in needed.iter().enumerate() {
        if !has(&row, index + 1)? {
            missing_grants.push(format!("GRANT {right} TO {user};"));
        }
    }
    Ok(Some(Rights { has_ledger: has(&row, 0)?, missing_grants: missing_grants.join(" ") }))
}
