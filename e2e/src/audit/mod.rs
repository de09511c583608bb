//! An auditor: a connection of its own that asks Postgres, many times a second and in one statement each, whether table and
//! ledger agree.
//!
//! What it claims holds at every instant, for every reader, whatever dies: it needs no knowledge of the engine. It goes to
//! the server itself, around any proxy, and connects again whenever the server is back.

mod sample;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use connectors::postgres::Client;
use localcluster::deadline::Deadline;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

pub use sample::{Ledger, Sample};

use crate::recovery_time::Publication;
use crate::subject::Subject;

/// Twice as often as the twenty times a second that are asked of it.
pub const LOOK_EVERY: Duration = Duration::from_millis(25);
/// A server that does not answer for so long is asked over a new connection.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// So many violations are told; the others are counted.
const TOLD: usize = 50;

/// What the auditor looks at.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    /// Whose table.
    pub subject: Subject,
    /// Between two looks, each of which counts the whole table, which the server has to do beside its work.
    pub every: Duration,
}

impl Default for Looks {
    fn default() -> Looks {
        Looks { subject: Subject::SESSIONS, every: LOOK_EVERY }
    }
}

/// What the auditor saw.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Looks that gave an answer.
    pub polls: u64,
    /// Looks at which something did not hold.
    pub violations: u64,
    /// What did not hold, when, with all values: of the first of them.
    pub told: Vec<String>,
    /// How often the server was away.
    pub outages: u64,
    /// Why the latest look failed that did.
    pub last_failure: Option<String>,
    /// Every epoch that was seen to be the last one, and when it was first seen.
    pub publications: Vec<Publication>,
    /// The latest look.
    pub last: Option<Sample>,
}

/// A thread that looks until it is stopped.
#[derive(Debug)]
pub struct Audit {
    findings: Arc<Mutex<Findings>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Audit {
    /// Looks at the sessions in the database of `url` every [`LOOK_EVERY`] from now on; times are those of `clock`. Table and ledger
    /// need not be there yet.
    ///
    /// # Errors
    /// If there is no thread.
    pub fn start(url: &str, clock: Deadline) -> Result<Audit> {
        Audit::start_with(Looks::default(), url, clock)
    }

    /// As [`Audit::start`], at what one likes and as often as one likes.
    ///
    /// # Errors
    /// As [`Audit::start`].
    pub fn start_with(looks: Looks, url: &str, clock: Deadline) -> Result<Audit> {
        let settings = url.parse().map_err(|error| anyhow!("the auditor's URL: {error}"))?;
        let (findings, stop) = (Arc::new(Mutex::new(Findings::default())), Arc::new(AtomicBool::new(false)));
        let (its_findings, its_stop) = (Arc::clone(&findings), Arc::clone(&stop));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || {
            runtime.block_on(async {
                while !its_stop.load(Ordering::Relaxed) {
                    if let Ok(client) = Client::connect(&settings).await {
                        look_until_it_fails(client, looks, clock, &its_findings, &its_stop).await;
                    }
                    sleep_until(Instant::now() + CONNECT_AGAIN_AFTER).await;
                }
            });
        })?;
        Ok(Audit { findings, stop, thread: Some(thread) })
    }

    /// What it saw so far.
    pub fn findings(&self) -> Findings {
        lock(&self.findings).clone()
    }

    /// The latest look at the ledger.
    pub fn ledger(&self) -> Option<Ledger> {
        lock(&self.findings).last.map(|sample| sample.ledger)
    }

    /// Waits until the ledger is as `is_so` wants it; `None` if it is not within `limit`.
    pub fn wait_for(&self, limit: Duration, is_so: impl Fn(&Ledger) -> bool) -> Option<Ledger> {
        let found: Result<Option<Ledger>, std::convert::Infallible> =
            Deadline::after(limit).wait_for(|| Ok(self.ledger().filter(&is_so)));
        found.unwrap_or_default()
    }

    /// Ends it; what it saw.
    ///
    /// # Errors
    /// If it panicked.
    pub fn finish(mut self) -> Result<Findings> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("taken here and in drop only");
        thread.join().map_err(|_| anyhow!("the auditor panicked"))?;
        Ok(self.findings())
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn look_until_it_fails(
    mut client: Client,
    looks: Looks,
    clock: Deadline,
    findings: &Mutex<Findings>,
    stop: &AtomicBool,
) {
    let mut ticks = interval(looks.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let failure = match timeout(ANSWER_LIMIT, sample::look(&mut client, looks.subject, clock)).await {
            Ok(Ok(sample)) => {
                if let Some(sample) = sample {
                    lock(findings).take(sample);
                }
                continue;
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer within {} s", ANSWER_LIMIT.as_secs()),
        };
        let mut findings = lock(findings);
        findings.outages += 1;
        findings.last_failure = Some(failure);
        return;
    }
    client.close().await;
}

impl Findings {
    fn take(&mut self, now: Sample) {
        self.polls += 1;
        let broken = now.violations(self.last.as_ref());
        if !broken.is_empty() {
            self.violations += 1;
            if self.told.len() < TOLD {
                self.told.push(format!("at {:.3} s: {}; {now:?}", now.at.as_secs_f64(), broken.join("; ")));
            }
        }
        let last_epoch = self.last.map_or(0, |last| last.ledger.last_epoch);
        if now.ledger.last_epoch != last_epoch {
            self.publications.push(Publication { at: now.at, epoch: now.ledger.last_epoch });
        }
        self.last = Some(now);
    }
}

fn lock(findings: &Mutex<Findings>) -> MutexGuard<'_, Findings> {
    findings.lock().unwrap_or_else(PoisonError::into_inner)
}
