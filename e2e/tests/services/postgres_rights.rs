//! What the Postgres sink does with the rights, limits and names that it finds, against a real server.

use std::time::Duration;

use anyhow::Result;
use connectors::postgres::Client;
use e2e::sink::{Attempt, JOB, Server, as_user, client, connectors, numbers, sink, start, text};
use stream_core::ids::{CheckpointId, Nonce, Token};
use stream_core::pipeline::SinkSpec;
use stream_runtime::connector::{
    Anchor, Claim, ConnectorError, ConnectorErrorKind, Connectors, PublishError, Published,
};

const ROOT: CheckpointId = CheckpointId::ROOT;

const SCRIPT: &str = include_str!("../../../sql/ledger/gapwise_ledger.sql");

/// All that the script says that a role needs.
const GRANTS: [&str; 6] = [
    "USAGE ON SCHEMA \"web\"",
    "INSERT ON \"web\".\"sessions\"",
    "SELECT ON \"web\".gapwise_ledger",
    "UPDATE ON \"web\".gapwise_ledger",
    "EXECUTE ON FUNCTION \"web\".gapwise_fence",
    "EXECUTE ON FUNCTION \"web\".gapwise_publish",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_role_needs_the_grants_of_the_script_and_nothing_more() -> Result<()> {
    let (server, mut sql) = with_writer().await?;
    let sink = as_user(sink(&server, "web.sessions"), "writer", "writer");
    sql.execute(&SCRIPT.replace("public.", "web.")).await?;
    grant_all(&mut sql).await?;
    let mut writer =
        Client::connect(&format!("postgres://writer:writer@127.0.0.1:{}/postgres", server.postgres.port()).parse()?)
            .await?;
    for forbidden in [
        "SELECT FROM web.sessions",
        "DELETE FROM web.sessions",
        "INSERT INTO web.gapwise_ledger (job_id, target, lane, token, nonce) VALUES ('a', 'b', 0, 1, 'c')",
        "DELETE FROM web.gapwise_ledger",
        "CREATE TABLE web.more ()",
    ] {
        let error = writer.execute(forbidden).await.unwrap_err();
        assert!(format!("{:?}", error).contains("permission denied"), "{forbidden}: {error:?}");
    }
    connectors().check_sink(&sink).await?;
    let first = Attempt::begin(&sink, 1).await?;
    assert_eq!(first.anchor, Anchor { token: Token(1), last_epoch: ROOT });
    let one = first.epoch(1, ROOT, 5);
    assert_eq!(first.publish(one.clone(), numbers(0..5)).await?, Published::Now);
    // The second attempt finds one that was stopped amidst its publication, and ends its session: both are the role's.
    writer
        .execute(&format!(
            "SET application_name = 'gapwise/{JOB}/1'; BEGIN; UPDATE web.gapwise_ledger SET rows_total = 99"
        ))
        .await?;
    let second = Attempt::begin(&sink, 2).await?;
    assert_eq!(second.anchor, Anchor { token: Token(2), last_epoch: one.epoch });
    assert!(writer.execute("COMMIT").await.is_err(), "its session is gone");
    let two = second.epoch(1, one.epoch, 5);
    let error = first.publish(two.clone(), numbers(5..10)).await.unwrap_err();
    assert!(matches!(error, PublishError::Fenced { token: Token(2) } | PublishError::Passing(_)), "{error}");
    assert_eq!(second.publish(two.clone(), numbers(5..10)).await?, Published::Now);
    // A committer that comes back knows from the ledger what was published.
    assert_eq!(second.reopened()?.publish(two, numbers(5..10)).await?, Published::Already);
    assert_eq!(text(&mut sql, "SELECT count(*) || ' ' || count(DISTINCT num_hits) FROM web.sessions").await?, "10 10");
    assert_eq!(text(&mut sql, "SELECT rows_total FROM web.gapwise_ledger").await?, "10");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named_by_the_statement_that_grants_it() -> Result<()> {
    let (server, mut sql) = with_writer().await?;
    let sink = as_user(sink(&server, "web.sessions"), "writer", "writer");
    let error = connectors().check_sink(&sink).await.unwrap_err();
    assert!(error.message.contains("sql/ledger/gapwise_ledger.sql"), "{error}");
    assert!(GRANTS.iter().all(|grant| error.message.contains(grant)), "{error}");
    sql.execute(&SCRIPT.replace("public.", "web.")).await?;
    sql.execute("REVOKE ALL ON FUNCTION web.gapwise_publish FROM PUBLIC").await?;
    let error = connectors().check_sink(&sink).await.unwrap_err();
    sql.execute(granted_by(&error)).await?;
    connectors().check_sink(&sink).await?;
    let attempt = Attempt::begin(&sink, 1).await?;
    for grant in GRANTS {
        sql.execute(&format!("REVOKE {grant} FROM writer")).await?;
        let error = connectors().check_sink(&sink).await.unwrap_err();
        assert_eq!(error.kind, ConnectorErrorKind::Denied, "{error}");
        let claim = Claim { job_id: JOB, highest_token: Token(0), nonce: Nonce(2) };
        let fenced = connectors().fence_sink(&sink, claim).await.unwrap_err();
        assert_eq!(fenced.message, error.message);
        // What a committer does that is in the middle of its job; it has no use for the fence.
        let published = attempt.reopened()?.publish(attempt.epoch(1, ROOT, 1), numbers(0..1)).await;
        match published {
            Err(PublishError::Final(told)) => assert_eq!(told.message, error.message),
            told => assert!(grant.contains("gapwise_fence"), "{grant}: {told:?}"),
        }
        let granted = granted_by(&error);
        assert!(granted.starts_with(&format!("GRANT {grant}")) && granted.matches("GRANT").count() == 1, "{error}");
        sql.execute(granted).await?;
        // For the next round nothing is to be published.
        sql.execute("UPDATE web.gapwise_ledger SET last_epoch = 0").await?;
        connectors().check_sink(&sink).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_an_older_version_is_upgraded_and_keeps_its_rows() -> Result<()> {
    let (server, mut sql) = with_writer().await?;
    sql.execute(&SCRIPT.replace("public.", "web.")).await?;
    sql.execute(&format!(
        "DROP FUNCTION web.gapwise_fence; INSERT INTO web.gapwise_ledger (job_id, target, lane, token, nonce, last_epoch) \
         VALUES ('{JOB}', '\"web\".\"sessions\"', 0, 7, 'old', 30064771073)"
    ))
    .await?;
    let restricted = as_user(sink(&server, "web.sessions"), "writer", "writer");
    let error = connectors().check_sink(&restricted).await.unwrap_err();
    assert!(error.message.contains("upgrade \"web\".gapwise_ledger"), "{error}");
    let attempt = Attempt::begin(&sink(&server, "web.sessions"), 1).await?;
    assert_eq!(attempt.anchor, Anchor { token: Token(8), last_epoch: CheckpointId::new(Token(7), 1) });
    sql.execute(&SCRIPT.replace("public.", "web.")).await?;
    assert_eq!(text(&mut sql, "SELECT token || ' ' || last_epoch FROM web.gapwise_ledger").await?, "8 30064771073");
    grant_all(&mut sql).await?;
    assert_eq!(Attempt::begin(&restricted, 2).await?.anchor.token, Token(9));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_limit_for_statements_cuts_no_epoch_off() -> Result<()> {
    let (server, mut sql) = with_writer().await?;
    sql.execute(&SCRIPT.replace("public.", "web.")).await?;
    grant_all(&mut sql).await?;
    sql.execute("ALTER ROLE writer SET statement_timeout = '100ms'").await?;
    let sink = as_user(sink(&server, "web.sessions"), "writer", "writer");
    let attempt = Attempt::begin(&sink, 1).await?;
    let mut holder = client(&server).await?;
    let chunks = numbers(0..40_000).before_last(async move {
        // Far beyond the limit, in the middle of the rows.
        holder.execute("SELECT pg_sleep(0.5)").await.unwrap();
    });
    assert_eq!(attempt.publish(attempt.epoch(1, ROOT, 40_000), chunks).await?, Published::Now);
    let mut holder = client(&server).await?;
    holder.execute("BEGIN; UPDATE web.gapwise_ledger SET rows_total = rows_total").await?;
    let release = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        holder.execute("COMMIT").await
    };
    let second = async { Attempt::begin(&sink, 2).await };
    let (released, second) = tokio::join!(release, second);
    released?;
    assert_eq!(second?.anchor.token, Token(2), "taking over may wait longer, too");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_fits_no_epoch_is_refused_and_not_stored() -> Result<()> {
    let (server, mut sql) = start().await?;
    let sink = sink(&server, "sessions");
    connectors().check_sink(&sink).await?;
    let claim = |highest| Claim { job_id: JOB, highest_token: Token(highest), nonce: Nonce(1) };
    let last = (1 << 31) - 1;
    let error = connectors().fence_sink(&sink, claim(last)).await.unwrap_err();
    assert!(error.message.contains("no higher one"), "{error}");
    assert_eq!(text(&mut sql, "SELECT count(*) FROM gapwise_ledger").await?, "0");
    assert_eq!(connectors().fence_sink(&sink, claim(last - 1)).await?.token, Token(last));
    for stored in [i64::from(last), i64::MAX] {
        sql.execute(&format!("UPDATE gapwise_ledger SET token = {stored}, nonce = 'before'")).await?;
        let error = connectors().fence_sink(&sink, claim(0)).await.unwrap_err();
        assert!(error.message.contains("no higher one"), "{error}");
        let kept = text(&mut sql, "SELECT token || nonce FROM gapwise_ledger").await?;
        assert_eq!(kept, format!("{stored}before"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_may_have_any_character() -> Result<()> {
    let (server, mut sql) = start().await?;
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    for (schema, table) in [
        ("Odd \"public.\" $gapwise$ schema", "a \"public.\" $gapwise$ table's"),
        ("line\n; break", "gapwise_ledger.x\\"),
    ] {
        let (schema, table) = (quoted(schema), quoted(table));
        sql.execute(&format!("CREATE SCHEMA {schema}")).await?;
        let sink: SinkSpec = sink(&server, &format!("{schema}.{table}"));
        connectors().check_sink(&sink).await?;
        Attempt::begin(&sink, 1).await?;
        let attempt = Attempt::begin(&sink, 2).await?;
        assert_eq!(attempt.publish(attempt.epoch(1, ROOT, 3), numbers(0..3)).await?, Published::Now);
        assert_eq!(text(&mut sql, &format!("SELECT count(*) FROM {schema}.{table}")).await?, "3");
        let ledger = format!("SELECT target || token || ' ' || rows_total FROM {schema}.gapwise_ledger");
        assert_eq!(text(&mut sql, &ledger).await?, format!("{schema}.{table}2 3"));
    }
    let elsewhere = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
                     WHERE relname = 'gapwise_ledger' AND nspname = 'public'";
    assert_eq!(text(&mut sql, elsewhere).await?, "0");
    Ok(())
}

/// A server with the table `web.sessions`, and a role that may do nothing with it.
async fn with_writer() -> Result<(Server, Client)> {
    let (server, mut sql) = start().await?;
    sql.execute(
        "CREATE SCHEMA web; CREATE ROLE writer LOGIN PASSWORD 'writer'; \
         CREATE TABLE web.sessions (event_hour timestamp(3), ip varchar, host varchar, num_hits bigint)",
    )
    .await?;
    Ok((server, sql))
}

async fn grant_all(sql: &mut Client) -> Result<()> {
    for grant in GRANTS {
        sql.execute(&format!("GRANT {grant} TO writer")).await?;
    }
    Ok(())
}

/// The statements that an error tells to run.
fn granted_by(error: &ConnectorError) -> &str {
    &error.message[error.message.find("GRANT").unwrap()..]
}
