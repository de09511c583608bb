//! `make bench-sink`: how many rows a second a committer's connection carries into Postgres, and several at once.
//!
//! Timed is what the publishing thread does with an epoch whose rows are in memory: `COPY`, the ledger's move, the commit. Several
//! publishers at once write into one table, each with a row of the ledger to itself: what lanes of a sink would do
//! (`docs/design/0005-sink-lanes.md`).

use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use e2e::sink::{self, Attempt, Chunks};
use localcluster::deadline::Deadline;
use localcluster::machine;
use stream_core::epochs::CHUNK_BYTES;
use stream_core::ids::{CheckpointId, JobId};
use stream_core::row::RowBatch;
use stream_core::time::EventTime;
use tokio::task::JoinSet;

/// Measures the publication of epochs into a Postgres of its own.
#[derive(Debug, Parser)]
#[command(name = "bench-sink", max_term_width = 110)]
struct Args {
    /// Connections at once, one number for each run
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values = ["1", "2", "4"])]
    lanes: Vec<NonZeroU32>,

    /// Rows of an epoch, shared among the connections
    #[arg(long, value_name = "N", default_value = "1000000")]
    rows: NonZeroU64,

    /// Epochs; the median of them is shown
    #[arg(long, value_name = "N", default_value = "7")]
    epochs: NonZeroU32,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| runtime.block_on(measure(&args))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(args: &Args) -> Result<()> {
    let (server, mut sql) = sink::start().await?;
    println!("{}, commit {}, {} rows an epoch", machine::machine(), machine::commit(Path::new(".")), args.rows);
    println!("{:>6} {:>14} {:>10} {:>10} {:>10}", "lanes", "rows/s", "MB/s", "median", "longest");
    for lanes in &args.lanes {
        let lanes = lanes.get();
        let table = format!("sessions_{lanes}");
        let spec = sink::sink(&server, &table);
        stream_runtime::connector::Connectors::check_sink(&sink::connectors(), &spec).await?;
        let mut publishers = Vec::new();
        for lane in 0..lanes {
            publishers.push((Attempt::begin_as(JobId(u128::from(lane) + 1), &spec, 1).await?, CheckpointId::ROOT));
        }
        let chunks = chunks(args.rows.get() / u64::from(lanes));
        let (rows, bytes) = totals(&chunks);
        let mut times = Vec::new();
        // The first finds a new table and new connections: it is not counted.
        for sequence in 1..=args.epochs.get() + 1 {
            let time = publish(&mut publishers, sequence, rows, &chunks).await?;
            times.extend((sequence > 1).then_some(time));
            sql.execute(&format!("TRUNCATE {table}")).await?;
        }
        times.sort_unstable();
        let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
        let a_second = |count: u64| (count * u64::from(lanes)) as f64 / median.as_secs_f64();
        let mb = a_second(bytes) / 1e6;
        println!("{lanes:>6} {:>14.0} {mb:>10.1} {median:>10.2?} {longest:>10.2?}", a_second(rows));
    }
    Ok(())
}

/// All of them publish an epoch at once; until the last has.
async fn publish(
    publishers: &mut Vec<(Attempt, CheckpointId)>,
    sequence: u32,
    rows: u64,
    chunks: &[RowBatch],
) -> Result<Duration> {
    let prepared: Vec<_> = publishers.drain(..).map(|publisher| (publisher, Chunks::of(chunks.to_vec()))).collect();
    let clock = Deadline::after(Duration::MAX);
    let mut publishing = JoinSet::new();
    for ((attempt, prev), chunks) in prepared {
        publishing.spawn(async move {
            let epoch = attempt.epoch(sequence, prev, rows);
            let id = epoch.epoch;
            attempt.publish(epoch, chunks).await.map(|_| (attempt, id))
        });
    }
    while let Some(published) = publishing.join_next().await {
        publishers.push(published??);
    }
    Ok(clock.elapsed())
}

/// Rows as sessions have them, in chunks as the committer has them.
fn chunks(rows: u64) -> Vec<RowBatch> {
    let (mut chunks, mut open) = (Vec::new(), RowBatch::default());
    for number in 0..rows {
        let ip = format!("{}.{}.{}.{}", 1 + number % 223, number / 7 % 256, number / 31 % 256, number % 256);
        let time = EventTime(1_736_874_072_232 + i64::try_from(number).unwrap_or(0));
        open.row(4).timestamp(time).text(Some(&ip)).text(Some("www.techcreator.io")).bigint(7);
        if open.as_bytes().len() >= CHUNK_BYTES {
            chunks.push(std::mem::take(&mut open));
        }
    }
    chunks.push(open);
    chunks
}

fn totals(chunks: &[RowBatch]) -> (u64, u64) {
    chunks.iter().fold((0, 0), |(rows, bytes), chunk| (rows + chunk.rows(), bytes + chunk.as_bytes().len() as u64))
}
