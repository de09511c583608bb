//! The Postgres sink against a real server: what is in the table and in the ledger after what was published, refused, cut
//! off or fenced.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use connectors::postgres;
use e2e::sink::{Attempt, Chunks, JOB, as_user, client, connectors, counts, numbers, sink, start, text};
use stream_core::checkpoint::{Accounts, Cut, SealedEpoch, SplitSnapshot};
use stream_core::ids::{CheckpointId, Nonce, SplitId, Token};
use stream_core::pipeline::{SinkSpec, Split};
use stream_core::row::RowBatch;
use stream_core::time::EventTime;
use stream_core::watermark::Watermark;
use stream_runtime::connector::{Anchor, Claim, ConnectorErrorKind, Connectors, PublishError, Published};

const ROOT: CheckpointId = CheckpointId::ROOT;

#[tokio::test(flavor = "multi_thread")]
async fn rows_arrive_as_they_are_together_with_the_ledger() -> Result<()> {
    let (server, mut sql) = start().await?;
    let sink = sink(&server, "public.sessions");
    connectors().check_sink(&sink).await?;
    let mut rows = RowBatch::default();
    rows.row(4)
        .timestamp(EventTime(1_736_874_072_232))
        .text(Some("1.2.3.4"))
        .text(Some("a\tb\\\n\"ä"))
        .bigint(i64::MAX);
    rows.row(4).timestamp(EventTime(-1)).text(None).text(Some("")).bigint(-1);
    rows.row(4).timestamp(EventTime(0)).text(Some("nul\0nul")).text(Some("\u{1f600}")).bigint(0);
    let attempt = Attempt::begin(&sink, 1).await?;
    let accounts = Accounts { read: 10, bad: 1, late: 2, in_sessions: 4, open: 3 };
    let epoch = SealedEpoch { accounts, ..attempt.epoch(1, ROOT, 3) };
    assert_eq!(attempt.publish(epoch, Chunks::of([rows])).await?, Published::Now);
    let found = sql.query_text("SELECT *, ip IS NULL FROM sessions ORDER BY event_hour").await?.rows;
    let found: Vec<Vec<&str>> =
        found.iter().map(|row| row.iter().map(|field| field.as_deref().unwrap_or("NULL")).collect()).collect();
    assert_eq!(
        found,
        [
            vec!["1969-12-31 23:59:59.999", "NULL", "", "-1", "t"],
            vec!["1970-01-01 00:00:00", "nul\u{fffd}nul", "\u{1f600}", "0", "f"],
            vec!["2025-01-14 17:01:12.232", "1.2.3.4", "a\tb\\\n\"ä", "9223372036854775807", "f"],
        ]
    );
    let ledger = "SELECT concat_ws(' ', job_id, target, lane, token, last_epoch - (1::int8 << 32), prev_epoch, rows_total, \
                  events_read, events_in_sessions, late, bad, open_events, published_at IS NOT NULL) FROM gapwise_ledger";
    let expected = format!("{JOB} \"public\".\"sessions\" 0 1 1 0 3 10 4 2 1 3 t");
    assert_eq!(text(&mut sql, ledger).await?, expected);
    attempt.finish().await
}

/// As it was made before there was a cut.
const OLD_LEDGER: &str = "
    DROP FUNCTION gapwise_publish;
    ALTER TABLE gapwise_ledger DROP COLUMN cut;
    CREATE FUNCTION gapwise_publish(text, text, integer, bigint, text, bigint, bigint, bigint, bigint, bigint, bigint,
        bigint, bigint) RETURNS void LANGUAGE sql AS 'SELECT'";

