//! A database file in MaxMind's format (GeoLite2-City and the like).
//!
//! A file is read once for all subtasks of the process and kept in memory: mapped, it would fault under a copy that overwrites
//! it in place. Every [`LOOK_EVERY`] somebody looks whether it is another file by now; a new one takes the place of the old, one
//! that cannot be read leaves it there.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use maxminddb::{MaxMindDbError, Reader};
use serde::Deserialize;
use stream_core::operator::Answer;
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind};
use stream_runtime::lookup::Lookup;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::location::Location;

/// How often the file is looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The part of a record that is wanted; other fields are passed over.
#[derive(Deserialize)]
struct City<'a> {
    #[serde(borrow, default)]
    country: Option<Country<'a>>,
    #[serde(borrow, default)]
    subdivisions: Option<Vec<Place<'a>>>,
    #[serde(borrow, default)]
    city: Option<Place<'a>>,
}

#[derive(Deserialize)]
struct Country<'a> {
    #[serde(default)]
    iso_code: Option<&'a str>,
}

#[derive(Deserialize)]
struct Place<'a> {
    #[serde(borrow, default)]
    names: Option<Names<'a>>,
}

#[derive(Deserialize)]
struct Names<'a> {
    #[serde(default)]
    en: Option<&'a str>,
}

/// Makes sure that a database can be read. Blocks.
///
/// # Errors
/// If it cannot.
pub fn check(path: &Path) -> Result<(), ConnectorError> {
    read(path).map(drop)
}

/// The databases that are open in this process.
#[derive(Clone, Debug, Default)]
pub struct Databases(Arc<Mutex<BTreeMap<PathBuf, Weak<Database>>>>);

impl Databases {
    /// The database at a path, from memory if anybody has it open. Blocks.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(&self, path: &Path, runtime: &Handle) -> Result<MmdbLookup, ConnectorError> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, database| database.strong_count() > 0);
        let database = match open.get(path).and_then(Weak::upgrade) {
            Some(database) => database,
            None => {
                let database = Database::open(path, runtime)?;
                open.insert(path.to_owned(), Arc::downgrade(&database));
                database
            }
        };
        let version = database.shared.version.load(Relaxed);
        Ok(MmdbLookup { reader: database.shared.reader(), version, database })
    }
}

/// A file in memory, and who looks whether it has changed; that ends with the value.
#[derive(Debug)]
struct Database {
    shared: Arc<Shared>,
    _watch: JoinSet<()>,
}

/// What the file was when it was read last.
#[derive(Debug)]
struct Shared {
    reader: Mutex<Arc<Reader<Vec<u8>>>>,
    /// Counts what was read.
    version: AtomicU64,
}

impl Database {
    fn open(path: &Path, runtime: &Handle) -> Result<Arc<Self>, ConnectorError> {
        // Looked at first: what is written between the two is then read again, and not passed over.
        let stamp = Stamp::of(path);
        let reader = read(path)?;
        let shared = Arc::new(Shared { reader: Mutex::new(Arc::new(reader)), version: AtomicU64::new(0) });
        let mut watch = JoinSet::new();
        watch.spawn_on(watch_file(path.to_owned(), stamp, Arc::clone(&shared)), runtime);
        Ok(Arc::new(Database { shared, _watch: watch }))
    }
}

impl Shared {
    fn reader(&self) -> Arc<Reader<Vec<u8>>> {
        Arc::clone(&self.reader.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, reader: Reader<Vec<u8>>) {
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(reader);
        self.version.fetch_add(1, Relaxed);
    }
}

/// By what one file is told from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl Stamp {
    /// None where there is no file, as between a removal and the next copy.
    fn of(path: &Path) -> Option<Self> {
        let metadata: Metadata = std::fs::metadata(path).ok()?;
        Some(Stamp { modified: metadata.modified().ok(), bytes: metadata.len() })
    }
}

async fn watch_file(path: PathBuf, mut known: Option<Stamp>, shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let (looked_at, before) = (path.clone(), known);
        let look = move || {
            let stamp = Stamp::of(&looked_at).filter(|stamp| Some(*stamp) != before)?;
            Some((stamp, read(&looked_at)))
        };
        // A panic in the reader is that of a file that no reader should have let pass: the one before stays.
        let Ok(Some((stamp, read))) = tokio::task::spawn_blocking(look).await else { continue };
        known = Some(stamp);
        match read {
            Ok(reader) => {
                tracing::info!(path = %path.display(), built = reader.metadata().build_epoch, "read the new database of locations");
                shared.replace(reader);
            }
            Err(error) => {
                tracing::warn!(reason = %error, "cannot read the new database of locations: going on with the one before");
            }
        }
    }
}

fn read(path: &Path) -> Result<Reader<Vec<u8>>, ConnectorError> {
    let shown = path.display();
    Reader::open_readfile(path).map_err(|error| match error {
        MaxMindDbError::Io(error) => {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ConnectorErrorKind::NotFound,
                std::io::ErrorKind::PermissionDenied => ConnectorErrorKind::Denied,
                _ => ConnectorErrorKind::Failed,
            };
            let message = format!(
                "cannot read the database of locations `{shown}`: it must be at this path on every machine of the cluster"
            );
            ConnectorError::caused_by(kind, message, error)
        }
        error => ConnectorError::caused_by(
            ConnectorErrorKind::Invalid,
            format!("`{shown}` is no database in MaxMind's format: fetch it again, whole"),
            error,
        ),
    })
}

/// Answers from a database, at once.
#[derive(Debug)]
pub struct MmdbLookup {
    reader: Arc<Reader<Vec<u8>>>,
    version: u64,
    database: Arc<Database>,
}

impl Lookup for MmdbLookup {
    fn ask(&mut self, key: &[u8]) -> Option<Answer> {
        let ip = std::str::from_utf8(key).ok().and_then(|ip| ip.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical());
        Some(ip.map_or(Answer::Nothing, |ip| find(&self.reader, ip)))
    }

    fn has_changed(&mut self) -> bool {
        let version = self.database.shared.version.load(Relaxed);
        if version == self.version {
            return false;
        }
        (self.version, self.reader) = (version, self.database.shared.reader());
        true
    }
}

/// An IPv6 address is not in a database of IPv4 ones, and a damaged record is none.
fn find(reader: &Reader<Vec<u8>>, ip: IpAddr) -> Answer {
    let city = reader.lookup(ip).and_then(|found| found.decode::<City<'_>>());
    let Ok(Some(City { country, subdivisions, city })) = city else { return Answer::Nothing };
    let name = |place: Option<&Place<'_>>| -> Option<String> {
        place.and_then(|place| place.names.as_ref()).and_then(|names| names.en).map(str::to_owned)
    };
    let state = name(subdivisions.as_deref().and_then(<[_]>::first)).unwrap_or_default();
    let city = name(city.as_ref()).unwrap_or_default();
    let country = country.and_then(|country| country.iso_code).unwrap_or_default();
    Location { country, state: &state, city: &city }.answer()
}
