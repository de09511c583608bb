//! Files of checkpoints are damaged while the whole cluster is off: a job goes on from the newest whole checkpoint that
//! continues its ledger, and is exact; or there is none, and it is refused and says which file is why. Nothing is skipped.
//!
//! One cluster runs a job for each kind of file and damage, so that all of them need one crash.

mod damage;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use damage::{Damage, FileKind, Folder};
use e2e::cluster::{Cluster, Shape};
use e2e::job::RECOVERY_LIMIT;
use e2e::proxy::{Proxy, Weather};
use e2e::running::{Load, Running};
use localcluster::deadline::Deadline;
use serde_json::Value;
use tokio::task::block_in_place;

/// Epochs that wait to be published when the cluster is killed.
const PENDING: usize = 3;

/// A job, and what becomes of its newest file of a kind.
struct Case {
    name: &'static str,
    kind: FileKind,
    damage: Damage,
    /// Whether its sink is held off, so that epochs are pending.
    is_held_off: bool,
}

const fn pending(name: &'static str, kind: FileKind, damage: Damage) -> Case {
    Case { name, kind, damage, is_held_off: true }
}

const CASES: [Case; 7] = [
    pending("manifest_cut", FileKind::Manifest, Damage::Truncated),
    pending("base_flipped", FileKind::Base, Damage::BitFlipped),
    pending("delta_gone", FileKind::Delta, Damage::Missing),
    pending("rows_cut", FileKind::Rows, Damage::Truncated),
    pending("rows_flipped", FileKind::Rows, Damage::BitFlipped),
    pending("rows_gone", FileKind::Rows, Damage::Missing),
    // The ledger is where the newest checkpoint is: no older one can do.
    Case { name: "manifest_flipped", kind: FileKind::Manifest, damage: Damage::BitFlipped, is_held_off: false },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_never_believed_and_nothing_is_skipped() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape { slots: 4, ..Shape::TWO_BY_TWO })?;
    let proxy = Proxy::start(cluster.postgres.port())?;
    let mut jobs = Vec::new();
    for case in &CASES {
        let sink_port = case.is_held_off.then(|| proxy.port());
        let load = Load { sink_port, ..Load::of(1) };
        let running = Running::begin(&cluster, case.name, load).await.context(case.name)?;
        jobs.push((case, running));
    }
    proxy.set(Weather::Silent);
    for (case, running) in &jobs {
        let folder = Folder(cluster.checkpoint_dir().join(&running.id));
        let are_pending = || {
            let published = running.ledger()?.last_epoch;
            let pending = folder.manifests()?.into_iter().filter(|manifest| manifest.checkpoint.0 > published).count();
            // The last of them is not held off, and is caught just behind a publication.
            anyhow::Ok(if case.is_held_off { pending >= PENDING } else { pending == 0 }.then_some(()))
        };
        let found = block_in_place(|| Deadline::after(RECOVERY_LIMIT).wait_for(are_pending))?;
        found.with_context(|| format!("{}: its epochs are never as they are to be", case.name))?;
    }
    cluster.taskmanagers.iter_mut().for_each(|taskmanager| taskmanager.kill());
    cluster.jobmanager.kill();
    // What was on its way to the server is lost with its senders.
    proxy.cut();
    proxy.set(Weather::Fair);

    let mut expected = Vec::new();
    for (case, running) in jobs {
        let folder = Folder(cluster.checkpoint_dir().join(&running.id));
        let published = published_epoch(&running)?;
        let file = folder.damage_newest(case.kind, case.damage).context(case.name)?;
        let can_go_on = folder.has_whole_from(published, &file)?;
        eprintln!("{}: `{}`, {}", case.name, file.display(), if can_go_on { "to go on" } else { "to be refused" });
        expected.push((case, running, file, can_go_on, published >> 32));
    }
    cluster.jobmanager.restart()?;
    cluster.taskmanagers.iter_mut().try_for_each(|taskmanager| taskmanager.restart())?;
    let refused = expected.iter().filter(|(_, _, _, can_go_on, _)| !can_go_on).count();
    ensure!(refused > 0 && refused < CASES.len(), "{refused} of {} cases are to be refused", CASES.len());
    for (case, running, file, can_go_on, token) in expected {
        match can_go_on {
            true => goes_on_exactly(running, &cluster, token).await.context(case.name)?,
            false => is_refused(&running, &cluster, &file).context(case.name)?,
        }
    }
    Ok(())
}

async fn goes_on_exactly(running: Running, cluster: &Cluster, token: u64) -> Result<()> {
    // What was pending is published in either case; only an epoch of its own shows that an attempt runs.
    running
        .wait_for("an epoch of a new attempt", |now| now.last_epoch >> 32 > token)
        .with_context(|| format!("{:?}", running.job.describe(cluster)))?;
    running.end(cluster).await.map(drop)
}

fn is_refused(running: &Running, cluster: &Cluster, file: &Path) -> Result<()> {
    let job = block_in_place(|| running.job.wait_until(cluster, |job| job["state"] == "failed"))?;
    let name = file.to_str().context("a name that is text")?;
    ensure!(names(&job, name), "`{name}` is not named: {}", job["causes"]);
    let findings = running.audit.findings();
    ensure!(findings.violations == 0, "{} violations: {:#?}", findings.violations, findings.told);
    Ok(())
}

/// Whether the reasons that a user is shown name the file.
fn names(job: &Value, file: &str) -> bool {
    job["causes"].to_string().contains(file)
}

/// Asked anew: the auditor's latest look may be from before the end.
fn published_epoch(running: &Running) -> Result<u64> {
    let polls = running.audit.findings().polls;
    let has_looked = || running.audit.findings().polls > polls + 1;
    ensure!(block_in_place(|| Deadline::after(RECOVERY_LIMIT).wait_until(has_looked)), "the auditor does not look");
    Ok(running.ledger()?.last_epoch)
}
