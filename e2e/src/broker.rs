//! The broker of a test: real Apache Kafka where the machine has Java, else our development broker.

use std::fmt;
use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;
use localcluster::apache_kafka::{self, ApacheKafka};
use localcluster::devbroker_process::Devbroker;

use crate::programs;

/// A running broker; stopped when dropped.
#[derive(Debug)]
pub enum Broker {
    /// The real thing.
    Apache(ApacheKafka),
    /// The small one, where there is no Java.
    Devbroker(Devbroker),
}

/// Which broker a test or a benchmark wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// Apache Kafka where the machine has Java, else our development broker.
    #[default]
    Best,
    /// Our development broker, which is back at once.
    Devbroker,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Choice::Best => "best",
            Choice::Devbroker => "devbroker",
        })
    }
}

impl Broker {
    /// Starts the broker of one's choice.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_as(choice: Choice, dir: &Path) -> Result<Broker> {
        match choice {
            Choice::Best => Broker::start(dir),
            Choice::Devbroker => Ok(Broker::Devbroker(Devbroker::start(&programs::path("devbroker")?, dir)?)),
        }
    }

    /// Starts Apache Kafka, or the development broker with a word that says why.
    ///
    /// # Errors
    /// If neither starts.
    pub fn start(dir: &Path) -> Result<Broker> {
        match apache_kafka::available() {
            Ok(()) => Ok(Broker::Apache(ApacheKafka::start(dir, &apache_kafka::Options::default())?)),
            Err(missing) => {
                eprintln!("SKIPPED: Apache Kafka ({missing}); this test runs against devbroker instead");
                Broker::start_as(Choice::Devbroker, dir)
            }
        }
    }

    /// What it is, with its version where it has one of its own.
    pub fn name(&self) -> String {
        match self {
            Broker::Apache(_) => format!("Apache Kafka {}", apache_kafka::VERSION),
            Broker::Devbroker(_) => "devbroker".to_owned(),
        }
    }

    /// Where clients connect.
    pub fn bootstrap_servers(&self) -> String {
        match self {
            Broker::Apache(kafka) => kafka.bootstrap_servers(),
            Broker::Devbroker(broker) => broker.bootstrap_servers(),
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        match self {
            Broker::Apache(kafka) => kafka.kill(),
            Broker::Devbroker(broker) => broker.kill(),
        }
    }

    /// Starts it again on the same port and data.
    ///
    /// # Errors
    /// If it does not start again.
    pub fn restart(&mut self) -> Result<()> {
        match self {
            Broker::Apache(kafka) => kafka.restart()?,
            Broker::Devbroker(broker) => broker.restart()?,
        }
        Ok(())
    }
}
