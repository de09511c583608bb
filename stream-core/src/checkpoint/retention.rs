//! Which stored checkpoints must stay (invariant I9).
//!
//! A checkpoint may go once a newer one has been *published* for the retention time: until then a sink that is set back, by a
//! restored backup or a lost failover, can still be continued. The newest published one and everything behind it always
//! stay, and savepoints are the user's.
//!
//! How long it has been published is asked of the sink, not of the clock alone: only until the last publish that came through
//! is it known that the sink had not been set back. A sink that does not answer may have been set back already, and what it
//! will continue then is as old as the failover, not as old as the answer. Answers may be read late: a publication is surely
//! behind the instant at which its manifest was stored, and surely before the one at which it was told; each end of a span
//! is the one that makes it shorter.

use std::collections::BTreeSet;
use std::time::Duration;

use super::manifest::Manifest;
use crate::ids::CheckpointId;
use crate::time::Timestamp;

/// The manifests that are stored.
#[derive(Clone, Debug)]
pub(super) struct Retained {
    retention: Duration,
    /// Since when, at the earliest, the sink has what it was given last.
    confirmed: Timestamp,
    /// Oldest first.
    stored: Vec<Stored>,
}

#[derive(Clone, Debug)]
struct Stored {
    manifest: Manifest,
    /// When it was known to be stored.
    added: Timestamp,
    /// When it was known to be published.
    published: Option<Timestamp>,
}

/// What may be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Removable {
    pub(super) checkpoints: Vec<CheckpointId>,
    pub(super) files: Vec<String>,
}

impl Retained {
    /// Those that an attempt finds; what the sink shows of them counts as published now.
    pub(super) fn new(
        retention: Duration,
        mut stored: Vec<Manifest>,
        last_epoch: CheckpointId,
        now: Timestamp,
    ) -> Self {
        stored.sort_by_key(|manifest| manifest.checkpoint);
        let with_time = |manifest: Manifest| {
            let published = (manifest.checkpoint <= last_epoch).then_some(now);
            Stored { manifest, added: now, published }
        };
        Retained { retention, confirmed: now, stored: stored.into_iter().map(with_time).collect() }
    }

    pub(super) fn add(&mut self, manifest: Manifest, now: Timestamp) {
        self.stored.push(Stored { manifest, added: now, published: None });
    }

    pub(super) fn on_published(&mut self, epoch: CheckpointId, now: Timestamp) {
        for stored in self.stored.iter_mut().filter(|stored| stored.manifest.checkpoint <= epoch) {
            stored.published.get_or_insert(now);
            self.confirmed = self.confirmed.max(stored.added);
        }
    }

    pub(super) fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.stored.iter().map(|stored| &stored.manifest)
    }

    /// Takes out what nothing can need any more. A file stays while a manifest that stays names it.
    pub(super) fn take_removable(&mut self) -> Option<Removable> {
        let is_old = |stored: &Stored| {
            stored.published.is_some_and(|published| self.confirmed.saturating_since(published) >= self.retention)
        };
        let newest_old = self.stored.iter().rposition(is_old)?;
        if newest_old == 0 {
            return None;
        }
        let (mut removed, kept): (Vec<_>, Vec<_>) = {
            let tail = self.stored.split_off(newest_old);
            let (removed, mut kept): (Vec<_>, Vec<_>) =
                self.stored.drain(..).partition(|stored| !stored.manifest.is_savepoint);
            kept.extend(tail);
            (removed, kept)
        };
        self.stored = kept;
        if removed.is_empty() {
            return None;
        }
        let needed: BTreeSet<&str> = self.stored.iter().flat_map(|stored| stored.manifest.files()).collect();
        let files: BTreeSet<String> = removed
            .iter()
            .flat_map(|stored| stored.manifest.files())
            .filter(|file| !needed.contains(file))
            .map(str::to_owned)
            .collect();
        let checkpoints = removed.drain(..).map(|stored| stored.manifest.checkpoint).collect();
        Some(Removable { checkpoints, files: files.into_iter().collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifest::FileRef;
    use super::super::testing::{id, manifest};
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn with_files(checkpoint: u32, names: &[&str]) -> Manifest {
        let file = |name: &&str| FileRef { name: (*name).to_owned(), bytes: 1, checksum: 1 };
        let mut manifest = manifest(checkpoint, &[(checkpoint - 1, checkpoint)]);
        manifest.pending[0].files = names.iter().map(file).collect();
        manifest
    }

    /// Three that are stored, the first of them published, at 0.
    fn retained() -> Retained {
        let stored = vec![with_files(1, &["a", "b"]), with_files(2, &["b", "c"]), with_files(3, &["c"])];
        Retained::new(HOUR, stored, id(1), Timestamp(0))
    }

    /// One that is stored and published at this instant.
    fn publish(retained: &mut Retained, checkpoint: u32, now: Timestamp) {
        retained.add(with_files(checkpoint, &["c"]), now);
        retained.on_published(id(checkpoint), now);
    }

    #[test]
    fn checkpoint_goes_once_a_newer_one_was_published_for_the_retention_time() {
        let mut retained = retained();
        retained.on_published(id(2), Timestamp(1000));
        publish(&mut retained, 4, Timestamp(3_600_999));
        assert_eq!(retained.take_removable(), None);
        publish(&mut retained, 5, Timestamp(3_601_000));
        let removable = retained.take_removable().expect("2 was published an hour ago");
        assert_eq!((removable.checkpoints, removable.files), (vec![id(1)], vec!["a".to_owned()]), "2 still names b");
        publish(&mut retained, 6, Timestamp(7_200_998));
        assert_eq!(retained.take_removable(), None, "the newest that is old enough stays, and 3 behind it");
        publish(&mut retained, 7, Timestamp(7_200_999));
        let removable = retained.take_removable().expect("4 was published an hour ago");
        assert_eq!((removable.checkpoints, removable.files), (vec![id(2), id(3)], vec!["b".to_owned()]));
    }

    /// Found by `sim --seed 2513`: a standby that lags took over, and its publisher had not asked it yet.
    #[test]
    fn time_in_which_the_sink_says_nothing_does_not_count() {
        let mut retained = retained();
        retained.on_published(id(2), Timestamp(1000));
        assert_eq!(retained.take_removable(), None, "however late it is: the sink may have been set back to 1");
        // Stored an hour later, but told long after: it may have been published, and lost, before that.
        retained.add(with_files(4, &["c"]), Timestamp(3_600_000));
        retained.on_published(id(4), Timestamp(9_000_000));
        assert_eq!(retained.take_removable(), None);
        publish(&mut retained, 5, Timestamp(9_000_001));
        let removable = retained.take_removable().expect("it still had 2 an hour later");
        assert_eq!(removable.checkpoints, vec![id(1)]);
    }

    #[test]
    fn savepoints_and_their_files_stay() {
        let mut retained = retained();
        retained.stored[0].manifest.is_savepoint = true;
        retained.on_published(id(3), Timestamp(0));
        publish(&mut retained, 4, Timestamp(i64::MAX));
        let removable = retained.take_removable().expect("2 is removable");
        assert_eq!((removable.checkpoints, removable.files), (vec![id(2)], Vec::<String>::new()));
        assert_eq!(retained.manifests().map(|manifest| manifest.checkpoint).collect::<Vec<_>>(), [id(1), id(3), id(4)]);
    }
}
