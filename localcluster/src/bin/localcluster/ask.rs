//! `analysis`: the questions and answers, as psql prints them.

use anyhow::Result;
use localcluster::analysis::{Answered, ask_all};
use localcluster::database::Database;
use localcluster::settings::Settings;
use localcluster::state_dir::StateDir;

use crate::produce::runtime;

pub(crate) fn analysis(settings: &Settings, state: &StateDir) -> Result<()> {
    let answered = runtime()?.block_on(async {
        let mut database = Database::connect(settings, state).await?;
        ask(&mut database, settings).await
    })?;
    print(&answered);
    Ok(())
}

pub(crate) async fn ask(database: &mut Database, settings: &Settings) -> Result<Vec<Answered>> {
    Ok(ask_all(database, &settings.project.join("sql")).await?)
}

/// psql, too, ends each answer with an empty line.
pub(crate) fn print(answered: &[Answered]) {
    for Answered { question, answer } in answered {
        println!("{question}\n{}", answer.render());
    }
}
