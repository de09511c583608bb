//! The ledger of a file: a small file beside it, replaced as a whole, that says how much of the text counts.
//!
//! What is beyond its length is of an epoch that was not published, and is cut off by the next one. Whoever reads it to
//! write it holds the lock of the text's file, which the system frees when a process ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stream_core::checkpoint::FORMAT_VERSION;
use stream_core::ids::{CheckpointId, Nonce, Token};
use stream_runtime::connector::{Anchor, Claim};

use super::error::{Action, Error};
use super::place::{Place, Target};
use crate::ledger::next_token;
use stream_core::checkpoint::LedgerEntry;

/// How often, and how long after each other, the lock is tried before whoever holds it counts as stuck: ten seconds.
const LOCK_TRIES: u32 = 500;
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// The contents of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileLedger {
    /// `FORMAT_VERSION` of the writer.
    version: u32,
    /// The attempt that took the file over last.
    token: Token,
    /// Its nonce.
    nonce: Nonce,
    /// The epoch published last.
    last_epoch: CheckpointId,
    /// The length of the result's text up to its end.
    pub(super) bytes: u64,
    /// The lengths of the side tables' texts, likewise, in their order.
    #[serde(default)]
    pub(super) side_bytes: Vec<u64>,
}

/// Takes a file over; see [`fence_sink`](stream_runtime::connector::Connectors::fence_sink).
///
/// # Errors
/// If it cannot be written, or another process holds it.
pub fn fence(path: &str, claim: Claim) -> Result<Anchor, Error> {
    let target = match Place::of(path)? {
        Place::InPlace(_) => return fence_without_ledger(claim),
        Place::Whole(target) => target,
    };
    let part = open_locked(&target.part(claim.job_id), &target)?;
    let name = target.ledger(claim.job_id);
    let found = FileLedger::read(&name)?;
    let token = next_token(found.as_ref().map_or(Token::default(), |found| found.token), claim.highest_token);
    let token = token.ok_or_else(|| Error::NoTokenLeft { path: target.path.clone() })?;
    let ledger = found.unwrap_or(FileLedger {
        version: FORMAT_VERSION,
        token,
        nonce: claim.nonce,
        last_epoch: CheckpointId::ROOT,
        bytes: 0,
        side_bytes: Vec::new(),
    });
    let ledger = FileLedger { version: FORMAT_VERSION, token, nonce: claim.nonce, ..ledger };
    ledger.replace(&name, &target)?;
    drop(part);
    Ok(Anchor { token, last_epoch: ledger.last_epoch })
}

/// A new token for what has no ledger: it keeps nothing, so no epoch is known to be published.
///
/// # Errors
/// If there is no token left.
pub fn fence_without_ledger(claim: Claim) -> Result<Anchor, Error> {
    let token = next_token(Token::default(), claim.highest_token);
    let token = token.ok_or_else(|| Error::NoTokenLeft { path: "standard output".into() })?;
    Ok(Anchor { token, last_epoch: CheckpointId::ROOT })
}

/// Opens the file of the text so far, made if it is missing, and locks it until it is closed or unlocked.
pub(super) fn open_locked(part: &Path, target: &Target) -> Result<File, Error> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(part);
    let file = file.map_err(|error| Error::io(Action::Write, &target.path, error))?;
    lock(&file, target)?;
    Ok(file)
}

/// Locks it, if no other process holds it for long.
#[allow(clippy::disallowed_methods, reason = "no system call waits for a file's lock within a limit")]
pub(super) fn lock(part: &File, target: &Target) -> Result<(), Error> {
    for _ in 0..LOCK_TRIES {
        match part.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => thread::sleep(ASK_AGAIN_AFTER),
            Err(TryLockError::Error(error)) => return Err(Error::io(Action::Write, &target.path, error)),
        }
    }
    Err(Error::Held { path: target.path.clone() })
}

impl FileLedger {
    /// What it says; `None` if there is none.
    pub(super) fn read(name: &Path) -> Result<Option<Self>, Error> {
        let damaged = |reason: String| Error::LedgerDamaged { path: name.to_path_buf(), reason };
        let text = match fs::read(name) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(Action::Read, name, error)),
        };
        let ledger: FileLedger = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if ledger.version > FORMAT_VERSION {
            return Err(damaged(format!("it has version {}, this program reads {FORMAT_VERSION}", ledger.version)));
        }
        Ok(Some(ledger))
    }

    /// As a rule reads it.
    pub(super) fn entry(&self) -> LedgerEntry {
        LedgerEntry { token: self.token, nonce: self.nonce, last_epoch: self.last_epoch }
    }

    /// The same after an epoch.
    pub(super) fn after(self, epoch: CheckpointId, bytes: u64, side_bytes: Vec<u64>) -> Self {
        FileLedger { last_epoch: epoch, bytes, side_bytes, ..self }
    }

    /// How much counts of each side table, of which there are so many.
    pub(super) fn side_bytes(&self, tables: usize) -> Vec<u64> {
        let mut bytes = self.side_bytes.clone();
        bytes.resize(tables, 0);
        bytes
    }

    /// Writes it in place of the one that is there, durably.
    pub(super) fn replace(&self, name: &Path, target: &Target) -> Result<(), Error> {
        replace(self, name, target)
    }
}

/// Writes something small in place of what is there, durably.
pub(super) fn replace<T: Serialize>(small: &T, name: &Path, target: &Target) -> Result<(), Error> {
    let new = name.with_extension("ledger-new");
    let text = serde_json::to_vec(small).expect("numbers and texts are always JSON");
    let written = File::create(&new)
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_data()))
        .and_then(|()| fs::rename(&new, name))
        .and_then(|()| sync_folder(target));
    written.map_err(|error| Error::io(Action::Write, name, error))
}

/// A name is on disk only once its folder is.
pub(super) fn sync_folder(target: &Target) -> io::Result<()> {
    File::open(target.folder())?.sync_all()
}
