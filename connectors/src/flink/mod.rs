//! A Flink cluster as its SQL Gateway shows it: statements in, and what becomes of the jobs that they start.
//!
//! Of the gateway's REST API this takes version 2, which it has had since Flink 1.17 and still has in 2.2: a session, in it
//! operations (one for each statement), and of each its result in pages. `DESCRIBE JOB` is there since 1.20. Why a job failed
//! the gateway does not tell; the jobmanager does, where the session names it and it can be reached from here.
//!
//! | module | holds |
//! |---|---|
//! | `error` | what can go wrong, for the user |
//! | `http` | one request and its answer |
//! | `stack_trace` | what a Java stack trace says, without the stack |
//!
//! Tests: beside the code for texts, and `e2e/tests/clusters/flink.rs` against a real Flink.

mod error;
mod http;
mod stack_trace;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

pub use error::Error;
use http::Http;

/// How long one statement may take. The first of a gateway loads Flink's planner, and an `INSERT` waits until the cluster has
/// taken the job.
const STATEMENT_LIMIT: Duration = Duration::from_secs(180);
/// From one look for a result to the next.
const POLL: Duration = Duration::from_millis(50);

/// Where a gateway is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    http: Http,
}

/// A session: what is `SET` or made `TEMPORARY` in it ends with it; the jobs that it started do not.
#[derive(Debug)]
pub struct Session {
    http: Http,
    /// `v2/sessions/HANDLE`.
    path: String,
}

/// What a statement gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The job that it started.
    pub job_id: Option<String>,
    /// Its rows, each field as JSON.
    pub rows: Vec<Vec<Value>>,
}

impl Gateway {
    /// A gateway at `http://HOST:PORT` or `https://HOST:PORT`; it is not reached yet.
    ///
    /// # Errors
    /// If that is no such address, or one with a password in it.
    pub fn new(address: &str) -> Result<Self, Error> {
        Ok(Gateway { http: Http::new(address)? })
    }

    /// Opens a session; `name` is for who looks at the gateway's log.
    ///
    /// # Errors
    /// If no gateway answers.
    pub async fn open(&self, name: &str) -> Result<Session, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Opened {
            session_handle: String,
        }
        let Opened { session_handle } = self.http.post("v2/sessions", &json!({ "sessionName": name })).await?;
        Ok(Session { http: self.http.clone(), path: format!("v2/sessions/{session_handle}") })
    }
}

/// A page of an operation's result.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    result_type: ResultType,
    #[serde(rename = "jobID")]
    job_id: Option<String>,
    results: Option<Results>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ResultType {
    NotReady,
    Payload,
    Eos,
}

#[derive(Deserialize)]
struct Results {
    data: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    fields: Vec<Value>,
}

impl Session {
    /// Runs one statement, without a `;` behind it, to its end.
    ///
    /// # Errors
    /// If Flink refuses it, with Flink's words (which may quote the statement), or the gateway is gone.
    pub async fn execute(&self, statement: &str) -> Result<Answer, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Started {
            operation_handle: String,
        }
        let path = format!("{}/statements", self.path);
        let Started { operation_handle } = self.http.post(&path, &json!({ "statement": statement })).await?;
        let operation = format!("{}/operations/{operation_handle}", self.path);
        let fetched = tokio::time::timeout(STATEMENT_LIMIT, self.fetch(&operation)).await;
        // The gateway keeps an operation until it is closed; if this fails, until the session is.
        let _ = self.http.delete(&format!("{operation}/close")).await;
        match fetched {
            Ok(Err(Error::Failed { causes, .. })) => Err(Error::refused(statement, causes)),
            Ok(fetched) => fetched,
            Err(_) => Err(Error::Timeout { address: self.http.address() }),
        }
    }

    async fn fetch(&self, operation: &str) -> Result<Answer, Error> {
        let mut answer = Answer::default();
        let mut token = 0;
        loop {
            let page: Page = self.http.get(&format!("{operation}/result/{token}?rowFormat=JSON")).await?;
            answer.job_id = answer.job_id.or(page.job_id);
            let rows = page.results.into_iter().flat_map(|results| results.data);
            answer.rows.extend(rows.map(|row| row.fields));
            match page.result_type {
                ResultType::NotReady => tokio::time::sleep(POLL).await,
                ResultType::Payload => token += 1,
                ResultType::Eos => return Ok(answer),
            }
        }
    }

    /// A job's state, as Flink writes it: `RUNNING`, `FAILED`, ….
    ///
    /// # Errors
    /// If the cluster does not know the job, or the gateway is gone.
    pub async fn job_state(&self, job_id: &str) -> Result<String, Error> {
        const STATUS: usize = 2; // Behind `job id` and `job name`.
        let mut answer = self.execute(&format!("DESCRIBE JOB '{}'", job_id.replace('\'', "''"))).await?;
        match answer.rows.first_mut().and_then(|row| row.get_mut(STATUS)).map(Value::take) {
            Some(Value::String(state)) => Ok(state),
            _ => Err(self.http.foreign("without the job's state")),
        }
    }

    /// Why a job failed last, outermost first. Empty where the cluster's jobmanager cannot be asked from here.
    pub async fn job_failure(&self, job_id: &str) -> Vec<String> {
        self.exception(job_id).await.map_or_else(|_| Vec::new(), |trace| stack_trace::causes(&trace))
    }

    async fn exception(&self, job_id: &str) -> Result<String, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Exceptions {
            exception_history: History,
        }
        #[derive(Deserialize)]
        struct History {
            entries: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            stacktrace: String,
        }
        let jobmanager = Http::new(&self.jobmanager().await?)?;
        let exceptions: Exceptions = jobmanager.get(&format!("jobs/{job_id}/exceptions?maxExceptions=1")).await?;
        let latest = exceptions.exception_history.entries.into_iter().next();
        latest.map(|entry| entry.stacktrace).ok_or_else(|| jobmanager.foreign("without an exception"))
    }

    /// Where the session's jobs are submitted to.
    async fn jobmanager(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Config {
            properties: BTreeMap<String, String>,
        }
        let Config { properties } = self.http.get(&self.path).await?;
        let scheme = match properties.get("security.ssl.rest.enabled").map(String::as_str) {
            Some("true") => "https",
            _ => "http",
        };
        match (properties.get("rest.address"), properties.get("rest.port")) {
            (Some(host), Some(port)) => Ok(format!("{scheme}://{host}:{port}")),
            _ => Err(self.http.foreign("without the jobmanager's address")),
        }
    }

    /// Ends the session. One that is not closed ends by itself, after ten minutes in Flink's default.
    pub async fn close(self) {
        // What cannot be told to the gateway it finds out.
        let _ = self.http.delete(&self.path).await;
    }
}
