//! A table whose rows change, against a real server: what it shows after changes that were published, merged, repeated, fenced or cut off.

use anyhow::Result;
use connectors::postgres::Client;
use e2e::sink::{Attempt, Chunks, JOB, as_user, client, connectors, sink, start, text};
use stream_core::checkpoint::SealedEpoch;
use stream_core::ids::{CheckpointId, JobId, TableIndex, Token};
use stream_core::pipeline::{Changelog, SideTable, SinkSpec};
use stream_core::row::{Column, ColumnType, RowBatch, RowWriter};
use stream_core::table::RowCounts;
use stream_core::time::EventTime;
use stream_runtime::connector::{ConnectorErrorKind, Connectors, PublishError, Published};

const ROOT: CheckpointId = CheckpointId::ROOT;
const OPEN: TableIndex = TableIndex(1);

const LEDGER: &str = include_str!("../../../sql/ledger/gapwise_ledger.sql");
const SCRIPT: &str = include_str!("../../../sql/ledger/open_sessions.sql");

/// What happens to a row.
enum Change {
    Put(i64, i64),
    Drop(i64),
    /// The job has no rows but those that are put.
    Anew,
}

use Change::{Anew, Drop, Put};

fn changes_of(job: JobId, changes: &[Change]) -> RowBatch {
    let mut rows = RowBatch::of(OPEN);
    let job = job.to_string();
    for change in changes {
        let mut row = rows.row(7);
        match *change {
            Put(id, hits) => {
                row.bigint(id).text(Some(&job)).timestamp(EventTime(id)).timestamp(EventTime(id + hits));
                row.text(Some("1.2.3.4")).text(None).bigint(hits);
            }
            Drop(id) => nulls(row.bigint(id), 6),
            Anew => nulls(row.null().text(Some(&job)), 5),
        }
    }
    rows
}

fn nulls(row: &mut RowWriter<'_>, fields: usize) {
    for _ in 0..fields {
        row.null();
    }
}

fn with_open(server: &e2e::sink::Server) -> SinkSpec {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
    let columns = vec![
        column("session_id", ColumnType::BigInt),
        column("job_id", ColumnType::Text),
        column("event_hour", ColumnType::Timestamp),
        column("last_event", ColumnType::Timestamp),
        column("ip", ColumnType::Text),
        column("host", ColumnType::Text),
        column("num_hits", ColumnType::BigInt),
    ];
    let open = SideTable { name: "open_sessions".to_owned(), columns, outlet: None, changelog: Changelog::Upsert };
    SinkSpec { side_tables: vec![open], ..sink(server, "sessions") }
}

/// The epoch of these changes and of so many closed sessions.
fn epoch(attempt: &Attempt, sequence: u32, prev: CheckpointId, closed: u64, changes: &RowBatch) -> SealedEpoch {
    let mut rows = RowCounts::of_result(closed);
    rows.add(OPEN, changes.rows());
    SealedEpoch { rows, ..attempt.epoch(sequence, prev, 0) }
}

async fn shown(sql: &mut Client, job: JobId) -> Result<String> {
    let rows =
        "SELECT coalesce(string_agg(session_id || ':' || num_hits, ' ' ORDER BY session_id), '') FROM open_sessions";
    text(sql, &format!("{rows} WHERE job_id = '{job}'")).await
}

