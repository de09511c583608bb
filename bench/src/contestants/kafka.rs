//! Ours, from Kafka to Postgres, exactly once.
//!
//! Charged are jobmanager and taskmanager, which are started anew for each run and have the rest of it to themselves; broker and
//! database are other people's.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use connectors::postgres::Client;
use e2e::broker::Choice;
use e2e::cluster::{Cluster, Shape as ClusterShape};
use localcluster::deadline::Deadline;
use localcluster::topic::PARTITIONS;
use tokio::runtime::Runtime;

use crate::args::BrokerKind;
use crate::contestant::{Contestant, Ready, Run};
use crate::data::{Data, Shape};
use crate::reference::{self, Digest};
use crate::stage::Stage;
use crate::usage;

/// Records in each batch of these topics, some 45 kB. A producer that is left to itself sends what comes within 5 ms: the more partitions,
/// the fewer records in each batch, and then it is batches that are compared.
pub(crate) const BATCH_RECORDS: u16 = 100;
/// The topics by whose number of partitions the cost of an event is compared.
pub(crate) const PARTITION_COUNTS: [u32; 3] = [1, 30, 1000];
/// The job's table.
const SESSIONS: &str = "sessionized_aggregated_events";
const CHECKPOINT_INTERVAL: &str = "10s";
/// How often the table is looked at for its first row: it costs the database something.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Rows that are fetched at once for the comparison.
const FETCH: &str = "FETCH 50000 FROM rows";

/// A topic with the events of the web traffic.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    partitions: u32,
    /// Records in each batch, unless it is left to the producer.
    batch: Option<u16>,
    /// Whether those who read it run without being asked for.
    pub(crate) is_default: bool,
}

impl Topic {
    /// That of `kafka/…`.
    pub(crate) fn web() -> Topic {
        Topic { name: "web".to_owned(), partitions: PARTITIONS.unsigned_abs(), batch: None, is_default: true }
    }

    /// One of `partitions/…`.
    pub(crate) fn of_partitions(partitions: u32) -> Topic {
        Topic { name: format!("web-{partitions}"), partitions, batch: Some(BATCH_RECORDS), is_default: false }
    }
}

/// A cluster whose topics have the events.
pub(crate) struct Loaded {
    pub(crate) cluster: Cluster,
    topics: BTreeSet<String>,
    /// For the names of databases.
    runs: u32,
}

impl Loaded {
    /// Starts it and loads the topic, unless somebody has.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn prepare(stage: &mut Stage<'_>, topic: &Topic) -> Result<Ready> {
        let data = stage.data(Shape::Web)?;
        if stage.kafka.is_none()
            && let Ready::No(reason) = Self::start(stage)?
        {
            return Ok(Ready::No(reason));
        }
        let loaded = stage.kafka.as_mut().context("it was started")?;
        if loaded.topics.insert(topic.name.clone()) {
            stage.bar.say(&format!("loading the topic `{}`", topic.name));
            let Topic { name, partitions, .. } = topic;
            match topic.batch {
                Some(records) => loaded.cluster.load_in_batches(name, *partitions, records, &data.events)?,
                None => loaded.cluster.load(name, *partitions, &data.events)?,
            }
        }
        Ok(Ready::Yes)
    }

    fn start(stage: &mut Stage<'_>) -> Result<Ready> {
        let broker = match stage.args.broker {
            BrokerKind::Apache => {
                if let Err(missing) = localcluster::apache_kafka::available() {
                    return Ok(Ready::No(format!("{missing}; or choose --broker devbroker")));
                }
                Choice::Best
            }
            BrokerKind::Devbroker => Choice::Devbroker,
        };
        stage.bar.say("starting Kafka, Postgres and a cluster");
        let cluster = Cluster::start_with(ClusterShape { taskmanagers: 1, broker, ..ClusterShape::TWO_BY_TWO })?;
        let postgres = stage.runtime.block_on(postgres_version(&cluster))?;
        stage.versions.insert("broker".to_owned(), cluster.broker.name());
        stage.versions.insert("postgres".to_owned(), postgres);
        let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
        stage.versions.insert("librdkafka".to_owned(), librdkafka);
        stage.kafka = Some(Loaded { cluster, topics: BTreeSet::new(), runs: 0 });
        Ok(Ready::Yes)
    }

    /// It, once it was prepared.
    pub(crate) fn of<'a>(stage: &'a mut Stage<'_>) -> Result<&'a mut Loaded> {
        stage.kafka.as_mut().context("the topic is loaded before a run")
    }

    /// A jobmanager and taskmanagers that have done nothing yet.
    fn restart(&mut self, taskmanagers: u32, slots: u32) -> Result<()> {
        // The taskmanagers first: their jobmanager is to see them leave.
        self.cluster.taskmanagers.iter_mut().for_each(e2e::member::Member::stop);
        self.cluster.jobmanager.restart()?;
        self.cluster.replace_taskmanagers(taskmanagers, slots)?;
        self.cluster.wait_for_taskmanagers()
    }

    fn pids(&self) -> Vec<u32> {
        let members = std::iter::once(&self.cluster.jobmanager).chain(&self.cluster.taskmanagers);
        members.map(e2e::member::Member::pid).collect()
    }

    fn cpu_s(&self) -> Result<f64> {
        self.pids().into_iter().map(usage::cpu_s).sum()
    }

    fn peak_bytes(&self) -> Option<u64> {
        let members = std::iter::once(&self.cluster.jobmanager).chain(&self.cluster.taskmanagers);
        members.map(e2e::member::Member::peak_resident_bytes).sum()
    }
}

