//! `make up TELEMETRY=1`: a collector that our processes tell of themselves, a Prometheus behind it, and a Grafana with the dashboards of
//! `deploy/`, where the machine has these programs or `scripts/telemetry-tools` has built them; and what it lacks, in words.
//!
//! Without a collector Prometheus scrapes our processes. With one it does not: each series would be there twice. Spans and log records end
//! in the collector's log, for there is no Tempo and no Loki. Whoever has these sets `OTEL_EXPORTER_OTLP_ENDPOINT`, which reaches our
//! processes like any other variable, and no collector is started.

mod programs;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::process::Launch;
use crate::settings::Settings;
use programs::GRAFANA_HOME;
pub use programs::{collector, grafana, prometheus};

/// The ports, once telemetry is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telemetry {
    /// Of Prometheus.
    pub prometheus: u16,
    /// Of Grafana.
    pub grafana: u16,
    /// Where the collector takes OTLP by HTTP.
    pub collector: u16,
    /// Where the jobmanager is scraped; the taskmanagers follow, one by one.
    pub metrics: u16,
}

/// A folder or file that a program needs could not be written.
#[derive(Debug, thiserror::Error)]
#[error("`{}` cannot be written", .path.display())]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// Who names a collector of their own has it.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How often metrics leave, in milliseconds: for what the dashboards are made.
const EXPORT_INTERVAL_MS: u32 = 10_000;

impl Telemetry {
    /// Where a taskmanager is scraped, counted from 1; 0 is the jobmanager.
    #[must_use]
    pub fn metrics_of(&self, taskmanager: u16) -> u16 {
        self.metrics + taskmanager
    }

    /// What this machine cannot show, and what would help.
    #[must_use]
    pub fn missing(&self, settings: &Settings) -> Vec<String> {
        const BUILD: &str =
            "`scripts/telemetry-tools` builds one with Go, once, within minutes; then `make down up TELEMETRY=1`";
        let mut missing = Vec::new();
        if prometheus().is_none() {
            let at = self.metrics;
            missing.push(format!(
                "no `prometheus` on the PATH or in the cache: no history and no alerts, and metrics are at http://127.0.0.1:{at}/metrics and the \
                 ports behind it; {BUILD}"
            ));
        }
        if let Some(endpoint) = settings.variable(ENDPOINT) {
            missing.push(format!("no collector was started: {ENDPOINT} names one, `{}`", without_login(&endpoint)));
        } else if collector().is_none() {
            missing.push(format!("no `otelcol` on the PATH or in the cache: nobody takes traces and logs; {BUILD}"));
        } else if prometheus().is_some() {
            missing.push(
                "no Tempo or Loki: traces and logs end in the collector's log, `make logs NAME=collector`".to_owned(),
            );
        }
        if grafana().is_none() {
            missing.push("no `grafana` on the PATH: no dashboards; docs/dashboards has pictures of them, `scripts/render-dashboards` draws your \
                 own, and `make up DOCKER=1` has one".to_owned());
        }
        missing
    }

    /// The collector that is to be started, if there is one, and a Prometheus to send metrics on to.
    #[must_use]
    pub fn collects(settings: &Settings) -> Option<PathBuf> {
        collector()
            .filter(|_| settings.telemetry.is_some() && settings.variable(ENDPOINT).is_none() && prometheus().is_some())
    }

