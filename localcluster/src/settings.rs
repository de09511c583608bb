//! What a user can turn: read once from the environment and the files beside it, checked as a whole, passed by value.
//!
//! The environment wins over the files ([`crate::env_file`]); an empty value counts as not set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::env_file;
use crate::postgres;
use crate::state_dir::StateDir;
use crate::telemetry::Telemetry;

/// The most taskmanagers a local cluster makes sense with.
const MOST_TASKMANAGERS: u16 = 16;

/// Which Kafka the cluster uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kafka {
    /// The user's, at these bootstrap servers (`KAFKA_URL`); it is neither started nor stopped.
    Users(String),
    /// Our development broker, on this port.
    Devbroker(u16),
    /// Apache Kafka (`KAFKA=apache`), on this port.
    Apache(u16),
}

/// Which Postgres the cluster uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Postgres {
    /// The user's (`POSTGRES_URL`); it is neither started nor stopped. Kept as it was given, `jdbc:` or not.
    Users(String),
    /// One of our own, on this port.
    Own(u16),
}

/// The settings of a local cluster.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The project's folder: `sql/`, `demo/` and `.env` are here.
    pub project: PathBuf,
    /// Where pid files, logs and data are.
    pub state_dir: PathBuf,
    /// Where our programs are.
    pub bin_dir: PathBuf,
    /// Which Kafka.
    pub kafka: Kafka,
    /// Which Postgres.
    pub postgres: Postgres,
    /// The topic with the events.
    pub topic: String,
    /// The jobmanager's port for gRPC.
    pub jobmanager_port: u16,
    /// How many taskmanagers.
    pub taskmanagers: u16,
    /// How many slots each of them has.
    pub slots: u16,
    /// What shows how they do, if it is asked for (`TELEMETRY=1`).
    pub telemetry: Option<Telemetry>,
    /// All settings of the environment files; for our processes, who know more names than we do.
    file: BTreeMap<String, String>,
    user: String,
    password: String,
    database: String,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of settings is broken.
    #[error(transparent)]
    File(#[from] env_file::Error),
    /// A number is none, or out of range.
    #[error("`{name}` must be a whole number from {least} to {most}, and is `{value}`")]
    Number {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// The least that makes sense.
        least: u16,
        /// The most that makes sense.
        most: u16,
    },
    /// `KAFKA` names something else.
    #[error("`KAFKA` must be `devbroker` or `apache`, and is `{0}`; for a broker that runs already, set KAFKA_URL")]
    UnknownKafka(String),
}

impl Settings {
    /// Reads the settings for the project in `project`, whose programs are in `bin_dir`.
    ///
    /// # Errors
    /// If a file of settings is broken or a value makes no sense.
    pub fn from_env(project: &Path, bin_dir: &Path) -> Result<Settings, Error> {
        Settings::read(project, bin_dir, |name| std::env::var(name).ok(), env_file::read_all(project)?)
    }

