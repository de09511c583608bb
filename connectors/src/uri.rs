//! What a source or sink URI names, by its scheme.
//!
//! The part behind the scheme is the connector's to read, with one exception: credentials in a URI are refused here, for
//! every scheme, because URIs are shown to whoever lists the jobs.

use std::fmt;

use stream_runtime::connector::{ConnectorError, ConnectorErrorKind};

/// A source, with the part of its URI behind the scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceUri<'a> {
    /// `kafka://HOST:PORT[,HOST:PORT…]/TOPIC`
    Kafka(&'a str),
    /// `file:PATH`
    File(&'a str),
    /// `stdin:`
    Stdin,
    /// `nexmark:events=N[,…]`
    Nexmark(&'a str),
}

/// A sink, with the part of its URI behind the scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkUri<'a> {
    /// `postgres://HOST:PORT/DATABASE`
    Postgres(&'a str),
    /// `csv:PATH`
    Csv(&'a str),
    /// `jsonl:PATH`
    JsonLines(&'a str),
    /// `stdout:`
    Stdout,
}

/// An outlet of a side table, with the part of its URI behind the scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutletUri<'a> {
    /// `kafka://HOST:PORT[,HOST:PORT…]/TOPIC`
    Kafka(&'a str),
    /// `csv:PATH`
    Csv(&'a str),
    /// `jsonl:PATH`
    JsonLines(&'a str),
}

/// A URI that names nothing we read or write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// No known scheme.
    #[error("`{uri}` is no {role}; write {expected}")]
    UnknownScheme {
        /// As given.
        uri: String,
        /// Source, sink or outlet.
        role: Role,
        /// The forms there are.
        expected: &'static str,
    },
    /// User or password within.
    #[error("the {role} URI carries a user or password; pass them as settings, where they stay hidden")]
    Credentials {
        /// Source, sink or outlet.
        role: Role,
    },
}

/// Which part of a pipeline a URI stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Records come from it.
    Source,
    /// Rows go to it.
    Sink,
    /// Rows of a side table go to it.
    Outlet,
}

impl<'a> SourceUri<'a> {
    /// Reads the scheme.
    ///
    /// # Errors
    /// If it is none of ours, or if the URI carries credentials.
    pub fn parse(uri: &'a str) -> Result<Self, UriError> {
        const EXPECTED: &str = "`kafka://HOST:PORT/TOPIC`, `file:PATH` or `stdin:`";
        match uri.split_once(':') {
            Some(("kafka", rest)) => authority(rest, uri, Role::Source, EXPECTED).map(SourceUri::Kafka),
            Some(("file", path)) => Ok(SourceUri::File(path)),
            Some(("stdin", "")) => Ok(SourceUri::Stdin),
            Some(("nexmark", plan)) => Ok(SourceUri::Nexmark(plan)),
            _ => Err(UriError::UnknownScheme { uri: uri.to_owned(), role: Role::Source, expected: EXPECTED }),
        }
    }
}

impl<'a> SinkUri<'a> {
    /// Reads the scheme.
    ///
    /// # Errors
    /// If it is none of ours, or if the URI carries credentials.
    pub fn parse(uri: &'a str) -> Result<Self, UriError> {
        const EXPECTED: &str = "`postgres://HOST:PORT/DATABASE`, `csv:PATH`, `jsonl:PATH` or `stdout:`";
        match uri.split_once(':') {
            Some(("postgres" | "postgresql", rest)) => {
                authority(rest, uri, Role::Sink, EXPECTED).map(SinkUri::Postgres)
            }
            Some(("csv", path)) => Ok(SinkUri::Csv(path)),
            Some(("jsonl", path)) => Ok(SinkUri::JsonLines(path)),
            Some(("stdout", "")) => Ok(SinkUri::Stdout),
            _ => Err(UriError::UnknownScheme { uri: uri.to_owned(), role: Role::Sink, expected: EXPECTED }),
        }
    }
}

impl<'a> OutletUri<'a> {
    /// Reads the scheme.
    ///
    /// # Errors
    /// If it is none of ours, or if the URI carries credentials.
    pub fn parse(uri: &'a str) -> Result<Self, UriError> {
        const EXPECTED: &str = "`kafka://HOST:PORT/TOPIC`, `csv:PATH` or `jsonl:PATH`";
        match uri.split_once(':') {
            Some(("kafka", rest)) => authority(rest, uri, Role::Outlet, EXPECTED).map(OutletUri::Kafka),
            Some(("csv", path)) => Ok(OutletUri::Csv(path)),
            Some(("jsonl", path)) => Ok(OutletUri::JsonLines(path)),
            _ => Err(UriError::UnknownScheme { uri: uri.to_owned(), role: Role::Outlet, expected: EXPECTED }),
        }
    }
}

/// What follows `//`, if no user stands before the hosts.
fn authority<'a>(rest: &'a str, uri: &str, role: Role, expected: &'static str) -> Result<&'a str, UriError> {
    let rest = rest.strip_prefix("//");
    let rest = rest.ok_or_else(|| UriError::UnknownScheme { uri: uri.to_owned(), role, expected })?;
    if rest.contains('@') { Err(UriError::Credentials { role }) } else { Ok(rest) }
}

impl From<UriError> for ConnectorError {
    fn from(error: UriError) -> Self {
        ConnectorError::new(ConnectorErrorKind::Invalid, error.to_string())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Source => "source",
            Role::Sink => "sink",
            Role::Outlet => "outlet",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_choose_the_connector() {
        assert_eq!(SourceUri::parse("kafka://a:1,b:2/t"), Ok(SourceUri::Kafka("a:1,b:2/t")));
        assert_eq!(SourceUri::parse("file:a:b.jsonl"), Ok(SourceUri::File("a:b.jsonl")));
        assert_eq!(SourceUri::parse("stdin:"), Ok(SourceUri::Stdin));
        assert_eq!(SourceUri::parse("nexmark:events=7"), Ok(SourceUri::Nexmark("events=7")));
        assert_eq!(SinkUri::parse("postgresql://h/d"), Ok(SinkUri::Postgres("h/d")));
        assert_eq!(SinkUri::parse("csv:out.csv"), Ok(SinkUri::Csv("out.csv")));
        assert_eq!(SinkUri::parse("jsonl:out"), Ok(SinkUri::JsonLines("out")));
        assert_eq!(SinkUri::parse("stdout:"), Ok(SinkUri::Stdout));
        assert_eq!(OutletUri::parse("kafka://a:1/t"), Ok(OutletUri::Kafka("a:1/t")));
        assert_eq!(OutletUri::parse("csv:out"), Ok(OutletUri::Csv("out")));
        assert_eq!(OutletUri::parse("jsonl:out"), Ok(OutletUri::JsonLines("out")));
    }

    #[test]
    fn other_schemes_are_told_what_to_write() {
        for uri in ["events.jsonl", "http://x/y", "stdin:x", "", "kafka:topic"] {
            let error = SourceUri::parse(uri).expect_err(uri).to_string();
            assert!(error.contains("kafka://HOST:PORT/TOPIC"), "{error}");
        }
        assert!(SinkUri::parse("file:x").is_err());
        assert!(OutletUri::parse("topic:x").expect_err("no URI").to_string().contains("is no outlet; write `kafka://"));
    }

    #[test]
    fn credentials_in_a_uri_are_refused_without_showing_them() {
        let error = SinkUri::parse("postgres://web:hunter2@h/d").expect_err("credentials");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
