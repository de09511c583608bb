//! One connection, within a limit, with the refusals told apart.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};

use super::error::{DriverWords, Error, sql_state};
use super::settings::{Settings, SslMode};

/// How long connecting may take: enough for a server far away, short for a person who waits.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long a goodbye may take; the server notices a connection that is gone anyway.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What each step of a sink may take is bounded on this side. A limit of the role's or the database's would cut a large
/// epoch off however often it is sent, and that of a `COPY` would count while this process reads rows.
const NO_STATEMENT_TIMEOUT: &str = "SET statement_timeout = 0";

/// Connects for a sink, without a limit that the server has for statements.
pub(super) async fn connect_sink(settings: &Settings, purpose: &str) -> Result<PgConnection, Error> {
    let mut connection = connect(settings, purpose).await?;
    let set = within(CONNECT_WITHIN, sqlx::raw_sql(NO_STATEMENT_TIMEOUT).execute(&mut connection)).await;
    set.map(|_| connection).map_err(|error| refusal(settings, error))
}

/// Connects, as `gapwise/…` in the server's list of who is connected. The server keeps 63 bytes of that.
pub(super) async fn connect(settings: &Settings, purpose: &str) -> Result<PgConnection, Error> {
    let options = options(settings, purpose);
    match tokio::time::timeout(CONNECT_WITHIN, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(refusal(settings, error)),
        Err(_) => {
            let source = DriverWords(format!("no answer within {} seconds", CONNECT_WITHIN.as_secs()));
            Err(Error::Unreachable { address: settings.address(), source })
        }
    }
}

/// Says goodbye to the server, which else logs a broken connection.
pub(super) async fn close(connection: PgConnection) {
    if tokio::time::timeout(CLOSE_WITHIN, Box::pin(connection.close())).await.is_err() {
        tracing::debug!("a Postgres connection was dropped, since it did not close in time");
    }
}

/// Waits for an answer, but not for ever: a connection can be half open.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let timed_out = |_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
    tokio::time::timeout(limit, work).await.unwrap_or_else(timed_out)
}

fn options(settings: &Settings, purpose: &str) -> PgConnectOptions {
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&settings.host)
        .port(settings.port)
        .username(settings.user())
        .database(settings.database.as_deref().unwrap_or_else(|| settings.user()))
        .application_name(&format!("gapwise/{purpose}"))
        .ssl_mode(match settings.ssl_mode {
            SslMode::Disable => PgSslMode::Disable,
            SslMode::Prefer => PgSslMode::Prefer,
            SslMode::Require => PgSslMode::Require,
            SslMode::VerifyCa => PgSslMode::VerifyCa,
            SslMode::VerifyFull => PgSslMode::VerifyFull,
        });
    if settings.host.starts_with('/') {
        options = options.socket(&settings.host);
    }
    if let Some(password) = &settings.password {
        options = options.password(password.expose());
    }
    // What is worth a line is logged where it is handled, without the statement's text.
    options.disable_statement_logging()
}

fn refusal(settings: &Settings, error: sqlx::Error) -> Error {
    let address = settings.address();
    let state = sql_state(&error);
    let is_tls = matches!(error, sqlx::Error::Tls(_));
    let source = DriverWords::from(error);
    match state.as_deref() {
        // Invalid authorization specification, invalid password, and no right to connect.
        Some("28000" | "28P01" | "42501") => Error::Refused { address, user: settings.user().to_owned(), source },
        Some("3D000") => {
            let database = settings.database.clone().unwrap_or_else(|| settings.user().to_owned());
            Error::NoDatabase { database, address }
        }
        _ if is_tls => Error::Tls { address, source },
        _ => Error::Unreachable { address, source },
    }
}
