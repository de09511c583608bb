//! One node: its folder, formatted and configured, and how it is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::certificate::{self, Certificate};
use super::jars::JARS;
use super::properties::server_properties;
use super::{Error, Listeners};
use crate::jvm::{self, Jars, Java, LOG4J, file};
use crate::process::Launch;
use crate::program;

/// Any 16 bytes in URL-safe base 64 will do; the same for all, since no two of our clusters ever meet.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// A node that is formatted and configured but does not run yet.
#[derive(Debug)]
pub struct Node {
    java: Java,
    jars: Jars,
    dir: PathBuf,
    certificate: Option<Certificate>,
}

impl Node {
    /// Makes everything a node needs in `dir`; data that is already there is kept. `cache` holds the jars.
    ///
    /// # Errors
    /// If Java or the jars are missing and cannot be fetched, or a file cannot be written.
    pub fn prepare(cache: &Path, dir: &Path, listeners: &Listeners) -> Result<Node, Error> {
        let java = Java::find(JARS.name).map_err(jvm::Error::from)?;
        let jars = JARS.find_or_fetch(cache)?;
        fs::create_dir_all(dir).map_err(file("make", dir))?;
        let dir = dir.canonicalize().map_err(file("find", dir))?;
        let certificate = listeners.sasl_ssl.map(|_| certificate::make(&java, &dir)).transpose()?;
        let node = Node { java, jars, dir, certificate };
        node.write("log4j2.properties", LOG4J)?;
        node.write("server.properties", &server_properties(listeners, &node.data(), node.certificate.as_ref()))?;
        if !node.data().join("meta.properties").exists() {
            node.format()?;
        }
        Ok(node)
    }

    /// How the node is started; `log` gets what it says.
    #[must_use]
    pub fn launch(&self, log: &Path) -> Launch {
        let mut launch = Launch::new(self.java.program(), log)
            .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .args(self.jars.java_args(&self.file("log4j2.properties")))
            .args(["kafka.Kafka"])
            .args([self.file("server.properties")]);
        launch.current_dir = Some(self.dir.clone());
        launch
    }

    /// The certificate that clients of the SASL_SSL listener must trust (`ssl.ca.location`).
    #[must_use]
    pub fn ca_location(&self) -> Option<&Path> {
        self.certificate.as_ref().map(|certificate| certificate.pem.as_path())
    }

    fn format(&self) -> Result<(), Error> {
        let config = self.file("server.properties").display().to_string();
        let args = ["format", "--cluster-id", CLUSTER_ID, "--config", &config];
        let formatted = program::run(
            Command::new(self.java.program())
                .arg("-XX:TieredStopAtLevel=1")
                .args(self.jars.java_args(&self.file("log4j2.properties")))
                .arg("kafka.tools.StorageTool")
                .args(args),
        );
        formatted.map(drop).map_err(|source| Error::Prepare { step: "formatting of its data folder", source })
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.file(name);
        Ok(fs::write(&path, text).map_err(file("write", &path))?)
    }
}
