//! The service of ip2location.io.
//!
//! Each subtask has a task of its own on the runtime that decides by the rules of `calls` and carries them out: it takes
//! questions, holds the calls in flight, and sends the answers back. It ends with the [`Ip2Location`] that started it.

mod driver;
mod http;
mod settings;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use stream_core::operator::Answer;
use stream_runtime::clock::SystemClock;
use stream_runtime::connector::ConnectorError;
use stream_runtime::lookup::{Answers, Lookup};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::calls::Calls;
use driver::Driver;
use http::Http;
pub use settings::Settings;

/// Questions on their way to the task, which never lets them lie: enough for one batch of events.
const QUESTIONS: usize = 4096;

/// Asks the service for one subtask.
#[derive(Debug)]
pub struct Ip2Location {
    questions: mpsc::Sender<String>,
    _task: JoinSet<()>,
}

impl Ip2Location {
    /// Starts the task on `runtime`.
    ///
    /// # Errors
    /// If no client can be made.
    pub fn start(settings: Settings, answers: Arc<dyn Answers>, runtime: &Handle) -> Result<Self, ConnectorError> {
        let http = Http::new(&settings)?;
        let (questions, receiver) = mpsc::channel(QUESTIONS);
        let host = settings.url.host_str().unwrap_or_default().to_owned();
        let driver = Driver::new(Calls::new(settings.limits), http, host, answers, SystemClock::new());
        let mut task = JoinSet::new();
        task.spawn_on(driver.run(receiver), runtime);
        Ok(Ip2Location { questions, _task: task })
    }
}

impl Lookup for Ip2Location {
    fn ask(&mut self, key: &[u8]) -> Option<Answer> {
        let ip = std::str::from_utf8(key).ok().filter(|ip| is_public(ip));
        let Some(ip) = ip else { return Some(Answer::Nothing) };
        match self.questions.blocking_send(ip.to_owned()) {
            Ok(()) => None,
            // The task has ended with the runtime.
            Err(_) => Some(Answer::Failed),
        }
    }

    fn has_changed(&mut self) -> bool {
        false
    }
}

/// Whether that is an address that somebody outside could know.
fn is_public(ip: &str) -> bool {
    match ip.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => {
            let is_shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            let is_own = ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_shared;
            !is_own && ip != Ipv4Addr::UNSPECIFIED && !ip.is_broadcast() && !ip.is_multicast()
        }
        Ok(IpAddr::V6(ip)) => {
            let is_own = ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local();
            !is_own && !ip.is_unspecified() && !ip.is_multicast()
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_about_what_nobody_can_know() {
        for ip in
            ["", "unknown", "1.2.3", "10.1.2.3", "192.168.0.1", "127.0.0.1", "169.254.1.1", "100.64.0.1", "0.0.0.0"]
        {
            assert!(!is_public(ip), "{ip}");
        }
        for ip in ["::1", "::", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "ff02::1"] {
            assert!(!is_public(ip), "{ip}");
        }
        for ip in ["8.8.8.8", "100.128.0.1", "2001:4860:4860::8888", "::ffff:8.8.8.8"] {
            assert!(is_public(ip), "{ip}");
        }
    }
}
