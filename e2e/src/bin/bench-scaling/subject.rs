//! A cluster with two kinds of traffic in its topics, and the job that reads them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use connectors::postgres::Client;
use e2e::broker::Choice;
use e2e::cluster::{Cluster, Shape};
use e2e::interrupted::Interrupted;
use e2e::job::{Job, counter};
use e2e::member::Member;
use e2e::programs;
use e2e::proxy::Proxy;
use localcluster::deadline::{Deadline, pause};
use localcluster::process::cpu_time_of_children;
use localcluster::traffic::{self, Plan};

use crate::args::Args;
use crate::run::{Run, Runs, median};
use crate::stages::Threads;

/// Where subtasks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Layout {
    /// Processes, which share the subtasks evenly.
    pub(crate) taskmanagers: u8,
    /// Subtasks of source and window.
    pub(crate) parallelism: u8,
}

impl Layout {
    pub(crate) const fn new(taskmanagers: u8, parallelism: u8) -> Layout {
        Layout { taskmanagers, parallelism }
    }

    /// What is fitted: nothing goes over a socket, batches are of two sizes.
    pub(crate) const ALONE: [Layout; 2] = [Layout::new(1, 4), Layout::new(1, 16)];
    /// And what is predicted.
    pub(crate) const ALL: [Layout; 5] =
        [Layout::ALONE[0], Layout::new(2, 4), Layout::new(4, 4), Layout::ALONE[1], Layout::new(4, 16)];
}

/// The most taskmanagers of [`Layout::ALL`].
pub(crate) const TASKMANAGERS: u8 = 4;
/// Of each topic; each source has as many as any other.
const PARTITIONS: u8 = 16;
const CHECKPOINT_INTERVAL: &str = "10s";
/// Short beside a run: what a thread took since the last look before it ends is counted as the rest's.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A run that takes longer hangs.
const RUN_LIMIT: Duration = Duration::from_secs(300);

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parallelism {}, taskmanagers: {}", self.parallelism, self.taskmanagers)
    }
}

/// What a topic holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// One event of each partition: what it takes to begin and to end.
    Nothing,
    /// About one session for every five events.
    Web,
    /// Nearly as many sessions as events.
    HighCardinality,
}

impl Kind {
    /// What is measured by its events.
    pub(crate) const TRAFFIC: [Kind; 2] = [Kind::Web, Kind::HighCardinality];
    const ALL: [Kind; 3] = [Kind::Nothing, Kind::Web, Kind::HighCardinality];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Nothing => "nothing",
            Kind::Web => "web",
            Kind::HighCardinality => "high-cardinality",
        }
    }

    pub(crate) fn plan(self, args: &Args) -> Plan {
        let shape = if self == Kind::HighCardinality { traffic::Shape::HighCardinality } else { traffic::Shape::Web };
        let events = if self == Kind::Nothing { PARTITIONS.into() } else { args.events.get() };
        Plan { events, seed: args.seed, ips: args.ips.get(), shape }
    }
}

/// All runs, by what was read and where.
pub(crate) type Series = BTreeMap<(Kind, Layout), Runs>;

/// What parts of the work cost alone, in ns of CPU for each event of the web traffic.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// librdkafka's batch queue, messages are counted.
    pub(crate) consume_ns: f64,
    /// Each line of a file is read for its fields and time, without what reading the file takes.
    pub(crate) scan_ns: f64,
}

/// The cluster.
pub(crate) struct Subject<'a> {
    pub(crate) cluster: Cluster,
    args: &'a Args,
    interrupted: &'a Interrupted,
    /// How taskmanagers with a network of their own reach Postgres.
    door: Option<Proxy>,
    runs: u32,
    /// What each topic came to, the first time it was read.
    sessions: BTreeMap<Kind, u64>,
}

