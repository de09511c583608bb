//! From the scheme of a URI to the connector that serves it.

use std::num::NonZeroU32;
use std::sync::Arc;

use stream_core::ids::TableIndex;
use stream_core::outlet::OutletSpec;
use stream_core::pipeline::{LookupSpec, SideTable, SinkSpec, SourceSpec, Split};
use stream_runtime::connector::{
    Anchor, Claim, ConnectorError, Connectors, Grant, PortFuture, Publisher, SourceReader,
};
use stream_runtime::lookup::{Answers, Lookup};
use tokio::runtime::Handle;

#[cfg(feature = "file")]
use crate::file;
#[cfg(feature = "geo")]
use crate::geo;
#[cfg(feature = "kafka")]
use crate::kafka;
#[cfg(feature = "nexmark")]
use crate::nexmark;
use crate::outlets::{Outlet, WithOutlets};
#[cfg(feature = "postgres")]
use crate::postgres;
use crate::uri::{OutletUri, SinkUri, SourceUri};

/// Every source and sink that this build has.
#[derive(Clone, Debug)]
pub struct RealConnectors {
    runtime: Handle,
    #[cfg(feature = "geo")]
    databases: geo::mmdb::Databases,
}

#[cfg_attr(
    not(all(feature = "file", feature = "kafka", feature = "postgres")),
    allow(unused, reason = "needed where every feature is on")
)]
impl RealConnectors {
    /// Connectors whose network work that must not run on a plain thread runs on `runtime`, which has to outlive them and
    /// all their readers and publishers.
    pub fn new(runtime: Handle) -> Self {
        RealConnectors {
            runtime,
            #[cfg(feature = "geo")]
            databases: geo::mmdb::Databases::default(),
        }
    }

    /// Runs what blocks (files, librdkafka's requests) on a thread where blocking is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ConnectorError> + Send + 'static,
    ) -> Result<T, ConnectorError> {
        // What it logs belongs to whoever asked.
        let asked_by = tracing::Span::current();
        match self.runtime.spawn_blocking(move || asked_by.in_scope(work)).await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// What publishes into the sink itself.
    fn open_sink(&self, sink: &SinkSpec, grant: Grant) -> Result<Box<dyn Publisher>, ConnectorError> {
        match SinkUri::parse(&sink.uri)? {
            #[cfg(feature = "postgres")]
            SinkUri::Postgres(_) => Ok(Box::new(postgres::PostgresPublisher::open(sink, grant, self.runtime.clone())?)),
            #[cfg(feature = "file")]
            SinkUri::Csv(path) => Ok(file::open_publisher(path, file::Format::Csv, sink, grant)?),
            #[cfg(feature = "file")]
            SinkUri::JsonLines(path) => Ok(file::open_publisher(path, file::Format::JsonLines, sink, grant)?),
            #[cfg(feature = "file")]
            SinkUri::Stdout => Ok(file::stdout(&sink.columns)),
            #[allow(unreachable_patterns, reason = "reached where a feature is off")]
            _ => Err(absent(&sink.uri)),
        }
    }
}

#[cfg_attr(
    not(all(feature = "file", feature = "kafka", feature = "postgres")),
    allow(unused, reason = "needed where every feature is on")
)]
impl Connectors for RealConnectors {
    fn discover<'a>(&'a self, source: &'a SourceSpec) -> PortFuture<'a, Vec<Split>> {
        Box::pin(async move {
            match SourceUri::parse(&source.uri)? {
                #[cfg(feature = "kafka")]
                SourceUri::Kafka(_) => {
                    let source = source.clone();
                    self.blocking(move || kafka::discover(&source)).await
                }
                #[cfg(feature = "file")]
                SourceUri::File(path) => {
                    let path = path.to_owned();
                    self.blocking(move || Ok(file::splits(&path)?)).await
                }
                #[cfg(feature = "file")]
                SourceUri::Stdin => Ok(vec![file::stdin_split()]),
                #[cfg(feature = "nexmark")]
                SourceUri::Nexmark(plan) => nexmark::splits(plan),
                #[allow(unreachable_patterns, reason = "reached where a feature is off")]
                _ => Err(absent(&source.uri)),
            }
        })
    }

    fn open_source(&self, source: &SourceSpec, splits: &[Split]) -> Result<Box<dyn SourceReader>, ConnectorError> {
        match SourceUri::parse(&source.uri)? {
            #[cfg(feature = "kafka")]
            SourceUri::Kafka(_) => Ok(Box::new(kafka::Reader::open(source, splits)?)),
            #[cfg(feature = "file")]
            SourceUri::File(_) | SourceUri::Stdin => Ok(Box::new(file::Reader::open(splits))),
            #[cfg(feature = "nexmark")]
            SourceUri::Nexmark(plan) => Ok(Box::new(nexmark::Reader::open(plan, splits)?)),
            #[allow(unreachable_patterns, reason = "reached where a feature is off")]
            _ => Err(absent(&source.uri)),
        }
    }

    fn check_sink<'a>(&'a self, sink: &'a SinkSpec) -> PortFuture<'a, ()> {
        Box::pin(async move {
            match SinkUri::parse(&sink.uri)? {
                #[cfg(feature = "postgres")]
                SinkUri::Postgres(_) => postgres::check(sink).await,
                #[cfg(feature = "file")]
                SinkUri::Csv(path) | SinkUri::JsonLines(path) => {
                    let (path, side_tables) = (path.to_owned(), side_tables_within(sink));
                    self.blocking(move || Ok(file::check_writable(&path, &side_tables)?)).await
                }
                #[cfg(feature = "file")]
                SinkUri::Stdout => Ok(file::check_stdout(&side_tables_within(sink))?),
                #[allow(unreachable_patterns, reason = "reached where a feature is off")]
                _ => Err(absent(&sink.uri)),
            }
        })
    }

