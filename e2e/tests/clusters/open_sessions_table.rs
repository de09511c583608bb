//! `--open-sessions-table` on a real cluster: at every instant the table is what the ledger says is open, whoever dies, under ids that
//! stay with their sessions, and empty in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use connectors::postgres::Client;
use e2e::audit::{Audit, Ledger};
use e2e::cluster::{Cluster, Shape};
use e2e::feed::{self, Feed};
use e2e::job::{Job, RECOVERY_LIMIT};
use e2e::oracle;
use e2e::subject::Subject;
use e2e::traffic::Traffic;
use localcluster::deadline::Deadline;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::sleep;

const NAME: &str = "open_sessions_table";
const OPTIONS: [&str; 3] = ["--open-sessions-table", "open_sessions", "--last-event"];
const RATE: u64 = 1000;
const LOOK_EVERY: Duration = Duration::from_millis(40);

#[tokio::test(flavor = "multi_thread")]
async fn open_sessions_are_those_of_the_ledger_at_every_instant_whoever_dies() -> Result<()> {
    let mut cluster = Cluster::start_with(Shape::TWO_BY_TWO)?;
    let bootstrap = cluster.broker.bootstrap_servers();
    feed::create_topic(&bootstrap, NAME).await?;
    let job = Job { name: NAME.to_owned(), postgres_url: cluster.create_database(NAME).await? };
    let observer = Audit::start(&job.postgres_url, Deadline::after(Duration::MAX))?;
    job.submit(&cluster, 2, &OPTIONS)?;
    let feed = Feed::start(&bootstrap, NAME, Traffic::new(41), RATE)?;
    wait_for(&observer, "the first sessions", |now| now.rows_total > 100)?;
    let watch = Watch::start(&job.postgres_url).await?;

    // In the midst of it a taskmanager is gone, and a window with it; then the windows are others.
    let before = observer.ledger().context("a ledger")?;
    let victim = job.a_taskmanager_of(&cluster, "window")?;
    cluster.taskmanagers[victim].kill();
    cluster.taskmanagers[victim].restart()?;
    wait_for(&observer, "an epoch of a new attempt", |now| now.last_epoch >> 32 > before.token)?;
    let before = observer.ledger().context("a ledger")?;
    job.rescale(&cluster, 1)?;
    wait_for(&observer, "an epoch of one window", |now| now.last_epoch >> 32 > before.token)?;
    let rows = observer.ledger().context("a ledger")?.rows_total;
    wait_for(&observer, "more sessions", |now| now.rows_total > rows + 2000)?;
    audit(&cluster, &job, true)?;

    // It is stopped, its table is spoilt meanwhile, and what begins with its savepoint shows what is open, and nothing else.
    let folder = job.stop(&cluster, false)?;
    let seen = watch.end().await?;
    // How many joined is chance; that an id stays when they do is checked at each look.
    ensure!(seen.looks > 100 && seen.epochs > 10 && seen.gone > 100, "{seen:?}");
    let mut sql = Client::connect(&job.postgres_url.parse()?).await?;
    ensure!(look(&mut sql).await?.is_exact(), "what a stopped job leaves is what its savepoint holds");
    sql.execute(
        "INSERT INTO open_sessions SELECT session_id / 2, job_id, event_hour, last_event, ip, 'spoilt', num_hits FROM open_sessions; \
         DELETE FROM open_sessions WHERE session_id % 3 = 0; UPDATE open_sessions SET num_hits = 0 WHERE session_id % 3 = 1",
    )
    .await?;
    audit(&cluster, &job, false)?;
    let before = observer.ledger().context("a ledger")?;
    job.submit(&cluster, 2, &[&OPTIONS[..], &["--from-savepoint", &folder]].concat())?;
    wait_for(&observer, "an epoch behind the savepoint", |now| now.last_epoch >> 32 > before.last_epoch >> 32)?;
    let spoilt = "SELECT count(*)::text FROM open_sessions WHERE host = 'spoilt'";
    ensure!(sql.query_text(spoilt).await?.rows == [[Some("0".to_owned())]], "rows of nobody");
    let watch = Watch::start(&job.postgres_url).await?;
    let rows = observer.ledger().context("a ledger")?.rows_total;
    wait_for(&observer, "more sessions", |now| now.rows_total > rows + 300)?;

    // When all is over nothing is open.
    let traffic = block_in_place(|| feed.stop())?;
    block_in_place(|| feed::close(&bootstrap, NAME, &traffic))?;
    let records = feed::topic_length(&bootstrap, NAME).await?;
    wait_for(&observer, "all records", |now| now.events_read == records)?;
    job.stop(&cluster, true)?;
    watch.end().await?;
    let end = look(&mut sql).await?;
    ensure!(end.open.is_empty() && end.open_events == 0, "{} sessions are still shown", end.open.len());
    let verdict = oracle::compare(&mut sql, cluster.dir(), &bootstrap, NAME, Subject::SESSIONS).await?;
    ensure!(verdict.is_exact(), "{verdict}");
    let findings = block_in_place(|| observer.finish())?;
    ensure!(findings.violations == 0, "{:?}", findings.told);
    Ok(())
}

/// `jobctl audit`, which looks at the table of open sessions as well.
fn audit(cluster: &Cluster, job: &Job, holds: bool) -> Result<()> {
    let env = [("POSTGRES_URL", job.postgres_url.as_str())];
    let said = cluster.jobctl_with(&["audit", NAME], &env)?;
    ensure!(said.out.contains("events in open_sessions"), "{said:?}");
    ensure!((said.code == Some(0)) == holds, "{said:?}");
    Ok(())
}

