//! A real collector of OpenTelemetry and a real Prometheus, for tests: what `scripts/telemetry-tools` built.
//!
//! The collector takes OTLP by gRPC and by HTTP and sends metrics on into Prometheus; Prometheus fetches `/metrics` as well. Spans and
//! log records the collector writes into its log.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use localcluster::deadline::Deadline;
use localcluster::ports;
use localcluster::process::{Launch, OwnedChild};
use serde_json::Value;

/// Where `make test-telemetry` says that the programs are.
const TOOLS: &str = "GAPWISE_TELEMETRY_TOOLS";
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Both, until dropped.
#[derive(Debug)]
pub struct TelemetryTools {
    /// Where the collector takes OTLP by gRPC, on 127.0.0.1.
    pub grpc_port: u16,
    /// The same by HTTP.
    pub http_port: u16,
    /// Where processes are to serve `/metrics`.
    pub scraped_ports: Vec<u16>,
    prometheus_port: u16,
    _collector: OwnedChild,
    _prometheus: OwnedChild,
    collector_log: PathBuf,
}

impl TelemetryTools {
    /// Starts both; `None`, with a word, where they are not built.
    ///
    /// # Errors
    /// If one does not start.
    pub fn start(dir: &Path, scraped: usize) -> Result<Option<TelemetryTools>> {
        let Some(tools) = std::env::var_os(TOOLS).filter(|folder| !folder.is_empty()).map(PathBuf::from) else {
            eprintln!(
                "SKIPPED: no real collector and no Prometheus; `make test-telemetry` builds and names them by {TOOLS}"
            );
            return Ok(None);
        };
        let [grpc_port, http_port, prometheus_port] = [ports::free()?, ports::free()?, ports::free()?];
        let scraped_ports = (0..scraped).map(|_| ports::free()).collect::<std::io::Result<Vec<u16>>>()?;
        let collector_log = dir.join("otelcol.log");
        let prometheus = prometheus(&tools, dir, prometheus_port, &scraped_ports)?;
        let collector = collector(&tools, dir, &collector_log, grpc_port, http_port, prometheus_port)?;
        for (port, name) in [(prometheus_port, "prometheus"), (grpc_port, "otelcol"), (http_port, "otelcol")] {
            let log = || std::fs::read_to_string(dir.join(format!("{name}.log"))).unwrap_or_default();
            ensure!(Deadline::after(READY_LIMIT).wait_until(|| ports::accepts(port)), "{name} is not up:\n{}", log());
        }
        let (_collector, _prometheus) = (collector, prometheus);
        Ok(Some(TelemetryTools {
            grpc_port,
            http_port,
            scraped_ports,
            prometheus_port,
            _collector,
            _prometheus,
            collector_log,
        }))
    }

    /// Where Prometheus answers.
    pub fn prometheus_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.prometheus_port)
    }

    /// The series that a query returns.
    ///
    /// # Errors
    /// If Prometheus does not take it.
    pub fn query(&self, query: &str) -> Result<Vec<Value>> {
        let answer = get(self.prometheus_port, &format!("/api/v1/query?query={}", encoded(query)))?;
        let answer: Value = serde_json::from_str(&answer)?;
        ensure!(answer["status"] == "success", "`{query}`: {answer}");
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    /// What Prometheus knows of a metric: kind, unit, meaning.
    ///
    /// # Errors
    /// If Prometheus does not answer.
    pub fn metadata(&self, metric: &str) -> Result<Value> {
        let answer = get(self.prometheus_port, &format!("/api/v1/metadata?metric={}", encoded(metric)))?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// What the collector wrote of spans and log records.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub fn collected(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.collector_log)?)
    }
}

fn prometheus(tools: &Path, dir: &Path, port: u16, scraped: &[u16]) -> Result<OwnedChild> {
    let targets: Vec<String> = scraped.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
    let config = format!(
        "global: {{ scrape_interval: 1s }}\n\
         otlp: {{ promote_resource_attributes: [service.instance.id] }}\n\
         scrape_configs:\n- job_name: scraped\n  static_configs: [{{ targets: [{}] }}]\n",
        targets.join(", ")
    );
    let file = dir.join("prometheus.yml");
    std::fs::write(&file, config)?;
    let launch = Launch::new(tools.join("prometheus"), dir.join("prometheus.log"))
        .args([
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", dir.join("tsdb").display()),
        ])
        .args([format!("--web.listen-address=127.0.0.1:{port}"), "--web.enable-otlp-receiver".to_owned()]);
    Ok(OwnedChild::start(&launch)?)
}

fn collector(tools: &Path, dir: &Path, log: &Path, grpc: u16, http: u16, prometheus: u16) -> Result<OwnedChild> {
    let config = format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '127.0.0.1:{grpc}' }}, http: {{ endpoint: '127.0.0.1:{http}' }} }} }} }}\n\
         exporters:\n  otlphttp: {{ endpoint: 'http://127.0.0.1:{prometheus}/api/v1/otlp' }}\n  debug: {{ verbosity: detailed }}\n\
         service:\n  telemetry: {{ metrics: {{ level: none }} }}\n  pipelines:\n    metrics: {{ receivers: [otlp], exporters: [otlphttp] }}\n    \
         traces: {{ receivers: [otlp], exporters: [debug] }}\n    logs: {{ receivers: [otlp], exporters: [debug] }}\n"
    );
    let file = dir.join("otelcol.yaml");
    std::fs::write(&file, config)?;
    let launch = Launch::new(tools.join("otelcol"), log).args([format!("--config={}", file.display())]);
    Ok(OwnedChild::start(&launch)?)
}

/// The body of an answer of a server of this machine.
///
/// # Errors
/// If it does not answer, or not with 200.
pub fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = ports::connect(port)?;
    // HTTP/1.0 is answered in one piece.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer in HTTP")?;
    ensure!(head.lines().next().is_some_and(|status| status.contains(" 200 ")), "{head}\n{body}");
    Ok(body.to_owned())
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() {
            true => encoded.push(char::from(byte)),
            false => write!(encoded, "%{byte:02X}").expect("a string takes everything"),
        }
    }
    encoded
}
