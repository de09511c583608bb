//! What can go wrong between us and a gateway.

/// The gateway did not do what it was asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not `http://HOST:PORT`.
    #[error("`{0}` is not the address of a Flink SQL Gateway: write `http://HOST:8083`")]
    Address(String),
    /// A client cannot be made, on this machine.
    #[error("cannot make an HTTP client")]
    Client {
        /// In the library's words.
        cause: String,
    },
    /// Nobody listens there, or the connection broke.
    #[error(
        "no Flink SQL Gateway at {address}: start one with Flink's `bin/sql-gateway.sh start`, or correct the address"
    )]
    Unreachable {
        /// Its address.
        address: String,
        /// In the library's words.
        cause: String,
    },
    /// It takes too long.
    #[error("the Flink SQL Gateway at {address} did not answer in time: look at its log")]
    Timeout {
        /// Its address.
        address: String,
    },
    /// Something else listens there.
    #[error("{address} is not the address of a Flink SQL Gateway: the answer is {answer}")]
    Foreign {
        /// Its address.
        address: String,
        /// How it answers.
        answer: String,
    },
    /// The gateway says that it failed.
    #[error("the Flink SQL Gateway at {address} failed")]
    Failed {
        /// Its address.
        address: String,
        /// In Flink's words, outermost first.
        causes: Vec<String>,
    },
    /// Flink does not take a statement.
    #[error("Flink refuses \"{statement}\"")]
    Refused {
        /// How it begins.
        statement: String,
        /// In Flink's words, outermost first.
        causes: Vec<String>,
    },
}

impl Error {
    /// Only the statement's first line is told: options that are secret stand further down.
    pub(super) fn refused(statement: &str, causes: Vec<String>) -> Self {
        let first_line = statement.trim().lines().next().unwrap_or_default();
        Error::Refused { statement: first_line.trim_end_matches([' ', '(']).to_owned(), causes }
    }

    /// What lies behind it, outermost first.
    pub fn causes(&self) -> Vec<String> {
        match self {
            Error::Client { cause } | Error::Unreachable { cause, .. } => vec![cause.clone()],
            Error::Failed { causes, .. } | Error::Refused { causes, .. } => causes.clone(),
            Error::Address(_) | Error::Timeout { .. } | Error::Foreign { .. } => Vec::new(),
        }
    }
}
