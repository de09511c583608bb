//! `make up TELEMETRY=1`: a Prometheus that scrapes our processes, and a Grafana with the dashboards of `deploy/`, where the machine has
//! these programs; and what it lacks, in words.
//!
//! No collector is started: Prometheus needs none to scrape, and traces and logs have nowhere to go without a Tempo and a Loki. Whoever has
//! these sets `OTEL_EXPORTER_OTLP_ENDPOINT`, which reaches our processes like any other variable.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::process::Launch;
use crate::program;
use crate::settings::Settings;

/// The ports, once telemetry is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telemetry {
    /// Of Prometheus.
    pub prometheus: u16,
    /// Of Grafana.
    pub grafana: u16,
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

/// Where Debian's package and Grafana's own put what the program needs beside itself.
const GRAFANA_HOME: &str = "/usr/share/grafana";

impl Telemetry {
    /// Where a taskmanager is scraped, counted from 1; 0 is the jobmanager.
    #[must_use]
    pub fn metrics_of(&self, taskmanager: u16) -> u16 {
        self.metrics + taskmanager
    }

    /// What this machine cannot show, and what would help.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if prometheus().is_none() {
            let at = self.metrics;
            missing.push(format!(
                "no `prometheus` on the PATH: no history and no alerts; metrics are at http://127.0.0.1:{at}/metrics and the ports behind it"
            ));
        }
        if grafana().is_none() {
            missing.push("no `grafana` on the PATH: no dashboards; docs/dashboards has pictures of them".to_owned());
        }
        missing.push(
            "no Tempo or Loki: traces go nowhere unless OTEL_EXPORTER_OTLP_ENDPOINT names a collector; logs are files"
                .to_owned(),
        );
        missing
    }

    /// Prometheus: its rules are those of the project, its targets our processes.
    ///
    /// # Errors
    /// If its configuration cannot be written.
    pub fn prometheus(&self, program: &Path, data: &Path, log: &Path, settings: &Settings) -> Result<Launch, Error> {
        let config = data.join("prometheus.yaml");
        write(&config, &self.scrape_config(&settings.project, settings.taskmanagers).to_string())?;
        let listen = format!("127.0.0.1:{}", self.prometheus);
        Ok(Launch::new(program, log)
            .args([format!("--config.file={}", config.display())])
            .args([format!("--storage.tsdb.path={}", data.join("tsdb").display())])
            .args([format!("--web.listen-address={listen}")]))
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

    /// JSON is YAML.
    fn scrape_config(&self, project: &Path, taskmanagers: u16) -> serde_json::Value {
        let at = |port: u16| format!("127.0.0.1:{port}");
        let scraped =
            |job: &str, targets: Vec<String>| json!({"job_name": job, "static_configs": [{"targets": targets}]});
        json!({
            "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
            "rule_files": [absolute(&project.join("deploy/prometheus/alerts.yaml"))],
            "scrape_configs": [
                scraped("gapwise-jobmanager", vec![at(self.metrics_of(0))]),
                scraped("gapwise-taskmanager", (1..=taskmanagers).map(|number| at(self.metrics_of(number))).collect()),
            ],
        })
    }
}

/// Prometheus on this machine.
#[must_use]
pub fn prometheus() -> Option<PathBuf> {
    program::on_path("prometheus")
}

/// Grafana on this machine.
#[must_use]
pub fn grafana() -> Option<PathBuf> {
    program::on_path("grafana").filter(|_| Path::new(GRAFANA_HOME).is_dir())
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

    const TELEMETRY: Telemetry = Telemetry { prometheus: 9090, grafana: 3000, metrics: 9464 };

    #[test]
    fn every_process_is_scraped_under_its_service_name() {
        let config = TELEMETRY.scrape_config(Path::new("/project"), 2);
        assert_eq!(config["rule_files"], json!(["/project/deploy/prometheus/alerts.yaml"]));
        let targets = |place: usize| config["scrape_configs"][place]["static_configs"][0]["targets"].clone();
        assert_eq!(targets(0), json!(["127.0.0.1:9464"]));
        assert_eq!(targets(1), json!(["127.0.0.1:9465", "127.0.0.1:9466"]));
    }

    #[test]
    fn a_login_in_the_database_url_goes_nowhere() {
        let (server, database) = without_scheme("jdbc:postgresql://me:secret@db:5432/web?sslmode=disable");
        assert_eq!((server.as_str(), database.as_str()), ("db:5432", "web"));
    }
}