    /// What tells our processes of the collector.
    #[must_use]
    pub fn exporting(&self) -> BTreeMap<String, Option<String>> {
        let set = |name: &str, value: String| (name.to_owned(), Some(value));
        [
            set(ENDPOINT, format!("http://127.0.0.1:{}", self.collector)),
            set("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
            set("OTEL_METRIC_EXPORT_INTERVAL", EXPORT_INTERVAL_MS.to_string()),
        ]
        .into()
    }

    /// A collector that sends metrics on to Prometheus, and writes into its log a line for each span and log record.
    ///
    /// # Errors
    /// If its configuration cannot be written.
    pub fn collector(&self, program: &Path, data: &Path, log: &Path) -> Result<Launch, Error> {
        let config = data.join("collector.yaml");
        write(&config, &self.collector_config().to_string())?;
        Ok(Launch::new(program, log).args([format!("--config={}", config.display())]))
    }

    /// Prometheus: its rules are those of the project. What it is not sent it fetches.
    ///
    /// # Errors
    /// If its configuration cannot be written.
    pub fn prometheus(&self, program: &Path, data: &Path, log: &Path, settings: &Settings) -> Result<Launch, Error> {
        let config = data.join("prometheus.yaml");
        let scraped = if Self::collects(settings).is_some() { None } else { Some(settings.taskmanagers) };
        write(&config, &self.prometheus_config(&settings.project, scraped).to_string())?;
        let listen = format!("127.0.0.1:{}", self.prometheus);
        Ok(Launch::new(program, log)
            .args([format!("--config.file={}", config.display())])
            .args([format!("--storage.tsdb.path={}", data.join("tsdb").display())])
            .args([format!("--web.listen-address={listen}"), "--web.enable-otlp-receiver".to_owned()]))
    }

    /// Grafana with the project's dashboards.
    ///
    /// # Errors
    /// If its folder cannot be made.
    pub fn grafana(&self, program: &Path, data: &Path, log: &Path, settings: &Settings) -> Result<Launch, Error> {
        create(data)?;
        let deploy = absolute(&settings.project.join("deploy/grafana"));
        let (server, database) = without_scheme(&settings.postgres_url());
        let login = |name: &str| settings.variable(name).unwrap_or_default();
        let variables = [
            ("GF_PATHS_DATA", data.display().to_string()),
            ("GF_PATHS_PROVISIONING", deploy.join("provisioning").display().to_string()),
            ("GF_SERVER_HTTP_ADDR", "127.0.0.1".to_owned()),
            ("GF_SERVER_HTTP_PORT", self.grafana.to_string()),
            ("GF_AUTH_ANONYMOUS_ENABLED", "true".to_owned()),
            ("GF_ANALYTICS_REPORTING_ENABLED", "false".to_owned()),
            ("GF_ANALYTICS_CHECK_FOR_UPDATES", "false".to_owned()),
            ("DASHBOARDS_DIR", deploy.join("dashboards").display().to_string()),
            ("PROMETHEUS_URL", format!("http://127.0.0.1:{}", self.prometheus)),
            ("SESSIONS_DATABASE_ADDRESS", server),
            ("SESSIONS_DATABASE", database),
            ("SESSIONS_DATABASE_USER", login("POSTGRES_USER")),
            ("SESSIONS_DATABASE_PASSWORD", login("POSTGRES_PASSWORD")),
            ("SESSIONS_DATABASE_SSLMODE", "disable".to_owned()),
        ];
        let mut launch = Launch::new(program, log).args(["server", "--homepath", GRAFANA_HOME]);
        launch.env = variables.into_iter().map(|(name, value)| (name.to_owned(), Some(value))).collect();
        Ok(launch)
    }

    /// JSON is YAML. `scraped` is how many taskmanagers there are, where nobody sends.
    fn prometheus_config(&self, project: &Path, scraped: Option<u16>) -> serde_json::Value {
        let at = |port: u16| format!("127.0.0.1:{port}");
        let job = |job: &str, targets: Vec<String>| json!({"job_name": job, "static_configs": [{"targets": targets}]});
        let jobs = |taskmanagers| {
            let numbers = 1..=taskmanagers;
            vec![
                job("gapwise-jobmanager", vec![at(self.metrics_of(0))]),
                job("gapwise-taskmanager", numbers.map(|number| at(self.metrics_of(number))).collect()),
            ]
        };
        json!({
            "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
            "otlp": {"promote_resource_attributes": ["service.name", "service.instance.id"]},
            "rule_files": [absolute(&project.join("deploy/prometheus/alerts.yaml"))],
            "scrape_configs": scraped.map(jobs).unwrap_or_default(),
        })
    }

    /// Batches are those of our processes.
    fn collector_config(&self) -> serde_json::Value {
        let pipeline = |exporter: &str| json!({"receivers": ["otlp"], "exporters": [exporter]});
        json!({
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": format!("127.0.0.1:{}", self.collector)}}}},
            "exporters": {
                "otlphttp": {"endpoint": format!("http://127.0.0.1:{}/api/v1/otlp", self.prometheus)},
                "debug": {"verbosity": "normal"},
            },
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"metrics": pipeline("otlphttp"), "traces": pipeline("debug"), "logs": pipeline("debug")},
            },
        })
    }
}

/// A URL as it may be shown.
fn without_login(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{place}"),
        _ => url.to_owned(),
    }
}

/// `HOST:PORT` and database of a URL of Postgres; a login in it is left out.
fn without_scheme(url: &str) -> (String, String) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit('@').next().unwrap_or_default();
    let (server, database) = rest.split_once('/').unwrap_or((rest, ""));
    (server.to_owned(), database.split('?').next().unwrap_or_default().to_owned())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn create(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|source| Error { path: folder.to_owned(), source })
}

fn write(file: &Path, text: &str) -> Result<(), Error> {
    file.parent().map_or(Ok(()), create)?;
    fs::write(file, text).map_err(|source| Error { path: file.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TELEMETRY: Telemetry = Telemetry { prometheus: 9090, grafana: 3000, collector: 4318, metrics: 9464 };

    #[test]
    fn every_process_is_scraped_under_its_service_name() {
        let config = TELEMETRY.prometheus_config(Path::new("/project"), Some(2));
        assert_eq!(config["rule_files"], json!(["/project/deploy/prometheus/alerts.yaml"]));
        let targets = |place: usize| config["scrape_configs"][place]["static_configs"][0]["targets"].clone();
        assert_eq!(targets(0), json!(["127.0.0.1:9464"]));
        assert_eq!(targets(1), json!(["127.0.0.1:9465", "127.0.0.1:9466"]));
    }

    #[test]
    fn what_a_collector_sends_is_not_scraped_as_well() {
        let config = TELEMETRY.prometheus_config(Path::new("/project"), None);
        assert_eq!(config["scrape_configs"], json!([]));
        let collector = TELEMETRY.collector_config();
        assert_eq!(collector["exporters"]["otlphttp"]["endpoint"], "http://127.0.0.1:9090/api/v1/otlp");
        let endpoint = &TELEMETRY.exporting()[ENDPOINT];
        assert_eq!(endpoint.as_deref(), Some("http://127.0.0.1:4318"));
        assert_eq!(collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"], "127.0.0.1:4318");
    }

    #[test]
    fn a_login_in_the_database_url_goes_nowhere() {
        let (server, database) = without_scheme("jdbc:postgresql://me:secret@db:5432/web?sslmode=disable");
        assert_eq!((server.as_str(), database.as_str()), ("db:5432", "web"));
    }
}