fn wait_for(observer: &Audit, what: &str, is_so: impl Fn(&Ledger) -> bool) -> Result<Ledger> {
    let found = block_in_place(|| observer.wait_for(RECOVERY_LIMIT, is_so));
    found.with_context(|| format!("waited in vain for {what}; the ledger: {:?}", observer.ledger()))
}

/// A row of the table.
#[derive(Clone, Debug)]
struct Open {
    hits: u64,
    whose: String,
    start: String,
    last: String,
}

impl Open {
    /// Times are in one format, in which they are ordered as texts.
    fn is_within(&self, other: &Open) -> bool {
        self.whose == other.whose && other.start <= self.start && self.last <= other.last
    }
}

/// Table and ledger at one instant.
#[derive(Debug)]
struct Look {
    epoch: String,
    prev_epoch: String,
    open_events: u64,
    /// Sessions that are shown as open, and whose rows are there.
    closed: u64,
    open: BTreeMap<String, Open>,
}

/// One statement, so that all of it is of one instant. Two sessions of one visitor are further apart than the gap: what touches a closed
/// one is that one.
const LOOK: &str = "
    SELECT l.last_epoch, l.prev_epoch, l.open_events,
           (SELECT count(*) FROM open_sessions AS o JOIN sessionized_aggregated_events AS s
            ON s.ip = o.ip AND s.host = o.host AND s.event_hour <= o.last_event AND o.event_hour <= s.last_event),
           o.session_id, o.num_hits, o.ip || ' ' || o.host,
           to_char(o.event_hour, 'YYYY-MM-DD HH24:MI:SS.MS'), to_char(o.last_event, 'YYYY-MM-DD HH24:MI:SS.MS')
    FROM gapwise_ledger AS l LEFT JOIN open_sessions AS o ON o.job_id = l.job_id";

async fn look(sql: &mut Client) -> Result<Look> {
    let rows = sql.query_text(LOOK).await?.rows;
    let field = |row: &[Option<String>], at: usize| row[at].clone().with_context(|| format!("no field {at}: {row:?}"));
    let first = rows.first().context("no ledger")?;
    let open = rows.iter().filter(|row| row[4].is_some()).map(|row| {
        let (hits, whose) = (field(row, 5)?.parse()?, field(row, 6)?);
        Ok((field(row, 4)?, Open { hits, whose, start: field(row, 7)?, last: field(row, 8)? }))
    });
    Ok(Look {
        epoch: field(first, 0)?,
        prev_epoch: field(first, 1)?,
        open_events: field(first, 2)?.parse()?,
        closed: field(first, 3)?.parse()?,
        open: open.collect::<Result<_>>()?,
    })
}

impl Look {
    fn is_exact(&self) -> bool {
        self.closed == 0 && self.open.values().map(|open| open.hits).sum::<u64>() == self.open_events
    }
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    looks: u64,
    epochs: u64,
    /// Ids that went because their sessions joined others.
    joined: u64,
    /// Ids that went because their sessions closed.
    gone: u64,
}

impl Seen {
    fn take(&mut self, before: &Look, now: &Look) -> Result<()> {
        self.looks += 1;
        let hits: u64 = now.open.values().map(|open| open.hits).sum();
        ensure!(now.is_exact(), "epoch {}: {hits} of {} are shown, {} closed", now.epoch, now.open_events, now.closed);
        if now.epoch == before.epoch {
            return Ok(());
        }
        self.epochs += 1;
        let by_whose = |look: &Look| {
            let mut by_whose = BTreeMap::<String, BTreeSet<String>>::new();
            for (id, open) in &look.open {
                by_whose.entry(open.whose.clone()).or_default().insert(id.clone());
            }
            by_whose
        };
        let now_of = by_whose(now);
        for (whose, earlier) in by_whose(before) {
            for (id, row) in now_of.get(&whose).into_iter().flatten().map(|id| (id, &now.open[id])) {
                let parts: Vec<&String> = earlier.iter().filter(|id| before.open[*id].is_within(row)).collect();
                let first = parts.iter().min_by_key(|id| &before.open[**id].start);
                // Of an epoch that was not seen a part may be the first.
                let is_next = now.prev_epoch == before.epoch;
                ensure!(!is_next || first.is_none_or(|first| *first == id), "{row:?} was {parts:?} and is {id}");
                self.joined += (parts.len() as u64).saturating_sub(1);
            }
            self.gone += earlier.iter().filter(|id| !now.open.contains_key(*id)).count() as u64;
        }
        Ok(())
    }
}

/// Looks again and again beside the test.
struct Watch {
    stop: Arc<AtomicBool>,
    task: JoinSet<Result<Seen>>,
}

impl Watch {
    async fn start(url: &str) -> Result<Watch> {
        let mut sql = Client::connect(&url.parse()?).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let (mut seen, mut before) = (Seen::default(), look(&mut sql).await?);
            while !is_stopped.load(Ordering::Relaxed) {
                let now = look(&mut sql).await?;
                seen.take(&before, &now)?;
                before = now;
                sleep(LOOK_EVERY).await;
            }
            anyhow::Ok(seen)
        });
        Ok(Watch { stop, task })
    }

    async fn end(mut self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.join_next().await.context("it looks")??
    }
}
