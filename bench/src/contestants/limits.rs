//! The bare limits: programs that do one part of the work and nothing else.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use connectors::postgres::Client;
use localcluster::program;

use crate::contestant::{Contestant, Ready, Run, Unit};
use crate::contestants::kafka::{self, BATCH_RECORDS, Loaded, Topic};
use crate::data::Shape;
use crate::reference;
use crate::stage::Stage;
use crate::usage::{self, Usage};

/// A part of what is done with a file.
pub(crate) struct OfFile {
    name: String,
    shape: Shape,
    part: Part,
}

/// Which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The lines are counted.
    Read,
    /// And their three fields found, and the time read.
    Scan,
    /// And their sessions found and written, without an engine.
    Sessions,
}

impl Part {
    /// The hidden command of this program.
    fn command(self) -> &'static str {
        match self {
            Part::Read => "limit-read",
            Part::Scan => "limit-scan",
            Part::Sessions => "limit-sessions",
        }
    }
}

impl OfFile {
    pub(crate) fn new(shape: Shape, part: Part) -> OfFile {
        OfFile { name: format!("{}/{}", shape.name(), part.command()), shape, part }
    }
}

impl Contestant for OfFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn what(&self) -> &str {
        match self.part {
            Part::Read => "limit: the file is read, lines are counted",
            Part::Scan => "limit: and each record is scanned for its fields and time",
            Part::Sessions => "limit: and sessions in a hash table, rows written at the end; one thread, no engine",
        }
    }

    fn prepare(&mut self, stage: &mut Stage<'_>) -> Result<Ready> {
        stage.data(self.shape).map(|_| Ready::Yes)
    }

    fn run(&mut self, stage: &mut Stage<'_>) -> Result<Run> {
        let data = stage.data(self.shape)?;
        let mut child = ourselves()?;
        child.arg(self.part.command()).arg(&data.events);
        let sessions = stage.clean_dir(&self.name)?.join("sessions.csv");
        if self.part == Part::Sessions {
            child.arg(&sessions);
        }
        let usage = counted(child, &self.name, data.count, stage)?;
        if self.part == Part::Sessions {
            let files = Some((sessions.as_path(), data.sessions.as_path()));
            reference::check(reference::of_csv(&sessions)?, data.expected, files)?;
        }
        Ok(run(data.count, usage))
    }
}

/// librdkafka's batch queue.
pub(crate) struct Consume {
    name: String,
    what: String,
    topic: Topic,
}

impl Consume {
    pub(crate) fn new() -> Consume {
        let what = "limit: librdkafka's batch queue, messages are counted".to_owned();
        Consume { name: "kafka/limit-consume".to_owned(), what, topic: Topic::web() }
    }

    /// Of a topic with so many partitions.
    pub(crate) fn of_partitions(partitions: u32) -> Consume {
        let what = format!(
            "limit: librdkafka's batch queue, messages are counted, partitions: {partitions}, {BATCH_RECORDS} records a batch"
        );
        let name = format!("partitions/limit-consume-{partitions}");
        Consume { name, what, topic: Topic::of_partitions(partitions) }
    }
}

impl Contestant for Consume {
    fn name(&self) -> &str {
        &self.name
    }

    fn what(&self) -> &str {
        &self.what
    }

    fn is_default(&self) -> bool {
        self.topic.is_default
    }

    fn prepare(&mut self, stage: &mut Stage<'_>) -> Result<Ready> {
        Loaded::prepare(stage, &self.topic)
    }

    fn run(&mut self, stage: &mut Stage<'_>) -> Result<Run> {
        let data = stage.data(Shape::Web)?;
        let bootstrap = Loaded::of(stage)?.cluster.broker.bootstrap_servers();
        let mut child = ourselves()?;
        child.args(["limit-consume", &bootstrap, &self.topic.name]);
        let usage = counted(child, self.name(), data.count, stage)?;
        Ok(run(data.count, usage))
    }
}

/// `psql`'s `\copy` of the right rows.
pub(crate) struct Copy;

impl Contestant for Copy {
    fn name(&self) -> &str {
        "kafka/limit-copy"
    }

    fn what(&self) -> &str {
        "limit: psql copies the sessions into a table (client's CPU)"
    }

    fn unit(&self) -> Unit {
        Unit::Row
    }

    fn prepare(&mut self, stage: &mut Stage<'_>) -> Result<Ready> {
        if program::on_path("psql").is_none() {
            return Ok(Ready::No("there is no `psql`; install one (`apt-get install postgresql-client`)".to_owned()));
        }
        Loaded::prepare(stage, &Topic::web())
    }

    fn run(&mut self, stage: &mut Stage<'_>) -> Result<Run> {
        const TABLE: &str = "copied (event_hour timestamp(3), ip varchar, host varchar, num_hits bigint)";
        let data = stage.data(Shape::Web)?;
        let url = Loaded::of(stage)?.cluster.postgres.url();
        let psql = program::on_path("psql").context("psql is there")?;
        program::run(
            Command::new(&psql)
                .args(["-q", &url, "-c"])
                .arg(format!("DROP TABLE IF EXISTS copied; CREATE TABLE {TABLE}")),
        )?;
        let mut child = Command::new(&psql);
        child.args([&url, "-c"]).arg(format!("\\copy copied from '{}' (format csv)", data.sessions.display()));
        let log = stage.log(self.name());
        let usage = usage::measure(&mut [child], &log, &stage.interrupted, &mut || false)?;
        let sql = stage.runtime.block_on(Client::connect(&url.parse()?))?;
        kafka::check(&stage.runtime, sql, "copied", &data)?;
        Ok(run(data.expected.rows, usage))
    }
}

/// This program again.
fn ourselves() -> Result<Command> {
    Ok(Command::new(std::env::current_exe().context("cannot tell where this program is")?))
}

/// Runs a program that says how many it saw.
fn counted(child: Command, name: &str, expected: u64, stage: &Stage<'_>) -> Result<Usage> {
    let log = stage.log(name);
    let usage = usage::measure(&mut [child], &log, &stage.interrupted, &mut || false)?;
    let said = std::fs::read_to_string(&log)?;
    ensure!(said.trim() == expected.to_string(), "it saw `{}` of {expected}", said.trim());
    Ok(usage)
}

fn run(count: u64, usage: Usage) -> Run {
    Run { count, wall_s: usage.wall_s, cpu_s: usage.cpu_s, peak_bytes: Some(usage.peak_bytes), first_row_s: None }
}