#[tokio::test(flavor = "multi_thread")]
async fn the_cut_moves_with_the_rows_and_an_older_ledger_gains_its_column() -> Result<()> {
    let (server, mut sql) = start().await?;
    let sink = sink(&server, "sessions");
    connectors().check_sink(&sink).await?;
    Attempt::begin(&sink, 1).await?;
    sql.execute(OLD_LEDGER).await?;
    let attempt = Attempt::begin(&sink, 2).await?;
    assert_eq!(attempt.anchor.token, Token(2), "what the ledger knew, it knows");
    let functions = "SELECT count(*) FROM pg_proc WHERE proname = 'gapwise_publish'";
    assert_eq!(text(&mut sql, functions).await?, "1", "the old one would leave the cut behind");
    let mut audit = postgres::Audit::begin(&sink).await?;
    assert_eq!(audit.look("num_hits", "host").await?.entries[0].cut, None);
    audit.close().await;

    let split = Split { id: SplitId(r"it's\0/1".to_owned()), start: 7, end: None };
    let cut = Some(Cut { watermark: Watermark::END, splits: vec![SplitSnapshot::unread(split)] });
    let one = SealedEpoch { cut: cut.clone(), ..attempt.epoch(1, ROOT, 20_000) };
    attempt.publish(one.clone(), numbers(0..20_000)).await?;
    let mut audit = postgres::Audit::begin(&sink).await?;
    let look = audit.look("num_hits", "host").await?;
    assert_eq!((look.rows, look.sum, look.nulls), (20_000, (0..20_000).sum(), 0));
    let entry = &look.entries[0];
    assert_eq!((look.entries.len(), entry.last_epoch, entry.rows_total, &entry.cut), (1, one.epoch, 20_000, &cut));
    // What is published meanwhile is not of the state that the audit sees.
    let two = SealedEpoch { cut: None, ..attempt.epoch(2, one.epoch, 10) };
    attempt.publish(two, numbers(0..10)).await?;
    let (mut rows, mut pieces) = (0, 0);
    let count = |batch: &RowBatch| (rows, pieces) = (rows + batch.rows(), pieces + 1);
    audit.rows(count).await?;
    assert_eq!(rows, 20_000);
    assert!(pieces > 1, "all rows in memory at once");
    audit.close().await;
    let mut audit = postgres::Audit::begin(&sink).await?;
    assert_eq!(audit.look("num_hits", "host").await?.entries[0].cut, None, "an epoch without a cut leaves none behind");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_published_once_however_often_it_is_sent() -> Result<()> {
    let (server, mut sql) = start().await?;
    let sink = sink(&server, "sessions");
    connectors().check_sink(&sink).await?;
    let attempt = Attempt::begin(&sink, 1).await?;
    let one = attempt.epoch(1, ROOT, 1000);
    assert_eq!(attempt.publish(one.clone(), numbers(0..1000)).await?, Published::Now);
    assert_eq!(attempt.publish(one.clone(), numbers(0..1000)).await?, Published::Already);
    // As the committer of the same attempt does that has lost its connection.
    let same = attempt.reopened()?;
    assert_eq!(same.publish(one.clone(), numbers(0..1000)).await?, Published::Already);
    let empty = attempt.epoch(2, one.epoch, 0);
    assert_eq!(same.publish(empty.clone(), Chunks::default()).await?, Published::Now);
    assert_eq!(same.publish(attempt.epoch(3, empty.epoch, 1), numbers(1000..1001)).await?, Published::Now);
    assert_eq!(counts(&mut sql).await?, "1001 1001");
    let moved = "SELECT concat_ws(' ', last_epoch - prev_epoch, rows_total) FROM gapwise_ledger";
    assert_eq!(text(&mut sql, moved).await?, "1 1001", "an epoch without rows moves the ledger too");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_amidst_its_rows_is_fenced_and_they_never_show() -> Result<()> {
    let (server, mut sql) = start().await?;
    let sink = sink(&server, "sessions");
    connectors().check_sink(&sink).await?;
    let zombie = Attempt::begin(&sink, 1).await?;
    let one = zombie.epoch(1, ROOT, 10);
    zombie.publish(one.clone(), numbers(0..10)).await?;
    let two = zombie.epoch(2, one.epoch, 40_000);
    let next = Arc::new(Mutex::new(None));
    let chunks = {
        let (sink, next) = (sink.clone(), Arc::clone(&next));
        numbers(10..40_010).before_last(async move {
            *next.lock().unwrap() = Some(Attempt::begin(&sink, 2).await.unwrap());
        })
    };
    let error = zombie.publish(two.clone(), chunks).await.unwrap_err();
    assert!(matches!(error, PublishError::Passing(_) | PublishError::Fenced { .. }), "{error}");
    let next: Attempt = next.lock().unwrap().take().unwrap();
    assert_eq!((next.anchor.last_epoch, next.anchor.token), (one.epoch, Token(2)));
    let error = zombie.publish(two.clone(), numbers(10..40_010)).await.unwrap_err();
    assert!(matches!(error, PublishError::Fenced { token: Token(2) }), "{error}");
    assert_eq!(counts(&mut sql).await?, "10 10");
    let asleep = next.epoch(1, two.epoch, 1);
    // What the zombie had sealed is published by its successor.
    next.publish(two, numbers(10..40_010)).await?;
    assert_eq!(counts(&mut sql).await?, "40010 40010");
    // One whose session nobody ended learns it from the function that moves the ledger, all its rows being sent.
    sql.execute("UPDATE gapwise_ledger SET token = 3").await?;
    let error = next.publish(asleep.clone(), numbers(0..1)).await.unwrap_err();
    assert!(matches!(error, PublishError::Fenced { token: Token(3) }), "{error}");
    sql.execute("UPDATE gapwise_ledger SET token = 2, nonce = 'f'").await?;
    let error = next.publish(asleep, numbers(0..1)).await.unwrap_err();
    assert!(matches!(error, PublishError::Fenced { token: Token(2) }), "{error}");
    assert_eq!(counts(&mut sql).await?, "40010 40010");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_holds_the_ledger_is_ended_by_the_next_attempt() -> Result<()> {
    let (server, mut sql) = start().await?;
    let sink = sink(&server, "sessions");
    connectors().check_sink(&sink).await?;
    Attempt::begin(&sink, 1).await?;
    // A process that was stopped between its last message and the commit.
    let mut stopped = client(&server).await?;
    let hold = format!("SET application_name = 'gapwise/{JOB}/1'; BEGIN; UPDATE gapwise_ledger SET last_epoch = 99");
    stopped.execute(&hold).await?;
    let next = Attempt::begin(&sink, 2).await?;
    assert_eq!(next.anchor, Anchor { token: Token(2), last_epoch: ROOT });
    assert!(stopped.execute("COMMIT").await.is_err(), "its session is gone");
    assert_eq!(text(&mut sql, "SELECT last_epoch FROM gapwise_ledger").await?, "0");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_and_a_restart_of_the_server_are_found_out_by_the_ledger() -> Result<()> {
    let (mut server, mut sql) = start().await?;
    let sink = sink(&server, "sessions");
    connectors().check_sink(&sink).await?;
    let attempt = Attempt::begin(&sink, 1).await?;
    let one = attempt.epoch(1, ROOT, 40_000);
    let mut killer = client(&server).await?;
    let chunks = numbers(0..40_000).before_last(async move {
        let ended = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'gapwise/{JOB}/1'"
        );
        assert_eq!(text(&mut killer, &ended).await.unwrap(), "1");
    });
    let error = attempt.publish(one.clone(), chunks).await.unwrap_err();
    assert!(matches!(error, PublishError::Passing(_)), "{error}");
    assert_eq!(counts(&mut sql).await?, "0 0");
    assert_eq!(attempt.publish(one.clone(), numbers(0..40_000)).await?, Published::Now);
    tokio::task::block_in_place(|| {
        server.postgres.stop_immediately();
        server.postgres.restart()
    })?;
    let two = attempt.epoch(2, one.epoch, 1000);
    let error = attempt.publish(two.clone(), numbers(40_000..41_000)).await.unwrap_err();
    assert!(matches!(error, PublishError::Passing(_)), "{error}");
    assert_eq!(attempt.publish(two, numbers(40_000..41_000)).await?, Published::Now);
    assert_eq!(counts(&mut client(&server).await?).await?, "41000 41000", "none lost and none twice");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_elsewhere_is_told_apart() -> Result<()> {
    let (server, mut sql) = start().await?;
    let sink = sink(&server, "sessions");
    connectors().check_sink(&sink).await?;
    let attempt = Attempt::begin(&sink, 1).await?;
    let one = attempt.epoch(1, ROOT, 1);
    attempt.publish(one.clone(), numbers(0..1)).await?;
    let foreign = attempt.publish(attempt.epoch(5, ROOT, 1), numbers(1..2)).await.unwrap_err();
    assert!(matches!(foreign, PublishError::Final(_)) && foreign.to_string().contains("sessions"), "{foreign}");
    let two = attempt.epoch(2, one.epoch, 1);
    // A session that has every reason to believe it is its turn: the function finds out, all the rows being sent.
    assert_eq!(attempt.publish(one.clone(), Chunks::default()).await?, Published::Already);
    sql.execute("UPDATE gapwise_ledger SET last_epoch = 0; DELETE FROM sessions").await?;
    let error = attempt.publish(two.clone(), numbers(1..2)).await.unwrap_err();
    let expected = one.epoch;
    assert!(
        matches!(error, PublishError::WentBack { last_epoch: ROOT, expected: found } if found == expected),
        "{error}"
    );
    sql.execute("DELETE FROM gapwise_ledger").await?;
    let error = attempt.publish(two, numbers(1..2)).await.unwrap_err();
    assert!(matches!(error, PublishError::WentBack { last_epoch: ROOT, .. }), "{error}");
    assert_eq!(counts(&mut sql).await?, "0 0");
    // A server that forgot everything must not hand out a token that stored checkpoints carry.
    let anchor =
        connectors().fence_sink(&sink, Claim { job_id: JOB, highest_token: Token(7), nonce: Nonce(9) }).await?;
    assert_eq!(anchor, Anchor { token: Token(8), last_epoch: ROOT });
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_may_differ_where_rows_still_fit() -> Result<()> {
    let (server, mut sql) = start().await?;
    sql.execute(
        "CREATE SCHEMA \"Web\"; \
         CREATE TABLE \"Web\".\"My Sessions\" (id bigserial PRIMARY KEY, num_hits bigint NOT NULL, host text, \
         event_hour timestamp(3), loaded timestamptz DEFAULT now(), ip varchar)",
    )
    .await?;
    let sink = sink(&server, "\"Web\".\"My Sessions\"");
    connectors().check_sink(&sink).await?;
    let attempt = Attempt::begin(&sink, 1).await?;
    attempt.publish(attempt.epoch(1, ROOT, 1), numbers(7..8)).await?;
    assert_eq!(text(&mut sql, "SELECT count(*) FROM \"Web\".gapwise_ledger").await?, "1", "beside the table");
    assert_eq!(text(&mut sql, "SELECT id || host || num_hits FROM \"Web\".\"My Sessions\"").await?, "1host7");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rows_cannot_go_into_is_refused_with_the_difference() -> Result<()> {
    let (server, mut sql) = start().await?;
    sql.execute(
        "CREATE TABLE narrow (event_hour date, ip varchar, num_hits bigint); \
         CREATE TABLE demanding (event_hour timestamp, ip varchar, host varchar, num_hits bigint, site int NOT NULL); \
         CREATE VIEW seen AS SELECT 1; \
         CREATE ROLE reader LOGIN PASSWORD 'reader'; \
         CREATE TABLE guarded (event_hour timestamp, ip varchar, host varchar, num_hits bigint)",
    )
    .await?;
    let refused = async |sink: SinkSpec| connectors().check_sink(&sink).await.expect_err("it does not fit");
    let error = refused(sink(&server, "narrow")).await;
    assert_eq!(error.kind, ConnectorErrorKind::Mismatch);
    assert!(error.message.contains("host") && error.message.contains("date"), "{error}");
    let error = refused(sink(&server, "demanding")).await;
    assert!(error.kind == ConnectorErrorKind::Mismatch && error.message.contains("site"), "{error}");
    let error = refused(sink(&server, "seen")).await;
    assert!(error.message.contains("view"), "{error}");
    let error = refused(sink(&server, "nowhere.sessions")).await;
    assert!(error.message.contains("nowhere"), "{error}");
    let error = refused(as_user(sink(&server, "guarded"), "reader", "reader")).await;
    assert!(error.kind == ConnectorErrorKind::Denied && error.message.contains("reader"), "{error}");
    let error = refused(as_user(sink(&server, "guarded"), "reader", "hunter2")).await;
    assert!(error.kind == ConnectorErrorKind::Denied && !format!("{error:?}").contains("hunter2"), "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_may_create_the_table_at_once() -> Result<()> {
    let (server, _sql) = start().await?;
    let mut checks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let sink = sink(&server, "sessions");
        checks.spawn(async move { connectors().check_sink(&sink).await });
    }
    for checked in checks.join_all().await {
        checked?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_table_no_longer_takes_are_an_error_and_leave_nothing() -> Result<()> {
    let (server, mut sql) = start().await?;
    let sink = sink(&server, "sessions");
    connectors().check_sink(&sink).await?;
    sql.execute("ALTER TABLE sessions ADD CHECK (num_hits < 10)").await?;
    let attempt = Attempt::begin(&sink, 1).await?;
    let one = attempt.epoch(1, ROOT, 11);
    let PublishError::Final(error) = attempt.publish(one.clone(), numbers(0..11)).await.unwrap_err() else {
        panic!("trying again does not help")
    };
    assert!(error.message.contains("sessions"), "{error}");
    assert!(error.cause.is_some_and(|cause| cause.to_string().contains("check constraint")));
    let fewer = attempt.publish(one.clone(), numbers(0..9)).await.unwrap_err();
    assert!(matches!(fewer, PublishError::Rows(_)), "{fewer}");
    assert_eq!(counts(&mut sql).await?, "0 0");
    sql.execute("DROP TABLE sessions").await?;
    let error = attempt.publish(one, numbers(0..11)).await.unwrap_err();
    assert!(matches!(error, PublishError::Final(_)) && error.to_string().contains("is gone"), "{error}");
    Ok(())
}
