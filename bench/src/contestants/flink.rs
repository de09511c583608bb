//! Apache Flink 2.2 for the same work: the job in SQL, and the strongest that we could write by hand.
//!
//! Each is a program of one process with a cluster of Flink's own in it (`bench/flink`), compiled by the machine's `javac` against
//! Flink's jars, as `jobctl run` is one process of ours. Nothing of this is part of the product.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use e2e::cluster::repository_file;
use e2e::flink::open_modules;
use localcluster::jvm::{JarSet, Jars, Java, LOG4J};
use localcluster::{cache, program};

use crate::contestant::{Contestant, Ready, Run};
use crate::data::Shape;
use crate::reference;
use crate::stage::Stage;
use crate::usage;

const JARS: JarSet = JarSet {
    name: "apache flink for the benchmark",
    version: "2.2.0",
    folder: "flink-bench",
    size: "120 MB",
    pom: include_str!("../../flink/pom.xml"),
};

/// What a user would give it: the heap that the largest data takes, and the collector that costs the least.
const OPTIONS: [&str; 3] = ["-Xms1g", "-Xmx6g", "-XX:+UseParallelGC"];

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sql,
    DataStream,
}

pub(crate) struct Flink {
    name: String,
    shape: Shape,
    kind: Kind,
    program: Option<Program>,
}

/// What it takes to start one.
struct Program {
    java: Java,
    jars: Jars,
    classes: PathBuf,
}

impl Flink {
    pub(crate) fn new(shape: Shape, kind: Kind) -> Flink {
        let kind_name = match kind {
            Kind::Sql => "flink-sql",
            Kind::DataStream => "flink-datastream",
        };
        Flink { name: format!("{}/{kind_name}", shape.name()), shape, kind, program: None }
    }
}

impl Contestant for Flink {
    fn name(&self) -> &str {
        &self.name
    }

    fn what(&self) -> &str {
        match self.kind {
            Kind::Sql => "Flink SQL, file to CSV, parallelism 1",
            Kind::DataStream => "Flink DataStream by hand, file to CSV, parallelism 1",
        }
    }

    fn is_default(&self) -> bool {
        self.shape == Shape::Web
    }

    fn prepare(&mut self, stage: &mut Stage<'_>) -> Result<Ready> {
        stage.data(self.shape)?;
        match Program::build(stage) {
            Ok(program) => {
                stage.versions.insert("flink".to_owned(), JARS.version.to_owned());
                stage.versions.insert("java".to_owned(), program.java_version()?);
                self.program = Some(program);
                Ok(Ready::Yes)
            }
            Err(error) => Ok(Ready::No(format!("{error:#}"))),
        }
    }

    fn run(&mut self, stage: &mut Stage<'_>) -> Result<Run> {
        let program = self.program.as_ref().context("it is built before a run")?;
        let (data, dir) = (stage.data(self.shape)?, stage.clean_dir(&self.name)?);
        let (main, result) = match self.kind {
            Kind::Sql => ("SqlSessions", dir.join("rows")),
            Kind::DataStream => ("StreamSessions", dir.join("sessions.csv")),
        };
        let mut java = program.command(main, &dir)?;
        java.arg(&data.events).arg(&result);
        if self.kind == Kind::Sql {
            java.arg(dir.join("checkpoints"));
        }
        let log = stage.log(&self.name);
        let usage = usage::measure(&mut [java], &log, &stage.interrupted, &mut || false)?;
        let sessions = dir.join("all.csv");
        match self.kind {
            Kind::Sql => join_parts(&result, &sessions)?,
            Kind::DataStream => fs::rename(&result, &sessions)?,
        }
        reference::check(reference::of_csv(&sessions)?, data.expected, Some((&sessions, &data.sessions)))?;
        Ok(Run {
            count: data.count,
            wall_s: usage.wall_s,
            cpu_s: usage.cpu_s,
            peak_bytes: Some(usage.peak_bytes),
            first_row_s: None,
        })
    }
}

impl Program {
    fn build(stage: &Stage<'_>) -> Result<Program> {
        stage.bar.say("fetching Flink's jars by Maven, once");
        let java = Java::find(JARS.name)?;
        let javac =
            java.javac().context("there is no `javac`; install one (`apt-get install default-jdk-headless`)")?;
        let jars = JARS.find_or_fetch(&cache::dir())?;
        let classes = stage.dir.join("flink");
        fs::create_dir_all(&classes)?;
        let mut compile = Command::new(javac);
        compile.args(["-nowarn", "-cp", &jars.class_path(), "-d"]).arg(&classes);
        for source in ["SqlSessions.java", "StreamSessions.java"] {
            compile.arg(repository_file(&format!("bench/flink/{source}"))?);
        }
        program::run(&mut compile)?;
        fs::write(classes.join("log4j2.properties"), LOG4J)?;
        // Nothing is set: an empty file keeps the machine's own out.
        fs::write(classes.join("config.yaml"), "")?;
        Ok(Program { java, jars, classes })
    }

    fn command(&self, main: &str, dir: &Path) -> Result<Command> {
        let mut java_args = self.jars.java_args(&self.classes.join("log4j2.properties"));
        // The class path is the last of them.
        java_args.pop();
        java_args.push(format!("{}:{}", self.jars.class_path(), self.classes.display()));
        let tmp = dir.join("tmp");
        fs::create_dir_all(&tmp)?;
        let mut command = Command::new(self.java.program());
        command.args(OPTIONS).arg(format!("-Djava.io.tmpdir={}", tmp.display()));
        command.args(open_modules()).args(java_args).arg(main);
        command.env("FLINK_CONF_DIR", &self.classes);
        Ok(command)
    }

    fn java_version(&self) -> Result<String> {
        let said = program::run(Command::new(self.java.program()).arg("-version"))?;
        Ok(said.split('"').nth(1).unwrap_or("unknown").to_owned())
    }
}

/// Flink's filesystem sink writes a part for each checkpoint.
fn join_parts(dir: &Path, to: &Path) -> Result<()> {
    let mut all = fs::File::create(to)?;
    for part in fs::read_dir(dir).with_context(|| format!("there is no `{}`", dir.display()))? {
        let part = part?.path();
        let is_part = part.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-"));
        if is_part {
            all.write_all(&fs::read(&part)?)?;
        }
    }
    Ok(())
}
