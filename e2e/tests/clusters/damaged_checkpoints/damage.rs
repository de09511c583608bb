//! The files of a job's checkpoints, and what can befall one.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use stream_core::checkpoint::Manifest;
use stream_runtime::stored;

/// What a file is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FileKind {
    Manifest,
    /// The full snapshot of a subtask's state.
    Base,
    /// What changed since the snapshot before.
    Delta,
    /// Sessions of an epoch.
    Rows,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Damage {
    Truncated,
    BitFlipped,
    Missing,
}

/// A job's folder in the checkpoint store.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// Every manifest that is there and can be read, oldest first.
    pub(crate) fn manifests(&self) -> Result<Vec<Manifest>> {
        let mut folders = match fs::read_dir(self.0.join("chk")) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?,
            Err(_) => Vec::new(),
        };
        // In the order of their names they are in the order of age.
        folders.sort();
        let read = |folder: PathBuf| stored::decode_manifest("manifest", &fs::read(folder.join("manifest")).ok()?).ok();
        Ok(folders.into_iter().filter_map(read).collect())
    }

    /// Damages the newest file of a kind; its name in the folder.
    pub(crate) fn damage_newest(&self, kind: FileKind, damage: Damage) -> Result<PathBuf> {
        let manifests = self.manifests()?;
        let newest = manifests.last().context("no manifest")?;
        let id = newest.checkpoint;
        let of_newest = |files: Option<&str>| files.map(PathBuf::from);
        let file = match kind {
            FileKind::Manifest => Some(format!("chk/{:08x}-{:08x}/manifest", id.token().0, id.sequence()).into()),
            FileKind::Base => of_newest(newest.operators.iter().find_map(|state| Some(&*state.files.first()?.name))),
            // The newest manifest may just have begun with a base of its own.
            FileKind::Delta => manifests.iter().rev().find_map(newest_delta).map(PathBuf::from),
            FileKind::Rows => of_newest(newest.pending.iter().rev().find_map(|epoch| Some(&*epoch.files.last()?.name))),
        };
        let file: PathBuf = file.with_context(|| format!("no {kind:?} in {newest:?}"))?;
        damage.befall(&self.0.join(&file)).with_context(|| file.display().to_string())?;
        Ok(file)
    }

    /// Whether a checkpoint that needs nothing of `damaged` was taken at the published epoch or behind it.
    pub(crate) fn has_whole_from(&self, published: u64, damaged: &Path) -> Result<bool> {
        let needs = |manifest: &Manifest| manifest.file_refs().any(|file| Path::new(&file.name) == damaged);
        Ok(self.manifests()?.iter().any(|manifest| manifest.checkpoint.0 >= published && !needs(manifest)))
    }
}

impl Damage {
    fn befall(self, file: &Path) -> Result<()> {
        let mut bytes = fs::read(file)?;
        let middle = bytes.len() / 2;
        match self {
            Damage::Truncated => OpenOptions::new().write(true).open(file)?.set_len(middle as u64)?,
            Damage::BitFlipped => {
                *bytes.get_mut(middle).context("an empty file")? ^= 1;
                fs::write(file, bytes)?;
            }
            Damage::Missing => fs::remove_file(file)?,
        }
        Ok(())
    }
}

fn newest_delta(manifest: &Manifest) -> Option<&str> {
    manifest.operators.iter().find_map(|state| Some(&*state.files.get(1..)?.last()?.name))
}
