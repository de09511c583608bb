//! What can go wrong with a file, in words for the person who named it.

use std::io;
use std::path::{Path, PathBuf};

use stream_core::ids::CheckpointId;
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind};

use super::lines::MAX_LINE_BYTES;

/// A file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URI ends at its scheme.
    #[error("the URI names no file; write `{scheme}:PATH`")]
    NoPath {
        /// The URI's scheme.
        scheme: &'static str,
    },
    /// No such file.
    #[error("no file `{}`; check the path", .0.display())]
    NotFound(PathBuf),
    /// A pattern that fits nothing.
    #[error("no file matches `{0}`; check the folder and the pattern")]
    NoMatch(String),
    /// No folder to write into.
    #[error("no folder `{}` to write `{}` in; create it, or choose another path", .folder.display(), .path.display())]
    NoFolder {
        /// What is missing.
        folder: PathBuf,
        /// What was to be written.
        path: PathBuf,
    },
    /// No regular file, and more than one table.
    #[error("`{}` takes the rows of one table, and the job has several: choose a regular file, or leave out what is late or bad by `--on-late drop --on-bad-record skip`", .path.display())]
    OneTable {
        /// What it is.
        path: PathBuf,
    },
    /// Rows that take the place of others.
    #[error("a file is only added to, and rows of table `{table}` change: write to Postgres, or leave that table out")]
    OnlyAppended {
        /// Which table.
        table: String,
    },
    /// No regular file.
    #[error("`{}` is no regular file; choose one for rows that are to be kept", .path.display())]
    NoRegularFile {
        /// What it is.
        path: PathBuf,
    },
    /// An outlet has rows that the checkpoint behind an epoch knows nothing of.
    #[error("`{}` has epoch {last}, and epoch {epoch} was made without it, behind {prev}: rows would be there twice. This follows when the newest \
             checkpoint was lost with the process that published, or the sink was set back; to go on all the same, remove `{}`",
            .path.display(), .register.display())]
    OutletPassed {
        /// The file.
        path: PathBuf,
        /// What says so, beside it.
        register: PathBuf,
        /// What the file has.
        last: CheckpointId,
        /// What was to be published.
        epoch: CheckpointId,
        /// What that follows on.
        prev: CheckpointId,
    },
    /// A folder where a file is needed.
    #[error("`{}` is a folder; name a file in it, or several by a pattern such as `{}`", .0.display(), .0.join("*.jsonl").display())]
    IsFolder(PathBuf),
    /// The operating system refuses access.
    #[error("not allowed to {action} `{}`; change its permissions, or choose another path", .path.display())]
    Denied {
        /// What was tried.
        action: Action,
        /// On which file.
        path: PathBuf,
    },
    /// A line that no record can be.
    #[error("line {line} of `{}` is longer than {} MiB; is it a file of JSON lines?", .path.display(), MAX_LINE_BYTES >> 20)]
    LineTooLong {
        /// The file.
        path: PathBuf,
        /// Counted from one.
        line: u64,
    },
    /// Compressed data that does not decompress.
    #[error("`{}` cannot be decompressed beyond line {line}; it is cut off or damaged, so copy it again", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The last line that was read.
        line: u64,
        /// In the decompressor's words.
        source: io::Error,
    },
    /// Whoever reads our output stopped reading.
    #[error("nobody reads standard output any more; the rest of the rows was not written")]
    OutputClosed,
    /// Another process writes to it, for longer than publishing takes.
    #[error("another process of the job holds `{}`; end it", .path.display())]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// Another attempt writes the file now.
    #[error("another attempt of the job has taken `{}` over", .path.display())]
    TakenOver {
        /// The file.
        path: PathBuf,
    },
    /// The file, or the hidden one of the text so far, is shorter than what counts of it.
    #[error("published rows of `{}` are gone from it, or from the hidden file beside it; start a new job", .path.display())]
    TextLost {
        /// The file.
        path: PathBuf,
    },
    /// What the ledger says is not what was written.
    #[error("the ledger `{}` cannot be used: {reason}; remove it and start a new job", .path.display())]
    LedgerDamaged {
        /// The ledger.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Two thousand million attempts.
    #[error("no fencing token is left for `{}`; start a new job", .path.display())]
    NoTokenLeft {
        /// The file.
        path: PathBuf,
    },
    /// Anything else the operating system says.
    #[error("cannot {action} `{}`", .path.display())]
    Io {
        /// What was tried.
        action: Action,
        /// On which file.
        path: PathBuf,
        /// In the operating system's words.
        source: io::Error,
    },
}

/// What was tried on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reading.
    Read,
    /// Writing, or creating.
    Write,
}

impl Error {
    /// The failure of an operation on `path`.
    pub(super) fn io(action: Action, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => Error::NotFound(path),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Error::Denied { action, path },
            io::ErrorKind::IsADirectory => Error::IsFolder(path),
            io::ErrorKind::BrokenPipe => Error::OutputClosed,
            _ => Error::Io { action, path, source },
        }
    }

    fn kind(&self) -> ConnectorErrorKind {
        match self {
            Error::NoPath { .. }
            | Error::OneTable { .. }
            | Error::NoRegularFile { .. }
            | Error::OnlyAppended { .. } => ConnectorErrorKind::Invalid,
            Error::NotFound(_) | Error::NoMatch(_) | Error::NoFolder { .. } | Error::IsFolder(_) => {
                ConnectorErrorKind::NotFound
            }
            Error::Denied { .. } => ConnectorErrorKind::Denied,
            Error::LineTooLong { .. }
            | Error::Damaged { .. }
            | Error::OutputClosed
            | Error::Held { .. }
            | Error::TakenOver { .. }
            | Error::OutletPassed { .. }
            | Error::TextLost { .. }
            | Error::LedgerDamaged { .. }
            | Error::NoTokenLeft { .. }
            | Error::Io { .. } => ConnectorErrorKind::Failed,
        }
    }
}

impl From<Error> for ConnectorError {
    fn from(error: Error) -> Self {
        let (kind, message) = (error.kind(), error.to_string());
        match error {
            Error::Damaged { source, .. } | Error::Io { source, .. } => {
                ConnectorError::caused_by(kind, message, source)
            }
            Error::NoPath { .. }
            | Error::OneTable { .. }
            | Error::OnlyAppended { .. }
            | Error::NoRegularFile { .. }
            | Error::OutletPassed { .. }
            | Error::NotFound(_)
            | Error::NoMatch(_)
            | Error::NoFolder { .. }
            | Error::IsFolder(_)
            | Error::Denied { .. }
            | Error::LineTooLong { .. }
            | Error::Held { .. }
            | Error::TakenOver { .. }
            | Error::TextLost { .. }
            | Error::LedgerDamaged { .. }
            | Error::NoTokenLeft { .. }
            | Error::OutputClosed => ConnectorError::new(kind, message),
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Action::Read => "read",
            Action::Write => "write",
        })
    }
}
