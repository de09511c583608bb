//! The statements of a late replay. What is the user's stands in them quoted; values that a batch computes are bound.

use std::ops::Range;

use stream_core::row::Column;

use super::super::ledger::LANE;
use super::super::table_name::{TableName, literal, quoted};

/// The keys that have late events, numbered from 0, for as long as the connection lasts.
const KEYS: &str = "pg_temp.gapwise_late_keys";

/// What the values of a statement are; see `Values`. Of several arrays the server takes only the bare name.
const VALUES: &str = "unnest($1::pg_catalog.int8[], $2::pg_catalog.int8[], $3::pg_catalog.text[], $4::pg_catalog.int8[], \
                      $5::pg_catalog.int8[], $6::pg_catalog.int8[]) AS v(key, part, place, start, last, hits)";

/// Of which job and tables.
pub(super) struct Statements {
    pub(super) table: TableName,
    pub(super) late: TableName,
    pub(super) job_id: String,
    /// Start, ip, host, hits and, where the table has it, the last event.
    pub(super) columns: Vec<Column>,
}

impl Statements {
    /// Whether this connection is the only one that replays this job, from now on.
    pub(super) fn lock(&self) -> String {
        let what = literal(&format!("{} {}", self.job_id, self.table));
        format!("SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended({what}, 7166071990012))")
    }

    /// Whether the account and the mark are there. The catalog may be read by everyone.
    pub(super) fn is_prepared(&self) -> String {
        let (schema, late) = (literal(&self.table.schema), literal(&self.late.name));
        format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                            WHERE n.nspname = {schema} AND c.relname = 'gapwise_late_replay') \
                AND EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                            JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
                            WHERE n.nspname = {schema} AND c.relname = {late} AND a.attname = 'replayed_at')"
        )
    }

    /// The statements of a script, for the schema of these tables.
    pub(super) fn within_schema(&self, script: &str) -> String {
        // A name with a line break in it would end a comment.
        let statements: Vec<&str> = script.lines().filter(|line| !line.starts_with("--")).collect();
        statements.join("\n").replace("public.", &format!("{}.", quoted(&self.table.schema)))
    }

    pub(super) fn number_keys(&self) -> String {
        let Statements { late, job_id, .. } = self;
        format!(
            "CREATE TEMPORARY TABLE gapwise_late_keys AS \
             SELECT pg_catalog.row_number() OVER () - 1 AS number, ip, host \
             FROM (SELECT DISTINCT ip, host FROM {late} WHERE job_id = {}) AS keys; ANALYZE {KEYS}",
            literal(job_id)
        )
    }

    pub(super) fn count_keys(&self) -> String {
        format!("SELECT pg_catalog.count(*) FROM {KEYS}")
    }

    pub(super) fn cut(&self) -> String {
        format!("SELECT cut::text FROM {}", self.of_ledger())
    }

    /// Rows and late events of some keys.
    pub(super) fn spans(&self, keys: &Range<u64>) -> String {
        let Statements { table, late, job_id, .. } = self;
        let [start, ip, host, hits] = self.session_columns();
        let last = self.last_column().map_or("NULL::pg_catalog.int8".to_owned(), |last| ms(&format!("t.{last}")));
        let of_keys = format!("k.number >= {} AND k.number < {}", keys.start, keys.end);
        format!(
            "SELECT k.number, k.host IS NOT NULL, false, t.tableoid::pg_catalog.int8, t.ctid::pg_catalog.text, {}, {last}, t.{hits} \
             FROM {table} AS t JOIN {KEYS} AS k ON {} \
             WHERE {of_keys} AND pg_catalog.isfinite(t.{start}) AND t.{hits} IS NOT NULL \
             UNION ALL \
             SELECT k.number, k.host IS NOT NULL, true, l.tableoid::pg_catalog.int8, l.ctid::pg_catalog.text, {}, NULL, 0 \
             FROM {late} AS l JOIN {KEYS} AS k ON {} \
             WHERE {of_keys} AND l.job_id = {} AND l.replayed_at IS NULL AND pg_catalog.isfinite(l.event_time) \
             ORDER BY 1, 6",
            ms(&format!("t.{start}")),
            is_of_key("t", &ip, &host),
            ms("l.event_time"),
            is_of_key("l", "ip", "host"),
            literal(job_id),
        )
    }

    /// Rows that become other sessions.
    pub(super) fn change(&self) -> String {
        let [start, _, _, hits] = self.session_columns();
        let last = self.last_column().map_or(String::new(), |last| format!(", {last} = {}", timestamp("v.last")));
        format!(
            "UPDATE {} AS t SET {start} = {}, {hits} = v.hits{last} FROM {VALUES} WHERE {}",
            self.table,
            timestamp("v.start"),
            is_at("t")
        )
    }

    /// Rows that are parts of others now.
    pub(super) fn remove(&self) -> String {
        format!("DELETE FROM {} AS t USING {VALUES} WHERE {}", self.table, is_at("t"))
    }

    /// Sessions of late events alone.
    pub(super) fn make(&self) -> String {
        let [start, ip, host, hits] = self.session_columns();
        let (column, value) = self
            .last_column()
            .map_or((String::new(), String::new()), |last| (format!(", {last}"), format!(", {}", timestamp("v.last"))));
        format!(
            "INSERT INTO {} ({start}, {ip}, {host}, {hits}{column}) \
             SELECT {}, k.ip, k.host, v.hits{value} FROM {VALUES} JOIN {KEYS} AS k ON k.number = v.key",
            self.table,
            timestamp("v.start")
        )
    }

    /// Late events that are in a session now.
    pub(super) fn mark(&self) -> String {
        format!("UPDATE {} AS t SET replayed_at = pg_catalog.now() FROM {VALUES} WHERE {}", self.late, is_at("t"))
    }

    /// Moves the account on.
    pub(super) fn account(&self, events: usize, rows_added: i64) -> String {
        let schema = quoted(&self.table.schema);
        let (job_id, target) = (literal(&self.job_id), literal(&self.table.to_string()));
        format!(
            "INSERT INTO {schema}.gapwise_late_replay AS account (job_id, target, events, rows_added, replayed_at) \
             VALUES ({job_id}, {target}, {events}, {rows_added}, pg_catalog.now()) \
             ON CONFLICT (job_id, target) DO UPDATE SET events = account.events + excluded.events, \
             rows_added = account.rows_added + excluded.rows_added, replayed_at = excluded.replayed_at"
        )
    }

    /// The rights that a replay needs.
    pub(super) fn grants(&self, user: &str) -> String {
        let Statements { table, late, .. } = self;
        let schema = quoted(&table.schema);
        format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {user}; GRANT SELECT, UPDATE ON {late} TO {user}; \
             GRANT SELECT ON {schema}.gapwise_ledger TO {user}; \
             GRANT SELECT, INSERT, UPDATE ON {schema}.gapwise_late_replay TO {user};"
        )
    }

    fn of_ledger(&self) -> String {
        let (job_id, target) = (literal(&self.job_id), literal(&self.table.to_string()));
        format!(
            "{}.gapwise_ledger WHERE job_id = {job_id} AND target = {target} AND lane = {LANE}",
            quoted(&self.table.schema)
        )
    }

    fn session_columns(&self) -> [String; 4] {
        std::array::from_fn(|place| quoted(&self.columns[place].name))
    }

    fn last_column(&self) -> Option<String> {
        self.columns.get(4).map(|column| quoted(&column.name))
    }
}

