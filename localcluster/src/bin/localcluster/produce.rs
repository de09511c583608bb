//! `load` and `traffic`, with a progress bar where someone is watching.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use localcluster::deadline::Deadline;
use localcluster::load::load as load_file;
use localcluster::settings::Settings;
use localcluster::state_dir::StateDir;
use localcluster::topic::Topic;
use localcluster::traffic::Live;
use tokio::runtime::Runtime;

/// For talking to Kafka and Postgres, whose clients are async.
pub(crate) fn runtime() -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.context("cannot start the threads that talk to kafka and postgres")
}

pub(crate) fn load(
    settings: &Settings,
    state: &StateDir,
    files: &[PathBuf],
    topic: &str,
    create: Option<NonZeroU16>,
    batch: Option<NonZeroU16>,
) -> Result<()> {
    // A file that is not there should not be noticed after the first thousand lines of another one.
    for file in files {
        std::fs::metadata(file).with_context(|| missing(file))?;
    }
    let runtime = runtime()?;
    let topic = match create {
        Some(partitions) => {
            runtime.block_on(Topic::open_or_create(settings, state, topic, i32::from(partitions.get())))?
        }
        None => runtime.block_on(Topic::open(settings, state, topic))?,
    };
    files.iter().try_for_each(|file| load_one(file, &topic, batch))
}

pub(crate) fn load_one(file: &Path, topic: &Topic, batch: Option<NonZeroU16>) -> Result<()> {
    let bar = bar("{wide_bar} {bytes}/{total_bytes}  {msg} events");
    let started = Deadline::after(Duration::MAX);
    let loaded = load_file(file, topic, batch, &mut |progress| {
        bar.set_length(progress.of_bytes);
        bar.set_position(progress.bytes);
        bar.set_message(HumanCount(progress.lines).to_string());
    });
    bar.finish_and_clear();
    let loaded = loaded?;
    let (name, partitions) = (topic.name(), topic.partitions().len());
    let seconds = started.elapsed().as_secs_f64();
    println!("{}: {} events into `{name}`, {partitions} partitions, in {seconds:.2} s", file.display(), loaded.lines);
    Ok(())
}

pub(crate) fn traffic(settings: &Settings, state: &StateDir, live: Live, topic: Option<&str>) -> Result<()> {
    let runtime = runtime()?;
    let topic = runtime.block_on(Topic::open(settings, state, topic.unwrap_or(&settings.topic)))?;
    let name = topic.name().to_owned();
    eprintln!("{} events a second into `{name}`, until Ctrl-C", live.rate);
    let bar = bar("{msg} events  {elapsed}");
    let stop = Arc::new(AtomicBool::new(false));
    let deliveries = runtime.block_on(async {
        let (stop_seen, shown) = (Arc::clone(&stop), bar.clone());
        let mut work = tokio::task::spawn_blocking(move || {
            live.produce(&topic, &stop_seen, &mut |sent| shown.set_message(HumanCount(sent).to_string()))
        });
        tokio::select! {
            done = &mut work => done,
            _ = tokio::signal::ctrl_c() => {
                stop.store(true, Ordering::Relaxed);
                work.await
            }
        }
    });
    bar.finish_and_clear();
    println!("{} events into `{name}`", deliveries.context("the producing thread ended")??.delivered);
    Ok(())
}

fn missing(file: &Path) -> String {
    format!(
        "`{}` cannot be loaded; name a file of JSON lines, as in `make load EVENTS=demo/events.jsonl`",
        file.display()
    )
}

/// Drawn on a terminal only.
fn bar(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is a constant that a test reads");
    ProgressBar::new(0).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_well_formed() {
        bar("{wide_bar} {bytes}/{total_bytes}  {msg} events");
        bar("{msg} events  {elapsed}");
    }
}
