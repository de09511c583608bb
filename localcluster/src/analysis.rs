//! The questions in `sql/`, each a file, asked in the order of their names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::database::{self, Database};
use crate::psql::Answer;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The questions cannot be read.
    #[error("the questions in `{}` cannot be read; run this in the project's folder", .path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There are none.
    #[error("there are no questions (`*.sql`) in `{}`", .0.display())]
    NoQuestions(PathBuf),
    /// The database does not answer.
    #[error(transparent)]
    Database(#[from] database::Error),
}

/// A question with its answer.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The comment that the file begins with, without the dashes.
    pub question: String,
    /// What the database said.
    pub answer: Answer,
}

/// Asks every question in the folder `sql`.
///
/// # Errors
/// If there are no questions, or the database does not answer one; in particular if there are no sessions yet.
pub async fn ask_all(database: &mut Database, sql: &Path) -> Result<Vec<Answered>, Error> {
    let questions = read_all(sql)?;
    database.require_sessions().await?;
    let mut answered = Vec::new();
    for text in questions {
        answered.push(Answered { question: comment(&text), answer: database.ask(&text).await? });
    }
    Ok(answered)
}

fn read_all(folder: &Path) -> Result<Vec<String>, Error> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Unreadable { path, source }
    };
    let entries = folder.read_dir().map_err(unreadable(folder))?.filter_map(Result::ok).map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "sql")).collect();
    files.sort();
    if files.is_empty() {
        return Err(Error::NoQuestions(folder.to_owned()));
    }
    files.iter().map(|file| fs::read_to_string(file).map_err(unreadable(file))).collect()
}

fn comment(sql: &str) -> String {
    let lines = sql.lines().map_while(|line| line.trim().strip_prefix("--"));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_question_is_the_comment_before_the_statement() {
        assert_eq!(comment("-- One\n-- question?\nSELECT 1; -- not this\n"), "One question?");
        assert_eq!(comment("SELECT 1;"), "");
    }

    /// Whatever else is SQL has a folder of its own: a file here is sent to the database as one question.
    #[test]
    fn the_repositorys_folder_holds_questions_only() {
        let questions = read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql")).unwrap();
        assert_eq!(questions.len(), 2);
        for question in questions {
            let statement = question.lines().find(|line| !line.trim().is_empty() && !line.trim().starts_with("--"));
            assert!(statement.is_some_and(|line| line.starts_with("SELECT") || line.starts_with("WITH")), "{question}");
        }
    }

    #[test]
    fn questions_come_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read_all(dir.path()), Err(Error::NoQuestions(_))));
        for name in ["b.sql", "a.sql", "c.txt"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        assert_eq!(read_all(dir.path()).unwrap(), ["a.sql", "b.sql"]);
    }
}
