//! What a reader keeps in memory of records that have to wait.

use std::collections::BTreeSet;
use std::env;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use localcluster::deadline::Deadline;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use stream_core::operator::Record;
use stream_core::pipeline::{SourceSpec, StartPosition};
use stream_runtime::connector::{Connectors, SourceVisitor};
use stream_runtime::memory;

use crate::kafka_source::{Kafka, LIMIT, connectors};

/// A poll takes as many at most, which is about a fetch's answer of a MiB.
const POLLS: usize = 400;
const AT_ONCE: usize = 1000;
const RECORD_BYTES: usize = 1000;
/// It grows by 6 where what waits is copied, and by 30 where each record keeps what was fetched with it.
const MOST_MIB: u64 = 20;

#[test]
fn a_thin_partition_that_waits_does_not_keep_what_was_fetched_with_it() -> Result<()> {
    // Memory is a process's, and other tests take a good deal of this one's.
    let name = "kafka_memory::in_a_process_of_its_own";
    let mut test = Command::new(env::current_exe()?);
    let output = test.args(["--exact", name, "--ignored", "--nocapture"]).output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    ensure!(output.status.success() && said.contains("memory grew by"), "`{name}`: {}", output.status);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test above runs it"]
async fn in_a_process_of_its_own() -> Result<()> {
    let kafka = Kafka::start()?;
    kafka.admin()?.create_topic("thin", 2).await?;
    let producer: BaseProducer = kafka.client().create()?;
    let send = |partition: i32, payload: &[u8]| -> Result<()> {
        while producer.send(BaseRecord::<(), [u8]>::to("thin").partition(partition).payload(payload)).is_err() {
            producer.poll(Duration::from_millis(10));
        }
        Ok(())
    };
    let payload = vec![b'x'; RECORD_BYTES];
    (0..POLLS * AT_ONCE).try_for_each(|_| send(0, &payload))?;
    producer.flush(LIMIT)?;

    let in_step = Duration::from_secs(3600);
    let source = SourceSpec { max_drift: in_step, ..kafka.source("thin", StartPosition::Earliest, false, "g") };
    let splits = connectors().discover(&source).await?;
    let mut reader = connectors().open_source(&source, &splits)?;
    let mut thin = Thin { is_held: true, ..Thin::default() };
    let (deadline, mut before, mut most) = (Deadline::after(LIMIT), None, 0);
    tokio::task::block_in_place(|| {
        for number in 0.. {
            reader.poll(Duration::from_millis(100), &mut thin)?;
            if thin.others == POLLS * AT_ONCE {
                break;
            }
            send(1, format!("record {number}").as_bytes())?;
            producer.flush(LIMIT)?;
            thin.sent += 1;
            let now = memory::resident_bytes();
            most = most.max(now.saturating_sub(*before.get_or_insert(now)));
            ensure!(!deadline.has_passed(), "waited in vain: {} of the thick one", thin.others);
        }
        ensure!(thin.sent >= POLLS / 2 && thin.records.is_empty(), "{} records beside {POLLS} MB", thin.sent);
        thin.is_held = false;
        while thin.records.len() < thin.sent {
            reader.poll(Duration::from_millis(100), &mut thin)?;
            ensure!(!deadline.has_passed(), "waited in vain: {} of {} of the thin one", thin.records.len(), thin.sent);
        }
        let expected: BTreeSet<String> = (0..thin.sent).map(|number| format!("record {number}")).collect();
        ensure!(thin.records == expected, "other records");
        println!("{} records of the thin partition waited; memory grew by {} MiB at most", thin.sent, most >> 20);
        ensure!(most >> 20 < MOST_MIB, "memory grew by {} MiB", most >> 20);
        Ok(())
    })
    .context("a thin partition beside a thick one")
}

/// Takes all of the first partition, and nothing of the second for as long as it is held.
#[derive(Default)]
struct Thin {
    is_held: bool,
    sent: usize,
    others: usize,
    records: BTreeSet<String>,
    next: u64,
}

impl SourceVisitor for Thin {
    fn is_held(&self, split: usize) -> bool {
        split == 1 && self.is_held
    }

    fn on_records(&mut self, split: usize, records: &[Record<'_>], _: u64) -> usize {
        match split {
            0 => self.others += records.len(),
            _ => {
                for record in records {
                    assert_eq!(record.offset, self.next, "in order");
                    self.next += 1;
                    let text = String::from_utf8(record.payload.expect("a value").to_vec()).expect("text");
                    self.records.insert(text);
                }
            }
        }
        records.len()
    }

    fn on_end_of_split_for_now(&mut self, _: usize) {}

    fn on_split_finished(&mut self, _: usize) {}

    fn on_known_end(&mut self, _: usize, _: u64) {}
}