    fn read(
        project: &Path,
        bin_dir: &Path,
        env: impl Fn(&str) -> Option<String>,
        file: BTreeMap<String, String>,
    ) -> Result<Settings, Error> {
        let get = |name: &str| env(name).or_else(|| file.get(name).cloned()).filter(|value| !value.is_empty());
        let or = |name: &str, default: &str| get(name).unwrap_or_else(|| default.to_owned());
        let number = |name, default, least, most| number(name, get(name), default, least, most);
        let kafka_port = number("KAFKA_PORT", 9092, 1, u16::MAX)?;
        let kafka = match (get("KAFKA_URL"), get("KAFKA").as_deref()) {
            (Some(url), _) => Kafka::Users(url),
            (None, None | Some("devbroker")) => Kafka::Devbroker(kafka_port),
            (None, Some("apache")) => Kafka::Apache(kafka_port),
            (None, Some(other)) => return Err(Error::UnknownKafka(other.to_owned())),
        };
        let postgres = match get("POSTGRES_URL") {
            Some(url) => Postgres::Users(url),
            None => Postgres::Own(number("POSTGRES_PORT", 5432, 1, u16::MAX)?),
        };
        let telemetry = number("TELEMETRY", 0, 0, 1)? == 1;
        let telemetry = telemetry.then_some(Telemetry {
            prometheus: number("PROMETHEUS_PORT", 9090, 1, u16::MAX)?,
            grafana: number("GRAFANA_PORT", 3000, 1, u16::MAX)?,
            collector: number("COLLECTOR_PORT", 4318, 1, u16::MAX)?,
            metrics: number("METRICS_PORT", 9464, 1, u16::MAX - MOST_TASKMANAGERS)?,
        });
        Ok(Settings {
            telemetry,
            state_dir: get("GAPWISE_LOCAL_DIR").map_or_else(|| project.join(".local"), PathBuf::from),
            project: project.to_owned(),
            bin_dir: bin_dir.to_owned(),
            kafka,
            postgres,
            topic: or("KAFKA_TOPIC", "bootcamp-events-prod"),
            jobmanager_port: number("JOBMANAGER_PORT", 6123, 1, u16::MAX)?,
            taskmanagers: number("TASKMANAGERS", 2, 1, MOST_TASKMANAGERS)?,
            slots: number("SLOTS", 2, 1, 1024)?,
            user: or("POSTGRES_USER", postgres::USER),
            password: or("POSTGRES_PASSWORD", postgres::PASSWORD),
            database: or("POSTGRES_DB", postgres::DATABASE),
            file,
        })
    }

    /// The same, with the ports of what already runs: `KAFKA_PORT=9093 make up` need not be said again to `make load`.
    #[must_use]
    pub fn adopting(mut self, state: &StateDir) -> Settings {
        let port_of = |name: &str| state.running(name).and_then(|record| Some((record.what, record.port?)));
        if let (false, Some((what, port))) = (matches!(self.kafka, Kafka::Users(_)), port_of("kafka")) {
            self.kafka = if what == "devbroker" { Kafka::Devbroker(port) } else { Kafka::Apache(port) };
        }
        if let (Postgres::Own(_), Some((_, port))) = (&self.postgres, port_of("postgres")) {
            self.postgres = Postgres::Own(port);
        }
        if let Some((_, port)) = port_of("jobmanager") {
            self.jobmanager_port = port;
        }
        self
    }

    /// Where Kafka clients connect.
    #[must_use]
    pub fn kafka_url(&self) -> String {
        match &self.kafka {
            Kafka::Users(url) => url.clone(),
            Kafka::Devbroker(port) | Kafka::Apache(port) => format!("127.0.0.1:{port}"),
        }
    }

    /// Where Postgres clients connect; without user and password.
    #[must_use]
    pub fn postgres_url(&self) -> String {
        match &self.postgres {
            Postgres::Users(url) => url.clone(),
            Postgres::Own(port) => format!("postgres://127.0.0.1:{port}/{}", postgres::DATABASE),
        }
    }

    /// The jobmanager's address for gRPC.
    #[must_use]
    pub fn jobmanager_address(&self) -> String {
        format!("127.0.0.1:{}", self.jobmanager_port)
    }

    /// The environment of everything that uses this cluster: our processes, `jobctl`, a shell.
    ///
    /// `None` is a variable that must not be there: the key and secret of a remote Kafka would make clients of our own
    /// one ask for TLS.
    #[must_use]
    pub fn cluster_env(&self) -> BTreeMap<String, Option<String>> {
        let mut env: BTreeMap<String, Option<String>> =
            self.file.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
        // What the process has in its own environment goes to its children by itself and wins over the files.
        env.retain(|name, _| std::env::var_os(name).is_none_or(|value| value.is_empty()));
        let mut set = |name: &str, value: String| env.insert(name.to_owned(), Some(value));
        set("KAFKA_URL", self.kafka_url());
        set("KAFKA_TOPIC", self.topic.clone());
        set("POSTGRES_URL", self.postgres_url());
        set("GAPWISE_JOBMANAGER_RPC_ADDRESS", self.jobmanager_address());
        match self.postgres {
            Postgres::Own(_) => {
                set("POSTGRES_USER", postgres::USER.to_owned());
                set("POSTGRES_PASSWORD", postgres::PASSWORD.to_owned());
                set("POSTGRES_DB", postgres::DATABASE.to_owned());
            }
            Postgres::Users(_) => {
                set("POSTGRES_USER", self.user.clone());
                set("POSTGRES_PASSWORD", self.password.clone());
                set("POSTGRES_DB", self.database.clone());
            }
        }
        if !matches!(self.kafka, Kafka::Users(_)) {
            env.insert("KAFKA_WEB_TRAFFIC_KEY".to_owned(), None);
            env.insert("KAFKA_WEB_TRAFFIC_SECRET".to_owned(), None);
        }
        env
    }

