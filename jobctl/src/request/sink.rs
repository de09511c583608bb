//! Where rows go.

use std::collections::BTreeMap;

use stream_core::pipeline::SinkSpec;
use stream_core::row::Column;
use stream_core::secret::Secret;

use super::uri::{self, Uri};
use super::{Given, Place};
use crate::args;
use crate::environment::Environment;
use crate::failure::Failure;

/// The database of `make up`, on this machine only, with the password that its documentation tells everybody.
const LOCAL_POSTGRES: &str = "postgres://postgres:postgres@127.0.0.1:5432";
/// Its password.
pub(super) const LOCAL_PASSWORD: &str = "postgres";
const DEFAULT_DATABASE: &str = "postgres";
const POSTGRES_PORT: u16 = 5432;
const SCHEMES: &str = "`postgres://HOST:PORT/DATABASE`, `csv:PATH`, `jsonl:PATH` or `stdout:`";

/// The sink of rows with these columns, in this table where it has tables.
///
/// # Errors
/// If a value cannot be.
pub(super) fn spec(
    args: &args::Sink,
    environment: &Environment,
    place: Place,
    table: String,
    columns: Vec<Column>,
) -> Result<SinkSpec, Failure> {
    let mut sink = SinkSpec {
        uri: String::new(),
        table,
        side_tables: Vec::new(),
        columns,
        properties: BTreeMap::new(),
        secrets: BTreeMap::new(),
    };
    let given = given(args, environment, place);
    if let Some(rest) = postgres_rest(&given) {
        postgres(&mut sink, &given, rest, environment)?;
        return Ok(sink);
    }
    sink.uri = match given.text.split_once(':') {
        Some(("csv" | "jsonl", "" | "//")) => return Err(given.not("a file", "write `csv:PATH` or `jsonl:PATH`")),
        Some((scheme @ ("csv" | "jsonl"), path)) => format!("{scheme}:{}", absolute(path, environment)),
        Some(("stdout", _)) if place == Place::Cluster => {
            return Err(given.not("known to a cluster", "use `jobctl run`, or write to Postgres or a file"));
        }
        Some(("stdout", "" | "//")) => "stdout:".to_owned(),
        _ => return Err(unknown(&given)),
    };
    Ok(sink)
}

/// Whether that is the database of `make up`.
pub(super) fn is_local(shown: &str) -> bool {
    shown.starts_with(&format!("{}/", uri::shown(LOCAL_POSTGRES)))
}

/// What was asked for, or the default of the place.
fn given(args: &args::Sink, environment: &Environment, place: Place) -> Given {
    let default = |text: &str| Given { text: text.to_owned(), name: "--sink".to_owned() };
    Given::find("--sink", &args.sink, environment).unwrap_or_else(|| match place {
        Place::Here => default("stdout:"),
        Place::Cluster => Given::variable("POSTGRES_URL", environment).unwrap_or_else(|| default(LOCAL_POSTGRES)),
    })
}

/// What follows the scheme in any of the spellings that are common for Postgres, if it is one. `POSTGRES_URL` may also be
/// a bare `HOST:PORT`.
fn postgres_rest(given: &Given) -> Option<&str> {
    let text = given.text.strip_prefix("jdbc:").unwrap_or(&given.text);
    let rest = text.strip_prefix("postgresql:").or_else(|| text.strip_prefix("postgres:"));
    match rest {
        Some(rest) => rest.strip_prefix("//"),
        None if given.name == "POSTGRES_URL" && !text.contains("://") => Some(text),
        None => None,
    }
}

fn postgres(sink: &mut SinkSpec, given: &Given, rest: &str, environment: &Environment) -> Result<(), Failure> {
    let refuse = |what: &str| Failure::usage(format!("{}: `{}` {what}", given.name, uri::shown(&given.text)));
    let Uri { hosts, path, credentials, query } = Uri::parse(rest);
    let hosts = uri::with_port(&hosts, POSTGRES_PORT);
    if hosts.is_empty() {
        return Err(refuse("names no host: write `postgres://HOST:PORT/DATABASE`"));
    }
    let database = if path.is_empty() { environment.get("POSTGRES_DB").unwrap_or(DEFAULT_DATABASE) } else { &path };
    sink.uri = format!("postgres://{hosts}/{database}");

    // The environment of the Flink version names the user of its own database, and is asked before our default for it.
    let of_environment =
        (environment.get("POSTGRES_USER").map(str::to_owned), environment.get("POSTGRES_PASSWORD").map(Secret::new));
    let (user, password) = if given.text == LOCAL_POSTGRES {
        (of_environment.0.or(credentials.user), of_environment.1.or(credentials.password))
    } else {
        (credentials.user.or(of_environment.0), credentials.password.or(of_environment.1))
    };
    sink.properties.extend(user.map(|user| ("user".to_owned(), user)));
    sink.secrets.extend(password.map(|password| ("password".to_owned(), password)));

    let is_jdbc = given.text.starts_with("jdbc:");
    for (name, value) in query {
        match name.as_str() {
            "sslmode" => drop(sink.properties.insert(name, value)),
            "ssl" if is_jdbc && value != "false" => {
                sink.properties.entry("sslmode".to_owned()).or_insert_with(|| "require".to_owned());
            }
            // The JDBC driver's other parameters tune that driver.
            _ if is_jdbc => {}
            _ => return Err(refuse(&format!("has the parameter `{name}`: only user, password and sslmode are known"))),
        }
    }
    Ok(())
}

fn absolute(path: &str, environment: &Environment) -> String {
    let path = if path.starts_with("///") { &path[2..] } else { path };
    environment.folder.join(path).to_string_lossy().into_owned()
}

fn unknown(given: &Given) -> Failure {
    let shown = uri::shown(&given.text);
    let remedy = if shown.contains(':') { SCHEMES.to_owned() } else { format!("`csv:{shown}`, or {SCHEMES}") };
    Failure::usage(format!("{}: `{shown}` is no sink that is known: write {remedy}", given.name))
}
