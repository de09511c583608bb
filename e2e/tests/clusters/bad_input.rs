//! What a user does wrong, as they meet it: one clear line, a non-zero exit code, no secret, and a cluster that still works.

use anyhow::{Context, Result, ensure};
use e2e::cluster::Cluster;
use serde_json::Value;

/// A port on which nothing listens: it is reserved (RFC 6335) and below those that systems give out.
const NOBODY: &str = "127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_is_told_in_one_line_and_the_cluster_goes_on() -> Result<()> {
    let cluster = Cluster::start(1, 2)?;
    let good = cluster.dir().join("good.jsonl");
    std::fs::write(
        &good,
        event("1.2.3.4", "2025-01-14T17:01:12.232Z") + &event("1.2.3.4", "2025-01-14T17:02:12.232Z"),
    )?;
    cluster.load("good", 2, &good)?;
    let mut sql = cluster.sql().await?;
    sql.execute("CREATE TABLE other (event_hour text, ip varchar, num_hits bigint)").await?;
    sql.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'").await?;
    let postgres = format!("postgres://127.0.0.1:{}/postgres", cluster.postgres.port());
    let nobodys_postgres = format!("postgres://{NOBODY}/postgres");

    let mistakes: &[Mistake] = &[
        Mistake { args: &[], env: &[("KAFKA_URL", NOBODY)], says: &["kafka", NOBODY], code: 7 },
        Mistake { args: &["--source", "kafka://127.0.0.1:1/good"], env: &[], says: &["kafka", NOBODY], code: 7 },
        Mistake { args: &[], env: &[("KAFKA_TOPIC", "no-such-topic")], says: &["topic", "no-such-topic"], code: 4 },
        Mistake { args: &[], env: &[("POSTGRES_URL", &nobodys_postgres)], says: &["postgres", NOBODY], code: 7 },
        Mistake {
            args: &[],
            env: &[("POSTGRES_URL", &postgres), ("POSTGRES_USER", "nobody"), ("POSTGRES_PASSWORD", "hunter2")],
            says: &["nobody"],
            code: 7,
        },
        Mistake { args: &["--table", "other"], env: &[], says: &["other", "host", "event_hour"], code: 1 },
        Mistake { args: &["--table", "no such\"table;--"], env: &[], says: &["table"], code: 2 },
        Mistake { args: &["--parallelism", "3"], env: &[], says: &["slot"], code: 5 },
        Mistake { args: &["--parallelism", "0"], env: &[], says: &["parallelism"], code: 2 },
        Mistake { args: &["--parallelism", "129"], env: &[], says: &["parallelism", "128"], code: 2 },
        Mistake { args: &["--gap", "0"], env: &[], says: &["gap"], code: 2 },
        Mistake { args: &["--gap", "5min"], env: &[], says: &["5min", "5m"], code: 2 },
        Mistake {
            args: &["--kafka-property", "plugin.library.paths=/tmp/x.so"],
            env: &[],
            says: &["plugin.library.paths"],
            code: 2,
        },
        Mistake { args: &["--source", "ftp://example/x"], env: &[], says: &["ftp"], code: 2 },
    ];
    for mistake in mistakes {
        mistake.make(&cluster)?;
    }
    let said = cluster.jobctl_with(&["submit", "sessionise"], &[("KAFKA_TOPIC", "good")])?;
    ensure!(said.code == Some(2) && said.err.contains("sessionize"), "{said:?}");
    let said = cluster.jobctl(&["describe", "no-such-job"])?;
    ensure!(said.code == Some(4) && said.err.contains("no-such-job"), "{said:?}");
    let said = cluster.jobctl_with(&["list"], &[("GAPWISE_JOBMANAGER_RPC_ADDRESS", NOBODY)])?;
    ensure!(said.code == Some(3) && said.err.contains(NOBODY), "{said:?}");

    let running: Vec<Value> = serde_json::from_str(&cluster.jobctl(&["list", "--output", "json"])?.ok()?)?;
    ensure!(running.iter().all(|job| job["state"] != "running"), "{running:?}");
    let submit = ["submit", "sessionize", "--until", "latest", "--wait", "--parallelism", "2"];
    cluster.jobctl_with(&submit, &[("KAFKA_TOPIC", "good")])?.ok().context("the cluster works after all mistakes")?;
    let rows = sql.query_text("SELECT num_hits FROM sessionized_aggregated_events").await?.rows;
    ensure!(rows == [[Some("2".to_owned())]], "{rows:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_records_are_counted_and_skipped() -> Result<()> {
    let cluster = Cluster::start(1, 1)?;
    let file = cluster.dir().join("mixed.jsonl");
    let bad = [
        "not json",
        "{\"ip\":\"1.2.3.4\"",
        "{\"ip\":\"x\",\"host\":\"y\"}",
        "\"text\"",
        "{\"event_time\":\"yesterday\"}",
        "[1]",
    ];
    let good = event("1.2.3.4", "2025-01-14T17:01:12.232Z");
    std::fs::write(&file, bad.map(|line| format!("{line}\n{good}")).concat())?;
    cluster.load("mixed", 1, &file)?;
    let submit = ["submit", "sessionize", "--until", "latest", "--wait", "--output", "json"];
    cluster.jobctl_with(&submit, &[("KAFKA_TOPIC", "mixed")])?.ok()?;
    let job: Value = serde_json::from_str(&cluster.jobctl(&["describe", "sessionize", "--output", "json"])?.ok()?)?;
    let source = job["subtasks"].as_array().unwrap().iter().find(|task| task["stage"] == "source").unwrap();
    ensure!(source["bad"] == bad.len(), "{source}");
    let rows = cluster.sql().await?.query_text("SELECT num_hits FROM sessionized_aggregated_events").await?.rows;
    ensure!(rows == [[Some(bad.len().to_string())]], "{rows:?}");
    Ok(())
}

struct Mistake<'a> {
    args: &'a [&'a str],
    env: &'a [(&'a str, &'a str)],
    /// What the line must name, whatever its words.
    says: &'a [&'a str],
    code: i32,
}

impl Mistake<'_> {
    fn make(&self, cluster: &Cluster) -> Result<()> {
        let args = [&["submit", "sessionize", "--until", "latest"], self.args].concat();
        let env = [&[("KAFKA_TOPIC", "good")], self.env].concat();
        let said = cluster.jobctl_with(&args, &env)?;
        let what = format!("{:?} {:?}: {said:?}", self.args, self.env);
        ensure!(said.code == Some(self.code), "exit code is not {}: {what}", self.code);
        let error = said.err.to_lowercase();
        ensure!(
            self.says.iter().all(|word| error.contains(&word.to_lowercase())),
            "does not name {:?}: {what}",
            self.says
        );
        ensure!(said.err.lines().count() <= 4, "too many lines: {what}");
        ensure!(!error.contains("hunter2") && !error.contains("panicked") && !error.contains("backtrace"), "{what}");
        Ok(())
    }
}

fn event(ip: &str, time: &str) -> String {
    format!("{{\"ip\":\"{ip}\",\"host\":\"www.a.io\",\"event_time\":\"{time}\"}}\n")
}
