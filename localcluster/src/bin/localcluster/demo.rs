//! `demo`: the cluster, the events, the job, the answers, each by the command that a user would type.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use localcluster::database::Database;
use localcluster::deadline::{Deadline, pause};
use localcluster::demo::{self, Emptied, JOB};
use localcluster::settings::Settings;
use localcluster::state_dir::StateDir;
use localcluster::topic::{PARTITIONS, Topic};
use localcluster::{program, sessions};
use tokio::runtime::Runtime;

use crate::{ask, produce};

/// The gap that the demo submits, in ms.
const GAP_MS: i64 = 300_000;

/// A second is enough on an idle machine.
const SESSIONS_WITHIN: Duration = Duration::from_secs(90);

/// How often the table is looked at.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The cluster is up already.
pub(crate) fn demo(settings: &Settings, state: &StateDir) -> Result<()> {
    let runtime = produce::runtime()?;
    let events = settings.project.join("demo/events.jsonl");
    // Counted from the file, so that other events are waited for as well.
    let expected = u64::try_from(sessions::count_in_file(&events, GAP_MS)?)?;

    say("events");
    let topics = runtime.block_on(Topic::names(settings, state))?;
    let topic = runtime.block_on(Topic::open_or_create(settings, state, &demo::next_topic(&topics), PARTITIONS))?;
    produce::load_one(&events, &topic, None)?;
    // Later events on every partition: they move the watermark on, so that the last sessions close.
    produce::load_one(&settings.project.join("demo/heartbeat.jsonl"), &topic, None)?;

    say("job");
    let jobctl = Jobctl { settings, topic: topic.name() };
    jobctl.cancel_earlier();
    let mut database = runtime.block_on(Database::connect(settings, state))?;
    match runtime.block_on(demo::empty_table(&mut database, settings, state))? {
        Emptied::WasEmpty => {}
        Emptied::EarlierDemo(rows) => println!("deleted the {rows} sessions of an earlier demo"),
        Emptied::Renamed(name) => println!("the table had other rows: it is now `{name}`"),
    }
    // A person waits: sessions are in the table after a checkpoint.
    let checkpoints = ["--checkpoint-interval", "1s"];
    let job = ["submit", "sessionize", "--gap", "5m", "--name", JOB, "--from", "earliest", "--parallelism", "2"];
    let args = [job.as_slice(), &checkpoints].concat();
    println!("jobctl {}", args.join(" "));
    print!("{}", jobctl.run(&args)?);
    let rows = wait_for_sessions(&runtime, &mut database, &jobctl, expected)?;
    demo::finish(state, rows)?;

    say("answers");
    let answered = runtime.block_on(ask::ask(&mut database, settings))?;
    ask::print(&answered);
    say("in short");
    for one in &answered {
        print!("{}", one.answer.render_unaligned());
    }
    println!("\nThe cluster is up, with the job `{JOB}` on it: `jobctl describe {JOB}`, `make status`, `make down`.");
    Ok(())
}

fn wait_for_sessions(runtime: &Runtime, database: &mut Database, jobctl: &Jobctl<'_>, expected: u64) -> Result<u64> {
    let deadline = Deadline::after(SESSIONS_WITHIN);
    loop {
        let rows = runtime.block_on(database.count_sessions())?.unwrap_or(0);
        if rows >= expected {
            println!("{rows} sessions in the table after {:.2} s", deadline.elapsed().as_secs_f64());
            return Ok(rows);
        }
        if deadline.has_passed() {
            let describe = jobctl.run(&["describe", JOB]).unwrap_or_else(|error| format!("{error:#}"));
            let limit = SESSIONS_WITHIN.as_secs();
            bail!(
                "{rows} of {expected} sessions are in the table after {limit} s; `make logs` may say why\n{describe}"
            );
        }
        pause(LOOK_AGAIN_AFTER);
    }
}

/// `jobctl` in the environment of the cluster, with the demo's topic.
struct Jobctl<'a> {
    settings: &'a Settings,
    topic: &'a str,
}

impl Jobctl<'_> {
    fn run(&self, args: &[&str]) -> Result<String> {
        let path = self.settings.bin_dir.join("jobctl");
        let mut command = Command::new(&path);
        command.args(args).current_dir(&self.settings.project);
        for (name, value) in self.settings.cluster_env() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("KAFKA_TOPIC", self.topic);
        program::run(&mut command).with_context(|| format!("the job was not submitted by `{}`", shown(&path)))
    }

    /// An earlier demo's job still waits for events, and holds slots. That there is none is fine.
    fn cancel_earlier(&self) {
        if self.run(&["cancel", JOB]).is_ok() {
            println!("canceled the job of an earlier demo");
        }
    }
}

fn shown(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn say(what: &str) {
    println!("\n== {what}");
}
