//! The rights that the sink's role needs, and no more. What is missing is told as the statements that grant it.

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use stream_core::pipeline::Changelog;

use super::ledger::{FENCE_TYPES, PUBLISH_TYPES};
use super::settings::Settings;
use super::table_name::quoted;
use super::tables::{Table, Tables};
use super::upsert;

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
    tables: &Tables,
) -> Result<Option<Rights>, sqlx::Error> {
    let (table, user) = (&tables.result.name, quoted(settings.user()));
    let query = sqlx::query(
        "SELECT ledger.oid IS NOT NULL AND fence.oid IS NOT NULL AND publish.oid IS NOT NULL, \
                pg_catalog.has_table_privilege(ledger.oid, 'SELECT'), \
                pg_catalog.has_table_privilege(ledger.oid, 'UPDATE'), \
                pg_catalog.has_function_privilege(fence.oid, 'EXECUTE'), \
                pg_catalog.has_function_privilege(publish.oid, 'EXECUTE') \
         FROM pg_catalog.pg_namespace AS schema \
         LEFT JOIN pg_catalog.pg_class AS ledger \
             ON ledger.relnamespace = schema.oid AND ledger.relname = 'gapwise_ledger' \
         LEFT JOIN pg_catalog.pg_proc AS fence ON fence.pronamespace = schema.oid \
             AND fence.proname = 'gapwise_fence' AND pg_catalog.oidvectortypes(fence.proargtypes) = $2 \
         LEFT JOIN pg_catalog.pg_proc AS publish ON publish.pronamespace = schema.oid \
             AND publish.proname = 'gapwise_publish' AND pg_catalog.oidvectortypes(publish.proargtypes) = $3 \
         WHERE schema.nspname = $1",
    );
    let query = query.bind(&table.schema).bind(FENCE_TYPES).bind(PUBLISH_TYPES);
    let Some(row) = query.persistent(false).fetch_optional(&mut *connection).await? else { return Ok(None) };
    let schema = quoted(&table.schema);
    let mut needed = Vec::new();
    for table in tables.iter() {
        needed.extend(rights_of(connection, table).await?);
        if table.changelog == Changelog::Upsert {
            needed.extend(upsert::rights_of(connection, table).await?);
        }
    }
    needed.extend([
        (has(&row, 1)?, format!("SELECT ON {schema}.gapwise_ledger")),
        (has(&row, 2)?, format!("UPDATE ON {schema}.gapwise_ledger")),
        (has(&row, 3)?, format!("EXECUTE ON FUNCTION {schema}.gapwise_fence({FENCE_TYPES})")),
        (has(&row, 4)?, format!("EXECUTE ON FUNCTION {schema}.gapwise_publish({PUBLISH_TYPES})")),
    ]);
    let mut missing_grants: Vec<String> = Vec::new();
    for (_, right) in needed.into_iter().filter(|(is_there, _)| !is_there) {
        let grant = format!("GRANT {right} TO {user};");
        // Tables of one schema ask for it once.
        if !missing_grants.contains(&grant) {
            missing_grants.push(grant);
        }
    }
    Ok(Some(Rights { has_ledger: has(&row, 0)?, missing_grants: missing_grants.join(" ") }))
}

/// What is needed to write into a table, and whether the role may.
async fn rights_of(connection: &mut PgConnection, table: &Table) -> Result<[(bool, String); 2], sqlx::Error> {
    let Table { name, columns, .. } = table;
    let query = sqlx::query(
        "SELECT pg_catalog.has_schema_privilege(schema.oid, 'USAGE'), \
                target.oid IS NULL OR (SELECT pg_catalog.bool_and(pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'INSERT')) \
                    FROM pg_catalog.pg_attribute a WHERE a.attrelid = target.oid AND a.attname::pg_catalog.text = ANY($3)) \
         FROM pg_catalog.pg_namespace AS schema \
         LEFT JOIN pg_catalog.pg_class AS target ON target.relnamespace = schema.oid AND target.relname = $2 \
         WHERE schema.nspname = $1",
    );
    let columns: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let query = query.bind(&name.schema).bind(&name.name).bind(columns).persistent(false);
    let row = query.fetch_optional(connection).await?;
    let has = |index| row.as_ref().map_or(Ok(false), |row| has(row, index));
    Ok([(has(0)?, format!("USAGE ON SCHEMA {}", quoted(&name.schema))), (has(1)?, format!("INSERT ON {name}"))])
}

/// An answer of the catalog; of what is not there nobody has a right.
pub(super) fn has(row: &PgRow, index: usize) -> Result<bool, sqlx::Error> {
    row.try_get::<Option<bool>, _>(index).map(|has| has.unwrap_or(false))
}