impl<'a> Subject<'a> {
    /// Starts it on loopback, with all topics.
    pub(crate) fn start(args: &'a Args, interrupted: &'a Interrupted) -> Result<Subject<'a>> {
        Subject::start_with(args, interrupted, false)
    }

    /// The same; with networks, if asked for.
    pub(crate) fn start_with(args: &'a Args, interrupted: &'a Interrupted, has_networks: bool) -> Result<Subject<'a>> {
        let shape = Shape {
            taskmanagers: TASKMANAGERS.into(),
            slots: 1,
            broker: Choice::Devbroker,
            has_networks,
            ..Shape::TWO_BY_TWO
        };
        let cluster = Cluster::start_with(shape)?;
        let open = |networks: &e2e::networks::Networks| Proxy::start_at(networks.host(), cluster.postgres.port());
        let door = cluster.networks.as_ref().map(open).transpose()?;
        let subject = Subject { cluster, args, interrupted, door, runs: 0, sessions: BTreeMap::new() };
        for kind in Kind::ALL {
            interrupted.check()?;
            eprintln!("making and loading the topic `{}`", kind.name());
            let file = subject.file(kind);
            traffic::generate(&kind.plan(args), &file)?;
            subject.cluster.load(kind.name(), PARTITIONS.into(), &file)?;
            if kind != Kind::Web {
                fs::remove_file(&file)?;
            }
        }
        Ok(subject)
    }

    /// Parts of the work, each a process of its own.
    pub(crate) fn limits(&self) -> Result<Limits> {
        let (file, broker) = (self.file(Kind::Web), self.cluster.broker.bootstrap_servers());
        let file = file.to_str().context("a path that is text")?;
        let mut figures: [Vec<f64>; 3] = Default::default();
        for _ in 0..self.args.runs.get() {
            let lines =
                [&["limit-consume", &broker, Kind::Web.name()][..], &["limit-scan", file], &["limit-read", file]];
            for (figures, line) in figures.iter_mut().zip(lines) {
                self.interrupted.check()?;
                let charged = || cpu_time_of_children().context("`/proc/self/stat` tells no CPU time");
                let before = charged()?;
                programs::run("bench", line, &[])?.ok()?;
                let took = charged()?.saturating_sub(before);
                figures.push(1e9 * took.as_secs_f64() / self.args.events.get() as f64);
            }
        }
        let [consume_ns, scan_ns, read_ns] = figures.map(median);
        Ok(Limits { consume_ns, scan_ns: (scan_ns - read_ns).max(0.0) })
    }

    /// Every kind in every layout, in turn.
    pub(crate) async fn runs(&mut self) -> Result<Series> {
        let mut series = Series::new();
        for number in 0..self.args.runs.get() {
            for layout in Layout::ALL {
                for kind in Kind::ALL {
                    eprintln!("run {}: {}, {layout}", number + 1, kind.name());
                    let run = self.run(kind, layout).await?;
                    series.entry((kind, layout)).or_default().0.push(run);
                }
            }
        }
        Ok(series)
    }

    /// Reads a topic to its end, in processes of their own, and looks at the result.
    pub(crate) async fn run(&mut self, kind: Kind, layout: Layout) -> Result<Run> {
        self.begin_anew(layout)?;
        self.runs += 1;
        let database = format!("run_{}", self.runs);
        let ours = self.cluster.create_database(&database).await?;
        let job = Job { name: database.clone(), postgres_url: self.as_jobs_reach_it(&ours) };
        let pids: Vec<u32> = self.members().map(Member::pid).collect();
        let (mut before, mut threads) = (Threads::default(), Threads::default());
        before.look(&pids[1..]);
        let cpu_before = self.cpu()?;
        let clock = Deadline::after(RUN_LIMIT);
        let mut submit = self.submit(&job, kind, layout)?;
        while submit.0.try_wait()?.is_none() {
            self.interrupted.check()?;
            ensure!(!clock.has_passed(), "a run takes longer than {} s", RUN_LIMIT.as_secs());
            threads.look(&pids[1..]);
            pause(LOOK_EVERY);
        }
        let wall_s = clock.elapsed().as_secs_f64();
        let status = submit.0.wait()?;
        ensure!(status.success(), "`jobctl submit`: {status}: {}", fs::read_to_string(self.log())?);
        let cpu_s = self.cpu()?.saturating_sub(cpu_before).as_secs_f64();
        let batch_bytes = counter(&job.describe(&self.cluster)?, "source", "bytes_out")?;
        let sessions = self.check(kind, &ours).await?;
        self.cluster.sql().await?.execute(&format!("DROP DATABASE {database}")).await?;
        Ok(Run { cpu_s, wall_s, stages: threads.since(&before, cpu_s), sessions, batch_bytes })
    }

    /// A jobmanager and taskmanagers that have done nothing yet.
    fn begin_anew(&mut self, layout: Layout) -> Result<()> {
        let Layout { taskmanagers, parallelism } = layout;
        // The taskmanagers first: their jobmanager is to see them leave.
        self.cluster.taskmanagers.iter_mut().for_each(Member::stop);
        self.cluster.jobmanager.restart()?;
        self.cluster.replace_taskmanagers(taskmanagers.into(), u32::from(parallelism / taskmanagers))?;
        self.cluster.wait_for_taskmanagers()
    }

    fn submit(&self, job: &Job, kind: Kind, layout: Layout) -> Result<Submitted> {
        let parallelism = layout.parallelism.to_string();
        let args = [
            &["submit", "sessionize", "--name", &job.name, "--gap", "5m", "--until", "latest", "--wait"][..],
            &["--checkpoint-interval", CHECKPOINT_INTERVAL, "--parallelism", &parallelism],
        ];
        let env = [("KAFKA_TOPIC", kind.name()), ("POSTGRES_URL", job.postgres_url.as_str())];
        let said = File::create(self.log())?;
        let mut command: Command = self.cluster.jobctl_command(&args.concat(), &env)?;
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        Ok(Submitted(command.spawn()?))
    }

    /// Every event is in a session, and there are as many sessions as the first time.
    async fn check(&mut self, kind: Kind, url: &str) -> Result<u64> {
        let mut sql = Client::connect(&url.parse()?).await?;
        let question = "SELECT count(*)::text, sum(num_hits)::text FROM sessionized_aggregated_events";
        let found = sql.query_text(question).await?.rows.concat();
        sql.close().await;
        let number = |place: usize| found.get(place)?.as_ref()?.parse::<u64>().ok();
        let (sessions, hits) = number(0).zip(number(1)).context("no sessions in Postgres")?;
        let events = kind.plan(self.args).events;
        ensure!(hits == events, "{hits} of {events} events of `{}` are in sessions", kind.name());
        let first = *self.sessions.entry(kind).or_insert(sessions);
        ensure!(sessions == first, "`{}` has {sessions} sessions now, and had {first}", kind.name());
        Ok(sessions)
    }

    fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.cluster.jobmanager).chain(&self.cluster.taskmanagers)
    }

    fn cpu(&self) -> Result<Duration> {
        let cpu: Option<Duration> = self.members().map(Member::cpu_time).sum();
        cpu.context("a process has died; its log says why")
    }

    fn as_jobs_reach_it(&self, url: &str) -> String {
        let Some((networks, door)) = self.cluster.networks.as_ref().zip(self.door.as_ref()) else {
            return url.to_owned();
        };
        let ours = format!("127.0.0.1:{}/", self.cluster.postgres.port());
        url.replace(&ours, &format!("{}:{}/", networks.host(), door.port()))
    }

    fn file(&self, kind: Kind) -> PathBuf {
        self.cluster.dir().join(format!("{}.jsonl", kind.name()))
    }

    fn log(&self) -> PathBuf {
        self.cluster.dir().join("submit.log")
    }
}

/// `jobctl submit --wait`; ended when dropped.
struct Submitted(Child);

impl Drop for Submitted {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
