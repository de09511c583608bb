//! What older attempts left in the store, and what becomes of it.

use jobmanager::Error;
use proto::v1;
use stream_core::checkpoint::FileRef;
use stream_runtime::store::{MemoryStore, ObjectStore};

use crate::recovery::{Cluster, patient};
use crate::stores::STORE;

/// Named by the first attempt's checkpoint.
const NEEDED: &str = "state/00000001-00000001/1-0";
/// Of a checkpoint that was given up, and of one that an attempt died of.
const ORPHANS: [&str; 2] = ["rows/00000001/00000001-00000001/00000002", "state/00000001-00000002/1-0"];
/// The second attempt's own, of a checkpoint that is not complete yet.
const UNDER_WAY: &str = "state/00000002-00000007/1-0";

struct Stage {
    cluster: Cluster,
    id: String,
    store: MemoryStore,
}

impl Stage {
    /// An attempt that has left orphans, and a second one that has completed a checkpoint behind its savepoint.
    async fn build() -> (Self, v1::Deploy, v1::CompleteCheckpoint) {
        let mut cluster = Cluster::start(1).await;
        let (id, deploy) = cluster.running(&patient(1)).await;
        let store = cluster.stores.at(STORE);
        for name in [NEEDED, UNDER_WAY, "notes"].into_iter().chain(ORPHANS) {
            store.create(&format!("{id}/{name}"), vec![0; 9].into()).await.unwrap();
        }
        store.create(&format!("{:032x}/{}", 1, ORPHANS[0]), vec![0; 9].into()).await.unwrap();
        store.leave_unfinished(&format!("{id}/{NEEDED}"));
        store.leave_unfinished(&format!("{id}/{UNDER_WAY}"));
        let needed = FileRef { name: NEEDED.to_owned(), bytes: 9, checksum: 1 };
        cluster.taskmanager.state_file = Some((&needed).into());
        cluster.savepoint(&id, &deploy).await;
        let mut stage = Stage { cluster, id, store };
        let (next, complete) = stage.next_attempt(&deploy).await;
        (stage, next, complete)
    }

    /// Ends an attempt; the next one completes a checkpoint.
    async fn next_attempt(&mut self, deploy: &v1::Deploy) -> (v1::Deploy, v1::CompleteCheckpoint) {
        let cluster = &mut self.cluster;
        cluster.taskmanager.fail(deploy).await;
        let next = cluster.taskmanager.next_deploy().await;
        cluster.taskmanager.run(&next).await;
        // What the savepoint left is told first.
        for _ in 0..next.restore.as_ref().unwrap().pending.len() {
            cluster.taskmanager.next_complete().await;
        }
        // The first checkpoint behind a failure comes by itself.
        let complete = cluster.taskmanager.checkpoint(&next).await;
        (next, complete)
    }

    fn orphans_left(&self) -> usize {
        let names = self.store.names();
        ORPHANS.iter().filter(|orphan| names.contains(&format!("{}/{orphan}", self.id))).count()
    }

    async fn unfinished(&self) -> Vec<String> {
        let rests = self.store.list_unfinished(&format!("{}/", self.id)).await.unwrap();
        rests.into_iter().map(|rest| rest.object).collect()
    }
}

#[tokio::test]
async fn orphans_go_once_the_next_attempt_has_published_and_nothing_else_does() {
    let (stage, next, complete) = Stage::build().await;
    let before = stage.store.names();
    assert_eq!(stage.orphans_left(), 2, "nothing of the new attempt is published yet");
    stage.cluster.taskmanager.publish(&next, complete.checkpoint_id).await;
    let last = format!("delete {}/{}", stage.id, ORPHANS[1]);
    stage.cluster.stores.wait_for(&last).await;

    let mut expected = before;
    expected.retain(|name| !ORPHANS.iter().any(|orphan| *name == format!("{}/{orphan}", stage.id)));
    assert_eq!(stage.store.names(), expected);
    assert_eq!(stage.unfinished().await, [format!("{}/{UNDER_WAY}", stage.id)]);
    let log = stage.cluster.stores.log.lines();
    let at = |line: String| log.iter().rposition(|done| *done == line).unwrap();
    let (files, manifests) = (at(format!("list {}/", stage.id)), at(format!("list {}/chk/", stage.id)));
    let (leader, removed) = (at("list leader/".to_owned()), at(format!("delete {}/{}", stage.id, ORPHANS[0])));
    assert!(files < manifests && manifests < leader && leader < removed, "{log:?}");
}

#[tokio::test]
async fn nothing_goes_while_a_manifest_cannot_be_read() {
    let (mut stage, next, complete) = Stage::build().await;
    let manifest = format!("{}/chk/00000001-00000009/manifest", stage.id);
    stage.store.create(&manifest, "no manifest".into()).await.unwrap();
    stage.cluster.taskmanager.publish(&next, complete.checkpoint_id).await;
    stage.cluster.stores.wait_for(&format!("read {manifest}")).await;
    stage.cluster.savepoint(&stage.id, &next).await;
    assert_eq!((stage.orphans_left(), stage.unfinished().await.len()), (2, 2));

    // The next attempt looks again.
    stage.store.delete(&manifest).await.unwrap();
    let (next, complete) = stage.next_attempt(&next).await;
    stage.cluster.taskmanager.publish(&next, complete.checkpoint_id).await;
    stage.cluster.stores.wait_for(&format!("delete {}/{}", stage.id, ORPHANS[1])).await;
}

#[tokio::test]
async fn a_store_that_removes_nothing_hurts_no_job_and_the_next_attempt_tries_again() {
    let (mut stage, next, complete) = Stage::build().await;
    stage.store.refuse_writes(true);
    stage.cluster.taskmanager.publish(&next, complete.checkpoint_id).await;
    let first = format!("delete unfinished {}/{NEEDED}", stage.id);
    stage.cluster.stores.wait_for(&first).await;
    stage.store.refuse_writes(false);
    stage.cluster.savepoint(&stage.id, &next).await;
    assert_eq!(stage.cluster.jobmanager.describe(&stage.id).await.unwrap().restarts, 1);
    assert_eq!(stage.orphans_left(), 2);

    let (next, complete) = stage.next_attempt(&next).await;
    stage.cluster.taskmanager.publish(&next, complete.checkpoint_id).await;
    stage.cluster.stores.wait_for(&format!("delete {}/{}", stage.id, ORPHANS[1])).await;
}

#[tokio::test]
async fn a_jobmanager_that_was_taken_over_removes_nothing() {
    let (stage, next, complete) = Stage::build().await;
    stage.store.create("leader/00000002", Default::default()).await.unwrap();
    stage.cluster.taskmanager.publish(&next, complete.checkpoint_id).await;
    let orphans = stage.orphans_left();
    let Stage { cluster, store, .. } = stage;
    let stopped = cluster.jobmanager.stopped().await.expect_err("it steps down");
    assert!(matches!(stopped, Error::Superseded(_)), "{stopped}");
    let names = store.names();
    assert_eq!(
        (orphans, ORPHANS.iter().filter(|orphan| names.iter().any(|name| name.ends_with(*orphan))).count()),
        (2, 2)
    );
}
