//! The Postgres sink against a real server: what is in the table after what was written, refused or cut off.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use anyhow::Result;
use connectors::RealConnectors;
use connectors::postgres::Client;
use e2e::cluster::readable_dir;
use localcluster::postgres::Postgres;
use stream_core::pipeline::SinkSpec;
use stream_core::row::{Column, ColumnType, RowBatch};
use stream_core::secret::Secret;
use stream_core::time::EventTime;
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind, Connectors, SinkWriter};
use tempfile::TempDir;
use tokio::runtime::Handle;

#[tokio::test(flavor = "multi_thread")]
async fn rows_arrive_as_they_are_and_only_when_flushed() -> Result<()> {
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
    let mut writer = connectors().open_sink(&sink)?;
    writer = with(writer, move |writer| writer.write(&rows)).await?;
    assert_eq!((text(&mut sql, "SELECT count(*) FROM sessions").await?, writer.rows_written()), ("0".to_owned(), 0));
    writer = with(writer, |writer| writer.flush()).await?;
    assert_eq!(writer.rows_written(), 3);
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
    tokio::task::spawn_blocking(move || writer.finish()).await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_survives_a_lost_connection_and_a_restart_of_the_server() -> Result<()> {
    let (mut server, mut sql) = start().await?;
    let sink = sink(&server, "sessions");
    connectors().check_sink(&sink).await?;
    let mut writer = with(connectors().open_sink(&sink)?, |writer| write_and_flush(writer, 0..1000)).await?;
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'gapwise/sink'";
    assert_eq!(text(&mut sql, ended).await?, "1");
    writer = with(writer, |writer| write_and_flush(writer, 1000..2000)).await?;
    tokio::task::block_in_place(|| {
        server.postgres.kill();
        server.postgres.restart()
    })?;
    writer = with(writer, |writer| write_and_flush(writer, 2000..3000)).await?;
    assert_eq!(writer.rows_written(), 3000);
    let mut sql = client(&server).await?;
    let counts = text(&mut sql, "SELECT count(*) || ' ' || count(DISTINCT num_hits) FROM sessions").await?;
    assert_eq!(counts, "3000 3000", "none lost and none twice");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_beyond_the_buffer_are_copied_unasked() -> Result<()> {
    let (server, mut sql) = start().await?;
    let sink = sink(&server, "sessions");
    connectors().check_sink(&sink).await?;
    let long = "x".repeat(1000);
    let mut rows = RowBatch::default();
    for number in 0..10_000 {
        rows.row(4).timestamp(EventTime(number)).text(Some(&long)).text(None).bigint(number);
    }
    let writer = with(connectors().open_sink(&sink)?, move |writer| writer.write(&rows)).await?;
    assert_eq!(writer.rows_written(), 10_000);
    assert_eq!(text(&mut sql, "SELECT count(*) FROM sessions").await?, "10000");
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
    with(connectors().open_sink(&sink)?, |writer| write_and_flush(writer, 7..8)).await?;
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
    let writer = connectors().open_sink(&sink)?;
    let Err(error) = with(writer, |writer| write_and_flush(writer, 0..11)).await else { panic!("a row is too large") };
    assert!(error.message.contains("sessions"), "{error}");
    assert!(error.cause.is_some_and(|cause| cause.to_string().contains("check constraint")));
    assert_eq!(text(&mut sql, "SELECT count(*) FROM sessions").await?, "0");
    Ok(())
}

/// A server of its own; it is stopped before its folder goes.
struct Server {
    postgres: Postgres,
    _dir: TempDir,
}

async fn start() -> Result<(Server, Client)> {
    let dir = readable_dir()?;
    let server = Server { postgres: Postgres::start(dir.path())?, _dir: dir };
    let client = client(&server).await?;
    Ok((server, client))
}

async fn client(server: &Server) -> Result<Client> {
    Ok(Client::connect(&server.postgres.url().parse()?).await?)
}

fn connectors() -> RealConnectors {
    RealConnectors::new(Handle::current())
}

fn sink(server: &Server, table: &str) -> SinkSpec {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type };
    let sink = SinkSpec {
        uri: format!("postgres://127.0.0.1:{}/postgres", server.postgres.port()),
        table: table.to_owned(),
        columns: vec![
            column("event_hour", ColumnType::Timestamp),
            column("ip", ColumnType::Text),
            column("host", ColumnType::Text),
            column("num_hits", ColumnType::BigInt),
        ],
        properties: BTreeMap::new(),
        secrets: BTreeMap::new(),
    };
    as_user(sink, "postgres", "postgres")
}

fn as_user(mut sink: SinkSpec, user: &str, password: &str) -> SinkSpec {
    sink.properties.insert("user".to_owned(), user.to_owned());
    sink.secrets.insert("password".to_owned(), Secret::new(password));
    sink
}

/// Works with a writer where the processes do: on a thread that may block.
async fn with(
    mut writer: Box<dyn SinkWriter>,
    work: impl FnOnce(&mut dyn SinkWriter) -> Result<(), ConnectorError> + Send + 'static,
) -> Result<Box<dyn SinkWriter>, ConnectorError> {
    tokio::task::spawn_blocking(move || work(writer.as_mut()).map(|()| writer)).await.unwrap()
}

/// A row for each number, in `num_hits`.
fn write_and_flush(writer: &mut dyn SinkWriter, numbers: std::ops::Range<i64>) -> Result<(), ConnectorError> {
    let mut rows = RowBatch::default();
    for number in numbers {
        rows.row(4).timestamp(EventTime(number)).text(Some("ip")).text(Some("host")).bigint(number);
    }
    writer.write(&rows)?;
    writer.flush()
}

/// The one field of a query.
async fn text(sql: &mut Client, query: &str) -> Result<String> {
    Ok(sql.query_text(query).await?.rows[0][0].clone().unwrap())
}