fn closed(number: i64) -> RowBatch {
    let mut rows = RowBatch::default();
    rows.row(4).timestamp(EventTime(number)).text(Some("ip")).text(Some("host")).bigint(number);
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_show_together_with_the_rows_and_the_ledger_and_the_last_of_a_key_counts() -> Result<()> {
    let (server, mut sql) = start().await?;
    let sink = with_open(&server);
    connectors().check_sink(&sink).await?;
    let attempt = Attempt::begin(&sink, 1).await?;
    let changes = changes_of(JOB, &[Put(1, 1), Put(2, 2), Put(3, 3), Put(1, 7), Put(4, 4), Drop(4), Drop(9)]);
    let one = epoch(&attempt, 1, ROOT, 1, &changes);
    attempt.publish(one.clone(), Chunks::of([closed(1), changes.clone()])).await?;
    assert_eq!(shown(&mut sql, JOB).await?, "1:7 2:2 3:3");
    assert_eq!(attempt.publish(one.clone(), Chunks::of([closed(1), changes])).await?, Published::Already);

    // Two pieces, as two aborted epochs leave them, and dropped and put again.
    let (first, second) = (changes_of(JOB, &[Drop(1), Put(2, 5), Drop(3)]), changes_of(JOB, &[Put(3, 8), Drop(2)]));
    let mut both = first.clone();
    both.append(&second);
    let two = epoch(&attempt, 2, one.epoch, 0, &both);
    attempt.publish(two.clone(), Chunks::of([first, second])).await?;
    assert_eq!(shown(&mut sql, JOB).await?, "3:8");
    let row = "SELECT concat_ws(' ', event_hour, last_event, ip, host IS NULL, job_id) FROM open_sessions";
    let expected = format!("1970-01-01 00:00:00.003 1970-01-01 00:00:00.011 1.2.3.4 t {JOB}");
    assert_eq!(text(&mut sql, row).await?, expected);

    // Another connection, and an epoch without changes.
    let same = attempt.reopened()?;
    let three = epoch(&attempt, 3, two.epoch, 0, &RowBatch::of(OPEN));
    same.publish(three.clone(), Chunks::default()).await?;
    let changes = changes_of(JOB, &[Put(3, 9)]);
    same.publish(epoch(&attempt, 4, three.epoch, 0, &changes), Chunks::of([changes])).await?;
    assert_eq!(shown(&mut sql, JOB).await?, "3:9");
    let ledger = "SELECT rows_total || ' ' || side_rows::text FROM gapwise_ledger";
    assert_eq!(text(&mut sql, ledger).await?, "1 {13}");
    let mut audit = connectors::postgres::Audit::begin(&sink).await?;
    assert_eq!(audit.sum("open_sessions", "num_hits", &JOB.to_string()).await?, 9);
    audit.close().await;
    same.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn job_that_tells_anew_has_no_rows_but_those_and_leaves_those_of_others() -> Result<()> {
    let (server, mut sql) = start().await?;
    let sink = with_open(&server);
    connectors().check_sink(&sink).await?;
    let other = JobId(0xdef);
    for (job, ids) in [(JOB, [1, 2, 3]), (other, [11, 12, 13])] {
        let attempt = Attempt::begin_as(job, &sink, 1).await?;
        let changes = changes_of(job, &ids.map(|id| Put(id, id)));
        attempt.publish(epoch(&attempt, 1, ROOT, 0, &changes), Chunks::of([changes])).await?;
    }
    let attempt = Attempt::begin(&sink, 2).await?;
    let prev = attempt.anchor.last_epoch;
    // Two subtasks, and the second epoch of an attempt whose first was aborted.
    let changes = changes_of(JOB, &[Anew, Put(2, 2), Put(4, 4), Anew, Put(5, 5), Drop(2), Put(4, 6)]);
    attempt.publish(epoch(&attempt, 1, prev, 0, &changes), Chunks::of([changes])).await?;
    assert_eq!(shown(&mut sql, JOB).await?, "4:6 5:5");
    assert_eq!(shown(&mut sql, other).await?, "11:11 12:12 13:13");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_zombie_and_of_a_connection_that_broke_never_show() -> Result<()> {
    let (server, mut sql) = start().await?;
    let sink = with_open(&server);
    connectors().check_sink(&sink).await?;
    let zombie = Attempt::begin(&sink, 1).await?;
    let changes = changes_of(JOB, &[Put(1, 1)]);
    let one = epoch(&zombie, 1, ROOT, 0, &changes);
    zombie.publish(one.clone(), Chunks::of([changes])).await?;
    let changes = changes_of(JOB, &[Put(1, 2), Put(2, 2)]);
    let two = epoch(&zombie, 2, one.epoch, 1, &changes);
    let mut killer = client(&server).await?;
    let chunks = Chunks::of([closed(1), changes.clone()]).before_last(async move {
        let sessions =
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'gapwise/%/1'";
        assert_eq!(text(&mut killer, sessions).await.unwrap(), "1");
    });
    let error = zombie.publish(two.clone(), chunks).await.unwrap_err();
    assert!(matches!(error, PublishError::Passing(_)), "{error}");
    assert_eq!(shown(&mut sql, JOB).await?, "1:1");
    zombie.publish(two.clone(), Chunks::of([closed(1), changes.clone()])).await?;
    assert_eq!(shown(&mut sql, JOB).await?, "1:2 2:2");
    let next = Attempt::begin(&sink, 2).await?;
    let late = epoch(&zombie, 3, two.epoch, 0, &changes);
    let error = zombie.publish(late, Chunks::of([changes_of(JOB, &[Drop(1), Drop(2)])])).await.unwrap_err();
    assert!(matches!(error, PublishError::Passing(_) | PublishError::Fenced { token: Token(2) }), "{error}");
    assert_eq!(shown(&mut sql, JOB).await?, "1:2 2:2");
    let changes = changes_of(JOB, &[Drop(1)]);
    next.publish(epoch(&next, 1, two.epoch, 0, &changes), Chunks::of([changes])).await?;
    assert_eq!(shown(&mut sql, JOB).await?, "2:2");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_keep_one_row_for_each_key_is_refused() -> Result<()> {
    let (server, mut sql) = start().await?;
    let sink = with_open(&server);
    sql.execute(&SCRIPT.replace("PRIMARY KEY (session_id)", "PRIMARY KEY (session_id, job_id)")).await?;
    let error = connectors().check_sink(&sink).await.unwrap_err();
    assert_eq!(error.kind, ConnectorErrorKind::Mismatch);
    assert!(error.message.contains("column `session_id` has no unique index"), "{error}");
    sql.execute("DROP TABLE open_sessions; CREATE TABLE open_sessions (session_id bigint PRIMARY KEY, job_id int)")
        .await?;
    let error = connectors().check_sink(&sink).await.unwrap_err();
    assert!(error.message.contains("`job_id` is `integer`") && error.message.contains("`num_hits`"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_needs_the_grants_of_the_script_and_each_that_is_missing_is_named() -> Result<()> {
    let (server, mut sql) = start().await?;
    sql.execute(LEDGER).await?;
    sql.execute(SCRIPT).await?;
    sql.execute(
        "CREATE TABLE sessions (event_hour timestamp(3), ip varchar, host varchar, num_hits bigint); \
         CREATE ROLE writer LOGIN PASSWORD 'writer'; REVOKE ALL ON SCHEMA public FROM PUBLIC; \
         REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC; GRANT USAGE ON SCHEMA public TO writer; \
         GRANT INSERT ON sessions TO writer; GRANT SELECT, UPDATE ON gapwise_ledger TO writer; \
         GRANT EXECUTE ON FUNCTION gapwise_fence, gapwise_publish TO writer",
    )
    .await?;
    let sink = as_user(with_open(&server), "writer", "writer");
    let grants = ["SELECT, INSERT, UPDATE, DELETE ON public.open_sessions", "TEMPORARY ON DATABASE postgres"];
    for grant in grants {
        sql.execute(&format!("GRANT {grant} TO writer")).await?;
    }
    connectors().check_sink(&sink).await?;
    let attempt = Attempt::begin(&sink, 1).await?;
    let changes = changes_of(JOB, &[Anew, Put(1, 1), Drop(2)]);
    let one = epoch(&attempt, 1, ROOT, 0, &changes);
    attempt.publish(one.clone(), Chunks::of([changes.clone()])).await?;
    let two = epoch(&attempt, 2, one.epoch, 0, &changes);
    for (right, told) in [
        ("SELECT ON open_sessions", "GRANT SELECT, UPDATE, DELETE ON \"public\".\"open_sessions\" TO \"writer\""),
        ("UPDATE ON open_sessions", "GRANT SELECT, UPDATE, DELETE ON \"public\".\"open_sessions\" TO \"writer\""),
        ("DELETE ON open_sessions", "GRANT SELECT, UPDATE, DELETE ON \"public\".\"open_sessions\" TO \"writer\""),
        ("INSERT ON open_sessions", "GRANT INSERT ON \"public\".\"open_sessions\" TO \"writer\""),
        ("TEMPORARY ON DATABASE postgres", "GRANT TEMPORARY ON DATABASE \"postgres\" TO \"writer\""),
    ] {
        sql.execute(&format!("REVOKE {right} FROM writer")).await?;
        let error = connectors().check_sink(&sink).await.unwrap_err();
        assert!(error.kind == ConnectorErrorKind::Denied && error.message.contains(told), "{right}: {error}");
        let published = attempt.reopened()?.publish(two.clone(), Chunks::of([changes.clone()])).await.unwrap_err();
        assert!(matches!(&published, PublishError::Final(error) if error.message.contains(told)), "{published}");
        sql.execute(&format!("GRANT {right} TO writer")).await?;
    }
    attempt.reopened()?.publish(two, Chunks::of([changes])).await?;
    // The script makes the table that Gapwise itself makes.
    let columns = "SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull), ', ' ORDER BY attnum) \
                   FROM pg_attribute WHERE attrelid = 'open_sessions'::regclass AND attnum > 0";
    let of_script = text(&mut sql, columns).await?;
    sql.execute("DROP TABLE open_sessions").await?;
    connectors().check_sink(&with_open(&server)).await?;
    assert_eq!(text(&mut sql, columns).await?, of_script);
    Ok(())
}