    /// The value of one variable as every user of this cluster sees it.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        match self.cluster_env().remove(name) {
            Some(decided) => decided,
            None => std::env::var(name).ok().filter(|value| !value.is_empty()),
        }
    }
}

fn number(name: &'static str, value: Option<String>, default: u16, least: u16, most: u16) -> Result<u16, Error> {
    let Some(value) = value else { return Ok(default) };
    match value.trim().parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(Error::Number { name, value, least, most }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(env: &[(&str, &str)], file: &[(&str, &str)]) -> Result<Settings, Error> {
        let find =
            |pairs: &[(&str, &str)], name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let file = file.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Settings::read(Path::new("/project"), Path::new("/bin"), |name| find(env, name), file)
    }

    #[test]
    fn nothing_set_is_a_whole_cluster_of_our_own() {
        let settings = read(&[], &[]).unwrap();
        assert_eq!(settings.kafka, Kafka::Devbroker(9092));
        assert_eq!(settings.postgres, Postgres::Own(5432));
        assert_eq!(settings.topic, "bootcamp-events-prod");
        assert_eq!((settings.taskmanagers, settings.slots, settings.jobmanager_port), (2, 2, 6123));
        assert_eq!(settings.state_dir, Path::new("/project/.local"));
        assert_eq!(settings.postgres_url(), "postgres://127.0.0.1:5432/postgres");
    }

    #[test]
    fn the_environment_wins_over_the_file_and_empty_is_not_set() {
        let file =
            [("KAFKA_URL", "remote:9092"), ("KAFKA_TOPIC", "from-file"), ("POSTGRES_URL", "jdbc:postgresql://db/x")];
        let settings = read(&[("KAFKA_TOPIC", "from-env"), ("KAFKA_URL", "")], &file).unwrap();
        assert_eq!(settings.topic, "from-env");
        assert_eq!(settings.kafka, Kafka::Devbroker(9092), "KAFKA_URL= on the command line turns the file's off");
        assert_eq!(settings.postgres, Postgres::Users("jdbc:postgresql://db/x".into()));
    }

    #[test]
    fn secrets_of_a_remote_kafka_do_not_reach_clients_of_our_own() {
        let secrets = [("KAFKA_WEB_TRAFFIC_KEY", "key"), ("KAFKA_WEB_TRAFFIC_SECRET", "secret")];
        let own = read(&[], &secrets).unwrap();
        assert_eq!(own.cluster_env()["KAFKA_WEB_TRAFFIC_SECRET"], None);
        assert_eq!(own.variable("KAFKA_WEB_TRAFFIC_KEY"), None);
        let remote = read(&[("KAFKA_URL", "remote:9092")], &secrets).unwrap();
        assert_eq!(remote.cluster_env()["KAFKA_WEB_TRAFFIC_SECRET"].as_deref(), Some("secret"));
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        let number = read(&[("TASKMANAGERS", "0")], &[]).unwrap_err();
        assert_eq!(number.to_string(), "`TASKMANAGERS` must be a whole number from 1 to 16, and is `0`");
        assert!(read(&[("KAFKA_PORT", "http")], &[]).is_err());
        assert!(matches!(read(&[("KAFKA", "redpanda")], &[]), Err(Error::UnknownKafka(_))));
    }
}
