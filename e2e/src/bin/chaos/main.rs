//! `make chaos`: a real cluster, a job, and everything that can die dying again and again; then the books are checked.
//!
//! The judge stands outside: an auditor polls table and ledger in Postgres, and at the end Postgres computes the rows by
//! itself from the topic's records. A seed decides traffic and faults; processes and clocks decide the rest, so a failing
//! seed may need a few runs.

mod fault;
mod injector;
mod report;
mod tasks;
mod terminal;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use e2e::audit::{Audit, Ledger, Looks};
use e2e::broker::Choice;
use e2e::cluster::{Cluster, Shape};
use e2e::feed::{self, Feed};
use e2e::form::Form;
use e2e::interrupted::Interrupted;
use e2e::job::Job;
use e2e::oracle::{self, Verdict};
use e2e::proxy::Proxy;
use e2e::traffic::Traffic;
use localcluster::deadline::{Deadline, pause};

use injector::Injector;
use report::Report;
use tasks::{JobType, Task};
use terminal::Progress;

/// Kills, halts and cuts off everything around a job, and checks that every row is published once.
#[derive(Debug, Parser)]
#[command(
    name = "chaos",
    after_help = "Exit codes: 0 all is exact, 1 something is not or could not be found out, 2 usage."
)]
struct Args {
    /// How long faults go on.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: u64,

    /// What traffic and faults are drawn from [default: by the time of day].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Events a second.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,

    /// Which job.
    #[arg(long, value_name = "JOB_TYPE", default_value = "sessionize", value_enum)]
    job: JobType,

    /// Which broker.
    #[arg(long, value_name = "BROKER", default_value = "best", value_enum)]
    broker: Choice,

    /// How the report is shown.
    #[arg(long, value_name = "FORM", default_value = "text")]
    output: Form,
}

const JOB: &str = "chaos";
/// Three, with two slots each: parallelism 4 needs two of them, and one can be spared.
const SHAPE: Shape = Shape { taskmanagers: 3, ..Shape::TWO_BY_TWO };
const PARALLELISM: u32 = 2;
/// No event is late before so many, by when every partition has a watermark, and a checkpoint knows it.
const LATE_FROM: i64 = 30_000;
const TURN: Duration = Duration::from_millis(50);
/// A cluster that is left alone has caught up and published everything by then.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(180);
/// How often a job that is waited for is asked whether it has failed.
const ASK_EVERY: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let args = Args::parse();
    match tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| runtime.block_on(run(&args))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(seed_of_the_day);
    eprintln!("seed {seed}, {} min: starting a cluster", args.minutes);
    let mut cluster = Cluster::start_with(Shape { broker: args.broker, ..SHAPE })?;
    // Whatever happens from here on, the logs are wanted; a success throws them away below.
    cluster.keep_dir();
    let dir = cluster.dir().to_owned();
    let is_good =
        torment(args, seed, cluster).await.with_context(|| format!("seed {seed}; logs: `{}`", dir.display()))?;
    if is_good {
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove `{}`", dir.display()))?;
    } else {
        let job = args.job.name();
        eprintln!("again: make chaos MINUTES={} SEED={seed} ARGS='--job {job}'\nlogs: {}", args.minutes, dir.display());
    }
    Ok(is_good)
}

