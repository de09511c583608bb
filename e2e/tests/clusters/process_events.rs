//! process_events on a real cluster whose taskmanagers are killed: each event is one row, once, with its location; from a file,
//! and from a service that fails and stalls.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use connectors::postgres::Client;
use e2e::cluster::{Cluster, Shape, repository_file};
use e2e::feed;
use e2e::job::{Job, counter};
use e2e::location_api::{KEY, LocationApi, Manners, geodata};
use e2e::random::Random;
use e2e::traffic::{Event, PARTITIONS};
use localcluster::deadline::Deadline;
use serde_json::{Value, json};

const EVENTS: u64 = 24_000;
/// Of so many records one is bad.
const BAD_OF: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(120);

/// An event as it is sent, and as it is to stand in the table.
#[derive(Clone, Debug)]
struct Sent {
    record: Event,
    /// ip, event_timestamp, referrer, host, url, geodata.
    row: [Option<String>; 6],
}

/// Events of a few hundred ips, some with nothing in a field; `geodata_of` says where an ip is.
fn events(
    seed: u64,
    count: u64,
    ip_of: impl Fn(&mut Random) -> String,
    geodata_of: impl Fn(&str) -> String,
) -> Vec<Sent> {
    let mut random = Random::new(seed);
    let event = |number| {
        let ip = (random.below(50) > 0).then(|| ip_of(&mut random));
        let referrer = (random.below(3) > 0).then(|| format!("https://t.co/{}\"\\", random.below(9)));
        let host = (random.below(20) > 0).then(|| format!("h{}.example", random.below(9)));
        let url = (random.below(20) > 0).then(|| format!("/lessons?id={number}&ü=\t"));
        let (second, ms) = (random.below(60), random.below(1000));
        let json = json!({
            "ip": ip, "referrer": referrer, "host": host, "url": url, "user_agent": "x",
            "event_time": format!("2025-01-14T17:01:{second:02}.{ms:03}Z"),
        });
        let location = ip.as_deref().map_or("{}".to_owned(), &geodata_of);
        let time = format!("2025-01-14 17:01:{second:02}.{ms:03}");
        let row = [ip, Some(time), referrer, host, url, Some(location)];
        Sent { record: record(json.to_string(), number), row }
    };
    (0..count).map(event).collect()
}

fn record(json: String, number: u64) -> Event {
    let partition = (number % u64::from(PARTITIONS.unsigned_abs())) as i32;
    Event { partition, at_ms: 0, json }
}

/// The job under test: its topic, its database, its name.
struct Stage {
    job: Job,
    id: String,
    sql: Client,
}

impl Stage {
    async fn submit(cluster: &Cluster, name: &str, more: &[&str], env: &[(&str, &str)]) -> Result<Stage> {
        feed::create_topic(&cluster.broker.bootstrap_servers(), name).await?;
        let postgres_url = cluster.create_database(name).await?;
        let args = [
            &["submit", "process_events", "--name", name, "--parallelism", "2", "--checkpoint-interval", "500ms"][..],
            &["--output", "json"],
            more,
        ]
        .concat();
        let its_env = [("KAFKA_TOPIC", name), ("POSTGRES_URL", &postgres_url)];
        let said = cluster.jobctl_with(&args, &[&its_env[..], env].concat())?.ok()?;
        let id = serde_json::from_str::<Value>(&said)?["job_id"].as_str().context("a job id")?.to_owned();
        let sql = Client::connect(&postgres_url.parse()?).await?;
        Ok(Stage { job: Job { name: name.to_owned(), postgres_url }, id, sql })
    }

    fn produce(&self, cluster: &Cluster, sent: &[Sent]) -> Result<()> {
        let records: Vec<Event> = sent.iter().map(|sent| sent.record.clone()).collect();
        feed::produce_records(&cluster.broker.bootstrap_servers(), &self.job.name, &records)
    }

