//! The parts of a cluster: their command lines, their ports, and how one sees that they are ready.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use stream_runtime::{duration, shutdown};

use super::Error;
use crate::apache_kafka::{self, Listeners, Node};
use crate::postgres::{Durability, Installation, Server};
use crate::process::Launch;
use crate::settings::{Kafka, Postgres, Settings};
use crate::state_dir::StateDir;
use crate::telemetry::{self, Telemetry};
use crate::{cache, devbroker_process, kafka_probe, ports, program};

/// A process of the cluster that can be started.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) name: String,
    pub(super) what: String,
    pub(super) port: Option<u16>,
    pub(super) launch: Launch,
    pub(super) ready: Ready,
}

/// How one sees that a component can be used.
#[derive(Debug)]
pub(super) enum Ready {
    /// The broker names itself.
    Kafka(u16),
    /// The server says so in its pid file.
    Postgres(Server),
    /// Connections are accepted.
    Port(u16),
    /// The jobmanager lists the taskmanager of this id.
    Registered { jobctl: PathBuf, jobmanager: String, id: String },
}

/// What is to be started, before anything is prepared for it: preparing may download or format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    Devbroker(u16),
    ApacheKafka(u16),
    Postgres(u16),
    Jobmanager,
    Taskmanager(u16),
    Prometheus(PathBuf, Telemetry),
    Collector(PathBuf, Telemetry),
    Grafana(PathBuf, Telemetry),
}

/// What the settings ask for, in the order of starting: the members of a group do not need each other.
pub(super) fn plan(settings: &Settings) -> Vec<Vec<Plan>> {
    let kafka = match settings.kafka {
        Kafka::Users(_) => None,
        Kafka::Devbroker(port) => Some(Plan::Devbroker(port)),
        Kafka::Apache(port) => Some(Plan::ApacheKafka(port)),
    };
    let postgres = match settings.postgres {
        Postgres::Users(_) => None,
        Postgres::Own(port) => Some(Plan::Postgres(port)),
    };
    vec![
        kafka.into_iter().chain(postgres).chain(observers(settings)).collect(),
        vec![Plan::Jobmanager],
        (1..=settings.taskmanagers).map(Plan::Taskmanager).collect(),
    ]
}

/// What looks at the others, as far as the machine has it; first, so that they are heard from their first moment.
fn observers(settings: &Settings) -> Vec<Plan> {
    let Some(telemetry) = settings.telemetry else { return Vec::new() };
    let prometheus = telemetry::prometheus().map(|program| Plan::Prometheus(program, telemetry));
    let collector = Telemetry::collects(settings).map(|program| Plan::Collector(program, telemetry));
    let grafana = telemetry::grafana().map(|program| Plan::Grafana(program, telemetry));
    prometheus.into_iter().chain(collector).chain(grafana).collect()
}

impl Plan {
    pub(super) fn name(&self) -> String {
        match self {
            Plan::Devbroker(_) | Plan::ApacheKafka(_) => "kafka".to_owned(),
            Plan::Postgres(_) => "postgres".to_owned(),
            Plan::Jobmanager => "jobmanager".to_owned(),
            Plan::Taskmanager(number) => format!("taskmanager-{number}"),
            Plan::Prometheus(..) => "prometheus".to_owned(),
            Plan::Collector(..) => "collector".to_owned(),
            Plan::Grafana(..) => "grafana".to_owned(),
        }
    }

    /// Looks for our programs before the first of them is started.
    pub(super) fn check_built(&self, settings: &Settings) -> Result<(), Error> {
        let programs: &[&str] = match self {
            Plan::Devbroker(_) => &["devbroker"],
            Plan::ApacheKafka(_) | Plan::Postgres(_) => &[],
            Plan::Prometheus(..) | Plan::Collector(..) | Plan::Grafana(..) => &[],
            Plan::Jobmanager => &["jobmanager"],
            Plan::Taskmanager(_) => &["taskmanager", "jobctl"],
        };
        programs.iter().try_for_each(|name| binary(settings, name).map(drop))
    }

