//! What an attempt leaves in the checkpoint store that dies in the midst of a checkpoint: the next attempt removes it, that and
//! nothing more, and one behind it begins with what is there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use connectors::RealStores;
use e2e::broker::Choice;
use e2e::cluster::{Cluster, Shape};
use e2e::job::RECOVERY_LIMIT;
use e2e::running::{Load, Running};
use localcluster::deadline::Deadline;
use stream_core::checkpoint::Manifest;
use stream_core::ids::Token;
use stream_runtime::store::{ObjectStore, Stores};
use stream_runtime::stored::{decode_manifest, names};
use tokio::task::block_in_place;

/// Often, so that a point is soon reached often enough.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_attempt_left_goes_and_what_a_manifest_names_stays() -> Result<()> {
    let shape = Shape { slots: 1, broker: Choice::Devbroker, ..Shape::TWO_BY_TWO };
    let mut cluster = Cluster::start_with(shape)?;
    dies_and_is_swept(&mut cluster, "half_written", "object-half-written@state:9").await.context("half written")?;
    dies_and_is_swept(&mut cluster, "stored", "object-stored@state:9").await.context("stored")
}

async fn dies_and_is_swept(cluster: &mut Cluster, name: &str, fail_point: &str) -> Result<()> {
    cluster.taskmanagers[1].restart_with(&[("GAPWISE_FAIL_POINT", fail_point)])?;
    block_in_place(|| cluster.wait_for_taskmanagers())?;
    let load = Load { checkpoint_interval: CHECKPOINT_INTERVAL, ..Load::of(2) };
    let running = Running::submit(cluster, name, load).await?;
    let victim = &mut cluster.taskmanagers[1];
    let has_died = block_in_place(|| Deadline::after(RECOVERY_LIMIT).wait_until(|| victim.has_ended()));
    ensure!(has_died && victim.was_killed(), "it did not die of its fail point");

    // Its slot is missing: until it is back there is no next attempt.
    let files = Files::of(cluster, &running)?;
    let before = running.ledger()?;
    let orphans = files.orphans(Token(u32::try_from(before.token)? + 1)).await?;
    ensure!(!orphans.is_empty(), "it left nothing");
    let is_half = orphans.iter().any(|orphan| orphan.ends_with(HALF));
    ensure!(is_half == fail_point.contains("half"), "it left {orphans:?}");
    cluster.taskmanagers[1].restart()?;
    let after = running.wait_for_a_new_attempt_to_publish(&before)?;
    let token = Token(u32::try_from(after.token)?);
    let deadline = Deadline::after(RECOVERY_LIMIT);
    while !files.orphans(token).await?.is_empty() {
        ensure!(!deadline.has_passed(), "{:?} are left of {orphans:?}", files.orphans(token).await?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    files.check_that_nothing_is_missing().await?;

    // What is left is enough to begin with.
    cluster.taskmanagers[0].kill();
    cluster.taskmanagers[0].restart()?;
    running.wait_for_a_new_attempt_to_publish(&after)?;
    running.end(cluster).await.map(drop)
}

/// Stands behind the name of what is not whole.
const HALF: &str = " (half)";

/// A job's part of the checkpoint store.
struct Files {
    store: Arc<dyn ObjectStore>,
    folder: String,
}

impl Files {
    fn of(cluster: &Cluster, running: &Running) -> Result<Files> {
        let dir = cluster.checkpoint_dir();
        let store = RealStores::default().open(dir.to_str().context("a path that is text")?)?;
        Ok(Files { store, folder: format!("{}/", running.id) })
    }

    /// What older attempts left and no manifest names.
    async fn orphans(&self, attempt: Token) -> Result<Vec<String>> {
        let listed = self.store.list(&self.folder).await?;
        let rests = self.store.list_unfinished(&self.folder).await?;
        let named = self.named().await?;
        let in_job = |name: &str| name.trim_start_matches(&self.folder).to_owned();
        let is_older = |name: &String| names::token_of(name).is_some_and(|token| token < attempt);
        let files = listed.iter().map(|name| in_job(name)).filter(|name| !name.starts_with("chk/"));
        let files = files.filter(|name| is_older(name) && !named.contains(name));
        let rests = rests.iter().map(|rest| in_job(&rest.object)).filter(is_older);
        Ok(files.chain(rests.map(|rest| format!("{rest}{HALF}"))).collect())
    }

    async fn check_that_nothing_is_missing(&self) -> Result<()> {
        for name in self.named().await? {
            let length = self.store.length(&format!("{}{name}", self.folder)).await?;
            ensure!(length.is_some(), "`{name}` is named by a manifest, and gone");
        }
        Ok(())
    }

    async fn named(&self) -> Result<BTreeSet<String>> {
        let mut named = BTreeSet::new();
        for name in self.store.list(&format!("{}chk/", self.folder)).await? {
            let manifest: Manifest = decode_manifest(&name, &self.store.read(&name).await?)?;
            named.extend(manifest.files().map(str::to_owned));
        }
        Ok(named)
    }
}
