//! Where an ip is: from a database in a file, or from a service that is asked.
//!
//! | module | holds |
//! |---|---|
//! | [`mmdb`] | a file in MaxMind's format, read again when it changes |
//! | [`ip2location`] | the service of ip2location.io, over HTTP |
//! | [`calls`] | when a service may be called, when again, and when not: rules without a clock of their own |
//! | [`location`] | what both answer: country, state and city as a JSON object |

pub mod calls;
pub mod ip2location;
pub mod location;
pub mod mmdb;

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use stream_core::pipeline::LookupSpec;
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind};
use stream_runtime::lookup::{Answers, Lookup};
use tokio::runtime::Handle;

use ip2location::{Ip2Location, Settings};
use mmdb::Databases;

/// What a look-up's URI names.
enum Uri<'a> {
    /// `mmdb:PATH`
    Mmdb(&'a Path),
    /// `ip2location:URL`
    Ip2Location,
}

impl<'a> Uri<'a> {
    fn parse(uri: &'a str) -> Result<Self, ConnectorError> {
        match uri.split_once(':') {
            Some(("mmdb", path)) if !path.is_empty() => Ok(Uri::Mmdb(Path::new(path))),
            Some(("ip2location", _)) => Ok(Uri::Ip2Location),
            _ => Err(ConnectorError::new(
                ConnectorErrorKind::Invalid,
                format!("`{uri}` names no look-up: write `mmdb:PATH` or `ip2location:URL`"),
            )),
        }
    }
}

/// Makes sure that the settings hold, and that a database can be read. Blocks.
///
/// # Errors
/// As a user is to read them.
pub fn check(spec: &LookupSpec) -> Result<(), ConnectorError> {
    match Uri::parse(&spec.uri)? {
        Uri::Mmdb(path) => mmdb::check(path),
        Uri::Ip2Location => Settings::of(spec, NonZeroU32::MIN).map(drop),
    }
}

/// What answers one of `subtasks`.
///
/// # Errors
/// If a setting does not hold, or a database cannot be read.
pub fn open(
    spec: &LookupSpec,
    subtasks: NonZeroU32,
    answers: Arc<dyn Answers>,
    databases: &Databases,
    runtime: &Handle,
) -> Result<Box<dyn Lookup>, ConnectorError> {
    match Uri::parse(&spec.uri)? {
        Uri::Mmdb(path) => Ok(Box::new(databases.open(path, runtime)?)),
        Uri::Ip2Location => Ok(Box::new(Ip2Location::start(Settings::of(spec, subtasks)?, answers, runtime)?)),
    }
}
