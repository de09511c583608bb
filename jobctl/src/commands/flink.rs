//! A job on Flink: `explain --flink-sql` prints it, `submit --on flink=…` submits it to a cluster's SQL Gateway.

use std::time::Duration;

use connectors::flink::{Error, Gateway, Session};
use connectors::postgres;
use job_sessionize::Sessionize;
use stream_core::pipeline::{Pipeline, SinkSpec};
use stream_runtime::connector::ConnectorErrorKind;

use super::{Context, requested};
use crate::args::Explain;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flink_sql::{self, Passwords, Script};
use crate::request::{JobRequest, Place, shown};
use crate::terminal::harmless;
use crate::view::Submitted;

/// From one look at a job's state to the next.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Prints the job that was asked for, and reaches nobody.
pub(super) fn print(context: &Context, args: &Explain) -> Result<Exit, Failure> {
    let job = &args.job.job;
    if job != Sessionize::NAME {
        let remedy = "with --flink-sql write `sessionize`, and then the options of `submit sessionize`";
        return Err(Failure::usage(format!("no job type `{job}` is known in Flink SQL: {remedy}")));
    }
    let request = requested(context, &args.sessionize, Place::Cluster)?;
    let script = flink_sql::script(&request, Passwords::Hidden)?;
    context.show(&script, flink_sql::Script::text)?;
    Ok(Exit::Done)
}

/// Submits the job; returns once it runs or, with `wait`, once it has ended.
pub(super) async fn submit(context: &Context, request: &JobRequest, on: &str, wait: bool) -> Result<Exit, Failure> {
    let pipeline = &request.pipeline;
    let failed = |error: Error| failure(&error, pipeline);
    let address = on.strip_prefix("flink=").ok_or_else(|| {
        let remedy = "write `flink=http://HOST:8083`, or leave it out for the cluster of --jobmanager";
        Failure::usage(format!("--on: `{}` is no cluster that is known: {remedy}", shown(on)))
    })?;
    let gateway = Gateway::new(address).map_err(failed)?;
    let script = flink_sql::script(request, Passwords::Inserted)?;
    for note in &script.notes {
        eprintln!("note: on Flink, {note}");
    }
    let session = gateway.open("gapwise").await.map_err(failed)?;
    let ended = async {
        make_table(&pipeline.sink).await?;
        let job_id = start(&session, &script, pipeline).await?;
        context.show(&Submitted { job_id: job_id.clone() }, |_| said(request, &job_id))?;
        follow(&session, &job_id, pipeline, wait).await
    };
    let ended = ended.await;
    session.close().await;
    ended
}

/// Runs the statements; the id of the job that the last of them starts.
async fn start(session: &Session, script: &Script, pipeline: &Pipeline) -> Result<String, Failure> {
    let mut job_id = None;
    for statement in &script.statements {
        let answer = session.execute(statement).await.map_err(|error| failure(&error, pipeline))?;
        job_id = answer.job_id.or(job_id);
    }
    let job_id = job_id.ok_or_else(|| Failure::new(Exit::Failed, "Flink took the statements and started no job"))?;
    Ok(harmless(&job_id))
}

/// Makes the table where it is missing, as a jobmanager of ours does. A database that Flink reaches need not be reached from here.
async fn make_table(sink: &SinkSpec) -> Result<(), Failure> {
    match postgres::check_result(sink).await {
        Err(error) if error.kind == ConnectorErrorKind::Unreachable => {
            eprintln!("warning: {error}; Flink needs the table `{}` there, and does not make it", sink.table);
            Ok(())
        }
        checked => checked.map_err(|error| Failure::connector(&error)),
    }
}

/// Tells each of the job's states until it runs or, with `wait`, has ended.
async fn follow(session: &Session, job_id: &str, pipeline: &Pipeline, wait: bool) -> Result<Exit, Failure> {
    let failed = |error: Error| {
        let lost = format!("job {job_id} is no longer seen, and may go on in Flink: look there");
        failure(&error, pipeline).after(&lost)
    };
    let mut last = String::new();
    loop {
        let state = session.job_state(job_id).await.map_err(failed)?;
        if state != last {
            eprintln!("job {job_id} is {}", harmless(&state));
        }
        match state.as_str() {
            "FINISHED" => return Ok(Exit::Done),
            "CANCELED" => return Ok(Exit::Canceled),
            "FAILED" => {
                let message = format!("job {job_id} failed in Flink: its jobmanager has the whole stack trace");
                let causes = session.job_failure(job_id).await;
                return Err(Failure::new(Exit::Failed, message).because(without_passwords(causes, pipeline)));
            }
            "RUNNING" if !wait => return Ok(Exit::Done),
            // Flink's default is to try for ever: whoever waits is to know why.
            "RESTARTING" if state != last => {
                let causes = without_passwords(session.job_failure(job_id).await, pipeline);
                causes.into_iter().for_each(|cause| eprintln!("  because {}", harmless(&cause)));
            }
            _ => {}
        }
        last = state;
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

fn said(JobRequest { name, pipeline, .. }: &JobRequest, job_id: &str) -> String {
    let name = if name.is_empty() { &pipeline.job } else { name };
    let Pipeline { source, sink, .. } = pipeline;
    format!("submitted `{name}` to Flink as {job_id}: {} to {}\n", source.uri, sink.uri)
}

fn failure(error: &Error, pipeline: &Pipeline) -> Failure {
    let exit = match error {
        Error::Address(_) => Exit::Usage,
        Error::Unreachable { .. } | Error::Timeout { .. } | Error::Foreign { .. } => Exit::NoJobManager,
        Error::Client { .. } | Error::Failed { .. } | Error::Refused { .. } => Exit::Failed,
    };
    Failure::new(exit, error.to_string()).because(without_passwords(error.causes(), pipeline))
}

/// Flink's words without the job's passwords: a statement that it refuses may be quoted in them.
fn without_passwords(words: Vec<String>, pipeline: &Pipeline) -> Vec<String> {
    let secrets = pipeline.secrets().map(|secret| secret.expose()).filter(|text| !text.is_empty());
    let hidden: Vec<String> = secrets.flat_map(flink_sql::forms).collect();
    let hide = |text: String| hidden.iter().fold(text, |text, secret| text.replace(secret, "<password>"));
    words.into_iter().map(hide).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::request::JobArgs as _;

    #[test]
    fn flink_s_words_are_told_without_passwords() {
        let environment = Environment::of(&[("POSTGRES_PASSWORD", "hunt'e\"r2")]);
        let request = crate::args::Sessionize::default().request(&environment, Place::Cluster).expect("valid");
        let refused = Error::Refused {
            statement: "CREATE".to_owned(),
            causes: [r#"near 'hunt''e"r2'"#, r#"hunt'e"r2 is wrong"#, r#"password="hunt''e\"r2";"#]
                .map(str::to_owned)
                .into(),
        };
        let expected = Failure::new(Exit::Failed, "Flink refuses \"CREATE\"")
            .because(["near '<password>'", "<password> is wrong", r#"password="<password>";"#].map(str::to_owned));
        assert_eq!(failure(&refused, &request.pipeline), expected);
    }
}
