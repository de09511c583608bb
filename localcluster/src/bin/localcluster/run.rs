//! From the command line to the library.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command as Process, ExitCode};

use anyhow::{Context, Result};
use localcluster::cluster::{self, State};
use localcluster::database::Database;
use localcluster::settings::{Kafka, Postgres, Settings};
use localcluster::state_dir::StateDir;
use localcluster::topic::{PARTITIONS, Topic};
use localcluster::traffic;

use crate::args::{Args, Command, Output};
use crate::{ask, demo, produce, show};

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let settings = settings(&args.project)?;
    let state = StateDir::new(&settings.state_dir);
    let settings = settings.adopting(&state);
    match args.command {
        Command::Up => up(&settings, &state)?,
        Command::Down => print!("{}", show::stopped(&cluster::down(&state)?)),
        Command::Status { output } => status(&state, output)?,
        Command::Logs { name, follow: false } => print!("{}", cluster::logs(&state, name.as_deref())?),
        Command::Logs { name, follow: true } => {
            match cluster::follow(&state, name.as_deref(), &mut std::io::stdout())? {}
        }
        Command::Clean => {
            print!("{}", show::stopped(&cluster::clean(&state)?));
            println!("removed {}", state.root().display());
        }
        Command::Env => print!("{}", env_lines(&settings)),
        Command::Exec { command } => return Err(exec(&settings, &command)),
        Command::Generate { events, seed, ips, out } => {
            let bytes =
                traffic::generate(&traffic::Plan { events, seed, ips: ips.get(), shape: traffic::Shape::Web }, &out)?;
            println!("{events} events, {} MB, in {}", bytes / 1_000_000, out.display());
        }
        Command::Load { files, topic, create, batch } => {
            let topic = topic.as_deref().unwrap_or(&settings.topic);
            produce::load(&settings, &state, &files, topic, create, batch)?;
        }
        Command::Traffic { rate, duration, seed, ips, topic } => {
            let live = traffic::Live { rate: rate.get(), duration, seed, ips: ips.get() };
            produce::traffic(&settings, &state, live, topic.as_deref())?;
        }
        Command::Analysis => ask::analysis(&settings, &state)?,
        Command::Demo => {
            up(&settings, &state)?;
            demo::demo(&settings, &state)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn settings(project: &Path) -> Result<Settings> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let bin_dir = program.parent().unwrap_or(Path::new("."));
    Ok(Settings::from_env(project, bin_dir)?)
}

fn up(settings: &Settings, state: &StateDir) -> Result<()> {
    let components = cluster::up(settings, state)?;
    if !matches!(settings.kafka, Kafka::Users(_)) {
        produce::runtime()?.block_on(Topic::open_or_create(settings, state, &settings.topic, PARTITIONS))?;
    }
    // Ready is what answers a real question, whosever it is.
    let database = produce::runtime()?.block_on(Database::connect(settings, state));
    let Database { .. } = database?;
    print!("{}", show::up(&components, settings));
    settings
        .telemetry
        .iter()
        .flat_map(|telemetry| telemetry.missing(settings))
        .for_each(|word| println!("note: {word}"));
    Ok(())
}

fn status(state: &StateDir, output: Output) -> Result<()> {
    let components = cluster::status(state);
    match output {
        Output::Text => print!("{}", show::status(&components)),
        Output::Json => {
            let ours: u64 = components.iter().filter(|one| one.is_ours()).filter_map(|one| one.resident_bytes).sum();
            let all_running = components.iter().all(|one| one.state == State::Running);
            let shown = serde_json::json!({
                "components": components,
                "all_running": all_running && !components.is_empty(),
                "jobmanager_and_taskmanagers_resident_bytes": ours,
            });
            println!("{shown:#}");
        }
    }
    Ok(())
}

/// What a shell needs to use the cluster. What the user gave us as a secret stays with the user.
fn env_lines(settings: &Settings) -> String {
    let mut names = vec![
        "KAFKA_URL",
        "KAFKA_TOPIC",
        "POSTGRES_URL",
        "POSTGRES_USER",
        "POSTGRES_DB",
        "GAPWISE_JOBMANAGER_RPC_ADDRESS",
    ];
    let mut hidden = Vec::new();
    match settings.postgres {
        Postgres::Own(_) => names.push("POSTGRES_PASSWORD"),
        Postgres::Users(_) => {
            names.retain(|name| *name != "POSTGRES_URL");
            hidden.extend(["POSTGRES_URL", "POSTGRES_PASSWORD"]);
        }
    }
    if matches!(settings.kafka, Kafka::Users(_)) {
        hidden.extend(["KAFKA_WEB_TRAFFIC_KEY", "KAFKA_WEB_TRAFFIC_SECRET"]);
    }
    let shown =
        names.into_iter().filter_map(|name| Some(format!("export {name}={}\n", quoted(&settings.variable(name)?))));
    let kept = hidden.into_iter().map(|name| format!("# {name}: as you set it; may hold a secret, not printed\n"));
    shown.chain(kept).collect()
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Becomes the command; comes back only if that failed.
fn exec(settings: &Settings, command: &[String]) -> anyhow::Error {
    let Some((program, args)) = command.split_first() else { return anyhow::anyhow!("there is no command to run") };
    let mut process = Process::new(program);
    process.args(args);
    for (name, value) in settings.cluster_env() {
        match value {
            Some(value) => process.env(name, value),
            None => process.env_remove(name),
        };
    }
    anyhow::Error::new(process.exec()).context(format!("`{program}` could not be started; is it built?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_a_shell() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