    /// The port it needs, and the variable that chooses another.
    pub(super) fn port(&self, settings: &Settings) -> Option<(u16, &'static str)> {
        match self {
            Plan::Devbroker(port) | Plan::ApacheKafka(port) => Some((*port, "KAFKA_PORT")),
            Plan::Postgres(port) => Some((*port, "POSTGRES_PORT")),
            Plan::Jobmanager => Some((settings.jobmanager_port, "JOBMANAGER_PORT")),
            Plan::Taskmanager(_) => None,
            Plan::Prometheus(_, telemetry) => Some((telemetry.prometheus, "PROMETHEUS_PORT")),
            Plan::Collector(_, telemetry) => Some((telemetry.collector, "COLLECTOR_PORT")),
            Plan::Grafana(_, telemetry) => Some((telemetry.grafana, "GRAFANA_PORT")),
        }
    }

    /// Makes folders, configuration and whatever else the process needs. **The command lines of a cluster stand here.**
    pub(super) fn prepare(&self, settings: &Settings, state: &StateDir) -> Result<Component, Error> {
        let name = self.name();
        let log = state.log(&name);
        let data = state.data(&name);
        let component = |what: &str, launch, ready| Component {
            name: name.clone(),
            what: what.to_owned(),
            port: self.port(settings).map(|(port, _)| port),
            launch,
            ready,
        };
        Ok(match self {
            &Plan::Devbroker(port) => {
                let launch = devbroker_process::launch(&binary(settings, "devbroker")?, port, &data, &log);
                component("devbroker", launch, Ready::Kafka(port))
            }
            &Plan::ApacheKafka(port) => {
                let controller = ports::free().map_err(apache_kafka::Error::NoPort)?;
                let listeners = Listeners { plaintext: port, controller, sasl_ssl: None };
                // Another format than the development broker's: each has a folder of its own.
                let node = Node::prepare(&cache::dir(), &state.data("apache-kafka"), &listeners)?;
                component(&format!("apache kafka {}", apache_kafka::VERSION), node.launch(&log), Ready::Kafka(port))
            }
            &Plan::Postgres(port) => {
                let installation = Installation::find_or_download(&cache::dir())?;
                let server = Server::prepare(installation, &data, port, Durability::Crash)?;
                component("postgres", server.launch(&log), Ready::Postgres(server))
            }
            Plan::Jobmanager => {
                let address = settings.jobmanager_address();
                // A user may keep checkpoints elsewhere: in a bucket, say.
                let users = settings.variable("GAPWISE_CHECKPOINT_DIR").filter(|place| !place.is_empty());
                let place = users.map_or_else(|| state.data("checkpoints").into_os_string(), OsString::from);
                let launch = ours(settings, "jobmanager", &log, shutdown::of_jobmanager())?
                    .args(["--rpc-address", &address, "--checkpoint-dir"])
                    .args([place])
                    .args(metrics_address(settings, 0));
                component("jobmanager", launch, Ready::Port(settings.jobmanager_port))
            }
            &Plan::Taskmanager(number) => {
                let id = format!("tm-{number}");
                let jobmanager = settings.jobmanager_address();
                let slots = settings.slots.to_string();
                let args =
                    ["--jobmanager", &jobmanager, "--exchange-address", "127.0.0.1:0", "--slots", &slots, "--id", &id];
                let stop_limit = shutdown::of_taskmanager(leave_timeout(settings));
                let launch = ours(settings, "taskmanager", &log, stop_limit)?;
                let launch = launch.args(args).args(metrics_address(settings, number));
                let ready = Ready::Registered { jobctl: binary(settings, "jobctl")?, jobmanager, id };
                component("taskmanager", launch, ready)
            }
            Plan::Prometheus(program, telemetry) => {
                let launch = telemetry.prometheus(program, &data, &log, settings)?;
                component("prometheus", launch, Ready::Port(telemetry.prometheus))
            }
            Plan::Collector(program, telemetry) => {
                let launch = telemetry.collector(program, &data, &log)?;
                component("opentelemetry collector", launch, Ready::Port(telemetry.collector))
            }
            Plan::Grafana(program, telemetry) => {
                let launch = telemetry.grafana(program, &data, &log, settings)?;
                component("grafana", launch, Ready::Port(telemetry.grafana))
            }
        })
    }
}

impl Ready {
    /// Whether the component, which runs as `pid`, can be used now.
    pub(super) fn holds(&self, pid: u32) -> bool {
        match self {
            Ready::Kafka(port) => kafka_probe::is_ready(*port),
            Ready::Postgres(server) => server.is_ready(pid),
            Ready::Port(port) => ports::accepts(*port),
            Ready::Registered { jobctl, jobmanager, id } => is_registered(jobctl, jobmanager, id),
        }
    }