    /// One field of the job's row of the ledger, or of all of it.
    async fn ask(&mut self, what: &str) -> Result<Option<String>> {
        let sql = format!("SELECT {what} FROM gapwise_ledger WHERE job_id = '{}'", self.id);
        let table = self.sql.query_text(&sql).await?;
        Ok(table.rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }

    /// Waits until this is so of the ledger's row.
    async fn wait_for(&mut self, condition: &str) -> Result<()> {
        let deadline = Deadline::after(PATIENCE);
        while self.ask(condition).await?.as_deref() != Some("t") {
            if deadline.elapsed() > PATIENCE {
                let row = self.ask("gapwise_ledger::text").await?;
                anyhow::bail!("waited in vain for {condition}; the ledger: {row:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Loads what is to stand in the table beside it; `expected` then is the one, `processed_events` the other.
    async fn expect(&mut self, sent: &[Sent]) -> Result<()> {
        self.sql.execute("DROP TABLE IF EXISTS expected; CREATE TABLE expected (LIKE processed_events)").await?;
        for sent in sent.chunks(1000) {
            let mut rows = String::new();
            for Sent { row, .. } in sent {
                let field = |field: &Option<String>| match field {
                    None => "NULL".to_owned(),
                    Some(text) => format!("'{}'", text.replace('\'', "''")),
                };
                let comma = if rows.is_empty() { "" } else { "," };
                write!(rows, "{comma}({})", row.each_ref().map(field).join(","))?;
            }
            self.sql.execute(&format!("INSERT INTO expected VALUES {rows}")).await?;
        }
        Ok(())
    }

    async fn count(&mut self, query: &str) -> Result<u64> {
        let table = self.sql.query_text(query).await?;
        let text = table.rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()).context("a count")?;
        Ok(text.parse()?)
    }

    /// Rows of these columns that only one of the two has.
    async fn differences(&mut self, columns: &str) -> Result<u64> {
        self.count(&format!(
            "SELECT count(*) FROM ( \
                (SELECT {columns} FROM processed_events EXCEPT ALL SELECT {columns} FROM expected) UNION ALL \
                (SELECT {columns} FROM expected EXCEPT ALL SELECT {columns} FROM processed_events)) AS d"
        ))
        .await
    }
}

const EVERY_FIELD_BUT_THE_LOCATION: &str = "ip, event_timestamp, referrer, host, url";

/// Where the test database has an ip.
fn place(ip: &str) -> String {
    let number: u32 = ip.rsplit('.').next().unwrap().parse().unwrap();
    let (country, state, city) = match ip.rsplit_once('.').unwrap().0 {
        "192.0.2" if number < 128 => ("DE", "Land Berlin", "Berlin"),
        "192.0.2" => ("US", "California", "Mountain View"),
        "198.51.100" => ("FR", "Île-de-France", "Paris"),
        "203.0.113" if number < 128 => ("JP", "", "Tokyo"),
        "203.0.113" => ("JP", "", ""),
        _ => return "{}".to_owned(),
    };
    format!(r#"{{"country":"{country}","state":"{state}","city":"{city}"}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_one_row_with_the_location_of_its_ip_whatever_dies_beside_the_other_job() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    let database = repository_file("connectors/testdata/geo/places.mmdb")?;
    let database = database.to_str().context("a path that is text")?;
    let mut stage = Stage::submit(&cluster, "located", &["--geo-db", database], &[]).await?;
    // Both jobs over one topic, in one cluster, at once.
    let sessions = Job { name: "located".to_owned(), postgres_url: stage.job.postgres_url.clone() };
    let args = ["submit", "sessionize", "--name", "sessions", "--max-future", "0", "--checkpoint-interval", "500ms"];
    let env = [("KAFKA_TOPIC", "located"), ("POSTGRES_URL", sessions.postgres_url.as_str())];
    cluster.jobctl_with(&args, &env)?.ok()?;

    let net = |random: &mut Random| ["192.0.2", "198.51.100", "203.0.113", "8.8.8"][random.below(4) as usize];
    let sent = events(5, EVENTS, |random| format!("{}.{}", net(random), random.below(256)), place);
    let bad: Vec<Event> = (0..EVENTS / BAD_OF).map(|number| record(format!("no json {number}"), number)).collect();
    feed::produce_records(&cluster.broker.bootstrap_servers(), "located", &bad)?;
    for (victim, part) in sent.chunks(sent.len() / 3 + 1).enumerate() {
        stage.produce(&cluster, part)?;
        stage.wait_for(&format!("rows_total > {}", (victim * sent.len()) / 3)).await?;
        if let Some(member) = cluster.taskmanagers.get_mut(victim) {
            member.kill();
            member.restart()?;
        }
    }
    let all = EVENTS + EVENTS / BAD_OF;
    stage.wait_for(&format!("events_read = {all} AND open_events = 0")).await?;
    stage.expect(&sent).await?;
    let differences = stage.differences(&format!("{EVERY_FIELD_BUT_THE_LOCATION}, geodata")).await?;
    ensure!(differences == 0, "{differences} rows are missing or too many");
    let accounts = "events_in_sessions = rows_total AND late = 0 AND side_rows = ARRAY[bad] \
                    AND events_read = events_in_sessions + bad AND rows_total = (SELECT count(*) FROM processed_events) \
                    AND bad = (SELECT count(DISTINCT (partition, \"offset\")) FROM dead_letter_events WHERE job_id = \
                    gapwise_ledger.job_id)";
    ensure!(
        stage.ask(accounts).await?.as_deref() == Some("t"),
        "accounts: {:?}",
        stage.ask("gapwise_ledger::text").await?
    );
    ensure!(stage.count("SELECT count(*) FROM gapwise_ledger WHERE events_read > 0").await? == 2, "both jobs publish");

    // What it was read from, and that is all that an audit says of it.
    let said = cluster.jobctl(&["audit", "located"])?;
    ensure!(said.code == Some(2) && said.err.contains("a job of type `process_events` cannot be audited"), "{said:?}");
    let savepoint = stage.job.stop(&cluster, false)?;
    // The job goes on from it at another parallelism, and writes what comes and nothing else.
    let more = events(6, 1000, |_| "192.0.2.1".to_owned(), place);
    stage.produce(&cluster, &more)?;
    let env = [("KAFKA_TOPIC", "located"), ("POSTGRES_URL", stage.job.postgres_url.as_str())];
    let again = ["submit", "process_events", "--name", "located", "--geo-db", database, "--from-savepoint", &savepoint];
    cluster.jobctl_with(&again, &env)?.ok()?;
    stage.wait_for(&format!("events_read = {} AND open_events = 0", all + 1000)).await?;
    stage.expect(&[sent, more].concat()).await?;
    ensure!(stage.differences(&format!("{EVERY_FIELD_BUT_THE_LOCATION}, geodata")).await? == 0, "behind a savepoint");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn service_that_fails_and_stalls_costs_a_few_locations_and_no_event() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    let api = LocationApi::start(8)?;
    let url = api.url();
    let limits = ["--geo-url", &url, "--geo-rate", "2000", "--geo-timeout", "500ms"];
    let mut stage = Stage::submit(&cluster, "asked", &limits, &[("IP_CODING_KEY", KEY)]).await?;
    let ip = |random: &mut Random| format!("8.{}.{}.1", random.below(10), random.below(60));

    api.behave(Manners { failing: 30, stalling: 5, limiting: 1, latency: Duration::from_millis(50) });
    let sent = events(9, EVENTS, ip, geodata);
    for (victim, part) in sent.chunks(sent.len() / 3 + 1).enumerate() {
        stage.produce(&cluster, part)?;
        stage.wait_for(&format!("rows_total > {}", (victim * sent.len()) / 3)).await?;
        if let Some(member) = cluster.taskmanagers.get_mut(victim) {
            member.kill();
            member.restart()?;
        }
    }
    stage.wait_for(&format!("events_read = {EVENTS} AND open_events = 0")).await?;
    stage.expect(&sent).await?;
    ensure!(stage.differences(EVERY_FIELD_BUT_THE_LOCATION).await? == 0, "rows are missing or too many");
    let wrong = "SELECT count(*) FROM processed_events AS p WHERE geodata <> '{}' AND geodata NOT IN \
                 (SELECT e.geodata FROM expected AS e WHERE e.ip = p.ip)";
    ensure!(stage.count(wrong).await? == 0, "locations of other ips");
    let without = stage.count("SELECT count(*) FROM processed_events WHERE geodata = '{}' AND ip IS NOT NULL").await?;
    let (calls, ips) = (api.calls(), api.ips());
    eprintln!("{without} of {EVENTS} events without a location, by {calls} calls for {ips} ips in three attempts");
    ensure!(without < EVENTS / 10, "{without} events without a location");
    ensure!(calls < EVENTS / 4, "{calls} calls for {EVENTS} events");

    // What is known needs no service: it may stand still altogether.
    api.behave(Manners::default());
    let known = events(10, 100, |_| "8.1.1.1".to_owned(), geodata);
    let deadline = Deadline::after(PATIENCE);
    let found = "SELECT count(*) FROM processed_events WHERE ip = '8.1.1.1' AND geodata <> '{}'";
    let before = stage.count(found).await?;
    let mut read = EVENTS;
    while stage.count(found).await? < before + 50 {
        ensure!(deadline.elapsed() < PATIENCE, "the service is back, and not asked again");
        stage.produce(&cluster, &known)?;
        read += 100;
        stage.wait_for(&format!("events_read = {read} AND open_events = 0")).await?;
    }
    api.behave(Manners { stalling: 100, ..Manners::default() });
    let calls = api.calls();
    let many = events(11, 20_000, |_| "8.1.1.1".to_owned(), geodata);
    stage.produce(&cluster, &many)?;
    stage.wait_for(&format!("events_read = {} AND open_events = 0", read + 20_000)).await?;
    ensure!(api.calls() == calls, "a service that stands still was asked about what is known");
    // And what is not known is written within its deadline.
    let unknown = events(12, 500, |random| format!("9.9.{}.1", random.below(250)), |_| "{}".to_owned());
    stage.produce(&cluster, &unknown)?;
    stage.wait_for(&format!("events_read = {} AND open_events = 0", read + 20_500)).await?;
    let described = stage.job.describe(&cluster)?;
    ensure!(counter(&described, "locate", "unanswered")? > 0, "{described}");
    let text = cluster.jobctl(&["describe", "asked"])?.ok()?;
    ensure!(text.contains("no answer for") && !text.contains(KEY), "{text}");
    let pipeline_and_logs = format!("{described}{}{}", cluster.log("taskmanager-1")?, cluster.log("jobmanager")?);
    ensure!(!pipeline_and_logs.contains(KEY), "the key is shown");
    ensure!(cluster.log("taskmanager-1")?.contains("look-ups of locations failed"), "the log says why");
    // It ends in good order although the service stands still.
    stage.produce(&cluster, &events(13, 100, |random| format!("7.7.{}.1", random.below(250)), |_| "{}".to_owned()))?;
    stage.job.stop(&cluster, true)?;
    stage.wait_for("open_events = 0 AND rows_total = events_in_sessions").await?;
    Ok(())
}
