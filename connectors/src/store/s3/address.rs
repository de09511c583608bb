//! Where a store in S3 is, and how to get in: the URI, the variables that every tool for S3 knows, the limits of waiting.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3CopyIfNotExists};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use stream_runtime::store::{StoreError, StoreErrorKind};

/// The `AWS_…` variables of the environment.
pub(in super::super) type Variables = BTreeMap<String, String>;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one request may take with its body, which is one part of an object at most.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the server may take to copy an object of its own and to put one together.
const PATIENT_TIMEOUT: Duration = Duration::from_secs(300);
/// How long, and how often, a request is sent again that did not reach the server, or met one that was too busy. A checkpoint
/// that fails is followed by another: there is no point in holding on for long.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
const RETRIES: usize = 5;
const BACKOFF: BackoffConfig =
    BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(2), base: 2.0 };

/// A bucket and what our objects' names begin with there.
#[derive(Debug)]
pub(in super::super) struct Address {
    bucket: String,
    /// Without `/` at its ends; may be empty.
    pub(super) prefix: Path,
    /// The server, if it is not AWS.
    endpoint: Option<String>,
}

impl Address {
    /// What follows `s3://` in a URI.
    ///
    /// # Errors
    /// If that is no bucket with a prefix; the message repeats none of it, for it may be a secret.
    pub(in super::super) fn parse(rest: &str, variables: &Variables) -> Result<Self, StoreError> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_bucket = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'));
        if !is_bucket {
            return Err(invalid(
                "the bucket in `s3://BUCKET/PREFIX` has 3 to 63 of a-z, 0-9, `.`, `-`; credentials and endpoint are told by \
                 AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
                    .to_owned(),
            ));
        }
        let prefix = prefix.trim_end_matches('/');
        let is_part = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=+".contains(&byte))
        };
        if !prefix.is_empty() && !prefix.split('/').all(is_part) {
            let parts = "letters, digits, `-`, `_`, `.`, `=` and `+` between single `/`";
            return Err(invalid(format!("the prefix in `s3://{bucket}/PREFIX` is to consist of {parts}")));
        }
        let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
        let endpoint = endpoint.iter().find_map(|name| variables.get(*name)).cloned();
        Ok(Address { bucket: bucket.to_owned(), prefix: Path::from(prefix), endpoint })
    }

    /// The server, as to be told to a user.
    pub(super) fn server(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| "AWS".to_owned())
    }

    /// The bucket.
    pub(super) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Two clients, the second with more patience.
    ///
    /// # Errors
    /// If the variables contradict each other.
    pub(super) fn clients(&self, variables: &Variables) -> Result<(AmazonS3, AmazonS3), StoreError> {
        // The client writes the address into the log when it tries again.
        if self.endpoint.as_ref().is_some_and(|url| url.contains('@')) {
            let what_to_do = "leave the address alone there, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
            return Err(invalid(format!("AWS_ENDPOINT_URL has a user or password in it; {what_to_do}")));
        }
        let allows_http = variables.get("AWS_ALLOW_HTTP").is_some_and(|value| is_true(value));
        if self.endpoint.as_ref().is_some_and(|url| url.starts_with("http://")) && !allows_http {
            let what_to_do = "set AWS_ALLOW_HTTP=true if the network can be trusted, or use `https://`";
            return Err(invalid(format!(
                "AWS_ENDPOINT_URL is `http://`, which everybody can read along; {what_to_do}"
            )));
        }
        Ok((self.client(variables, REQUEST_TIMEOUT)?, self.client(variables, PATIENT_TIMEOUT)?))
    }

    fn client(&self, variables: &Variables, timeout: Duration) -> Result<AmazonS3, StoreError> {
        // Without one no client is made; if there is one already, that is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout(timeout);
        // The options come first: variables are added to them, and may say otherwise.
        let mut builder = AmazonS3Builder::new().with_client_options(options);
        for (name, value) in variables {
            if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                builder = builder.with_config(key, value);
            }
        }
        let retry = RetryConfig { backoff: BACKOFF, max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT };
        let built = builder
            .with_bucket_name(&self.bucket)
            .with_retry(retry)
            // One by one: not every server knows the other way, and few are deleted at a time.
            .with_disable_bulk_delete(true)
            .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
            .build();
        built.map_err(|error| {
            let reason = super::failure::reason(&error);
            invalid(format!("the AWS_… variables do not do for `{self}`: {reason}"))
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

fn is_true(value: &str) -> bool {
    ["1", "true", "on", "yes", "y"].contains(&value.to_ascii_lowercase().as_str())
}

fn invalid(message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_a_bucket_with_a_prefix() {
        for (rest, shown) in [
            ("bucket", "s3://bucket/"),
            ("bucket/", "s3://bucket/"),
            ("my.bucket-1/jobs/a=1/", "s3://my.bucket-1/jobs/a=1"),
        ] {
            assert_eq!(Address::parse(rest, &Variables::new()).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_a_word_of_it() {
        for rest in
            ["", "ab", "key:hunter2@bucket/a", "Bucket", "bucket//hunter2", "bucket/../hunter2", "bucket/a?hunter2"]
        {
            let error = Address::parse(rest, &Variables::new()).unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::Invalid, "{rest}");
            assert!(!error.message.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_endpoint_without_tls_must_be_wanted() {
        let mut variables = Variables::from([("AWS_ENDPOINT_URL".to_owned(), "http://s3.example".to_owned())]);
        let address = Address::parse("bucket", &variables).unwrap();
        let error = address.clients(&variables).unwrap_err();
        assert!(error.message.contains("AWS_ALLOW_HTTP"), "{error}");
        variables.insert("AWS_ALLOW_HTTP".to_owned(), "true".to_owned());
        address.clients(&variables).unwrap();
        assert_eq!(address.server(), "http://s3.example");
    }

    #[test]
    fn an_endpoint_with_a_password_is_refused_without_a_word_of_it() {
        let endpoint = "https://me:hunter2@s3.example".to_owned();
        let variables = Variables::from([("AWS_ENDPOINT_URL".to_owned(), endpoint)]);
        let error = Address::parse("bucket", &variables).unwrap().clients(&variables).unwrap_err();
        assert!(error.message.contains("AWS_ACCESS_KEY_ID") && !error.message.contains("hunter2"), "{error}");
    }
}
