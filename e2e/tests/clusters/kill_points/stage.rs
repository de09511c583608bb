//! A cluster on which one case after the other is played, and how a process is brought to its point.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Choice;
use e2e::cluster::{Cluster, Shape};
use e2e::job::RECOVERY_LIMIT;
use e2e::member::Member;
use e2e::proxy::{Proxy, Weather};
use e2e::running::{Load, Running};
use localcluster::deadline::Deadline;
use tokio::task::block_in_place;

use super::cases::{Case, Role, Scene};

/// Often, so that a point is soon reached often enough.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(250);
/// So short that checkpoints are removed while a case is played.
const RETENTION: (&str, &str) = ("GAPWISE_CHECKPOINT_RETENTION", "500ms");
/// Epochs that wait where some are to.
const PENDING: usize = 3;

/// A cluster whose broker and Postgres outlive every case.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    /// On the way of every sink.
    proxy: Proxy,
}

impl Stage {
    /// Starts one.
    pub(crate) fn build() -> Result<Stage> {
        let cluster = Cluster::start_with(Shape { slots: 1, broker: Choice::Devbroker, ..Shape::TWO_BY_TWO })?;
        let proxy = Proxy::start(cluster.postgres.port())?;
        Ok(Stage { cluster, proxy })
    }

    /// Ends its processes and leaves its folder behind.
    pub(crate) fn leave(mut self) {
        self.cluster.keep_dir();
        eprintln!("logs and checkpoints are in `{}`", self.cluster.dir().display());
    }

    /// Plays a case to its end.
    pub(crate) async fn play(&mut self, case: &Case) -> Result<()> {
        let is_armed_at_once = matches!(case.scene, Scene::AtWork | Scene::InRecovery | Scene::Zombie);
        if is_armed_at_once {
            self.arm(case)?;
        }
        block_in_place(|| self.cluster.wait_for_taskmanagers())?;
        let load = Load { sink_port: Some(self.proxy.port()), checkpoint_interval: CHECKPOINT_INTERVAL, ..Load::of(2) };
        let running = Running::submit(&self.cluster, &case.name(), load).await?;
        match case.scene {
            Scene::AtWork => self.dies_at_work(case, running).await,
            Scene::InRecovery => self.dies_in_recovery(case, running).await,
            Scene::Successor | Scene::SuccessorWithPending => self.successor_dies(case, running).await,
            Scene::Zombie => self.stands_still(case, running).await,
        }
    }

    async fn dies_at_work(&mut self, case: &Case, running: Running) -> Result<()> {
        self.wait_for_death(case, &running)?;
        let before = running.ledger().context("it died before anything could be lost")?;
        ensure!(before.rows_total > 0, "it died before anything could be lost: {before:?}");
        self.member(case).restart()?;
        if case.victim != Role::Jobmanager {
            running.wait_for_a_new_attempt_to_publish(&before)?;
        }
        running.end(&self.cluster).await.map(drop)
    }

    async fn dies_in_recovery(&mut self, case: &Case, running: Running) -> Result<()> {
        let before = running.wait_for_sessions()?;
        self.cluster.taskmanagers[1].kill();
        self.cluster.taskmanagers[1].restart()?;
        self.wait_for_death(case, &running)?;
        self.member(case).restart()?;
        running.wait_for_a_new_attempt_to_publish(&before)?;
        running.end(&self.cluster).await.map(drop)
    }

    async fn successor_dies(&mut self, case: &Case, running: Running) -> Result<()> {
        let mut before = running.wait_for_sessions()?;
        let mut waiting = 0;
        if case.scene == Scene::SuccessorWithPending {
            self.proxy.set(Weather::Silent);
            before = running.ledger()?;
            waiting = block_in_place(|| self.wait_for_pending(&running, before.last_epoch))?;
        }
        self.member(case).kill();
        // What was on its way to the sink is not to come through after all.
        self.proxy.cut();
        self.proxy.set(Weather::Fair);
        self.arm(case)?;
        self.wait_for_death(case, &running)?;
        if case.scene == Scene::SuccessorWithPending {
            let partly = running.wait_for("one of the pending epochs", |now| now.last_epoch > before.last_epoch)?;
            ensure!(partly.last_epoch < waiting, "all of what was pending is published: {partly:?}");
        }
        self.member(case).restart()?;
        running.wait_for_a_new_attempt_to_publish(&before)?;
        running.end(&self.cluster).await.map(drop)
    }

    /// Waits until the process has died of its fail point, and makes sure that it did.
    fn wait_for_death(&mut self, case: &Case, running: &Running) -> Result<()> {
        let member = self.member(case);
        let has_died = block_in_place(|| Deadline::after(RECOVERY_LIMIT).wait_until(|| member.has_ended()));
        ensure!(has_died, "it never came to its point; the ledger: {:?}", running.audit.ledger());
        ensure!(member.was_killed(), "it ended by itself: {:?}", member.exit_status());
        let word = format!("fail point `{}`: this process kills itself", case.point());
        ensure!(last_life(member)?.contains(&word), "it was killed, and not by its fail point");
        Ok(())
    }

    /// Waits until epochs of completed checkpoints wait behind the published one; the newest of them.
    fn wait_for_pending(&self, running: &Running, published: u64) -> Result<u64> {
        let pending = || {
            let completed = running.job.completed_epochs(&self.cluster)?;
            let pending: Vec<u64> = completed.into_iter().filter(|&epoch| epoch > published).collect();
            anyhow::Ok((pending.len() >= PENDING).then(|| pending.into_iter().max()).flatten())
        };
        Deadline::after(RECOVERY_LIMIT).wait_for(pending)?.context("no epochs wait")
    }

    /// Starts the victim anew with its fail point.
    fn arm(&mut self, case: &Case) -> Result<()> {
        let env = [("GAPWISE_FAIL_POINT", case.fail_point), RETENTION];
        self.member(case).restart_with(&env)
    }

    pub(crate) fn member(&mut self, case: &Case) -> &mut Member {
        match case.victim {
            Role::Jobmanager => &mut self.cluster.jobmanager,
            Role::Taskmanager(place) => &mut self.cluster.taskmanagers[place],
        }
    }
}

/// What a process has logged since it was armed: it says so as it begins.
pub(crate) fn last_life(member: &Member) -> Result<String> {
    let log = member.log()?;
    let begins = log.rfind("a fail point is armed").context("it was not armed")?;
    Ok(log[begins..].to_owned())
}
