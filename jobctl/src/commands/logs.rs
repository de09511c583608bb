//! `logs`: what the processes of the cluster logged about a job.

use super::{Context, Output};
use crate::args::Logs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::view::LogLine;
use crate::{render, request, terminal};

pub(super) async fn logs(context: &Context, args: &Logs) -> Result<Exit, Failure> {
    let wanted = request::logs(args, context.now())?;
    let colors = terminal::Colors::of_stdout();
    let mut client = context.connect().await?;
    let mut lines = client.logs(&wanted).await?;
    while let Some(answer) = lines.next().await? {
        if answer.missed > 0 {
            eprintln!("{} older lines are not kept any more: the processes' own logs have them", answer.missed);
        }
        let shown = answer.lines.into_iter().map(LogLine::from);
        let text: String = match context.output {
            Output::Text => shown.map(|line| render::log_line(&line, colors)).collect(),
            Output::Json => shown.map(|line| line_of_json(&line)).collect(),
        };
        if !terminal::write(&text).map_err(|error| Failure::output(&error))? {
            break;
        }
    }
    Ok(Exit::Done)
}

fn line_of_json(line: &LogLine) -> String {
    serde_json::to_string(line).expect("views hold texts and numbers only") + "\n"
}
