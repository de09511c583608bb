//! What a client tells of its connections, which librdkafka mends by itself for ever.
//!
//! A refused connection and a refused password look alike to it: it logs and tries again. This listens to what it logs,
//! so that the one can be waited for and the other be an error. What is logged for people is decided by those who ask;
//! librdkafka's own lines go to the level `debug`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

use super::error::{ClientWords, Error};

/// The context of every client of ours.
#[derive(Debug, Default)]
pub(super) struct Connection {
    has_failed: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

/// The last that a broker connection died of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Credentials.
    Refused(ClientWords),
    /// A TLS handshake.
    Tls(ClientWords),
    /// Anything else; it may pass.
    Lost(ClientWords),
}

impl Connection {
    /// Whether a connection failed since this was asked last.
    pub(super) fn has_failed(&self) -> bool {
        // The usual answer must cost nothing: this is asked at each poll.
        self.has_failed.load(Ordering::Relaxed) && self.has_failed.swap(false, Ordering::Relaxed)
    }

    /// What the last failed connection died of, since [`Connection::forget_failure`].
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// All is well again: what failed before explains nothing that fails from now on.
    pub(super) fn forget_failure(&self) {
        *self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }

    fn note(&self, words: &str) {
        let failure = Failure::from_words(words);
        *self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(failure);
        self.has_failed.store(true, Ordering::Relaxed);
    }
}

impl Failure {
    /// librdkafka's phrases, from `rdkafka_broker.c`, `rdkafka_request.c` and `rdkafka_transport.c`: its error codes do not
    /// come with its log lines.
    fn from_words(words: &str) -> Self {
        const REFUSED: [&str; 4] = [
            "SASL authentication error",
            "SASL authentication failure",
            "Failed to initialize SASL authentication",
            "mechanism handshake failed",
        ];
        let kept = ClientWords(words.to_owned());
        if REFUSED.iter().any(|phrase| words.contains(phrase)) {
            Failure::Refused(kept)
        } else if words.contains("SSL handshake failed") {
            Failure::Tls(kept)
        } else {
            Failure::Lost(kept)
        }
    }

    /// Whether trying again is pointless.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Failure::Refused(_) | Failure::Tls(_) => true,
            Failure::Lost(_) => false,
        }
    }

    /// As the error that it is if one gives up.
    pub(super) fn into_error(self, brokers: &str) -> Error {
        let brokers = brokers.to_owned();
        match self {
            Failure::Refused(source) => Error::Refused { brokers, source },
            Failure::Tls(source) => Error::Tls { brokers, source },
            Failure::Lost(source) => Error::Unreachable { brokers, source },
        }
    }
}

impl ClientContext for Connection {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, "{line}");
        if facility == "FAIL" && level as i32 <= RDKafkaLogLevel::Error as i32 {
            self.note(line.split_once("]: ").map_or(line, |(_thread, words)| words));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for Connection {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart_by_librdkafkas_words() {
        let connection = Connection::default();
        assert_eq!((connection.has_failed(), connection.failure()), (false, None));
        let lines = [
            ("[thrd:a:1/bootstrap]: a:1/bootstrap: Connect to ipv4#1.2.3.4:1 failed: Connection refused", false),
            (
                "[thrd:a:1/1]: a:1/1: Disconnected: verify that security.protocol is correctly configured, broker might \
              require SASL authentication (after 3ms in state UP)",
                false,
            ),
            ("[thrd:sasl_ssl://a:1/1]: sasl_ssl://a:1/1: SASL authentication error: Authentication failed", true),
            ("[thrd:ssl://a:1/1]: ssl://a:1/1: SSL handshake failed: certificate verify failed", true),
        ];
        for (line, is_final) in lines {
            connection.log(RDKafkaLogLevel::Error, "FAIL", line);
            assert!(connection.has_failed() && !connection.has_failed(), "told once");
            let failure = connection.failure().expect("just noted");
            assert_eq!(failure.is_final(), is_final, "{failure:?}");
        }
        connection.log(RDKafkaLogLevel::Info, "FAIL", "closed for idleness");
        assert!(!connection.has_failed());
    }
}
