//! An S3 server of a test: `moto`, which keeps its buckets in memory, behind a [`Proxy`] that can take it away.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use localcluster::deadline::Deadline;
use localcluster::process::{Launch, OwnedChild};
use localcluster::{ports, program};

use crate::proxy::{Proxy, Weather};

/// Python starts slowly on a machine that is busy with other tests.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// What starts it, in Python.
const SCRIPT: &str = include_str!("object_server.py");

/// A running server with one bucket; stopped when dropped.
#[derive(Debug)]
pub struct ObjectServer {
    proxy: Proxy,
    _process: OwnedChild,
}

impl ObjectServer {
    /// The bucket that is there.
    pub const BUCKET: &str = "gapwise";

    /// Whether there can be a server on this machine. If not, says why `what` is skipped, past what captures the words of a
    /// test that passes.
    pub fn is_available_for(what: &str) -> bool {
        let Err(missing) = ObjectServer::available() else { return true };
        let _ = writeln!(io::stderr(), "SKIPPED: {what} ({missing})");
        false
    }

    fn available() -> Result<(), &'static str> {
        let python = program::on_path("python3").ok_or("no `python3`")?;
        let looked = Command::new(python).args(["-c", "import moto.moto_server.werkzeug_app"]).output();
        let has_moto = looked.is_ok_and(|said| said.status.success());
        has_moto.then_some(()).ok_or("Python has no moto: pip install 'moto[server]'")
    }

    /// Starts one that lets everybody in.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(dir: &Path) -> Result<ObjectServer> {
        ObjectServer::start_with(dir, &[])
    }

    /// As [`ObjectServer::start`], for those alone whom it knows, which is nobody.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_locked(dir: &Path) -> Result<ObjectServer> {
        // One request is free: the one that makes the bucket.
        ObjectServer::start_with(dir, &[("INITIAL_NO_AUTH_ACTION_COUNT", "1")])
    }

    fn start_with(dir: &Path, env: &[(&str, &str)]) -> Result<ObjectServer> {
        let port = ports::free()?;
        let python = program::on_path("python3").context("no python3")?;
        let mut launch = Launch::new(python, dir.join("moto.log")).args(["-c", SCRIPT, &port.to_string()]);
        launch.env = env.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect();
        let process = OwnedChild::start(&launch)?;
        let is_ready = Deadline::after(READY_LIMIT).wait_until(|| ports::accepts(port));
        ensure!(is_ready, "moto does not start:\n{}", launch.last_words());
        ask(port, "PUT", "").context("no bucket is made")?;
        Ok(ObjectServer { proxy: Proxy::start(port)?, _process: process })
    }

    /// Where clients connect.
    pub fn port(&self) -> u16 {
        self.proxy.port()
    }

    /// The URI of a prefix in the bucket.
    pub fn uri(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}", ObjectServer::BUCKET)
    }

    /// What is in the bucket out of sight of a store: objects that never got their names, probes, uploads that go on.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn hidden(&self) -> Result<Vec<String>> {
        let (objects, uploads) = (ask(self.port(), "GET", "?list-type=2")?, ask(self.port(), "GET", "?uploads")?);
        let keys = |answer: &str| -> Vec<String> {
            let found = answer.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
            found.map(str::to_owned).collect()
        };
        let mut hidden = keys(&objects);
        hidden.retain(|key| key.contains("/."));
        hidden.extend(keys(&uploads));
        Ok(hidden)
    }

    /// The variables by which clients find it.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let endpoint = format!("http://127.0.0.1:{}", self.port());
        let variables = [
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Nobody reaches it from now on.
    pub fn take_away(&self) {
        self.proxy.set(Weather::Closed);
        self.proxy.cut();
    }

    /// It is back, with everything that it had.
    pub fn bring_back(&self) {
        self.proxy.set(Weather::Fair);
    }
}

/// Its answer to a request without a body, about the bucket.
fn ask(port: u16, method: &str, query: &str) -> Result<String> {
    let mut stream = ports::connect(port)?;
    let bucket = ObjectServer::BUCKET;
    // It wants to know who asks, and not whether that is so.
    let key = "Authorization: AWS4-HMAC-SHA256 Credential=test/20200101/us-east-1/s3/aws4_request";
    let host = format!("Host: 127.0.0.1:{port}");
    write!(
        stream,
        "{method} /{bucket}{query} HTTP/1.1\r\n{host}\r\n{key}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "moto answers {answer}");
    Ok(answer)
}
