//! What each command does.

mod audit;
mod checkpoints;
mod completions;
mod explain;
mod flink;
mod health;
mod inspect;
mod late;
mod logs;
mod outcome;
mod progress;
mod run;
mod submit;
mod top;
mod watch;

use std::future::Future;

use serde::Serialize;
use stream_core::time::Timestamp;
use stream_runtime::clock::{Clock as _, SystemClock};

use crate::args::{Args, Command, Late, RunJob, Submit, SubmitJob};
use crate::client::{Client, FromSavepoint};
use crate::environment::Environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::request::{self, Given, JobArgs, JobRequest, Place};
use crate::terminal;

/// Where the jobmanager of `make up` listens.
const DEFAULT_JOBMANAGER: &str = "127.0.0.1:6123";

/// What every command is given beside its own arguments.
pub(crate) struct Context {
    jobmanager: String,
    output: Output,
    environment: Environment,
    clock: SystemClock,
}

/// How answers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Text,
    Json,
}

impl Context {
    /// # Errors
    /// If `--output` is neither of the two.
    pub(crate) fn new(args: &Args, environment: Environment) -> Result<Self, Failure> {
        let jobmanager = match &args.jobmanager {
            Some(address) => address.clone(),
            None => environment.get("GAPWISE_JOBMANAGER_RPC_ADDRESS").unwrap_or(DEFAULT_JOBMANAGER).to_owned(),
        };
        let output = match Given::find("--output", &args.output, &environment) {
            None => Output::Text,
            Some(given) => match given.text.as_str() {
                "text" => Output::Text,
                "json" => Output::Json,
                _ => return Err(given.not("a form of output", "write `text` or `json`")),
            },
        };
        Ok(Context { jobmanager, output, environment, clock: SystemClock::new() })
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Prints a view, as JSON or as the text that `text` makes of it.
    fn show<V: Serialize>(&self, view: &V, text: impl FnOnce(&V) -> String) -> Result<(), Failure> {
        let shown = match self.output {
            Output::Text => text(view),
            Output::Json => serde_json::to_string_pretty(view).expect("views hold texts and numbers only") + "\n",
        };
        terminal::print(&shown).map_err(|error| Failure::output(&error))
    }

    async fn connect(&self) -> Result<Client, Failure> {
        Client::connect(&self.jobmanager).await
    }
}

/// Does what was asked for.
///
/// # Errors
/// With what the user should read, and the exit code.
pub(crate) fn run(command: Command, context: &Context) -> Result<Exit, Failure> {
    match command {
        Command::Submit { job: SubmitJob::Sessionize(args) } => submit_job(context, *args),
        Command::Submit { job: SubmitJob::ProcessEvents(args) } => submit_job(context, *args),
        Command::Submit { job: SubmitJob::Aggregate(args) } => submit_job(context, *args),
        Command::Submit { job: SubmitJob::NexmarkQ11(args) } => submit_job(context, *args),
        Command::Submit { job: SubmitJob::Unknown(words) } => Err(unknown_job(&words)),
        Command::Run { job: RunJob::Sessionize(args) } => run_job(context, args.as_ref()),
        Command::Run { job: RunJob::ProcessEvents(args) } => run_job(context, args.as_ref()),
        Command::Run { job: RunJob::Aggregate(args) } => run_job(context, args.as_ref()),
        Command::Run { job: RunJob::NexmarkQ11(args) } => run_job(context, args.as_ref()),
        Command::Run { job: RunJob::Unknown(words) } => Err(unknown_job(&words)),
        Command::List => block_on(inspect::list(context)),
        Command::Describe(args) if args.watch => block_on(watch::describe(context, &args)),
        Command::Describe(args) => block_on(inspect::describe(context, &args.job.job)),
        Command::Top(args) => block_on(top::top(context, &args)),
        Command::Logs(args) => block_on(logs::logs(context, &args)),
        Command::Cancel(job) => block_on(inspect::cancel(context, &job.job)),
        Command::Stop(stop) => block_on(checkpoints::stop(context, &stop)),
        Command::Savepoint(savepoint) => block_on(checkpoints::savepoint(context, &savepoint)),
        Command::Checkpoints(job) => block_on(checkpoints::list(context, &job.job)),
        Command::Rescale(rescale) => {
            let parallelism = request::new_parallelism(&rescale.parallelism)?;
            block_on(checkpoints::rescale(context, &rescale.job.job, parallelism))
        }
        Command::Audit(args) => audit::audit(context, &args),
        Command::Explain(args) if args.flink_sql => flink::print(context, &args),
        Command::Late { command: Late::Replay(args) } => late::replay(context, &args),
        Command::Explain(args) => block_on(explain::explain(context, &args)),
        Command::Sessions(args) => block_on(explain::sessions(context, &args)),
        Command::Taskmanagers => block_on(inspect::taskmanagers(context)),
        Command::Cluster => block_on(inspect::cluster(context)),
        Command::Health { taskmanager } => block_on(health::health(context, taskmanager.as_deref())),
        Command::Completions { shell } => completions::print(shell),
    }
}

fn submit_job(context: &Context, args: Submit<impl JobArgs + clap::Args>) -> Result<Exit, Failure> {
    let request = requested(context, &args.job, Place::Cluster)?;
    let Submit { on, from_savepoint, accept_duplicates, wait, .. } = args;
    if let Some(on) = on {
        return block_on(flink::submit(context, &request, &on, wait));
    }
    let savepoint = from_savepoint.map(|folder| FromSavepoint { folder, accept_duplicates });
    block_on(submit::submit(context, request, savepoint, wait))
}

fn run_job(context: &Context, args: &impl JobArgs) -> Result<Exit, Failure> {
    run::run(context, requested(context, args, Place::Here)?)
}

/// The job that was asked for, with a word on what it lacks.
fn requested(context: &Context, args: &impl JobArgs, place: Place) -> Result<JobRequest, Failure> {
    let request = args.request(&context.environment, place)?;
    if let Some(warning) = &request.warning {
        eprintln!("warning: {warning}");
    }
    Ok(request)
}

fn unknown_job(words: &[String]) -> Failure {
    let name = words.first().map_or("", String::as_str);
    let names = jobs::registry().names().join("`, `");
    Failure::usage(format!("no job type `{}`: there is `{names}`", terminal::harmless(name)))
}

/// One thread is plenty for a client.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("cannot start the client", &error))?;
    runtime.block_on(future)
}
