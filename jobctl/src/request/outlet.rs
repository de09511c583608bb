//! A topic or a file for late events or bad records, in the place of a table.

use std::fs;

use connectors::kafka::{MAY_COME_LATER, ON_DATA_LOSS};
use stream_core::outlet::OutletSpec;
use stream_core::pipeline::{Pipeline, SourceSpec};
use web_intake::side_table::is_named;

use super::Given;
use crate::environment::Environment;
use crate::failure::Failure;

/// Settings of the source that are about reading.
const OF_READING: [&str; 4] = ["group.id", "isolation.level", ON_DATA_LOSS, MAY_COME_LATER];

/// What was asked for by `topic:NAME`, `csv:PATH` or `jsonl:PATH`.
pub(super) struct Outlet {
    given: Given,
    place: Place,
}

enum Place {
    /// A topic's name.
    Topic(String),
    /// A file, with its scheme.
    File(String),
}

impl Outlet {
    /// `None` if something else was given.
    ///
    /// # Errors
    /// If the name or path is missing.
    pub(super) fn of(given: &Given, environment: &Environment) -> Result<Option<Self>, Failure> {
        let place = match given.text.split_once(':') {
            Some(("topic", "")) => return Err(given.not("a topic", "write `topic:NAME`")),
            Some(("csv" | "jsonl", "")) => return Err(given.not("a file", "write `csv:PATH` or `jsonl:PATH`")),
            Some(("topic", name)) => Place::Topic(name.to_owned()),
            Some((scheme @ ("csv" | "jsonl"), path)) => {
                Place::File(format!("{scheme}:{}", environment.folder.join(path).to_string_lossy()))
            }
            _ => return Ok(None),
        };
        Ok(Some(Outlet { given: given.clone(), place }))
    }

    /// Has a side table's rows go there.
    ///
    /// # Errors
    /// If they cannot.
    pub(super) fn take(self, pipeline: &mut Pipeline, table: &str) -> Result<(), Failure> {
        let Outlet { given, place } = self;
        let outlet = match place {
            Place::Topic(name) => topic(&given, &name, &pipeline.source)?,
            Place::File(uri) => file(&given, uri, pipeline)?,
        };
        let side_table = pipeline.sink.side_tables.iter_mut().find(|side| is_named(side, table));
        side_table.into_iter().for_each(|side| side.outlet = Some(outlet.clone()));
        Ok(())
    }
}

/// A topic of the cluster that the job reads from, with its credentials.
fn topic(given: &Given, name: &str, source: &SourceSpec) -> Result<OutletSpec, Failure> {
    let Some((brokers, own)) = source.uri.strip_prefix("kafka://").and_then(|rest| rest.rsplit_once('/')) else {
        return Err(given.not("in reach", "a topic is one of the cluster that the job reads from, and it reads files"));
    };
    if own == name {
        return Err(given.not("another topic", "the job reads it, and would read its own rows: choose another"));
    }
    let properties = source.properties.iter().filter(|(name, _)| !OF_READING.contains(&name.as_str()));
    Ok(OutletSpec {
        uri: format!("kafka://{brokers}/{name}"),
        properties: properties.map(|(name, value)| (name.clone(), value.clone())).collect(),
        secrets: source.secrets.clone(),
    })
}

/// A file that nothing else goes into.
fn file(given: &Given, uri: String, pipeline: &Pipeline) -> Result<OutletSpec, Failure> {
    // The same file may have several names.
    let path = |uri: &str| uri.split_once(':').map(|(_, path)| fs::canonicalize(path).unwrap_or_else(|_| path.into()));
    let others = pipeline.sink.outlets().map(|(_, _, outlet)| &outlet.uri).chain([&pipeline.sink.uri]);
    if others.into_iter().any(|other| path(other) == path(&uri)) {
        return Err(given.not("a file of its own", "other rows go there: choose another"));
    }
    Ok(OutletSpec { uri, properties: [].into(), secrets: [].into() })
}
