//! One call of the service: a request, and what its answer means.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode, Url, header};
use serde::Deserialize;
use serde::de::IgnoredAny;
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind};

use super::settings::Settings;
use crate::geo::calls::{Limits, Outcome};
use crate::geo::location::Location;

/// A longer answer is none: the service's have a few hundred bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// The way to the service. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client,
    /// With the key in it: never to be shown.
    url: Url,
}

/// The part of an answer that is wanted.
#[derive(Deserialize)]
struct Found {
    country_code: Option<String>,
    region_name: Option<String>,
    city_name: Option<String>,
    error: Option<IgnoredAny>,
}

impl Http {
    pub(super) fn new(settings: &Settings) -> Result<Self, ConnectorError> {
        let Limits { timeout, connections, .. } = settings.limits;
        let client = Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .pool_max_idle_per_host(connections)
            // Another host is not the one that the key was given to.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| {
                let message = "cannot make a client for the service of locations";
                ConnectorError::caused_by(ConnectorErrorKind::Failed, message, error.without_url())
            })?;
        let mut url = settings.url.clone();
        url.query_pairs_mut().append_pair("key", settings.key.expose()).append_pair("format", "json");
        Ok(Http { client, url })
    }

    /// Asks about an ip.
    pub(super) async fn call(&self, ip: &str) -> Outcome {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("ip", ip);
        match self.client.get(url).send().await {
            Ok(response) => understand(response).await,
            Err(error) => Outcome::Failed(words(error)),
        }
    }
}

async fn understand(response: Response) -> Outcome {
    match response.status() {
        StatusCode::OK => match body(response).await {
            Ok(body) => read(&body),
            Err(reason) => Outcome::Failed(reason),
        },
        StatusCode::TOO_MANY_REQUESTS => Outcome::Limited { after: retry_after(&response) },
        status @ (StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN) => {
            Outcome::Refused(format!("it answers {status}: is IP_CODING_KEY right, and its quota not used up?"))
        }
        // An address that the service knows nothing of.
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Outcome::Nothing,
        status => Outcome::Failed(format!("it answers {status}")),
    }
}

async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(words)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(format!("its answer is longer than {MAX_ANSWER_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn read(body: &[u8]) -> Outcome {
    let Ok(Found { country_code, region_name, city_name, error: None }) = serde_json::from_slice(body) else {
        return Outcome::Failed("its answer is not the JSON that it should be".to_owned());
    };
    // What it does not know of an address it calls `-`.
    let known = |text: Option<String>| text.filter(|text| text != "-").unwrap_or_default();
    let (country, state, city) = (known(country_code), known(region_name), known(city_name));
    Outcome::of(Location { country: &country, state: &state, city: &city }.answer())
}

/// In seconds; a date is not read, since clocks differ.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The client's words, without the address, which holds the key.
fn words(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "it does not answer in time".to_owned();
    }
    let error = error.without_url();
    let causes = stream_runtime::connector::cause_chain(&error);
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_they_are_documented() {
        let body = br#"{"ip":"8.8.8.8","country_code":"US","country_name":"United States of America",
            "region_name":"California","city_name":"Mountain View","latitude":37.38605,"is_proxy":false}"#;
        let json = r#"{"country":"US","state":"California","city":"Mountain View"}"#;
        assert_eq!(read(body), Outcome::Found(json.to_owned()));
        let escaped = br#"{"country_code":"DE","region_name":"K\u00f6ln","city_name":null}"#;
        assert_eq!(
            read(escaped),
            Outcome::Found("{\"country\":\"DE\",\"state\":\"K\u{f6}ln\",\"city\":\"\"}".to_owned())
        );
        assert_eq!(read(br#"{"country_code":"-","region_name":"-","city_name":"-"}"#), Outcome::Nothing);
        for body in ["<html>", r#"{"error":{"error_code":10000,"error_message":"…"}}"#] {
            assert!(matches!(read(body.as_bytes()), Outcome::Failed(_)), "{body}");
        }
    }
}
