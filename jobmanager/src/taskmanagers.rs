//! The taskmanagers that are connected now: how to reach each, and when it was last heard.
//!
//! Their slots are the slot pool's business ([`stream_core::slot`]); what their loss means is each job's.

use std::collections::BTreeMap;
use std::time::Duration;

use stream_core::ids::TaskManagerId;
use stream_core::time::Timestamp;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::protocol::{Command, Registration};

/// Commands that may wait for one connection. A job sends three; a taskmanager that lets this many pile up is stuck, and
/// waiting for it would hold up all the others.
pub(crate) const WAITING_COMMANDS: usize = 256;

/// One connection of a taskmanager. What an older connection of the same taskmanager still delivers is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// Whose.
    pub(crate) taskmanager: TaskManagerId,
    number: u64,
}

/// The jobmanager's end of a connection; dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Connection {
    commands: mpsc::Sender<Command>,
    _closes: DropGuard,
}

/// A connected taskmanager.
#[derive(Debug)]
pub(crate) struct TaskManager {
    /// What it told of itself.
    pub(crate) registration: Registration,
    /// When it registered, by the wall clock.
    pub(crate) registered: Timestamp,
    /// When it was last heard, by the wall clock.
    pub(crate) last_heartbeat: Timestamp,
    /// The resident memory of its process, in bytes, by its last heartbeat.
    pub(crate) rss_bytes: u64,
    /// Whether it was told to stop.
    pub(crate) is_leaving: bool,
    session: Session,
    connection: Connection,
    /// When it was last heard, by the steady clock.
    pub(crate) heard: Duration,
}

/// Everybody who is connected.
#[derive(Debug, Default)]
pub(crate) struct TaskManagers {
    by_id: BTreeMap<TaskManagerId, TaskManager>,
    sessions: u64,
}

/// A command did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    /// Nobody of that name is connected.
    #[error("it is not connected")]
    NotConnected,
    /// The connection broke.
    #[error("its connection broke")]
    Broken,
    /// Too many commands wait for it.
    #[error("it does not read its commands: {WAITING_COMMANDS} wait for it")]
    Stuck,
}

impl Connection {
    /// A connection, the commands that are sent through it, and a token that is canceled once it is closed.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Command>, CancellationToken) {
        let (commands, receiver) = mpsc::channel(WAITING_COMMANDS);
        let closed = CancellationToken::new();
        (Connection { commands, _closes: closed.clone().drop_guard() }, receiver, closed)
    }
}

impl TaskManagers {
    /// Adds one. The caller has removed whoever had the same name.
    pub(crate) fn insert(
        &mut self,
        registration: Registration,
        connection: Connection,
        wall: Timestamp,
        steady: Duration,
    ) -> Session {
        self.sessions += 1;
        let session = Session { taskmanager: registration.taskmanager.clone(), number: self.sessions };
        let taskmanager = TaskManager {
            registration,
            registered: wall,
            last_heartbeat: wall,
            rss_bytes: 0,
            is_leaving: false,
            session: session.clone(),
            connection,
            heard: steady,
        };
        self.by_id.insert(session.taskmanager.clone(), taskmanager);
        session
    }

    /// Removes one and closes its connection; nothing if it was not connected.
    pub(crate) fn remove(&mut self, id: &TaskManagerId) -> Option<TaskManager> {
        self.by_id.remove(id)
    }

    /// One was told to stop.
    pub(crate) fn set_leaving(&mut self, id: &TaskManagerId) {
        if let Some(taskmanager) = self.by_id.get_mut(id) {
            taskmanager.is_leaving = true;
        }
    }