    fn fence_sink<'a>(&'a self, sink: &'a SinkSpec, claim: Claim) -> PortFuture<'a, Anchor> {
        Box::pin(async move {
            match SinkUri::parse(&sink.uri)? {
                #[cfg(feature = "postgres")]
                SinkUri::Postgres(_) => postgres::fence(sink, claim).await,
                #[cfg(feature = "file")]
                SinkUri::Csv(path) | SinkUri::JsonLines(path) => {
                    let path = path.to_owned();
                    self.blocking(move || Ok(file::fence(&path, claim)?)).await
                }
                #[cfg(feature = "file")]
                SinkUri::Stdout => Ok(file::fence_without_ledger(claim)?),
                #[allow(unreachable_patterns, reason = "reached where a feature is off")]
                _ => Err(absent(&sink.uri)),
            }
        })
    }

    fn check_outlet<'a>(&'a self, outlet: &'a OutletSpec) -> PortFuture<'a, ()> {
        Box::pin(async move {
            match OutletUri::parse(&outlet.uri)? {
                #[cfg(feature = "kafka")]
                OutletUri::Kafka(_) => kafka::outlet::check(outlet).await,
                #[cfg(feature = "file")]
                OutletUri::Csv(path) | OutletUri::JsonLines(path) => {
                    let path = path.to_owned();
                    self.blocking(move || Ok(file::check_outlet(&path)?)).await
                }
                #[allow(unreachable_patterns, reason = "reached where a feature is off")]
                _ => Err(absent(&outlet.uri)),
            }
        })
    }

    fn open_publisher(&self, sink: &SinkSpec, grant: Grant) -> Result<Box<dyn Publisher>, ConnectorError> {
        let publisher = self.open_sink(sink, grant)?;
        let open = |(index, table, spec): (TableIndex, &SideTable, &OutletSpec)| {
            Ok((index, open_outlet(index, table, spec, grant)?))
        };
        let outlets = sink.outlets().map(open).collect::<Result<Vec<_>, ConnectorError>>()?;
        Ok(if outlets.is_empty() { publisher } else { Box::new(WithOutlets::new(publisher, outlets)) })
    }

    fn commit_positions<'a>(&'a self, source: &'a SourceSpec, positions: &'a [Split]) -> PortFuture<'a, ()> {
        Box::pin(async move {
            match SourceUri::parse(&source.uri)? {
                #[cfg(feature = "kafka")]
                SourceUri::Kafka(_) => {
                    let (source, positions) = (source.clone(), positions.to_vec());
                    self.blocking(move || kafka::commit(&source, &positions)).await
                }
                #[allow(unreachable_patterns, reason = "unreachable where the feature is off")]
                _ => Ok(()),
            }
        })
    }

    fn check_lookup<'a>(&'a self, lookup: &'a LookupSpec) -> PortFuture<'a, ()> {
        Box::pin(async move {
            #[cfg(feature = "geo")]
            {
                let lookup = lookup.clone();
                return self.blocking(move || geo::check(&lookup)).await;
            }
            #[cfg(not(feature = "geo"))]
            Err(absent(&lookup.uri))
        })
    }

    fn open_lookup(
        &self,
        lookup: &LookupSpec,
        subtasks: NonZeroU32,
        answers: Arc<dyn Answers>,
    ) -> Result<Box<dyn Lookup>, ConnectorError> {
        #[cfg(feature = "geo")]
        return geo::open(lookup, subtasks, answers, &self.databases, &self.runtime);
        #[cfg(not(feature = "geo"))]
        Err(absent(&lookup.uri))
    }
}

#[cfg_attr(not(all(feature = "file", feature = "kafka")), allow(unused, reason = "needed where every feature is on"))]
fn open_outlet(
    index: TableIndex,
    table: &SideTable,
    spec: &OutletSpec,
    grant: Grant,
) -> Result<Box<dyn Outlet>, ConnectorError> {
    #[cfg(feature = "file")]
    let in_file = |path, format| file::FileOutlet::open(path, format, index, &table.columns, grant.job_id);
    match OutletUri::parse(&spec.uri)? {
        #[cfg(feature = "kafka")]
        OutletUri::Kafka(_) => Ok(Box::new(kafka::outlet::TopicOutlet::open(table, spec, grant)?)),
        #[cfg(feature = "file")]
        OutletUri::Csv(path) => Ok(Box::new(in_file(path, file::Format::Csv)?)),
        #[cfg(feature = "file")]
        OutletUri::JsonLines(path) => Ok(Box::new(in_file(path, file::Format::JsonLines)?)),
        #[allow(unreachable_patterns, reason = "reached where a feature is off")]
        _ => Err(absent(&spec.uri)),
    }
}

/// The side tables without an outlet.
fn side_tables_within(sink: &SinkSpec) -> Vec<SideTable> {
    sink.side_tables.iter().filter(|table| table.outlet.is_none()).cloned().collect()
}

#[allow(dead_code, reason = "unused where every feature is on")]
fn absent(uri: &str) -> ConnectorError {
    let scheme = uri.split(':').next().unwrap_or(uri);
    ConnectorError::new(
        stream_runtime::connector::ConnectorErrorKind::Invalid,
        format!("this build has no connector for `{scheme}:`; build it with the crate feature of that name"),
    )
}
