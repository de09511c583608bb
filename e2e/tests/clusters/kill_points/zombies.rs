//! Processes that stand still at their point, are replaced, and then go on as if nothing had happened.

use anyhow::{Context, Result, ensure};
use e2e::job::RECOVERY_LIMIT;
use e2e::member::Member;
use e2e::running::Running;
use localcluster::deadline::Deadline;
use tokio::task::block_in_place;

use super::cases::{Case, Role};
use super::stage::{Stage, last_life};

impl Stage {
    /// Nothing that the zombie does becomes visible.
    pub(crate) async fn stands_still(&mut self, case: &Case, running: Running) -> Result<()> {
        let member = self.member(case);
        wait_for("the process to stand still", || Ok(member.is_stopped()))?;
        ensure!(last_life(member)?.contains("this process stops itself"), "it does not stand at its fail point");
        match case.victim {
            Role::Jobmanager => self.jobmanager_stands_still(running).await,
            Role::Taskmanager(place) => self.taskmanager_stands_still(place, running).await,
        }
    }

    async fn taskmanager_stands_still(&mut self, place: usize, running: Running) -> Result<()> {
        let before = running.ledger()?;
        self.cluster.add_taskmanager()?;
        let after = running.wait_for_a_new_attempt_to_publish(&before)?;
        let zombie = &mut self.cluster.taskmanagers[place];
        zombie.resume();
        wait_for("the zombie's tasks to end", || {
            let log = last_life(zombie)?;
            Ok(log.contains("this process goes on") && log.contains("all tasks have ended"))
        })?;
        let now = running.wait_for("an epoch behind the zombie's end", |now| now.last_epoch > after.last_epoch)?;
        ensure!(now.token == after.token, "the zombie's end disturbed its successor: {after:?}, then {now:?}");
        running.end(&self.cluster).await?;
        // As it was, for the next case.
        self.cluster.taskmanagers.truncate(2);
        self.cluster.taskmanagers[place].restart()
    }

    async fn jobmanager_stands_still(&mut self, running: Running) -> Result<()> {
        let before = running.ledger()?;
        let mut zombie = block_in_place(|| self.cluster.replace_jobmanager())?;
        let after = running.wait_for_a_new_attempt_to_publish(&before)?;
        zombie.resume();
        wait_for("the zombie to step down", || Ok(zombie.has_ended()))?;
        let code = zombie.exit_status().context("it has ended")?.code();
        ensure!(code == Some(1) && has_stepped_down(&zombie)?, "it ended otherwise, with {code:?}");
        let now = running.wait_for("an epoch behind the zombie's end", |now| now.last_epoch > after.last_epoch)?;
        ensure!(now.token == after.token, "the zombie fenced its successor: {after:?}, then {now:?}");
        running.end(&self.cluster).await.map(drop)
    }
}

fn has_stepped_down(zombie: &Member) -> Result<bool> {
    Ok(last_life(zombie)?.contains("has taken the checkpoint store over"))
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let found = block_in_place(|| Deadline::after(RECOVERY_LIMIT).wait_for(|| Ok(is_so()?.then_some(()))));
    found.and_then(|found: Option<()>| found.with_context(|| format!("waited in vain for {what}")))
}
