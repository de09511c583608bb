//! A whole cluster for one test: broker, Postgres, jobmanager, taskmanagers, each a process of its own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use connectors::postgres::Client;
use localcluster::deadline::Deadline;
use localcluster::devbroker_process::Devbroker;
use localcluster::ports;
use localcluster::postgres::Postgres;
use localcluster::process::Launch;
use tempfile::TempDir;

use crate::broker::{Broker, Choice};
use crate::member::Member;
use crate::networks::{Networks, Wire};
use crate::object_server::ObjectServer;
use crate::programs::{self, Said};
use crate::small_disk::SmallDisk;

/// Generous: tests run on machines that are busy with other tests.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// The folder of a cluster with checkpoints, in the cluster's own.
const CHECKPOINTS: &str = "checkpoints";

/// How a cluster is made up.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Taskmanager processes.
    pub taskmanagers: u32,
    /// Slots of each.
    pub slots: u32,
    /// Whether the jobmanager has a checkpoint folder, so that jobs survive.
    pub has_checkpoints: bool,
    /// The MiB of the file system that the checkpoint folder has to itself; `None` if it shares the cluster's.
    pub checkpoint_disk_mib: Option<u32>,
    /// Whether checkpoints are in S3 and not in a folder.
    pub checkpoints_in_s3: bool,
    /// Bytes of rows that may wait to be published; `None` for the jobmanager's own measure.
    pub unpublished_budget: Option<u64>,
    /// Its broker.
    pub broker: Choice,
    /// Whether each taskmanager has a network of its own; the broker is then devbroker.
    pub has_networks: bool,
    /// Whether its Postgres writes through to the disk, as a user's does; for measuring.
    pub has_durable_postgres: bool,
}

impl Shape {
    /// Two taskmanagers of two slots each, with checkpoints.
    pub const TWO_BY_TWO: Shape = Shape {
        taskmanagers: 2,
        slots: 2,
        has_checkpoints: true,
        checkpoint_disk_mib: None,
        checkpoints_in_s3: false,
        unpublished_budget: None,
        broker: Choice::Best,
        has_networks: false,
        has_durable_postgres: false,
    };
}

/// The processes of a cluster; stopped in reverse order when dropped.
#[derive(Debug)]
pub struct Cluster {
    /// Taskmanagers; a test may kill one.
    pub taskmanagers: Vec<Member>,
    /// The jobmanager; a test may kill it.
    pub jobmanager: Member,
    /// Where its clients connect.
    pub rpc_address: String,
    /// The database.
    pub postgres: Postgres,
    /// The broker.
    pub broker: Broker,
    /// What the checkpoint folder is on, if it has a file system to itself.
    pub checkpoint_disk: Option<SmallDisk>,
    /// Where checkpoints are, if that is S3.
    pub object_server: Option<ObjectServer>,
    /// Those of its taskmanagers, if each has its own.
    pub networks: Option<Networks>,
    shape: Shape,
    dir: TempDir,
}

impl Cluster {
    /// Starts everything and waits until every taskmanager has registered. Nothing is checkpointed.
    ///
    /// # Errors
    /// If anything does not start; the message carries the end of its log.
    pub fn start(taskmanagers: u32, slots: u32) -> Result<Cluster> {
        Cluster::start_with(Shape { taskmanagers, slots, has_checkpoints: false, ..Shape::TWO_BY_TWO })
    }

    /// As [`Cluster::start`], in the shape one likes.
    ///
    /// # Errors
    /// If anything does not start; the message carries the end of its log.
    pub fn start_with(shape: Shape) -> Result<Cluster> {
        let dir = readable_dir()?;
        let disk = shape.checkpoint_disk_mib.map(|mib| SmallDisk::mount(&dir.path().join(CHECKPOINTS), mib));
        let checkpoint_disk = disk.transpose()?;
        let object_server = shape.checkpoints_in_s3.then(|| ObjectServer::start(dir.path())).transpose()?;
        let networks = shape.has_networks.then(|| Networks::make(u8::try_from(shape.taskmanagers)?)).transpose()?;
        let host = networks.as_ref().map_or(Ipv4Addr::LOCALHOST, Networks::host);
        let broker = match &networks {
            Some(_) => Broker::Devbroker(Devbroker::start_at(&programs::path("devbroker")?, dir.path(), host)?),
            None => Broker::start_as(shape.broker, dir.path())?,
        };
        let postgres = match shape.has_durable_postgres {
            true => Postgres::start_durable(dir.path())?,
            false => Postgres::start(dir.path())?,
        };
        let rpc_address = format!("{host}:{}", ports::free()?);
        let jobmanager = Member::start(jobmanager(shape, object_server.as_ref(), dir.path(), &rpc_address)?)?;
        let taskmanagers = Vec::new();
        let mut cluster = Cluster {
            taskmanagers,
            jobmanager,
            rpc_address,
            postgres,
            broker,
            checkpoint_disk,
            object_server,
            networks,
            shape,
            dir,
        };
        for _ in 0..shape.taskmanagers {
            cluster.add_taskmanager()?;
        }
        cluster.wait_for_taskmanagers()?;
        Ok(cluster)
    }