/// Whether a row is of a key, NULL being a value like any other; written so that the server can join by hashes, and without regard to
/// the collations of the two columns.
fn is_of_key(table: &str, ip: &str, host: &str) -> String {
    let is_same = |column: &str, of_key: &str| {
        format!(
            "coalesce({table}.{column}, '') COLLATE \"C\" = coalesce(k.{of_key}, '') COLLATE \"C\" \
             AND ({table}.{column} IS NULL) = (k.{of_key} IS NULL)"
        )
    };
    format!("{} AND {}", is_same(ip, "ip"), is_same(host, "host"))
}

fn is_at(table: &str) -> String {
    format!("{table}.ctid = v.place::pg_catalog.tid AND {table}.tableoid = v.part::pg_catalog.oid")
}

/// Milliseconds since 1970 of a time.
fn ms(time: &str) -> String {
    format!("(EXTRACT(epoch FROM {time}) * 1000)::pg_catalog.int8")
}

/// The time of milliseconds since 1970.
fn timestamp(ms: &str) -> String {
    format!("TIMESTAMP 'epoch' + {ms} * INTERVAL '1 millisecond'")
}

#[cfg(test)]
mod tests {
    use stream_core::row::ColumnType;

    use super::*;

    fn statements(names: &[&str]) -> Statements {
        let column = |name: &&str| Column { name: (*name).to_owned(), column_type: ColumnType::Text };
        Statements {
            table: "web.\"a'b\"".parse().expect("a name"),
            late: "web.late_events".parse().expect("a name"),
            job_id: "7".to_owned(),
            columns: names.iter().map(column).collect(),
        }
    }

    #[test]
    fn the_last_event_is_written_where_the_table_has_it_and_left_alone_where_not() {
        let with = statements(&["event_hour", "ip", "host", "num_hits", "last_event"]);
        assert!(with.change().contains("\"last_event\" = TIMESTAMP"), "{}", with.change());
        assert!(with.make().contains("\"num_hits\", \"last_event\")"), "{}", with.make());
        let without = statements(&["event_hour", "ip", "host", "num_hits"]);
        for statement in [without.change(), without.make()] {
            assert!(!statement.contains("v.last"), "{statement}");
        }
    }

    #[test]
    fn names_and_the_script_are_those_of_the_schema_of_the_table() {
        let statements = statements(&["event_hour", "ip", "host", "num_hits"]);
        assert!(statements.remove().starts_with("DELETE FROM \"web\".\"a'b\" AS t"), "{}", statements.remove());
        assert!(statements.account(1, -1).contains("'\"web\".\"a''b\"', 1, -1"), "{}", statements.account(1, -1));
        let script = statements.within_schema(super::super::DEFINITION);
        assert!(script.contains("CREATE TABLE IF NOT EXISTS \"web\".gapwise_late_replay"), "{script}");
        assert!(!script.contains("public.") && !script.contains("--"), "{script}");
    }
}