    /// Whether it was told to stop; not one that has come since under the same name.
    pub(crate) fn is_leaving(&self, id: &TaskManagerId) -> bool {
        self.by_id.get(id).is_some_and(|taskmanager| taskmanager.is_leaving)
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// If the command cannot leave now; the taskmanager is then as good as lost.
    pub(crate) fn send(&self, id: &TaskManagerId, command: Command) -> Result<(), SendError> {
        let taskmanager = self.by_id.get(id).ok_or(SendError::NotConnected)?;
        taskmanager.connection.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => SendError::Stuck,
            TrySendError::Closed(_) => SendError::Broken,
        })
    }

    /// Whether this connection is its taskmanager's current one.
    pub(crate) fn is_current(&self, session: &Session) -> bool {
        self.by_id.get(&session.taskmanager).is_some_and(|taskmanager| taskmanager.session == *session)
    }

    /// A taskmanager was heard.
    pub(crate) fn on_heartbeat(&mut self, id: &TaskManagerId, wall: Timestamp, steady: Duration, rss_bytes: u64) {
        if let Some(taskmanager) = self.by_id.get_mut(id) {
            taskmanager.last_heartbeat = wall;
            taskmanager.heard = steady;
            taskmanager.rss_bytes = rss_bytes;
        }
    }

    /// Those who were not heard for longer than `timeout`.
    pub(crate) fn silent(&self, steady: Duration, timeout: Duration) -> Vec<TaskManagerId> {
        let silent = self.by_id.iter().filter(|(_, taskmanager)| steady.saturating_sub(taskmanager.heard) > timeout);
        silent.map(|(id, _)| id.clone()).collect()
    }

    /// Where the exchange of one listens.
    pub(crate) fn exchange_address(&self, id: &TaskManagerId) -> Option<&str> {
        self.by_id.get(id).map(|taskmanager| taskmanager.registration.exchange_address.as_str())
    }

    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &TaskManager> {
        self.by_id.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(name: &str) -> Registration {
        let taskmanager = TaskManagerId(name.to_owned());
        Registration { taskmanager, slots: 1, exchange_address: "127.0.0.1:1".to_owned(), pid: 1, running: vec![] }
    }

    #[test]
    fn removed_taskmanager_has_its_connection_closed_and_its_session_ignored() {
        let mut taskmanagers = TaskManagers::default();
        let (connection, _commands, closed) = Connection::new();
        let old = taskmanagers.insert(registration("a"), connection, Timestamp(0), Duration::ZERO);
        assert!(taskmanagers.is_current(&old) && !closed.is_cancelled());
        assert!(taskmanagers.remove(&old.taskmanager).is_some() && closed.is_cancelled());

        let (connection, _commands, _closed) = Connection::new();
        let new = taskmanagers.insert(registration("a"), connection, Timestamp(0), Duration::ZERO);
        assert!(taskmanagers.is_current(&new) && !taskmanagers.is_current(&old));
    }

    #[test]
    fn who_is_silent_is_told_by_the_steady_clock() {
        let mut taskmanagers = TaskManagers::default();
        let (connection, _commands, _closed) = Connection::new();
        let session = taskmanagers.insert(registration("a"), connection, Timestamp(0), Duration::from_secs(1));
        let timeout = Duration::from_secs(3);
        assert_eq!(taskmanagers.silent(Duration::from_secs(4), timeout), []);
        assert_eq!(taskmanagers.silent(Duration::from_secs(5), timeout), std::slice::from_ref(&session.taskmanager));
        taskmanagers.on_heartbeat(&session.taskmanager, Timestamp(9), Duration::from_secs(5), 7);
        assert_eq!(taskmanagers.silent(Duration::from_secs(5), timeout), []);
    }

    #[test]
    fn taskmanager_that_reads_nothing_is_stuck_rather_than_waited_for() {
        let mut taskmanagers = TaskManagers::default();
        let (connection, commands, _closed) = Connection::new();
        let id = taskmanagers.insert(registration("a"), connection, Timestamp(0), Duration::ZERO).taskmanager;
        for _ in 0..WAITING_COMMANDS {
            assert_eq!(taskmanagers.send(&id, Command::AcknowledgeHeartbeat), Ok(()));
        }
        assert_eq!(taskmanagers.send(&id, Command::AcknowledgeHeartbeat), Err(SendError::Stuck));
        drop(commands);
        assert_eq!(taskmanagers.send(&id, Command::AcknowledgeHeartbeat), Err(SendError::Broken));
        taskmanagers.remove(&id);
        assert_eq!(taskmanagers.send(&id, Command::AcknowledgeHeartbeat), Err(SendError::NotConnected));
    }
}