    /// Starts one more taskmanager.
    ///
    /// # Errors
    /// If it does not start.
    pub fn add_taskmanager(&mut self) -> Result<()> {
        let taskmanager = Member::start(self.taskmanager(self.taskmanagers.len() + 1)?)?;
        self.taskmanagers.push(taskmanager);
        Ok(())
    }

    /// Stops its taskmanagers, and starts so many others of so many slots each. They are not waited for.
    ///
    /// # Errors
    /// If one does not start.
    pub fn replace_taskmanagers(&mut self, taskmanagers: u32, slots: u32) -> Result<()> {
        self.taskmanagers.iter_mut().for_each(Member::stop);
        self.taskmanagers.clear();
        self.shape = Shape { taskmanagers, slots, ..self.shape };
        (0..taskmanagers).try_for_each(|_| self.add_taskmanager())
    }

    /// Starts another jobmanager on the same store, at an address of its own, and new taskmanagers that join it. The jobmanager
    /// of before is left to the caller, as it is; its taskmanagers are killed.
    ///
    /// # Errors
    /// If one does not start.
    pub fn replace_jobmanager(&mut self) -> Result<Member> {
        self.rpc_address = format!("127.0.0.1:{}", ports::free()?);
        let successor =
            Member::start(jobmanager(self.shape, self.object_server.as_ref(), self.dir.path(), &self.rpc_address)?)?;
        let before = std::mem::replace(&mut self.jobmanager, successor);
        self.taskmanagers.iter_mut().for_each(Member::kill);
        let count = std::mem::take(&mut self.taskmanagers).len();
        (0..count).try_for_each(|_| self.add_taskmanager())?;
        Ok(before)
    }