async fn torment(args: &Args, seed: u64, cluster: Cluster) -> Result<bool> {
    let dir = cluster.dir().to_owned();
    let bootstrap = cluster.broker.bootstrap_servers();
    let proxy = Proxy::start(cluster.postgres.port())?;
    let direct = cluster.postgres.url();
    let through_proxy = direct.replace(&format!(":{}/", cluster.postgres.port()), &format!(":{}/", proxy.port()));
    feed::create_topic(&bootstrap, JOB).await?;
    let job = Job { name: JOB.into(), postgres_url: through_proxy };
    let task = Task::begin(args.job, seed)?;
    task.submit(&cluster, &job, PARALLELISM).context("submitting the job")?;

    let time = Duration::from_secs(60 * args.minutes);
    let clock = Deadline::after(time);
    let audit = Audit::start_with(Looks { subject: task.subject(), ..Looks::default() }, &direct, clock)?;
    let feed = Feed::start(&bootstrap, JOB, Traffic::new(seed).spoilt(LATE_FROM), args.rate)?;
    let mut injector = Injector::new(cluster, proxy, JOB, clock, fault::plan(seed, time))?;
    let mut progress = Progress::new();
    let interrupted = Interrupted::listen();
    while !clock.has_passed() {
        interrupted.check()?;
        injector.turn()?;
        progress.show(clock.elapsed(), time, feed.sent(), &injector, &audit);
        pause(TURN);
    }
    injector.calm_down()?;
    progress.say("waiting until everything is published");
    let mut failures = Vec::new();
    let traffic = feed.stop().context("the feed")?;
    feed::close(&bootstrap, JOB, &traffic).context("the closing events")?;
    let records = feed::topic_length(&bootstrap, JOB).await?;
    failures.extend(end(&mut injector, &job, &task, &audit, records, &interrupted));
    let took = clock.elapsed();
    progress.say("comparing");
    let findings = audit.finish()?;
    let mut sql = injector.cluster.sql().await?;
    let verdict = match oracle::compare(&mut sql, &dir, &bootstrap, JOB, task.subject()).await {
        Ok(verdict) => verdict,
        Err(error) => {
            failures.push(format!("the table could not be compared: {error:#}"));
            Verdict::default()
        }
    };
    failures.extend(task.failure(&mut sql).await);
    progress.say("");
    let report = Report {
        seed,
        minutes: args.minutes,
        took,
        events: traffic.taken(),
        done: injector.done.clone(),
        skipped: injector.skipped,
        own_ends: injector.own_ends.clone(),
        findings,
        verdict,
        failures,
    };
    std::fs::write(dir.join("report.json"), serde_json::to_string_pretty(&report.to_json())?)?;
    match args.output {
        Form::Text => print!("{}\n{}\n", report.to_text(), report.summary()),
        Form::Json => println!("{}", report.to_json()),
    }
    let complaints = report.complaints();
    complaints.iter().for_each(|complaint| eprintln!("error: {complaint}"));
    Ok(complaints.is_empty())
}

/// Lets the job publish everything, and ends it; what did not go as it should.
fn end(
    injector: &mut Injector,
    job: &Job,
    task: &Task,
    audit: &Audit,
    records: u64,
    interrupted: &Interrupted,
) -> Vec<String> {
    let mut failures = Vec::new();
    let open = task.open_at_the_end();
    let deadline = Deadline::after(CATCH_UP_LIMIT);
    let (mut asked, mut is_lost) = (deadline, false);
    let has_caught_up = |ledger: Ledger| ledger.events_read == records && ledger.open_events == open;
    deadline.wait_until(|| {
        if let Err(error) = injector.supervise() {
            failures.push(format!("a process does not start again: {error:#}"));
            is_lost = true;
        }
        if asked.elapsed() > ASK_EVERY {
            asked = Deadline::after(ASK_EVERY);
            let state = job.describe(&injector.cluster).map(|job| job["state"].clone());
            is_lost |= state.is_ok_and(|state| state == "failed" || state == "canceled");
        }
        is_lost || interrupted.is_so() || audit.ledger().is_some_and(has_caught_up)
    });
    if !audit.ledger().is_some_and(has_caught_up) {
        let said = job.describe(&injector.cluster).map_or_else(|error| format!("{error:#}"), |job| job.to_string());
        failures.push(format!(
            "not everything was published after {} s: {records} records, ledger {:?}; the job: {said}",
            deadline.elapsed().as_secs(),
            audit.ledger()
        ));
        return failures;
    }
    if let Err(error) = job.stop(&injector.cluster, true) {
        failures.push(format!("the job could not be stopped: {error:#}"));
    } else if audit.wait_for(Duration::from_secs(5), |ledger| ledger.open_events == 0).is_none() {
        failures.push(format!("the job was drained, and events are open: {:?}", audit.ledger()));
    }
    failures
}

/// Any number will do, as long as it differs from run to run and is shown.
#[expect(clippy::disallowed_methods, reason = "the one thing here that shall differ from run to run")]
fn seed_of_the_day() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs() % 100_000)
}
