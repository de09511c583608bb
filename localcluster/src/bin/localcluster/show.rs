//! What was done, as lines and tables for people.

use std::path::Path;
use std::time::Duration;

use localcluster::cluster::{State, Status, Stopped, Up};
use localcluster::settings::{Kafka, Postgres, Settings};
use localcluster::table::{Align, Table};

/// The table that `up` ends with.
pub(crate) fn up(components: &[Up], settings: &Settings) -> String {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("WHAT", Align::Left),
        ("ADDRESS", Align::Left),
        ("READY", Align::Left),
        ("LOG", Align::Left),
    ]);
    for (name, address) in users_own(settings) {
        table.row([name.to_owned(), "yours".to_owned(), address, "-".to_owned(), "-".to_owned()]);
    }
    for Up { record, ready_after } in components {
        let ready =
            ready_after.map_or_else(|| "already running".to_owned(), |time| format!("in {:.2} s", time.as_secs_f64()));
        table.row([record.name.clone(), record.what.clone(), record.address(), ready, short(&record.log, settings)]);
    }
    table.render()
}

/// The table of `status`, and what our own processes cost together.
pub(crate) fn status(components: &[Status]) -> String {
    if components.is_empty() {
        return "nothing is running; `make up` starts a cluster\n".to_owned();
    }
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("WHAT", Align::Left),
        ("PID", Align::Right),
        ("ADDRESS", Align::Left),
        ("UP", Align::Right),
        ("RSS MB", Align::Right),
        ("STATE", Align::Left),
    ]);
    for one in components {
        table.row([
            one.record.name.clone(),
            one.record.what.clone(),
            one.record.identity.pid.to_string(),
            one.record.address(),
            one.up_for.map_or_else(|| "-".to_owned(), uptime),
            one.resident_bytes.map_or_else(|| "-".to_owned(), megabytes),
            match one.state {
                State::Running => "running".to_owned(),
                State::Dead => format!("dead (see {})", one.record.log.display()),
            },
        ]);
    }
    let ours: Vec<&Status> = components.iter().filter(|one| one.is_ours()).collect();
    let taskmanagers = ours.iter().filter(|one| one.record.name != "jobmanager").count();
    let sum: u64 = ours.iter().filter_map(|one| one.resident_bytes).sum();
    table.render() + &format!("\njobmanager + {taskmanagers} taskmanagers: {} MB\n", megabytes(sum))
}

/// One line for each component that `down` found.
pub(crate) fn stopped(components: &[Stopped]) -> String {
    if components.is_empty() {
        return "nothing was running\n".to_owned();
    }
    let lines = components.iter().map(|stopped| match stopped {
        Stopped::Asked(record) => format!("{}: stopped (pid {})\n", record.name, record.identity.pid),
        Stopped::Killed(record) => {
            format!("{}: killed, it did not stop when asked (pid {})\n", record.name, record.identity.pid)
        }
        Stopped::WasDead(record) => format!("{}: had ended before, see {}\n", record.name, record.log.display()),
    });
    lines.collect()
}

/// What belongs to the user; an address never shows a user or password.
fn users_own(settings: &Settings) -> Vec<(&'static str, String)> {
    let kafka = match &settings.kafka {
        Kafka::Users(url) => Some(("kafka", url.clone())),
        Kafka::Devbroker(_) | Kafka::Apache(_) => None,
    };
    let postgres = match &settings.postgres {
        Postgres::Users(url) => Some(("postgres", without_login(url))),
        Postgres::Own(_) => None,
    };
    kafka.into_iter().chain(postgres).collect()
}

/// `postgres://me:secret@db:5432/web?password=x` is `db:5432/web`.
fn without_login(url: &str) -> String {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let before_query = after_scheme.split('?').next().unwrap_or_default();
    before_query.rsplit('@').next().unwrap_or_default().to_owned()
}

/// A log in the project's folder is shown from there.
fn short(log: &Path, settings: &Settings) -> String {
    let project = std::path::absolute(&settings.project).unwrap_or_default();
    log.strip_prefix(&project).unwrap_or(log).display().to_string()
}

fn uptime(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m{s:02}s"),
        (0, h, m, _) => format!("{h}h{m:02}m"),
        (d, h, _, _) => format!("{d}d{h:02}h"),
    }
}

fn megabytes(bytes: u64) -> String {
    let tenths = bytes * 10 / 1_000_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_no_login() {
        assert_eq!(without_login("jdbc:postgresql://db:5432/web?user=me&password=x"), "db:5432/web");
        assert_eq!(without_login("postgres://me:p@ss@db/web"), "db/web");
        assert_eq!(without_login("db"), "db");
    }

    #[test]
    fn times_and_sizes_are_short() {
        assert_eq!(uptime(Duration::from_secs(59)), "59s");
        assert_eq!(uptime(Duration::from_secs(3661)), "1h01m");
        assert_eq!(uptime(Duration::from_secs(90_000)), "1d01h");
        assert_eq!(megabytes(12_345_678), "12.3");
    }
}