    /// Runs `jobctl` against this cluster, with its Kafka and Postgres in the environment as users have them.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn jobctl(&self, args: &[&str]) -> Result<Said> {
        self.jobctl_with(args, &[])
    }

    /// As [`Cluster::jobctl`], with variables on top.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn jobctl_with(&self, args: &[&str], env: &[(&str, &str)]) -> Result<Said> {
        Ok(self.jobctl_command(args, env)?.output()?.into())
    }

    /// `jobctl` as [`Cluster::jobctl_with`] runs it, for whoever does not want to wait.
    ///
    /// # Errors
    /// If it is not built.
    pub fn jobctl_command(&self, args: &[&str], env: &[(&str, &str)]) -> Result<Command> {
        let (kafka, postgres) = (self.broker.bootstrap_servers(), self.postgres.url());
        let mut all = vec![
            ("GAPWISE_JOBMANAGER_RPC_ADDRESS", self.rpc_address.as_str()),
            ("KAFKA_URL", &kafka),
            ("POSTGRES_URL", &postgres),
        ];
        all.extend_from_slice(env);
        programs::command("jobctl", args, &all)
    }

    /// Makes a topic and produces the lines of a file into it, line i to partition i mod `partitions`.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn load(&self, topic: &str, partitions: u32, file: &Path) -> Result<()> {
        self.load_with(topic, partitions, file, &[])
    }

    /// The same, with so many records in each batch that is produced.
    ///
    /// # Errors
    /// As [`Cluster::load`].
    pub fn load_in_batches(&self, topic: &str, partitions: u32, records: u16, file: &Path) -> Result<()> {
        self.load_with(topic, partitions, file, &["--batch", &records.to_string()])
    }

    fn load_with(&self, topic: &str, partitions: u32, file: &Path, more: &[&str]) -> Result<()> {
        let (kafka, partitions) = (self.broker.bootstrap_servers(), partitions.to_string());
        let file = file.to_str().context("a path that is text")?;
        let args = [&["load", file, "--topic", topic, "--create", &partitions], more].concat();
        programs::run("localcluster", &args, &[("KAFKA_URL", &kafka)])?.ok().map(drop)
    }

    /// A client of the database.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn sql(&self) -> Result<Client> {
        Ok(Client::connect(&self.postgres.url().parse()?).await?)
    }

    /// Makes a database of this name; its URL. What one test leaves behind is not in another's way.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn create_database(&self, name: &str) -> Result<String> {
        self.sql().await?.execute(&format!("CREATE DATABASE {name}")).await?;
        let url = self.postgres.url();
        let (server, _) = url.rsplit_once('/').context("a URL ends in a database")?;
        Ok(format!("{server}/{name}"))
    }

    /// Where checkpoints are kept, if the cluster has them.
    pub fn checkpoint_dir(&self) -> PathBuf {
        self.dir.path().join(CHECKPOINTS)
    }

    /// Leaves the folder with logs and checkpoints behind, for whoever looks into a failure.
    pub fn keep_dir(&mut self) {
        self.dir.disable_cleanup(true);
    }

    /// The log of a process: `jobmanager`, `taskmanager-1`, ….
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn log(&self, name: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.dir.path().join(format!("{name}.log")))?)
    }

    /// A folder for the test's own files, which the database server can read too.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn taskmanager(&self, number: usize) -> Result<Launch> {
        let slots = self.shape.slots;
        let log = self.dir.path().join(format!("taskmanager-{number}.log"));
        let mut launch = Launch::new(programs::path("taskmanager")?, log)
            .args(["--jobmanager", &self.rpc_address])
            .args(["--id", &format!("tm-{number}"), "--slots", &slots.to_string()]);
        launch.env = store_env(self.object_server.as_ref());
        let Some(networks) = &self.networks else { return Ok(launch) };
        let number = u8::try_from(number)?;
        let exchange = format!("{}:0", networks.address(Wire::Exchange, number));
        Ok(networks.within(number, launch.args(["--exchange-address", &exchange])))
    }

    /// Waits until the jobmanager knows every taskmanager.
    ///
    /// # Errors
    /// If it does not; with the ends of logs.
    pub fn wait_for_taskmanagers(&self) -> Result<()> {
        let count = self.taskmanagers.len();
        let mut last = String::new();
        let is_ready = Deadline::after(READY_LIMIT).wait_until(|| {
            let said = self.jobctl(&["taskmanagers", "--output", "json"]).and_then(Said::ok);
            let listed = said.as_ref().ok().and_then(|text| serde_json::from_str::<Vec<serde_json::Value>>(text).ok());
            last = format!("{said:?}");
            listed.is_some_and(|listed| listed.len() == count)
        });
        if !is_ready {
            let logs: Vec<String> =
                ["jobmanager", "taskmanager-1"].iter().filter_map(|name| self.log(name).ok()).collect();
            bail!("{count} taskmanagers did not register: {last}\n{}", logs.join("\n"));
        }
        Ok(())
    }
}

impl Drop for Cluster {
    /// Nobody waits for the last checkpoint of a cluster that is thrown away.
    fn drop(&mut self) {
        self.taskmanagers.iter_mut().for_each(Member::kill);
        self.jobmanager.kill();
    }
}

/// What finds the server of checkpoints, and the way into it.
fn store_env(server: Option<&ObjectServer>) -> BTreeMap<String, Option<String>> {
    let variables = server.map(ObjectServer::variables).unwrap_or_default();
    variables.into_iter().map(|(name, value)| (name, Some(value))).collect()
}

fn jobmanager(shape: Shape, object_server: Option<&ObjectServer>, dir: &Path, rpc_address: &str) -> Result<Launch> {
    let mut launch =
        Launch::new(programs::path("jobmanager")?, dir.join("jobmanager.log")).args(["--rpc-address", rpc_address]);
    if shape.has_checkpoints {
        let folder = || dir.join(CHECKPOINTS).into_os_string();
        let place = object_server.map_or_else(folder, |server| server.uri(CHECKPOINTS).into());
        launch = launch.args(["--checkpoint-dir".into(), place]);
    }
    launch.env = store_env(object_server);
    if let Some(bytes) = shape.unpublished_budget {
        launch = launch.args(["--unpublished-budget", &bytes.to_string()]);
    }
    Ok(launch)
}

/// A temporary folder that other users may look into: Postgres does not run as root.
///
/// # Errors
/// If it cannot be made.
pub fn readable_dir() -> Result<TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::Builder::new().prefix("gapwise-e2e-").tempdir()?;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok(dir)
}

/// A file of the repository.
///
/// # Errors
/// If it is not there.
pub fn repository_file(path: &str) -> Result<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    ensure!(file.exists(), "`{}` is missing", file.display());
    Ok(file)
}
