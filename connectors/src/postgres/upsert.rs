//! A table whose rows change ([`Changelog::Upsert`](stream_core::pipeline::Changelog)): an epoch's changes are copied beside it and then done to
//! it, all at once, in the epoch's transaction.
//!
//! They are whole rows, so that nothing depends on what the table showed before, and an epoch that was aborted and became a part of the
//! next one is its changes behind each other. What is beside is a temporary table, which the connection keeps and each commit empties: the
//! server need not make one for every epoch.

use sqlx::Row;
use sqlx::postgres::PgConnection;
use stream_core::ids::TableIndex;

use super::rights::has;
use super::table::definitions;
use super::table_name::{TableName, quoted};
use super::tables::Table;

/// Where the changes of a table wait.
pub(super) fn waiting(index: TableIndex) -> TableName {
    TableName { schema: "pg_temp".to_owned(), name: format!("gapwise_changes_{}", index.place()) }
}

/// Makes that table. `place` keeps the changes in their order.
pub(super) fn create_waiting(table: &Table, index: TableIndex) -> String {
    format!(
        "CREATE TEMPORARY TABLE {} (place BIGINT GENERATED ALWAYS AS IDENTITY, {}) ON COMMIT DELETE ROWS",
        waiting(index),
        definitions(&table.columns)
    )
}

/// Does the changes that wait to the table: drops rows, drops those of an owner who puts all anew, puts rows. They are taken in the
/// order of their keys, so that two jobs which share a table wait for each other but never both.
///
/// # Panics
/// If its rows do not change: it has no key then.
pub(super) fn apply(table: &Table, index: TableIndex) -> String {
    let names: Vec<String> = table.columns.iter().map(|column| quoted(&column.name)).collect();
    let [key, owner, ..] = names.as_slice() else { unreachable!("it has a key and an owner") };
    let (name, waiting) = (&table.name, waiting(index));
    let latest = format!(
        "(SELECT DISTINCT ON ({key}) * FROM {waiting} WHERE {key} IS NOT NULL ORDER BY {key}, place DESC) AS change"
    );
    let columns = names.join(", ");
    let (old, new) = (names[1..].iter().map(|name| format!("kept.{name}")), names[1..].iter());
    let (old, new): (Vec<String>, Vec<String>) = (old.collect(), new.map(|name| format!("excluded.{name}")).collect());
    let set: Vec<String> = names[1..].iter().zip(&new).map(|(name, new)| format!("{name} = {new}")).collect();
    format!(
        "DELETE FROM {name} AS kept USING {latest} WHERE kept.{key} = change.{key} AND change.{owner} IS NULL; \
         DELETE FROM {name} AS kept WHERE EXISTS (SELECT FROM {waiting} WHERE {key} IS NULL) \
             AND kept.{owner} IN (SELECT {owner} FROM {waiting} WHERE {key} IS NULL) \
             AND NOT EXISTS (SELECT FROM {waiting} AS change WHERE change.{key} = kept.{key}); \
         INSERT INTO {name} AS kept ({columns}) SELECT {columns} FROM {latest} WHERE {owner} IS NOT NULL \
             ON CONFLICT ({key}) DO UPDATE SET {set} WHERE ({old}) IS DISTINCT FROM ({new})",
        set = set.join(", "),
        old = old.join(", "),
        new = new.join(", "),
    )
}

/// Whether an index of the table with that number makes sure that no two of its rows have the same key.
pub(super) async fn is_unique(connection: &mut PgConnection, oid: i64, key: &str) -> Result<bool, sqlx::Error> {
    let query = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
             WHERE i.indrelid = $1::pg_catalog.oid AND i.indisunique AND i.indimmediate AND i.indisvalid \
                 AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname::pg_catalog.text = $2)",
    );
    query.bind(oid).bind(key).persistent(false).fetch_one(connection).await
}

/// What is needed beyond the right to insert, and whether the role has it.
pub(super) async fn rights_of(
    connection: &mut PgConnection,
    table: &Table,
) -> Result<[(bool, String); 2], sqlx::Error> {
    let Table { name, .. } = table;
    let query = sqlx::query(
        "SELECT target.oid IS NULL OR (pg_catalog.has_table_privilege(target.oid, 'SELECT') \
                    AND pg_catalog.has_table_privilege(target.oid, 'UPDATE') \
                    AND pg_catalog.has_table_privilege(target.oid, 'DELETE')), \
                pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY'), \
                pg_catalog.current_database()::pg_catalog.text \
         FROM pg_catalog.pg_namespace AS schema \
         LEFT JOIN pg_catalog.pg_class AS target ON target.relnamespace = schema.oid AND target.relname = $2 \
         WHERE schema.nspname = $1",
    );
    let query = query.bind(&name.schema).bind(&name.name).persistent(false);
    let row = query.fetch_optional(connection).await?;
    let is_there = |index| row.as_ref().map_or(Ok(false), |row| has(row, index));
    let database = row.as_ref().map_or(Ok(String::new()), |row| row.try_get(2))?;
    Ok([
        (is_there(0)?, format!("SELECT, UPDATE, DELETE ON {name}")),
        (is_there(1)? || row.is_none(), format!("TEMPORARY ON DATABASE {}", quoted(&database))),
    ])
}

#[cfg(test)]
mod tests {
    use stream_core::pipeline::Changelog;
    use stream_core::row::{Column, ColumnType};

    use super::*;

    #[test]
    fn a_name_of_any_kind_stands_quoted() {
        let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
        let table = Table {
            name: TableName { schema: "s".to_owned(), name: "a \"table\"".to_owned() },
            columns: vec![column("id", ColumnType::BigInt), column("own\"er", ColumnType::Text)],
            changelog: Changelog::Upsert,
        };
        let index = TableIndex(3);
        assert_eq!(
            create_waiting(&table, index),
            "CREATE TEMPORARY TABLE \"pg_temp\".\"gapwise_changes_3\" (place BIGINT GENERATED ALWAYS AS IDENTITY, \
             \"id\" BIGINT, \"own\"\"er\" VARCHAR) ON COMMIT DELETE ROWS"
        );
        let statements = apply(&table, index);
        assert!(statements.contains("DELETE FROM \"s\".\"a \"\"table\"\"\" AS kept USING"), "{statements}");
        assert!(
            statements.ends_with("WHERE (kept.\"own\"\"er\") IS DISTINCT FROM (excluded.\"own\"\"er\")"),
            "{statements}"
        );
    }
}
