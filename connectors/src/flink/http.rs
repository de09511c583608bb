//! One request and its answer, both JSON.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stream_runtime::connector::cause_chain;

use super::error::Error;
use super::stack_trace;

/// How long one request may take; a gateway works on statements in the background.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// How long connecting may take: a person waits.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A longer answer is none: a stack trace of Flink's has some ten thousand bytes.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// The way to a server of Flink's. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client,
    base: Url,
}

/// How Flink says no: a word, and where there is one a stack trace.
#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

impl Http {
    pub(super) fn new(address: &str) -> Result<Self, Error> {
        let base = base(address)?;
        let client = Client::builder()
            .timeout(REQUEST_LIMIT)
            .connect_timeout(CONNECT_LIMIT)
            // Statements have passwords in them, and are for nobody else.
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let client = client.map_err(|error| Error::Client { cause: words(error) })?;
        Ok(Http { client, base })
    }

    /// For messages.
    pub(super) fn address(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    pub(super) fn foreign(&self, answer: impl Into<String>) -> Error {
        Error::Foreign { address: self.address(), answer: answer.into() }
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.send(self.client.get(self.url(path))).await
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Error> {
        self.send(self.client.post(self.url(path)).header("content-type", "application/json").body(body.to_string()))
            .await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value, Error> {
        self.send(self.client.delete(self.url(path))).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let mut response = request.send().await.map_err(|error| self.lost(error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.lost(error))? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(self.foreign(format!("longer than {MAX_ANSWER_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if response.status().is_success() {
            return serde_json::from_slice(&body).map_err(|_| self.foreign("not the JSON that it should be"));
        }
        match serde_json::from_slice(&body) {
            Ok(Errors { errors }) => Err(Error::Failed { address: self.address(), causes: told(&errors) }),
            Err(_) => Err(self.foreign(response.status().to_string())),
        }
    }

    fn lost(&self, error: reqwest::Error) -> Error {
        let address = self.address();
        if error.is_timeout() && !error.is_connect() {
            Error::Timeout { address }
        } else {
            Error::Unreachable { address, cause: words(error) }
        }
    }
}

fn base(address: &str) -> Result<Url, Error> {
    let is_plain = |url: &Url| {
        let has_user = !url.username().is_empty() || url.password().is_some();
        let has_more = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
        matches!(url.scheme(), "http" | "https") && url.has_host() && !has_user && !has_more
    };
    let base = Url::parse(address).ok().filter(is_plain);
    base.ok_or_else(|| Error::Address(without_user(address).to_owned()))
}

/// What is told of an answer's errors: the trace's exceptions where there is a trace, else the texts as they are.
fn told(errors: &[String]) -> Vec<String> {
    let of_traces: Vec<String> = errors.iter().flat_map(|text| stack_trace::causes(text)).collect();
    if of_traces.is_empty() { errors.to_vec() } else { of_traces }
}

/// A password in an address is not repeated.
fn without_user(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or(address)
}

/// The library's words for why a server is not reached, the innermost.
fn words(error: reqwest::Error) -> String {
    cause_chain(&error.without_url()).pop().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_plain_ones() {
        for address in ["http://h:8083", "https://h", "http://[::1]:8083/"] {
            assert!(base(address).is_ok(), "{address}");
        }
        for address in [
            "h:8083",
            "ftp://h",
            "http://",
            "http://h:8083/v2",
            "http://me:hunter2@h:8083",
            "http://:hunter2@h:8083",
            "http://h:8083?a",
        ] {
            let error = base(address).expect_err(address).to_string();
            assert!(error.contains("write `http://HOST:8083`") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn errors_without_a_trace_are_told_as_they_are() {
        let errors = ["Not found: /v2/x".to_owned()];
        assert_eq!(told(&errors), errors);
        let errors = ["Internal server error.".to_owned(), "a.B: x\nCaused by: a.C: y".to_owned()];
        assert_eq!(told(&errors), ["x", "y"]);
    }
}
