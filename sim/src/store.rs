//! The checkpoint store: whole objects under names, created once; every one of them a value of ours, not bytes.
//!
//! The format of the bytes and the detection of damaged ones is `stream-runtime`'s, and tested there.

use std::collections::BTreeMap;

use stream_core::checkpoint::{Listed, ListedKind, Manifest};
use stream_core::ids::{AttemptNumber, CheckpointId, Nonce, Token};
use stream_core::row::RowBatch;
use stream_core::snapshot::KeyedSnapshot;

/// What an object holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A part of an operator's state.
    State(KeyedSnapshot),
    /// Rows of the committer.
    Rows(RowBatch),
    /// A checkpoint.
    Manifest(Box<Manifest>),
    /// A jobmanager has taken the store over.
    Leader,
    /// The attempt that a job began last.
    Job(AttemptNumber),
}

/// The store.
#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<String, Object>,
    /// What a crash in the middle of a write left under temporary names: no listing shows it.
    pub torn: u64,
}

impl Store {
    /// Creates an object, unless there is another one of that name.
    pub fn create(&mut self, name: &str, object: Object) -> Result<(), String> {
        match self.objects.get(name) {
            Some(there) if *there == object => Ok(()),
            Some(_) => Err(format!("`{name}` exists, and is another one")),
            None => {
                self.objects.insert(name.to_owned(), object);
                Ok(())
            }
        }
    }

    /// What a store that replaces objects would do.
    pub fn replace(&mut self, name: &str, object: Object) {
        self.objects.insert(name.to_owned(), object);
    }

    /// The object of a name.
    pub fn read(&self, name: &str) -> Option<&Object> {
        self.objects.get(name)
    }

    /// Removes an object.
    pub fn delete(&mut self, name: &str) {
        self.objects.remove(name);
    }

    /// The checkpoints that are whole, oldest first.
    pub fn manifests(&self) -> Vec<Manifest> {
        let objects = self.objects.range("chk/".to_owned().."chk0".to_owned());
        let manifests = objects.filter_map(|(_, object)| match object {
            Object::Manifest(manifest) => Some(manifest.as_ref()),
            _ => None,
        });
        manifests.filter(|manifest| manifest.files().all(|file| self.objects.contains_key(file))).cloned().collect()
    }

    /// Every file of the job that the store holds.
    pub fn files(&self) -> Vec<Listed> {
        let is_file = |object: &Object| matches!(object, Object::State(_) | Object::Rows(_));
        let files = self.objects.iter().filter(|(_, object)| is_file(object));
        let listed = |name: &String| {
            let token = name.split('/').nth(1).and_then(|writer| writer.split('-').next());
            let token = token.and_then(|token| u32::from_str_radix(token, 16).ok()).map(Token);
            Listed { name: name.clone(), place: name.clone(), token, kind: ListedKind::File }
        };
        files.map(|(name, _)| listed(name)).collect()
    }

    /// Every checkpoint, whole or not.
    pub fn every_manifest(&self) -> Vec<Option<Manifest>> {
        let manifests = self.objects.values().filter_map(|object| match object {
            Object::Manifest(manifest) => Some(manifest.as_ref()),
            _ => None,
        });
        manifests.cloned().map(Some).collect()
    }

    /// The highest leader number.
    pub fn leader(&self) -> u32 {
        let leaders = self.objects.range("leader/".to_owned().."leader0".to_owned());
        leaders.last().and_then(|(name, _)| name["leader/".len()..].parse().ok()).unwrap_or(0)
    }

    /// The attempt that a jobmanager finds: that of the highest leader's last record.
    pub fn last_attempt(&self) -> AttemptNumber {
        let records = self.objects.range("jobs/".to_owned().."jobs0".to_owned());
        records.last().map_or(AttemptNumber(0), |(_, object)| match object {
            Object::Job(attempt) => *attempt,
            _ => AttemptNumber(0),
        })
    }
}

/// The name of a checkpoint's manifest.
pub fn manifest_name(checkpoint: CheckpointId) -> String {
    format!("chk/{:08x}-{:08x}", checkpoint.token().0, checkpoint.sequence())
}

/// Whose files begin so behind their kind. By its token alone an attempt is not known: Postgres may be set back, and give it twice.
pub fn writer(token: Token, nonce: Nonce) -> String {
    format!("{:08x}-{nonce}", token.0)
}

/// The name of a leader's mark.
pub fn leader_name(leader: u32) -> String {
    format!("leader/{leader:08}")
}
