//! What this project needs of a Kafka broker, clause by clause, held against two of them: our own `devbroker` and real
//! Apache Kafka. A clause that only one of them keeps fails, so the small one cannot drift.
//!
//! The two differ on purpose in this, and in nothing else that is looked at here:
//!
//! * [`Difference::Transactions`]: `devbroker` refuses them at once, by a fatal error that says so.
//! * [`Difference::ConsumerGroups`]: on `devbroker` consumers assign their partitions themselves; `subscribe` finds
//!   no coordinator to join and gets no partition.
//!
//! Everything goes through librdkafka, the client of the product. Where Java is missing, the Apache half prints that it
//! was skipped and why.
#![allow(clippy::unwrap_used)]

mod brokers;
mod clauses;
mod client;

use brokers::{Broker, Difference};
use client::Client;

#[test]
fn devbroker_keeps_the_contract() {
    // Its log belongs to the story when a clause fails.
    tracing_subscriber::fmt().with_test_writer().init();
    let mut broker = brokers::InProcessDevbroker::start();
    keeps_the_contract(&mut broker);
}

#[test]
fn apache_kafka_keeps_the_contract() {
    use localcluster::apache_kafka::{ApacheKafka, Options, available};
    if let Err(missing) = available() {
        println!(
            "SKIPPED: the broker contract against Apache Kafka, so devbroker was compared with nothing: {missing}"
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut broker = ApacheKafka::start(dir.path(), &Options::default()).unwrap();
    keeps_the_contract(&mut broker);
}

fn keeps_the_contract(broker: &mut dyn Broker) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let client = Client::of(&broker.bootstrap_servers());
    macro_rules! hold {
        ($($module:ident :: $clause:ident),* $(,)?) => {$(
            println!("clause {}: {}", stringify!($module), stringify!($clause));
            runtime.block_on(clauses::$module::$clause(&client));
        )*};
    }
    hold! {
        topics::a_created_topic_has_its_partitions_and_can_get_more,
        topics::what_cannot_be_created_is_refused_with_its_own_error,
        topics::an_unknown_topic_or_partition_is_an_error_and_is_not_made,
        topics::a_deleted_topic_is_gone_and_a_new_one_of_its_name_is_empty,
        records::every_compression_is_read_back_as_it_was_sent,
        records::an_idempotent_producer_delivers_in_order_and_once,
        records::a_record_too_large_for_the_broker_is_refused,
        records::a_read_begins_at_its_offset_even_within_a_batch,
        records::tiny_fetch_limits_still_make_progress,
        records::a_waiting_consumer_gets_a_new_record_at_once,
        offsets::watermarks_count_the_records,
        offsets::lookup_by_time_is_exact_for_every_compression,
        offsets::committed_offsets_come_back_with_their_metadata,
        offsets::commits_of_a_deleted_topic_are_forgotten,
        deletion::deleted_records_move_the_low_watermark_and_are_not_read,
        deletion::a_read_below_the_low_watermark_is_out_of_range,
        deletion::an_impossible_deletion_is_refused,
    }
    println!("clause transactions");
    if broker.has(Difference::Transactions) {
        runtime.block_on(clauses::transactions::a_transactional_producer_is_refused_at_once(&client));
    } else {
        runtime.block_on(clauses::transactions::read_committed_hides_aborted_and_open_records(&client));
    }
    println!("clause groups");
    if broker.has(Difference::ConsumerGroups) {
        runtime.block_on(clauses::groups::a_subscriber_gets_nothing_and_stays_alive(&client));
    } else {
        runtime.block_on(clauses::groups::a_subscriber_gets_its_partitions(&client));
    }
    println!("clause restart: a_restart_keeps_records_offsets_and_topics");
    let before = runtime.block_on(clauses::restart::prepare(&client));
    broker.restart();
    runtime.block_on(clauses::restart::compare(&client, &before));
}