    /// How long it may take on a machine that is busy compiling.
    pub(super) fn limit(&self) -> Duration {
        match self {
            Ready::Kafka(_) => Duration::from_secs(120),
            Ready::Postgres(_) => Duration::from_secs(60),
            Ready::Port(_) | Ready::Registered { .. } => Duration::from_secs(30),
        }
    }
}

/// How long a taskmanager waits for last checkpoints. One that cannot read what is set does not start.
fn leave_timeout(settings: &Settings) -> Duration {
    let set = settings.variable("GAPWISE_TASKMANAGER_LEAVE_TIMEOUT");
    set.and_then(|text| duration::parse(&text).ok()).unwrap_or(shutdown::LEAVE_TIMEOUT)
}

fn ours(settings: &Settings, name: &str, log: &Path, stop_limit: Duration) -> Result<Launch, Error> {
    let mut launch = Launch::new(binary(settings, name)?, log);
    launch.stop_limit = stop_limit;
    launch.env = settings.cluster_env();
    if let Some(telemetry) = settings.telemetry.filter(|_| Telemetry::collects(settings).is_some()) {
        launch.env.extend(telemetry.exporting());
    }
    launch.current_dir = Some(settings.project.clone());
    Ok(launch)
}

/// Where the jobmanager (0) or a taskmanager is scraped, if somebody does.
fn metrics_address(settings: &Settings, taskmanager: u16) -> Vec<String> {
    let address = |telemetry: Telemetry| format!("127.0.0.1:{}", telemetry.metrics_of(taskmanager));
    settings.telemetry.map_or_else(Vec::new, |telemetry| vec!["--metrics-address".to_owned(), address(telemetry)])
}

fn binary(settings: &Settings, name: &str) -> Result<PathBuf, Error> {
    let path = settings.bin_dir.join(name);
    if program::is_executable(&path) { Ok(path) } else { Err(Error::NotBuilt(path)) }
}

fn is_registered(jobctl: &Path, jobmanager: &str, id: &str) -> bool {
    let mut command = Command::new(jobctl);
    command.args(["taskmanagers", "--output", "json"]).env("GAPWISE_JOBMANAGER_RPC_ADDRESS", jobmanager);
    let Ok(said) = program::run(&mut command) else { return false };
    serde_json::from_str(&said).is_ok_and(|list| names(&list, id))
}

/// Whether some string in the list is the id.
fn names(value: &serde_json::Value, id: &str) -> bool {
    match value {
        serde_json::Value::String(text) => text == id,
        serde_json::Value::Array(items) => items.iter().any(|item| names(item, id)),
        serde_json::Value::Object(fields) => fields.values().any(|field| names(field, id)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ours_are_killed_only_once_they_hang_however_long_a_taskmanager_may_wait() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        for name in ["jobmanager", "taskmanager", "jobctl"] {
            std::fs::write(dir.path().join(name), "").unwrap();
            std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let stop_limit = |plan: Plan, file: &str| {
            std::fs::write(dir.path().join(".env"), file).unwrap();
            let settings = Settings::from_env(dir.path(), dir.path()).unwrap();
            plan.prepare(&settings, &StateDir::new(dir.path())).unwrap().launch.stop_limit
        };
        // Drain, connections, telemetry; a taskmanager's last checkpoints and tasks.
        assert!(stop_limit(Plan::Jobmanager, "") > Duration::from_secs(5 + 2 + 6));
        assert!(stop_limit(Plan::Taskmanager(1), "") > Duration::from_secs(8 + 5 + 1 + 6));
        let set = stop_limit(Plan::Taskmanager(1), "GAPWISE_TASKMANAGER_LEAVE_TIMEOUT=2m\n");
        assert!(set > Duration::from_secs(120 + 5 + 1 + 6), "{set:?}");
    }

    #[test]
    fn a_taskmanager_is_found_in_the_list_by_its_whole_id() {
        let list = serde_json::json!([{"id": "tm-1", "slots": 2}, {"id": "tm-12", "slots": 2}]);
        assert!(names(&list, "tm-1"));
        assert!(!names(&list, "tm-2"));
        assert!(!names(&serde_json::json!([]), "tm-1"));
    }
}
