//! A real Flink for one test: a jobmanager, a taskmanager and a SQL Gateway, each a process of its own, as a user has them.
//!
//! No tarball: Maven copies the jars once into the cache, as it does Kafka's, and the main classes are those that Flink's own
//! scripts start. What those scripts compute (memory, mostly) is in `config`. Checked with 2.2.0 on Java 17: the gateway
//! answers after 4 s, and the three have 950 MB resident between them.

mod config;
mod jars;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use localcluster::deadline::Deadline;
use localcluster::jvm::{self, Jars, Java, LOG4J};
use localcluster::process::{Launch, OwnedChild};
use localcluster::{cache, ports};

use config::Ports;
pub use config::open_modules;

/// On a machine that is busy with other tests.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Main classes, and how much heap each gets.
const JOBMANAGER: (&str, &str) = ("org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint", "-Xmx256m");
const TASKMANAGER: (&str, &str) = ("org.apache.flink.runtime.taskexecutor.TaskManagerRunner", "-Xmx512m");
const GATEWAY: (&str, &str) = ("org.apache.flink.table.gateway.SqlGateway", "-Xmx384m");

/// A running Flink; killed when dropped.
#[derive(Debug)]
pub struct Flink {
    processes: Vec<OwnedChild>,
    gateway: u16,
}

impl Flink {
    /// Whether there can be a Flink on this machine; its jars are fetched if they are not there. If not, says why `what` is
    /// skipped, past what captures the words of a test that passes.
    ///
    /// # Errors
    /// In CI, which has all that it takes: there the test is not to be skipped.
    pub fn is_available_for(what: &str) -> Result<bool> {
        let Err(missing) = installation().map_err(anyhow::Error::from) else { return Ok(true) };
        if std::env::var_os("CI").is_some() {
            return Err(missing.context(format!("{what} must not be skipped in CI")));
        }
        let _ = writeln!(io::stderr(), "SKIPPED: {what} ({missing:#})");
        Ok(false)
    }

    /// Starts one on free ports, with its files in `dir`, and waits until its gateway listens. Its taskmanager has two slots.
    ///
    /// # Errors
    /// If it does not start; with the end of a log.
    pub fn start(dir: &Path) -> Result<Flink> {
        let (java, jars) = installation()?;
        let dir = dir.join("flink");
        fs::create_dir_all(dir.join("tmp"))?;
        let ports = Ports { rpc: ports::free()?, rest: ports::free()?, gateway: ports::free()? };
        fs::write(dir.join("config.yaml"), config::config(ports, &dir))?;
        fs::write(dir.join("log4j2.properties"), LOG4J)?;
        let launches = [("jobmanager", JOBMANAGER), ("taskmanager", TASKMANAGER), ("gateway", GATEWAY)]
            .map(|(name, main)| launch(&java, &jars, &dir, name, main));
        let processes: Vec<OwnedChild> = launches.iter().map(OwnedChild::start).collect::<Result<_, _>>()?;
        let mut flink = Flink { processes, gateway: ports.gateway };
        let is_ready = Deadline::after(READY_LIMIT).wait_for(|| {
            if let Some(ended) = flink.processes.iter_mut().position(OwnedChild::has_ended) {
                bail!("a process of Flink ended:\n{}", launches[ended].last_words());
            }
            Ok([ports.rest, ports.gateway].into_iter().all(ports::accepts).then_some(()))
        })?;
        ensure!(is_ready.is_some(), "Flink does not start; its gateway says:\n{}", launches[2].last_words());
        Ok(flink)
    }

    /// The gateway's address.
    pub fn gateway(&self) -> String {
        format!("http://127.0.0.1:{}", self.gateway)
    }
}

impl Drop for Flink {
    /// There is nothing that it would have to save.
    fn drop(&mut self) {
        self.processes.iter_mut().for_each(OwnedChild::kill);
    }
}

fn installation() -> Result<(Java, Jars), jvm::Error> {
    Ok((Java::find(jars::JARS.name)?, jars::JARS.find_or_fetch(&cache::dir())?))
}

fn launch(java: &Java, jars: &Jars, dir: &Path, name: &str, (main, heap): (&str, &str)) -> Launch {
    let mut launch = Launch::new(java.program(), dir.join(format!("{name}.log")))
        .args([heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args([format!("-Djava.io.tmpdir={}", dir.join("tmp").display())])
        .args(config::open_modules())
        .args(jars.java_args(&dir.join("log4j2.properties")))
        .args([main]);
    if main != GATEWAY.0 {
        launch = launch.args(["--configDir".into(), dir.as_os_str().to_owned()]);
    }
    // The gateway's way to be told the same.
    launch.env.insert("FLINK_CONF_DIR".to_owned(), Some(dir.display().to_string()));
    launch
}
