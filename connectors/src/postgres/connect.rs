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
