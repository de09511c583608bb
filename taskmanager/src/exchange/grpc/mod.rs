//! The exchange over gRPC: one stream for each pair of subtasks, one connection for each pair of taskmanagers.
//!
//! [`upstream`] opens streams and carries what [`super::remote`] holds; [`downstream`] answers them and fills gates;
//! [`frame`] is what both put on the wire. What a stream may send is decided by credit alone: HTTP/2's own windows are
//! larger, so that they never stop one stream for the sake of another. [`health`] answers probes on the same port.

pub(crate) mod downstream;
pub(crate) mod frame;
pub(crate) mod health;
pub(crate) mod upstream;

/// What the other side said when it ended a stream, without gRPC's own words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PeerSaid(String);

impl PeerSaid {
    /// Said by us in its place.
    pub(crate) fn new(text: &str) -> Self {
        PeerSaid(text.to_owned())
    }
}

impl From<tonic::Status> for PeerSaid {
    fn from(status: tonic::Status) -> Self {
        // Between what tonic says and the innermost cause stand layers that say the same in their own debug output.
        let causes = std::iter::successors(std::error::Error::source(&status), |error| error.source());
        let mut said = vec![status.message().to_owned()];
        said.extend(causes.last().map(ToString::to_string));
        said.retain(|part| !part.is_empty());
        said.dedup();
        match said.is_empty() {
            true => PeerSaid(status.code().description().to_owned()),
            false => PeerSaid(said.join(": ")),
        }
    }
}