/// `jobctl submit` to a cluster.
pub(crate) struct ToPostgres {
    name: String,
    what: String,
    topic: Topic,
    parallelism: u32,
    taskmanagers: u32,
    is_default: bool,
}

impl ToPostgres {
    /// In one process.
    pub(crate) fn new(parallelism: u32) -> ToPostgres {
        let what = format!("ours, Kafka to Postgres, exactly once, parallelism {parallelism}");
        let name = format!("kafka/to-postgres-p{parallelism}");
        ToPostgres { name, what, topic: Topic::web(), parallelism, taskmanagers: 1, is_default: true }
    }

    /// In so many processes, which share the subtasks evenly: what an event costs more where it goes over a socket. Each source has one
    /// partition.
    pub(crate) fn spread(parallelism: u32, taskmanagers: u32) -> ToPostgres {
        let one = ToPostgres::new(parallelism);
        ToPostgres {
            name: format!("{}-tm{taskmanagers}", one.name),
            what: format!("{}, {taskmanagers} taskmanagers", one.what),
            topic: Topic::of_partitions(parallelism),
            taskmanagers,
            is_default: false,
            ..one
        }
    }

    /// From a topic with so many partitions.
    pub(crate) fn of_partitions(partitions: u32) -> ToPostgres {
        ToPostgres {
            name: format!("partitions/to-postgres-{partitions}"),
            what: format!(
                "ours, Kafka to Postgres, parallelism 1, partitions: {partitions}, {BATCH_RECORDS} records a batch"
            ),
            topic: Topic::of_partitions(partitions),
            is_default: false,
            ..ToPostgres::new(1)
        }
    }
}

impl Contestant for ToPostgres {
    fn name(&self) -> &str {
        &self.name
    }

    fn what(&self) -> &str {
        &self.what
    }

    fn is_default(&self) -> bool {
        self.is_default
    }

    fn prepare(&mut self, stage: &mut Stage<'_>) -> Result<Ready> {
        Loaded::prepare(stage, &self.topic)
    }

    fn run(&mut self, stage: &mut Stage<'_>) -> Result<Run> {
        let (data, log) = (stage.data(Shape::Web)?, stage.log(&self.name));
        let Stage { kafka, runtime, interrupted, .. } = stage;
        let loaded = kafka.as_mut().context("the topic is loaded before a run")?;
        loaded.restart(self.taskmanagers, self.parallelism.div_ceil(self.taskmanagers))?;
        loaded.runs += 1;
        let database = format!("run_{}", loaded.runs);
        let url = runtime.block_on(loaded.cluster.create_database(&database))?;
        let looking = RefCell::new(runtime.block_on(Client::connect(&url.parse()?))?);
        let parallelism = self.parallelism.to_string();
        let args = [
            &["submit", "sessionize", "--name", &database, "--gap", "5m", "--until", "latest", "--wait"][..],
            &["--checkpoint-interval", CHECKPOINT_INTERVAL, "--parallelism", &parallelism],
        ];
        let env = [("KAFKA_TOPIC", self.topic.name.as_str()), ("POSTGRES_URL", url.as_str())];
        let submit = loaded.cluster.jobctl_command(&args.concat(), &env)?;
        let mut next_look = Deadline::after(LOOK_EVERY);
        let mut has_row = || {
            if !next_look.has_passed() {
                return false;
            }
            next_look = Deadline::after(LOOK_EVERY);
            runtime.block_on(has_row(&mut looking.borrow_mut()))
        };
        let before_s = loaded.cpu_s()?;
        let usage = usage::measure(&mut [submit], &log, interrupted, &mut has_row)?;
        let cpu_s = loaded.cpu_s()? - before_s;
        check(runtime, looking.into_inner(), SESSIONS, &data)?;
        let mut sql = runtime.block_on(loaded.cluster.sql())?;
        runtime.block_on(sql.execute(&format!("DROP DATABASE {database}")))?;
        Ok(Run {
            count: data.count,
            wall_s: usage.wall_s,
            cpu_s,
            peak_bytes: loaded.peak_bytes(),
            first_row_s: usage.first_row_s,
        })
    }
}

/// Compares a table of sessions, and closes the connection.
///
/// # Errors
/// If it is not as it should be.
pub(crate) fn check(runtime: &Runtime, mut sql: Client, table: &str, data: &Data) -> Result<()> {
    let found = runtime.block_on(digest(&mut sql, table));
    runtime.block_on(sql.close());
    reference::check(found?, data.expected, None)
}

async fn digest(sql: &mut Client, table: &str) -> Result<Digest> {
    let rows = format!("SELECT event_hour::text, ip, host, num_hits::text FROM {table}");
    sql.execute(&format!("BEGIN; DECLARE rows CURSOR FOR {rows}")).await?;
    let mut digest = Digest::default();
    loop {
        let rows = sql.query_text(FETCH).await?.rows;
        if rows.is_empty() {
            sql.execute("COMMIT").await?;
            return Ok(digest);
        }
        for row in &rows {
            let fields: Option<Vec<&str>> = row.iter().map(|field| field.as_deref()).collect();
            digest.add(&reference::row(&fields.context("a field is NULL")?)?);
        }
    }
}

/// Errors are those of a table that is not there yet.
async fn has_row(sql: &mut Client) -> bool {
    let found = sql.query_text(&format!("SELECT 1 FROM {SESSIONS} LIMIT 1")).await;
    found.is_ok_and(|found| !found.rows.is_empty())
}

async fn postgres_version(cluster: &Cluster) -> Result<String> {
    let table = cluster.sql().await?.query_text("SELECT current_setting('server_version')").await?;
    table.rows.concat().into_iter().flatten().next().context("a version")
}
