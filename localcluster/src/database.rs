//! The cluster's Postgres, asked as a user would.

use connectors::postgres::{self, Client, SettingsError};
use stream_core::secret::Secret;

use crate::psql::{Answer, Column};
use crate::settings::{Postgres, Settings};
use crate::state_dir::StateDir;
use crate::table::Align;

/// Where the job writes its sessions.
pub const SESSIONS: &str = "sessionized_aggregated_events";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Our own Postgres is not up.
    #[error("no postgres is running here; `make up` starts one, or set POSTGRES_URL to yours")]
    NotUp,
    /// POSTGRES_URL makes no sense.
    #[error("POSTGRES_URL cannot be used")]
    Settings(#[from] SettingsError),
    /// The server cannot be reached, refuses us, or refuses a statement.
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    /// The job has not made its table yet.
    #[error("there is no table `{SESSIONS}` at {address} yet; run `make homework_job` first")]
    NoSessions {
        /// The server and database.
        address: String,
    },
    /// A count is no number.
    #[error("postgres answered a count with something else")]
    NoCount,
}

/// A connection to the cluster's database.
pub struct Database {
    client: Client,
    address: String,
}

impl Database {
    /// Connects.
    ///
    /// # Errors
    /// If there is none, it cannot be reached or refuses us.
    pub async fn connect(settings: &Settings, state: &StateDir) -> Result<Database, Error> {
        let is_own = matches!(settings.postgres, Postgres::Own(_));
        if is_own && state.running("postgres").is_none() {
            return Err(Error::NotUp);
        }
        let mut to: postgres::Settings = settings.postgres_url().parse()?;
        // What the URL does not say, the variables do: as `jobctl` reads them.
        to.database = to.database.or_else(|| settings.variable("POSTGRES_DB"));
        to.user = to.user.or_else(|| settings.variable("POSTGRES_USER"));
        to.password = to.password.or_else(|| settings.variable("POSTGRES_PASSWORD").map(Secret::new));
        let address = format!("{}/{}", to.address(), to.database.as_deref().unwrap_or_default());
        Ok(Database { client: Client::connect(&to).await?, address })
    }

    /// Asks one question.
    ///
    /// # Errors
    /// If the server refuses it.
    pub async fn ask(&mut self, sql: &str) -> Result<Answer, Error> {
        let table = self.client.query_text(sql).await?;
        let columns = table.columns.into_iter().map(|head| Column { align: align(&head.type_name), name: head.name });
        Ok(Answer { columns: columns.collect(), rows: table.rows })
    }

    /// Changes something; the number of rows that changed.
    ///
    /// # Errors
    /// If the server refuses it.
    pub async fn execute(&mut self, sql: &str) -> Result<u64, Error> {
        Ok(self.client.execute(sql).await?)
    }

    /// How many sessions there are; `None` where the job has not made its table yet.
    ///
    /// # Errors
    /// If the server refuses the question.
    pub async fn count_sessions(&mut self) -> Result<Option<u64>, Error> {
        let exists = format!("SELECT 1 WHERE to_regclass('public.{SESSIONS}') IS NOT NULL");
        if self.ask(&exists).await?.rows.is_empty() {
            return Ok(None);
        }
        let answer = self.ask(&format!("SELECT COUNT(*) FROM public.{SESSIONS}")).await?;
        let count = answer.rows.first().and_then(|row| row.first()?.as_ref()?.parse().ok());
        count.map(Some).ok_or(Error::NoCount)
    }

    /// Makes sure that there is a table to ask questions about.
    ///
    /// # Errors
    /// [`Error::NoSessions`] if there is none.
    pub async fn require_sessions(&mut self) -> Result<u64, Error> {
        let count = self.count_sessions().await?;
        count.ok_or_else(|| Error::NoSessions { address: self.address.clone() })
    }
}

/// psql puts these types to the right.
fn align(type_name: &str) -> Align {
    match type_name {
        "INT2" | "INT4" | "INT8" | "FLOAT4" | "FLOAT8" | "NUMERIC" | "OID" | "MONEY" => Align::Right,
        _ => Align::Left,
    }
}
